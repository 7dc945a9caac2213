"""The fixtures of published super-nets."""

from published import site, tiny, trained

__all__ = ["site", "tiny", "trained"]
