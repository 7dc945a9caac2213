"""The classes of CIFAR-100 in the order of their labels, and those for training, validation and test."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Literal

from attrs import frozen

from hnas.task_source import Split

Division = Literal["fc100", "cifar-fs"]
"""FC100 divides whole superclasses, so that test classes are unlike training classes; CIFAR-FS single classes."""
_SPLITS: dict[str, Split] = {"t": "train", "v": "validation", "e": "test"}


@frozen
class CifarClass:
    """One of the 100 classes, which the data set calls fine, and its superclass, which it calls coarse."""

    name: str
    superclass: str
    fc100: Split
    cifar_fs: Split


@cache
def classes() -> tuple[CifarClass, ...]:
    """Return the 100 classes in the order of their fine labels, which is that of their names."""
    text = files("hnas_plugins.tasks.cifar").joinpath("split.json").read_text(encoding="utf-8")
    listing = {name: content for name, content in json.loads(text).items() if name != "about"}
    found = (
        CifarClass(name, superclass, _SPLITS[whole], _SPLITS[letter])
        for superclass, (whole, members) in listing.items()
        for name, letter in members.items()
    )
    return tuple(sorted(found, key=lambda c: c.name))


@cache
def superclasses() -> tuple[str, ...]:
    """Return the 20 superclasses in the order of their coarse labels."""
    return tuple(sorted({c.superclass for c in classes()}))


@cache
def labels(division: Division, split: Split) -> tuple[int, ...]:
    """Return the fine labels of a split, in order: 60, 20 and 20 in FC100, 64, 16 and 20 in CIFAR-FS."""
    return tuple(i for i, c in enumerate(classes()) if split == (c.fc100 if division == "fc100" else c.cifar_fs))
