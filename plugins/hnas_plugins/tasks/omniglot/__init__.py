"""Omniglot from its folder or its zips."""
