"""A table of inputs and answers as a task."""
