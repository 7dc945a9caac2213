"""Tools for authors of plugins: checks, and projects to start from."""
