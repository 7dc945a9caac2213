"""The results of a run, to read: tables and pictures."""
