"""What a run ends with, to read: tables and pictures."""
