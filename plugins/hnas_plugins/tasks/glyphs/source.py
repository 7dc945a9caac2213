"""The task source `glyphs`: characters in the fonts that matplotlib ships, each drawing varied as a hand would."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from hnas.episode import Episodes, EpisodeSpec
from hnas.layer import Shape
from hnas.settings import at_least_0, positive, setting
from hnas.task_source import SPLITS, Split, TaskSource
from hnas_plugins.tasks.glyphs.rendering import SIDE, provenance, render
from hnas_plugins.tasks.images.array_cache import cached, digest
from hnas_plugins.tasks.sampling import Indices, assemble, draw_classes

_SHARES = (0.64, 0.80)
"""Train up to the first, validation up to the second, test the rest: Mini-ImageNet's proportions."""
_MIN_DISTANCE = 12.0
"""Mean difference in grey values (of 255) from which two renderings count as different: a heavier weight or a slant
passes, another hinting of the same outline does not."""


@frozen(kw_only=True)
class GlyphsOptions:
    """Options of `Glyphs`."""

    renderings: int = setting(4, "different renderings that a character must have to be a class", positive)
    split_seed: int = setting(
        0, "picks which characters are for training, validation and test", at_least_0, most=2**63 - 1
    )
    rotation: float = setting(20.0, "variation: degrees, uniform in ±", at_least_0)
    scale: float = setting(0.15, "variation: logarithm of the size of each axis, uniform in ±", at_least_0)
    shear: float = setting(0.2, "variation: shear, uniform in ±", at_least_0)
    shift: float = setting(2.0, "variation: pixels, uniform in ±", at_least_0)
    elastic: float = setting(1.0, "variation: pixels of smooth displacement, standard deviation", at_least_0)


@frozen(kw_only=True, eq=False)
class _Glyphs:
    """The rendered data set."""

    images: NDArray[np.uint8]  # (N, SIDE, SIDE), class after class
    code_points: NDArray[np.int64]  # (classes,)
    counts: NDArray[np.int64]  # (classes,), renderings of each
    starts: NDArray[np.int64]  # (classes,), where each begins in images


class Glyphs(TaskSource):
    """Characters as classes, 28×28 grey with ink = 1, without a download.

    A class has at least four renderings. In a task, support and query images of a class come from different renderings:
    up to half of them serve as support, the rest as query, each used as often as images are needed. Every image is then
    rotated, sheared, scaled, shifted and bent on its own, so that no two are equal.
    """

    inverted = True

    def __init__(self, options: GlyphsOptions | None = None) -> None:
        self._options = options or GlyphsOptions()

    @property
    def image_shape(self) -> Shape:
        return (1, SIDE, SIDE)

    def n_classes(self, split: Split) -> int:
        return len(self._classes[split])

    def code_points(self, split: Split) -> list[int]:
        """Return the characters that are the classes of ``split``, ascending."""
        return [int(c) for c in self._data.code_points[self._classes[split]]]

    def sample(self, split: Split, spec: EpisodeSpec, generators: Sequence[np.random.Generator]) -> Episodes:
        return Episodes.gather((self._task(split, spec, g) for g in generators), len(generators))

    def _task(self, split: Split, spec: EpisodeSpec, generator: np.random.Generator) -> Episodes:
        import torch

        from hnas_plugins.tasks.glyphs.variation import Variation, vary

        classes = self._classes[split]
        drawn = draw_classes(generator, len(classes), spec, f"glyphs' {split} split")
        support, query = self._draw_renderings(classes[drawn], spec, generator)
        images = torch.from_numpy(self._data.images[np.concatenate([support.reshape(-1), query.reshape(-1)])])
        o = self._options
        variation = Variation(rotation=o.rotation, scale=o.scale, shear=o.shear, shift=o.shift, elastic=o.elastic)
        return assemble(vary(images, variation, generator), 1, spec, drawn[None])

    def _draw_renderings(
        self, classes: Indices, spec: EpisodeSpec, generator: np.random.Generator
    ) -> tuple[Indices, Indices]:
        """Draw image indices for each of ``classes``: (classes, k_shot) and (classes, n_query), without overlap."""
        counts = self._data.counts[classes, None]
        keys = generator.random((len(classes), int(self._data.counts.max())))
        keys[np.arange(keys.shape[1]) >= counts] = 2.0  # sorts behind the class's own renderings
        order = keys.argsort(axis=1)
        n_support = np.minimum(spec.k_shot, counts // 2)
        support = np.arange(spec.k_shot) % n_support
        query = n_support + np.arange(spec.n_query) % (counts - n_support)
        starts = self._data.starts[classes, None]
        return starts + np.take_along_axis(order, support, 1), starts + np.take_along_axis(order, query, 1)

    @cached_property
    def _data(self) -> _Glyphs:
        n_renderings = max(2, self._options.renderings)
        key = digest({"renderings": n_renderings, "distance": _MIN_DISTANCE, **provenance()})
        images, record = cached("glyphs", key, lambda: render(n_renderings, _MIN_DISTANCE))
        counts = np.array(record["counts"], np.int64)
        return _Glyphs(
            images=images,
            code_points=np.array(record["code_points"], np.int64),
            counts=counts,
            starts=np.cumsum(counts) - counts,
        )

    @cached_property
    def _classes(self) -> dict[Split, Indices]:
        """The classes of each split. A character's split depends on no other character, nor on other fonts."""
        places = np.array([_place(c, self._options.split_seed) for c in self._data.code_points.tolist()])
        split = np.searchsorted(_SHARES, places, side="right")
        return {name: np.flatnonzero(split == i) for i, name in enumerate(SPLITS)}


def _place(code_point: int, seed: int) -> float:
    """Return a number in 0…1 that depends on the character and the seed only."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{code_point}".encode()).digest()[:8], "big") / 2**64
