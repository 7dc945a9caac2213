"""The settings that are measured: the five of MAML++ on Omniglot and Mini-ImageNet, on synthetic tasks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from attrs import evolve, frozen
from flops import TaskSize

from hnas import Architecture, Episodes, EpisodeSpec, Layer, TaskSource
from hnas.layer import Shape
from hnas.task_source import Split
from hnas_plugins.spaces.vgg9 import VGG9, VGG9Options
from hnas_plugins.tasks.sampling import assemble, draw_tasks

INNER_STEPS = 5
RANDOM_SEED = 0


@frozen(kw_only=True, slots=False)
class Config:
    """One setting: tasks, a space, and the named reference network of that space.

    ``n_random`` architectures are drawn for the row of random ones, on ``random_tasks`` tasks (where tasks are adapted
    one after the other, a task costs the same whatever their number).
    """

    name: str
    image: Shape
    n_way: int
    n_query: int
    tasks: int
    downsample: Literal["stride", "pool"]
    base_width: int = 64
    pool: int = 1
    reference: str = "maml++-omniglot"
    k_shot: int = 1
    n_random: int = 4
    random_tasks: int = 2

    @cached_property
    def space(self) -> VGG9:
        return VGG9(VGG9Options(base_width=self.base_width, downsample=self.downsample, pool=self.pool))

    @property
    def spec(self) -> EpisodeSpec:
        return EpisodeSpec(n_way=self.n_way, k_shot=self.k_shot, n_query=self.n_query)

    @property
    def size(self) -> TaskSize:
        return TaskSize(n_support=self.n_way * self.k_shot, n_query=self.n_way * self.n_query, steps=INNER_STEPS)

    @property
    def inner_lr(self) -> float:
        return 0.1 if self.image[0] == 1 else 0.01

    def networks(self, row: str) -> list[Architecture]:
        """Return the architectures of a row: ``reference``, or ``random``, the first ones of a seeded stream."""
        if row == "reference":
            return [self.space.references()[self.reference]]
        generator = np.random.default_rng(RANDOM_SEED)
        return [self.space.sample(generator) for _ in range(self.n_random)]

    def layers(self, arch: Architecture) -> list[Layer]:
        return list(self.space.layers(arch, self.image, self.n_way))

    def episodes(self, tasks: int) -> Episodes:
        """Return the first ``tasks`` tasks of the setting."""
        generators = [np.random.default_rng((1, i)) for i in range(tasks)]
        return SyntheticTasks(self.image).sample("train", self.spec, generators)


class SyntheticTasks(TaskSource):
    """Seeded noise around seeded prototypes, as a set of 8-bit images in memory: read as any source reads its set."""

    CLASSES, IMAGES = 32, 20

    def __init__(self, image_shape: Shape) -> None:
        self._shape = image_shape

    @cached_property
    def _images(self) -> torch.Tensor:
        """Images (classes, images, C, H, W) as bytes."""
        generator = torch.Generator().manual_seed(0)
        prototypes = torch.randn(self.CLASSES, 1, *self._shape, generator=generator)
        noise = torch.randn(self.CLASSES, self.IMAGES, *self._shape, generator=generator)
        return (32 * (prototypes + noise) + 128).clamp(0, 255).byte()

    @property
    def image_shape(self) -> Shape:
        return self._shape

    def n_classes(self, split: Split) -> int:
        return self.CLASSES

    def sample(self, split: Split, spec: EpisodeSpec, generators: Sequence[np.random.Generator]) -> Episodes:
        drawn = draw_tasks(generators, self.CLASSES, self.IMAGES, spec, "the synthetic set")
        images = self._images[torch.from_numpy(drawn.each_image(drawn.classes)), torch.from_numpy(drawn.images)]
        return assemble((images.float() - 128) / 32, len(drawn), spec, drawn.classes)


_OMNIGLOT_20 = Config(name="omni20_mp", image=(1, 28, 28), n_way=20, n_query=1, tasks=8, downsample="pool")
_MINI_5 = Config(
    name="mini5_mp", image=(3, 84, 84), n_way=5, n_query=15, tasks=2, downsample="pool", pool=5, reference="maml++",
    random_tasks=1,
)  # fmt: skip
_SMALL = Config(
    name="omni5_w16", image=(1, 28, 28), n_way=5, n_query=5, tasks=16, downsample="stride", base_width=16,
    random_tasks=16,
)  # fmt: skip

CONFIGS = {
    config.name: config
    for config in (
        _OMNIGLOT_20,
        evolve(_OMNIGLOT_20, name="omni20_s2", downsample="stride", random_tasks=4),
        _MINI_5,
        evolve(_MINI_5, name="mini5_s2", downsample="stride", pool=1, reference="maml++-omniglot"),
        _SMALL,
    )
}
