"""Listeners to the events of a run: the terminal and the log."""
