"""What a model says: lines, panels and files of it."""
