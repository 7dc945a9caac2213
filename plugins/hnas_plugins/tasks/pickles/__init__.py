"""Read pickles without running the functions that they call."""
