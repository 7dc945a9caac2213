"""The super-net of a space: its interface, and the statistics of its normalisation layers."""

from hnas.supernet.interface import Params, Role, SuperNet
from hnas.supernet.norm_stats import NormStats

__all__ = ["NormStats", "Params", "Role", "SuperNet"]
