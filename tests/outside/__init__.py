"""Senses and answers made up outside the package: nothing in it knows them."""
