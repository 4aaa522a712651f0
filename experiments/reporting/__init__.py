"""What is told of runs that were trained."""
