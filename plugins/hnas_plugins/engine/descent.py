"""Gradient descent without autograd: all steps of the inner loop of a network in one call."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from functools import cache

import torch
from attrs import frozen
from torch import Tensor
from torch.nn import functional as F

from hnas import NormStats
from hnas.supernet import Params
from hnas_plugins.engine.blocks import EPS, channels_last
from hnas_plugins.engine.conv import Geometry
from hnas_plugins.engine.native import library
from hnas_plugins.engine.norm import ACTIVATION_CODES
from hnas_plugins.engine.unit import Unit


@frozen(kw_only=True, eq=False)
class Record:
    """The intermediate results of a descent."""

    gradients: list[Tensor]  # of each weight, (steps, T, …)
    moments: list[tuple[Tensor, Tensor]]
    """Mean and reciprocal deviation (steps, T, O) of each unit's normalisation."""


def descend(
    units: Sequence[Unit],
    weights: Sequence[Tensor],
    norms: Sequence[Sequence[tuple[Tensor, Tensor]]],
    rates: Tensor,
    x: Tensor,
    y: Tensor,
    pool: int,
    *,
    record: bool = False,
) -> tuple[list[Tensor], Record | None]:
    """Return the weights of each task after its steps, with a leading task dimension T, and the intermediate results.

    ``x`` are images (T, N, H, W, C) and ``y`` labels (T, N). All tasks start from ``weights``: (O, C, k, k) for each
    unit, (n_way, C, pool²) and (n_way,) for the classifier. ``norms[step]`` holds gamma and beta (O,) of each unit, and
    ``rates`` (weights, steps) the learning rates.
    """
    if wrong := {t.dtype for t in (*weights, rates, *(v for s in norms for p in s for v in p))} - {x.dtype}:
        raise ValueError(f"descend: parameters are {wrong}, expected {x.dtype} as the images are")
    if y.dtype != torch.int64:
        raise ValueError(f"descend: labels are {y.dtype}, expected int64")
    if rates.shape != (len(weights), len(norms)) or any(len(step) != len(units) for step in norms):
        raise ValueError(f"descend: rates {tuple(rates.shape)} and norms do not fit {len(weights)} weights")
    tasks, images, *shape = x.shape
    shapes, described = [tuple(shape)], list[int]()  # of the images, then of each unit's output: (H, W, C)
    for number, (unit, weight) in enumerate(zip(units, weights[:-2], strict=True)):
        source = number - 1 if unit.source is None else unit.source
        if not -1 <= source < number or not -1 <= unit.joins < number:
            raise ValueError(f"descend: unit {number} reads {source} and joins {unit.joins}, expected earlier units")
        height, width, channels = shapes[source + 1]
        if weight.shape[1:] != (channels, unit.kernel, unit.kernel):
            expected = ("O", channels, unit.kernel, unit.kernel)
            raise ValueError(f"descend: weights of a unit are {tuple(weight.shape)}, expected {expected}")
        g = Geometry(height, width, channels, len(weight), unit.kernel, unit.stride)
        activation, after = ACTIVATION_CODES[unit.activation], ACTIVATION_CODES[unit.after]
        described += [height, width, channels, len(weight), unit.kernel, unit.stride, *g.out]
        described += [activation, unit.max_pool, source, unit.joins, after]
        height, width = ((n + 1) // 2 for n in g.out) if unit.max_pool else g.out
        shapes.append((height, width, len(weight)))
        if unit.joins >= 0 and (unit.max_pool or shapes[unit.joins + 1] != shapes[-1]):
            raise ValueError(f"descend: unit {number} of {shapes[-1]} cannot join one of {shapes[unit.joins + 1]}")
        if any(v.shape != weight.shape[:1] for step in norms for v in step[number]):
            raise ValueError(f"descend: gamma or beta of a unit of {len(weight)} filters has another size")
    height, width, channels = shapes[-1]
    n_way = len(weights[-1])
    if weights[-2].shape != (n_way, channels, pool**2) or y.shape != (tasks, images):
        raise ValueError(
            f"descend: classifier {tuple(weights[-2].shape)} and labels {tuple(y.shape)}, expected "
            f"{(n_way, channels, pool**2)} and {(tasks, images)}"
        )
    ordered = [w.permute(0, 2, 3, 1) for w in weights[:-2]] + list(weights[-2:])
    adapted = [w.new_empty((tasks, *w.shape)) for w in ordered]
    for own, start in zip(adapted, ordered, strict=True):
        own[0] = start
    kept = None
    if record:
        sizes = [(len(norms), tasks, len(w)) for w in weights[:-2]]
        kept = Record(
            gradients=[w.new_empty((len(norms), *w.shape)) for w in adapted],
            moments=[(x.new_empty(size), x.new_empty(size)) for size in sizes],
        )
    rows = [v.contiguous() for step in norms for pair in step for v in pair]
    x, y, rates, averages = x.contiguous(), y.contiguous(), rates.contiguous(), _averages(height, width, pool, x.dtype)
    failed = library(x.dtype).descend(  # type: ignore[union-attr]
        x.data_ptr(), y.data_ptr(), (ctypes.c_int * len(described))(*described), len(units), tasks, images, n_way,
        len(norms), _pointers(adapted), _pointers(rows), rates.data_ptr(), averages.data_ptr(), pool**2,
        _pointers(kept.gradients) if kept else None,
        _pointers([v for pair in kept.moments for v in pair]) if kept else None, EPS,
    )  # fmt: skip
    if failed:
        raise MemoryError(f"descend: no memory for the maps of {tasks} tasks of {images} images")
    return _as_torch_has_it(adapted), kept and Record(gradients=_as_torch_has_it(kept.gradients), moments=kept.moments)


def descend_by_name(
    units: Mapping[str, Unit],
    weights: Params,
    norms: Sequence[Params],
    rates: Mapping[str, Tensor],
    x: Tensor,
    y: Tensor,
    pool: int,
    *,
    stats: Sequence[NormStats] | None,
    gradients: dict[str, Tensor] | None,
) -> Params:
    """Implement `hnas.SuperNet.descend` for a network of the layers ``units`` and a classifier ``fc``.

    Layer N has parameters ``convN.weight``, ``normN.weight`` and ``normN.bias``. ``x`` are images (T, N, C, H, W).
    """
    names = [*(f"conv{n}.weight" for n in units), "fc.weight", "fc.bias"]
    adapted, record = descend(
        list(units.values()),
        [weights[n].detach() for n in names],
        [[(step[f"norm{n}.weight"], step[f"norm{n}.bias"]) for n in units] for step in norms],
        torch.stack([rates[n].detach() for n in names]),
        channels_last(x),
        y,
        pool,
        record=stats is not None or gradients is not None,
    )
    if record is not None:
        for step, collected in enumerate(stats or ()):
            for n, (mean, rstd) in zip(units, record.moments, strict=True):
                collected.mean[f"norm{n}"], collected.var[f"norm{n}"] = mean[step], rstd[step] ** -2 - EPS
        if gradients is not None:
            gradients |= dict(zip(names, record.gradients, strict=True))
    return dict(zip(names, adapted, strict=True))


def _as_torch_has_it(weights: Sequence[Tensor]) -> list[Tensor]:
    """Return convolution weights (…, O, k, k, C) as (…, O, C, k, k); the classifier's last two stay."""
    return [w.movedim(-1, -3) for w in weights[:-2]] + list(weights[-2:])


def _pointers(tensors: Sequence[Tensor]) -> ctypes.Array[ctypes.c_void_p]:
    return (ctypes.c_void_p * len(tensors))(*(t.data_ptr() for t in tensors))


@cache
def _averages(h: int, w: int, pool: int, dtype: torch.dtype) -> Tensor:
    """Return the matrix (pool², h*w) that averages a map as `adaptive_avg_pool2d` does."""
    pixels = torch.eye(h * w, dtype=dtype).view(h * w, 1, h, w)
    return F.adaptive_avg_pool2d(pixels, pool).flatten(1).T.contiguous()
