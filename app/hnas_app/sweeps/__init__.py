"""Searches for several devices and limits at once, which share what they learn."""
