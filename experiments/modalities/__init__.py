"""The senses, a folder each with one record."""
