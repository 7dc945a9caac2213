"""A run: its directory, its phases in turn, and what it leaves."""
