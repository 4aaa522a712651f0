"""Data sets and host pipelines: raw records in, batches of arrays out."""
