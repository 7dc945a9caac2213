"""The space of DARTS cells and its super-net."""

from hnas_plugins.spaces.darts.options import DartsOptions
from hnas_plugins.spaces.darts.space import Darts

__all__ = ["Darts", "DartsOptions"]
