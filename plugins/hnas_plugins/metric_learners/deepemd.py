"""DeepEMD: images are compared by the least work that turns the places of one into those of the other."""

from __future__ import annotations

import importlib
import math
from typing import Any, Literal

import torch
from attrs import frozen
from torch import Tensor
from torch.nn.functional import normalize, relu

from hnas import ConfigError, MetaLearner
from hnas.settings import one_of, positive, setting
from hnas.supernet import Params
from hnas_plugins.metric_learners.comparing import Comparing
from hnas_plugins.metric_learners.options import ComparingOptions
from hnas_plugins.metric_learners.rule import Rule, Size

LEAST = 1e-3
"""Added to each weight, as in the authors' code: no place has weight 0."""
SMOOTH, TURNS = (0.3, 0.1, 0.03, 0.01), 15
"""The smoothings of Sinkhorn's iterations, one after the other, and the iterations with each."""


@frozen(kw_only=True)
class DeepEMDOptions(ComparingOptions):
    """Options of DeepEMD (Zhang et al., CVPR 2020). Give features places by `space.pool`: with one, nothing moves."""

    temperature: float = setting(12.5, "factor of the similarities", positive)
    solver: Literal["emd", "sinkhorn"] = setting(
        "emd",
        "exact, by POT, or the approximation of Sinkhorn, which can be exported",
        one_of("emd", "sinkhorn"),
        after_training=True,
    )


@frozen
class Transport(Rule):
    """One minus the earth mover's distance between the places of an image and of a class's mean, times a temperature.

    Costs are one minus cosines; a place weighs as much as it is like the mean of the other image (cross-reference). The
    gradient is that of the envelope theorem: the flow for the costs, and the dual variables for the weights. Left out
    are the authors' training of a classifier beforehand, and of the prototypes of several shots on the support set.
    """

    temperature: float
    solver: str

    def keep(self, own: Params, support: Tensor) -> Tensor:
        return support.mean(2)  # (T, n_way, C, P)

    def logits(self, own: Params, kept: Tensor, x: Tensor) -> Tensor:
        (n_tasks, n_images, _, places), n_way = x.shape, kept.shape[1]
        flat = [m.transpose(2, 3).flatten(1, 2) for m in (x, kept)]  # (T, N * P, C)
        units = [normalize(m, dim=-1) for m in flat]
        cosines = (units[0] @ units[1].transpose(1, 2)).view(n_tasks, n_images, places, n_way, places)
        to_class = (flat[0] @ kept.mean(-1).transpose(1, 2)).view(n_tasks, n_images, places, n_way)
        to_image = (flat[1] @ x.mean(-1).transpose(1, 2)).view(n_tasks, n_way, places, n_images)
        sides = to_class.transpose(2, 3), to_image.permute(0, 3, 1, 2)  # (T, N, n_way, P)
        weights = [_shares(relu(side) + LEAST) for side in sides]
        return self.temperature * (1 - self.distance(weights[0], weights[1], 1 - cosines.transpose(2, 3)))

    def distance(self, a: Tensor, b: Tensor, costs: Tensor) -> Tensor:
        """Return the distances (…) between weights (…, P) and (…, P), by the ``costs`` (…, P, P) of moving them."""
        solve = _sinkhorn if self.solver == "sinkhorn" else _exact
        with torch.no_grad():
            flow, u, v = solve(a, b, costs)
        found = (flow * costs).sum((-2, -1))
        if not (a.requires_grad or b.requires_grad):
            return found
        return found + (u * (a - a.detach())).sum(-1) + (v * (b - b.detach())).sum(-1)  # both are 0

    def macs(self, size: Size, n_way: int, k_shot: int) -> int:
        """Count the cosines and the weights. The transport itself is not counted."""
        return n_way * size[0] * (size[1] ** 2 + 2 * size[1])

    def stored(self, size: Size, n_way: int, k_shot: int) -> int:
        return n_way * size[0] * size[1]


def _shares(weights: Tensor) -> Tensor:
    return weights / weights.sum(-1, keepdim=True)


def _exact(a: Tensor, b: Tensor, costs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return flows (…, P, P) and the dual variables (…, P) of both sides, by POT, one problem after the other."""
    if torch.compiler.is_compiling():
        raise ConfigError(
            "deepemd solves a transport problem for each image and class by POT, which an exported model cannot do",
            hint="search and export with --set learner.solver=sinkhorn, an approximation",
        )
    solver, dtype = _pot(), costs.dtype
    problems = [m.double().cpu().reshape(-1, *m.shape[-n:]).numpy() for m, n in ((a, 1), (b, 1), (costs, 2))]
    flows, u, v = [], [], []
    for one, other, cost in zip(*problems, strict=True):
        if not math.isfinite(cost.sum() + one.sum() + other.sum()):  # features that overflow
            flow, left, right = cost * math.nan, one, other
        else:
            flow, log = solver.emd(one / one.sum(), other / other.sum(), cost, log=True)
            left, right = log["u"], log["v"]
        flows.append(torch.from_numpy(flow))
        u.append(torch.from_numpy(left))
        v.append(torch.from_numpy(right))
    found = (torch.stack(flows).view(costs.shape), torch.stack(u).view(a.shape), torch.stack(v).view(b.shape))
    return tuple(m.to(costs.device, dtype) for m in found)  # type: ignore[return-value]


def _sinkhorn(a: Tensor, b: Tensor, costs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return what `_exact` does, approximately: of transport with an entropy, which is made smaller in steps."""
    u, v, rows, columns = torch.zeros_like(a), torch.zeros_like(b), a.log(), b.log()
    for smooth in SMOOTH:
        for _ in range(TURNS):
            v = smooth * (columns - ((u[..., None] - costs) / smooth).logsumexp(-2))
            u = smooth * (rows - ((v[..., None, :] - costs) / smooth).logsumexp(-1))
    return ((u[..., None] + v[..., None, :] - costs) / SMOOTH[-1]).exp(), u, v


def _pot() -> Any:
    try:
        return importlib.import_module("ot")
    except ImportError as cause:
        raise ConfigError(
            f"learner deepemd needs the package POT, which cannot be imported: {cause}",
            hint="pip install 'hnas[deepemd]', or --set learner.solver=sinkhorn, an approximation without it",
        ) from cause


def deepemd(options: DeepEMDOptions) -> MetaLearner:
    """Make the learner. Raises `ConfigError` without POT, unless an approximation is wanted."""
    if options.solver == "emd":
        _pot()
    return Comparing(options, Transport(options.temperature, options.solver))
