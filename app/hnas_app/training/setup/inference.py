"""The cost of a prediction, from that of one pass through the network and what the learner says that it takes."""

from __future__ import annotations

from collections.abc import Sequence

from hnas.cost import PARAMS, Cost, Metric
from hnas.cost.units import SIZE
from hnas.learner import Inference


def of_prediction(cost: Cost, metrics: Sequence[Metric], inference: Inference) -> Cost:
    """Return the cost of a prediction by a network whose pass has this ``cost``.

    What layers add up to, such as latency, energy or MACs, is multiplied by the passes. Sizes, such as memory in KiB,
    grow by the bytes stored. Parameters, and other metrics that take the largest layer, stay as they are.
    """
    if inference == Inference():
        return cost
    values = dict(cost.values)
    for metric in metrics:
        if metric.unit in SIZE:
            values[metric.name] += inference.stored / SIZE[metric.unit]
        elif metric.combine == "sum" and metric != PARAMS:
            values[metric.name] *= inference.passes
    return Cost(values=values)
