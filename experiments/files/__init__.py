"""What the readers of all senses share: folders, tables, media, windows."""
