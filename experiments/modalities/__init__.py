"""The senses, a folder each, and what they share."""
