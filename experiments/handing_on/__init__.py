"""What is handed on of a trained run, to be used without this package."""
