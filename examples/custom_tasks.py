"""A task source in user code: few-shot tasks from your own arrays, in one .npz file.

hnas data check ./examples/custom_tasks.py:Arrays --data-root my_images.npz
hnas run --preset quick --tasks ./examples/custom_tasks.py:Arrays --data-root my_images.npz
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen

from hnas import DataError, Episodes, EpisodeSpec, TaskSource
from hnas.layer import Shape
from hnas.settings import at_least_0, setting
from hnas.task_source import Origin, Split


class Arrays(TaskSource):
    """``images`` (N, C, H, W) or (N, H, W), 0 to 255, and their ``labels`` (N,), from a file."""

    @frozen(kw_only=True)
    class Options:
        """Options for ``--set tasks.KEY=VALUE`` and the table ``[tasks]``; ``--data-root`` is short for ``root``."""

        root: str = setting("", "the .npz file with the arrays images and labels; required")
        split_seed: int = setting(0, "divides the classes: 60 % train, 20 % validation, 20 % test", at_least_0)

    def __init__(self, options: Options) -> None:
        self._options = options

    @property
    def image_shape(self) -> Shape:
        channels, height, width = self._images.shape[1:]
        return channels, height, width

    def n_classes(self, split: Split) -> int:
        return len(self._classes[split])

    def sample(self, split: Split, spec: EpisodeSpec, generators: Sequence[np.random.Generator]) -> Episodes:
        """Draw classes, then images of each without replacement, so that none is in both support and query."""
        import torch

        classes, each = self._classes[split], spec.k_shot + spec.n_query
        if spec.n_way > len(classes):
            raise DataError(
                f"the {split} split of {self._options.root} has {len(classes)} classes, a task needs {spec.n_way}",
                hint=f"choose task.n_way of at most {len(classes)}, or add classes",
            )
        members = {c: self._members(c, each) for c in classes}  # all: a class that is too small is told at once
        picked, ids = [], []  # (n_way, each) image numbers of every task, and (n_way,) numbers of its classes
        for generator in generators:
            ids.append(generator.choice(len(classes), spec.n_way, replace=False))
            picked.append([generator.permutation(members[classes[i]])[:each] for i in ids[-1]])
        images = self._images[np.array(picked)]  # (task, n_way, each, C, H, W)
        labels = torch.arange(spec.n_way)

        def part(chosen: slice, count: int) -> tuple[Any, Any]:
            x = torch.from_numpy(images[:, :, chosen].reshape(len(picked), spec.n_way * count, *self.image_shape))
            return x, labels.repeat_interleave(count).expand(len(picked), -1).contiguous()

        support_x, support_y = part(slice(spec.k_shot), spec.k_shot)
        query_x, query_y = part(slice(spec.k_shot, each), spec.n_query)
        return Episodes(
            support_x=support_x,
            support_y=support_y,
            query_x=query_x,
            query_y=query_y,
            classes=torch.from_numpy(np.array(ids)),
        )

    def class_digests(self, split: Split) -> Mapping[str, str]:
        """Return a digest of each class's images, so that no run is tested on classes that it was trained on."""
        content = {c: self._arrays["images"][self._labels == c].tobytes() for c in self._classes[split]}
        return {str(c): hashlib.sha256(images).hexdigest() for c, images in content.items()}

    def origin(self) -> Origin:
        """Return the path, the licence and how to get the data, for ``hnas data list``."""
        path = Path(self._options.root) if self._options.root else None
        return Origin(path=path, licence="that of your images", how="name your own .npz file with --data-root")

    def _members(self, label: int, needed: int) -> np.ndarray[Any, Any]:
        members = np.flatnonzero(self._labels == label)
        if len(members) < needed:
            raise DataError(f"class {label} has {len(members)} images, a task needs {needed}", hint="lower n_query")
        return members

    # Opened at first use. Cached properties are not sent to workers: each opens the file itself.

    @cached_property
    def _arrays(self) -> dict[str, np.ndarray[Any, Any]]:
        root = self._options.root
        if not root:
            raise DataError("no file of images was named", hint="name it by --data-root FILE.npz")
        try:
            with np.load(Path(root).expanduser(), allow_pickle=False) as file:
                return {"images": file["images"], "labels": file["labels"]}
        except (OSError, KeyError, ValueError) as cause:
            raise DataError(f"{root} cannot be read: {cause}", hint="np.savez(FILE, images=…, labels=…)") from cause

    @cached_property
    def _images(self) -> np.ndarray[Any, Any]:
        images = self._arrays["images"]
        with_channels = images[:, None] if images.ndim == 3 else images
        return (with_channels / 255).astype(np.float32)

    @property
    def _labels(self) -> np.ndarray[Any, Any]:
        return self._arrays["labels"]

    @cached_property
    def _classes(self) -> dict[Split, list[int]]:
        """The labels of each split, divided by the seed."""
        order = np.random.default_rng(self._options.split_seed).permutation(np.unique(self._labels)).tolist()
        a, b = round(0.6 * len(order)), round(0.8 * len(order))
        return {"train": order[:a], "validation": order[a:b], "test": order[b:]}
