"""Tables made of embedded data, to try the training on tables with."""
