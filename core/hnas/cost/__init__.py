"""Costs: the description of a device, the costs of its layers, and the cost of a network."""

from hnas.cost.table import COMBINED, CostTable, priced, sum_over_layers
from hnas.cost.values import (
    MACS,
    PARAMS,
    Cost,
    DeviceInfo,
    LayerCosts,
    Measurement,
    Metric,
    Rounds,
    check_costs,
)

__all__ = [
    "COMBINED",
    "MACS",
    "PARAMS",
    "Cost",
    "CostTable",
    "DeviceInfo",
    "LayerCosts",
    "Measurement",
    "Metric",
    "Rounds",
    "check_costs",
    "priced",
    "sum_over_layers",
]
