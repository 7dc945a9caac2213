"""Pickles read without running what they call."""
