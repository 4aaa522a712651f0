"""One file an experiment: values only."""
