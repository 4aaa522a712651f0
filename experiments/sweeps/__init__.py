"""Tables of runs: rows, how one is trained and measured, how it all prints."""
