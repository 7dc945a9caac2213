"""A network whose features are the pixels: learners that compare features are tested on it by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hnas import Architecture, Episodes, NormStats, Progress, SuperNet
from hnas.supernet import Params, Role

ARCH = Architecture("pixels", ())
PROGRESS = Progress(iteration=0, iterations_per_epoch=1, epochs=1)


class Pixels(SuperNet):
    """One weight, by which pixels are multiplied: images (C, H, W) have features (C, H × W)."""

    largest = ARCH

    def __init__(self, channels: int = 2, places: int = 1, outputs: int = 2) -> None:
        self.shape, self.outputs = (channels, places), outputs

    @property
    def roles(self) -> Mapping[str, Role]:
        return {"scale": "weight", "fc.weight": "weight", "fc.bias": "weight"}

    def init(self, generator: torch.Generator) -> Params:
        classifier = torch.zeros(self.outputs, *self.shape), torch.zeros(self.outputs)
        return {"scale": torch.ones(1), "fc.weight": classifier[0], "fc.bias": classifier[1]}

    def share(self, params: Params, arch: Architecture) -> Params:
        return dict(params)

    def head(self, arch: Architecture) -> tuple[str, str]:
        return "fc.weight", "fc.bias"

    def forward(self, shared: Params, x: Tensor, arch: Architecture, *, stats: NormStats | None = None) -> Tensor:
        return torch.nn.functional.linear(
            (shared["scale"] * x).flatten(1), shared["fc.weight"].flatten(1), shared["fc.bias"]
        )


def task(support: list[Any], query: list[Any], places: int = 1, query_y: list[int] | None = None) -> Episodes:
    """Return one task: ``support[class][shot]`` and ``query[class][image]`` are the pixels of images."""
    n_way, k_shot, n_query = len(support), len(support[0]), len(query[0])

    def images(rows: list[Any], each: int) -> Tensor:
        return torch.tensor(rows, dtype=torch.float32).reshape(1, n_way * each, -1, 1, places)

    return Episodes(
        support_x=images(support, k_shot),
        support_y=torch.arange(n_way).repeat_interleave(k_shot)[None],
        query_x=images(query, n_query),
        query_y=torch.arange(n_way).repeat_interleave(n_query)[None],
    )


def probabilities(learner: Any, episodes: Episodes, places: int = 1) -> Tensor:
    """Return the probabilities (N, n_way) of a task's query images; `score` must agree with them."""
    supernet = Pixels(episodes.support_x.shape[2], places)
    state = learner.init(supernet, torch.Generator().manual_seed(0))
    adapted = learner.adapt(supernet, state, episodes, ARCH)
    shares: Tensor = learner.logits(supernet, adapted, episodes.query_x, ARCH).softmax(-1)
    right = shares.gather(2, episodes.query_y[..., None]).log().neg().mean((1, 2))
    torch.testing.assert_close(learner.score(supernet, state, episodes, ARCH).loss, right)
    return shares[0]
