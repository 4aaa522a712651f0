"""Models of others on the same inputs, to compare with."""
