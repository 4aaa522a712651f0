"""Memory, operations and times of models and pipelines."""
