"""The phases of a run: each reads the artefacts of the one before and makes its own."""
