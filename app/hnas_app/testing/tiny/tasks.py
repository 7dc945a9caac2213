"""A task source that is made in a millisecond: classes are random patterns under noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hnas.episode import Episodes, EpisodeSpec
from hnas.errors import DataError
from hnas.layer import Shape
from hnas.task_source import SPLITS, Split, TaskSource


class TinyTasks(TaskSource):
    """Ten classes in each split, images of 1×8×8. ``scale`` makes images that no network survives."""

    def __init__(self, noise: float = 0.7, scale: float = 1.0) -> None:
        self.noise, self.scale = noise, scale

    @property
    def image_shape(self) -> Shape:
        return (1, 8, 8)

    def n_classes(self, split: Split) -> int:
        return 10

    def sample(self, split: Split, spec: EpisodeSpec, generators: Sequence[np.random.Generator]) -> Episodes:
        import torch

        if spec.n_way > self.n_classes(split):
            raise DataError(f"tiny tasks have {self.n_classes(split)} classes, {spec.n_way} are wanted")
        patterns = np.random.default_rng(SPLITS.index(split)).normal(size=(10, 1, 8, 8))
        parts: dict[str, list[NDArray[np.float64]]] = {"support": [], "query": []}
        drawn: list[NDArray[np.int64]] = []
        for generator in generators:
            drawn.append(generator.choice(10, spec.n_way, replace=False))
            classes = patterns[drawn[-1]]
            for name, images in (("support", spec.k_shot), ("query", spec.n_query)):
                clean = np.repeat(classes, images, axis=0)
                parts[name].append(self.scale * (clean + self.noise * generator.normal(size=clean.shape)))

        def stacked(name: str) -> torch.Tensor:
            return torch.tensor(np.stack(parts[name]), dtype=torch.float32)

        def labels(images: int) -> torch.Tensor:
            return torch.arange(spec.n_way).repeat_interleave(images).expand(len(generators), -1).contiguous()

        return Episodes(
            support_x=stacked("support"),
            support_y=labels(spec.k_shot),
            query_x=stacked("query"),
            query_y=labels(spec.n_query),
            classes=torch.from_numpy(np.stack(drawn)),
        )
