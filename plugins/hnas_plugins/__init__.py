"""The built-in search spaces, meta-learners and task sources."""
