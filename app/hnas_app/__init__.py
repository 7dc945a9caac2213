"""The application made of the plugins: what `hnas` and `import hnas` do with them. Not for import by third parties."""
