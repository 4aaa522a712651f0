"""The runner: trains and evaluates any experiment from a config file."""
