"""Projects that `hnas plugins new` writes: a distribution with a small plugin that works, to be replaced."""

from hnas_app.plugin_tools.projects.project import Project

__all__ = ["Project"]
