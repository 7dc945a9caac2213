"""Projects that `hnas plugins new` writes: a distribution with a small plugin that works, to be replaced."""

from hnas.plugin_projects.project import Project

__all__ = ["Project"]
