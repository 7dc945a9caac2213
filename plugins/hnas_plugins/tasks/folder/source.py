"""The task source `folder`: a user's own pictures, a sub-folder for each class."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from attrs import evolve, frozen, validators

from hnas.episode import Episodes, EpisodeSpec
from hnas.errors import DataError, first_few, shown
from hnas.layer import Shape
from hnas.settings import at_least_0, positive, setting
from hnas.task_source import SPLITS, Origin, Split, TaskSource
from hnas_plugins.tasks.folder.inventory import (
    HINT,
    USUAL_WAY,
    Inventory,
    is_tiny_imagenet,
    split_sizes,
    take_inventory,
)
from hnas_plugins.tasks.folder.reader import Decoded, read_folder
from hnas_plugins.tasks.images.augmentation import AugmentationOptions
from hnas_plugins.tasks.images.classes import ImageClasses
from hnas_plugins.tasks.sampling import Indices, random_split


@frozen(kw_only=True)
class FolderOptions(AugmentationOptions):
    """Options of `Folder`."""

    root: str = setting(
        "", "folder that holds a sub-folder of pictures for each class, or train, val and test with such; required"
    )
    side: int = setting(84, "height and width of an image, pixels", positive, most=4096)
    grey: bool = setting(False, "one grey channel instead of three of colour", validators.instance_of(bool))
    split_seed: int = setting(
        0,
        "divides the classes into 64 % for training, 16 % and 20 %, if the folder does not",
        at_least_0,
        most=2**63 - 1,
    )


class Folder(TaskSource):
    """A folder of pictures, each class in a sub-folder of its name.

    If the folder holds ``train``, ``val`` (or ``validation``) and ``test``, each with sub-folders for its classes, that
    is the split; else classes are divided by a seed. Only pictures directly in a class's folder count, or in ``images``
    in it if there are none, as in Tiny-ImageNet, of which the training pictures are read. They are set
    upright, then scaled (Lanczos) so that the shorter side fits, and cut to a square in the middle. Classes and
    pictures stand in the order of their names. All are decoded at the first use, and then mapped from hnas's home until
    a file changes. Augmentation is for training tasks only.
    """

    def __init__(self, options: FolderOptions | None = None, *, only: Collection[str] | None = None) -> None:
        self._options = options or FolderOptions()
        self._only = only

    @property
    def root(self) -> Path:
        """The folder that the pictures are read from. Raises `DataError` if none was named."""
        if not self._options.root:
            raise DataError("folder: no folder of pictures was named", hint=f"name it by --data-root DIR; {HINT}")
        return Path(os.path.expanduser(self._options.root))

    @property
    def image_shape(self) -> Shape:
        return (1 if self._options.grey else 3, self._options.side, self._options.side)

    def n_classes(self, split: Split) -> int:
        return len(self._members[split])

    def class_names(self, split: Split) -> Sequence[str]:
        """Return the names of a split's classes, in order."""
        return [self._inventory.classes[i].name for i in self._members[split]]

    def sample(self, split: Split, spec: EpisodeSpec, generators: Sequence[np.random.Generator]) -> Episodes:
        members = self._members[split]
        if spec.n_way <= len(members) and "_decoded" not in self.__dict__:  # before minutes of decoding
            self._require_images(split, np.array([len(self._inventory.classes[i].files) for i in members]), spec)
        decoded = self._decoded
        counts = decoded.counts[members]
        if spec.n_way <= len(members):
            self._require_images(split, counts, spec)
        classes = ImageClasses(images=decoded.prepared.images, starts=decoded.starts[members], counts=counts)
        what = f"folder: the {split} split of {self.root} (its smallest class is {self._smallest(split)})"
        augmentation = self._options if split == "train" else None
        return classes.tasks(generators, spec, what=what, augmentation=augmentation)

    def class_digests(self, split: Split) -> Mapping[str, str]:
        return {self._inventory.classes[i].label: self._decoded.digests[i] for i in self._members[split]}

    def restricted_to(self, classes: Collection[str]) -> Folder | None:
        whole, only = {c.label for c in self._inventory.classes}, frozenset(classes)
        if whole == only:
            return self
        return Folder(self._options, only=only) if only < whole else None

    def origin(self) -> Origin:
        path = self.root if self._options.root else None
        return Origin(path=path, licence="that of your pictures", how="name a folder of your own with --data-root")

    def check(self) -> str:
        inventory, decoded = self._inventory, self._decoded
        decoded.prepared.verify()
        parts = [
            f"{split} {self.n_classes(split)} classes with {decoded.counts[self._members[split]].sum()} pictures, "
            f"the smallest {self._smallest(split)}"
            for split in SPLITS
        ]
        _, height, width = self.image_shape
        parts.append(f"images of {width}x{height} {'in grey' if self._options.grey else 'in colour'}")
        parts.append("split by the folder" if inventory.given else f"split by seed {self._options.split_seed}")
        if is_tiny_imagenet(self.root):
            parts.append("the training pictures of Tiny-ImageNet; its val has the same classes, its test none")
        if few := [s for s in SPLITS if self.n_classes(s) < USUAL_WAY]:
            fewest = min(map(self.n_classes, SPLITS))
            parts.append(f"too few classes for {USUAL_WAY}-way tasks in {', '.join(few)}: set task.n_way={fewest}")
        if inventory.others:
            parts.append(f"{inventory.others} other files passed over")
        if inventory.unread:
            parts.append(f"{len(inventory.unread)} of them pictures of kinds not read: {first_few(inventory.unread)}")
        if inventory.bare:
            parts.append(f"{len(inventory.bare)} folders left out: {first_few(list(inventory.bare))}")
        if decoded.damaged:
            parts.append(f"{len(decoded.damaged)} damaged pictures left out: {first_few(decoded.damaged)}")
        if decoded.one_colour:
            parts.append(f"{len(decoded.one_colour)} pictures of one colour all over: {first_few(decoded.one_colour)}")
        return "; ".join(parts)

    def _require_images(self, split: Split, counts: Indices, spec: EpisodeSpec) -> None:
        """Refuse a split at once, rather than when a class with too few images is drawn."""
        needed, fewest = spec.k_shot + spec.n_query, int(counts.min())
        if fewest >= needed:
            return
        names = self.class_names(split)
        few = [f"{shown(names[i])} ({counts[i]})" for i in np.argsort(counts, kind="stable") if counts[i] < needed]
        sizes = "task.k_shot and n_query (of meta_train, search, retrain and evaluate)"
        enough = f"choose {sizes} of at most {fewest} together, or " if fewest > 1 else ""
        raise DataError(
            f"folder: {len(few)} of {len(names)} classes of the {split} split of {self.root} have too few pictures: "
            f"{first_few(few)}; {spec.k_shot} support and {spec.n_query} query images need {needed}",
            hint=f"{enough}add pictures to these classes, or take the classes out of the folder",
        )

    def _smallest(self, split: Split) -> str:
        members, counts = self._members[split], self._decoded.counts
        smallest = min(members, key=lambda i: int(counts[i]))
        return f"{shown(self._inventory.classes[smallest].name)} with {counts[smallest]}"

    @cached_property
    def _inventory(self) -> Inventory:
        whole = take_inventory(self.root)
        if self._only is None:
            return whole
        return evolve(whole, classes=tuple(c for c in whole.classes if c.label in self._only))

    @cached_property
    def _members(self) -> dict[Split, list[int]]:
        """The indices of each split's classes."""
        classes, seed = self._inventory.classes, self._options.split_seed
        if self._inventory.given:
            return {s: [i for i, c in enumerate(classes) if c.split == s] for s in SPLITS}
        return {s: random_split(split_sizes(len(classes)), s, seed) for s in SPLITS}

    @cached_property
    def _decoded(self) -> Decoded:
        channels, side, _ = self.image_shape
        return read_folder(self._inventory, side, channels)
