"""A run: its directory, its phases in turn, and its results."""
