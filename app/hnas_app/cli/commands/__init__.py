"""The commands, one a file: each reads its options and calls a use case."""
