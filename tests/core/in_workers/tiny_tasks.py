"""A task source that is made in a millisecond, for workers to import: classes are random patterns under noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from hnas import Episodes, EpisodeSpec, TaskSource
from hnas.seeds import Seeds
from hnas.setup import Setup
from hnas.task_source import SPLITS, Split
from hnas_plugins.meta_learners.maml import MAML
from hnas_plugins.meta_learners.options import MAMLPlusPlusOptions
from hnas_plugins.spaces.vgg9 import VGG9, VGG9Options


class TinyTasks(TaskSource):
    """Ten classes in each split, images of 1×8×8. ``scale`` makes images that no network survives."""

    def __init__(self, noise: float = 0.7, scale: float = 1.0) -> None:
        self.noise, self.scale = noise, scale

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return (1, 8, 8)

    def n_classes(self, split: Split) -> int:
        return 10

    def sample(self, split: Split, n_tasks: int, spec: EpisodeSpec, generator: np.random.Generator) -> Episodes:
        patterns = np.random.default_rng(SPLITS.index(split)).normal(size=(10, 1, 8, 8))
        parts: dict[str, list[np.ndarray]] = {"support": [], "query": []}
        for _ in range(n_tasks):
            classes = patterns[generator.choice(10, spec.n_way, replace=False)]
            for name, images in (("support", spec.k_shot), ("query", spec.n_query)):
                clean = np.repeat(classes, images, axis=0)
                parts[name].append(self.scale * (clean + self.noise * generator.normal(size=clean.shape)))

        def stacked(name: str) -> torch.Tensor:
            return torch.tensor(np.stack(parts[name]), dtype=torch.float32)

        def labels(images: int) -> torch.Tensor:
            return torch.arange(spec.n_way).repeat_interleave(images).expand(n_tasks, -1).contiguous()

        return Episodes(
            support_x=stacked("support"),
            support_y=labels(spec.k_shot),
            query_x=stacked("query"),
            query_y=labels(spec.n_query),
        )


def tiny_setup(seed: int = 0, *, noise: float = 0.7, scale: float = 1.0, width: int = 4, **learner: Any) -> Setup:
    """Return a set-up of 3-way 1-shot tasks that trains in a hundredth of a second an iteration.

    ``learner`` are options of MAML++; in its first epoch MSL and DA are on.
    """
    options = {"inner_steps": 2, "meta_lr": 0.01, "msl_epochs": 1, "first_order_epochs": 1, **learner}
    return Setup(
        space=VGG9(VGG9Options(base_width=width)),
        learner=MAML(MAMLPlusPlusOptions(**options)),
        tasks=TinyTasks(noise, scale),
        n_way=3,
        k_shot=1,
        seeds=Seeds(seed),
    )
