"""Random changes of training examples, on the host."""
