"""The learners that compare features, written out in plain torch: the loss of one task by features and labels.

They share no code with the project's. Features are (N, C × P), of support images class by class; ``own`` holds a
learner's parameters beside the weights, and the number of channels C.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from math import isqrt

import torch
import torch.nn.functional as F
from torch import Tensor

Own = Mapping[str, Tensor]


def prototypical(own: Own, support: Tensor, query: Tensor, y: Tensor, n_way: int) -> Tensor:
    means = support.view(n_way, -1, support.shape[1]).mean(1)
    return F.cross_entropy(-(query[:, None] - means).square().sum(-1), y)


def matching(own: Own, support: Tensor, query: Tensor, y: Tensor, n_way: int) -> Tensor:
    attention = (10.0 * F.cosine_similarity(query[:, None], support, dim=-1)).softmax(-1)
    return F.nll_loss(attention.view(len(query), n_way, -1).sum(-1).log(), y)


def siamese(own: Own, support: Tensor, query: Tensor, y: Tensor, n_way: int) -> Tensor:
    pairs = F.linear((query[:, None] - support).abs(), own["weight"].flatten()[None], own["bias"])
    same = F.one_hot(y, n_way).to(query.dtype).repeat_interleave(len(support) // n_way, 1)
    share = torch.where(same > 0, 0.5, 0.5 / (n_way - 1))
    losses = F.binary_cross_entropy_with_logits(pairs[..., 0], same, weight=share, reduction="none")
    return losses.view(len(query), n_way, -1).sum(1).mean()


def meta_baseline(own: Own, support: Tensor, query: Tensor, y: Tensor, n_way: int) -> Tensor:
    means = support.view(n_way, -1, support.shape[1]).mean(1)
    return F.cross_entropy(own["temperature"] * F.cosine_similarity(query[:, None], means, dim=-1), y)


def relation(own: Own, support: Tensor, query: Tensor, y: Tensor, n_way: int) -> Tensor:
    channels = int(own["channels"])
    side = isqrt(support.shape[1] // channels)
    classes = support.view(n_way, -1, channels, side, side).sum(1)
    images = query.view(-1, 1, channels, side, side).expand(-1, n_way, -1, -1, -1)
    maps = torch.cat([classes.expand_as(images), images], 2).flatten(0, 1)
    for name in ("conv1", "conv2"):
        maps = F.conv2d(maps, own[f"{name}.weight"].reshape(len(own[f"{name}.bias"]), -1, 3, 3), padding=1)
        maps = F.relu(F.layer_norm(maps, maps.shape[1:]) + own[f"{name}.bias"][:, None, None])
        maps = F.max_pool2d(maps, 2, ceil_mode=True) if maps.shape[-1] > 1 else maps
    hidden = F.relu(F.linear(maps.flatten(1), own["fc1.weight"], own["fc1.bias"]))
    scores = F.linear(hidden, own["fc2.weight"], own["fc2.bias"]).sigmoid().view(-1, n_way)
    return F.mse_loss(scores, F.one_hot(y, n_way).to(scores.dtype))


def deepemd(own: Own, support: Tensor, query: Tensor, y: Tensor, n_way: int) -> Tensor:
    """Solve each problem by POT, whose own gradient this is."""
    solver, channels = import_module("ot"), int(own["channels"])
    kept = support.view(n_way, -1, channels, support.shape[1] // channels).mean(1)
    logits = []
    for image in query.view(len(query), channels, -1):
        for prototype in kept:
            costs = 1 - F.normalize(image, dim=0).T @ F.normalize(prototype, dim=0)
            here = F.relu(image.T @ prototype.mean(1)) + 1e-3
            there = F.relu(prototype.T @ image.mean(1)) + 1e-3
            logits.append(12.5 * (1 - solver.emd2(here / here.sum(), there / there.sum(), costs)))
    return F.cross_entropy(torch.stack(logits).view(len(query), n_way), y)


RULES: dict[str, Callable[[Own, Tensor, Tensor, Tensor, int], Tensor]] = {
    "prototypical": prototypical,
    "matching": matching,
    "siamese": siamese,
    "meta-baseline": meta_baseline,
    "relation": relation,
    "deepemd": deepemd,
}
