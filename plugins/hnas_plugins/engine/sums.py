"""Sums over tasks: on a CPU the same whatever other tasks are added elsewhere, and in which order."""

from __future__ import annotations

import torch
from torch import Tensor

from hnas.toolkit.learning import ROUNDS, exact_sum
from hnas_plugins.engine.native import library


def task_sum(values: Tensor) -> Tensor:
    """Return the sum of ``values`` (T, …): on a CPU that of `exact_sum`, in float64, by the kernels if there are any.

    On a GPU it is an ordinary sum: the tasks of a batch are not computed independently there.
    """
    if not values.is_cpu:
        return values.sum(0) if len(values) > 1 else values[0]
    kernels = library(values.dtype)
    if kernels is None:
        return exact_sum(values)
    if values.is_contiguous():
        lying, order = values, None
    else:
        order = sorted(range(1, values.dim()), key=values.stride, reverse=True)  # as they lie in memory: no copy
        lying = values.permute(0, *order).contiguous()
    sums = torch.empty(lying.shape[1:], dtype=torch.float64)
    kernels.exact_sum(lying.data_ptr(), sums.data_ptr(), len(lying), sums.numel(), ROUNDS)
    return sums if order is None else sums.permute([order.index(i) for i in range(1, values.dim())])
