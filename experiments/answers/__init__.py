"""What a model says: a folder for each kind of answer, with its record."""
