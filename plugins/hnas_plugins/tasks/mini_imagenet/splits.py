"""The classes of Mini-ImageNet by split, and a check that a layout has exactly those."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path

from hnas.errors import DataError, first_few
from hnas.task_source import SPLITS, Split

SIDE = 84
"""Height and width of an image."""
PICTURES = 600
"""Pictures of each class in the official set."""
MAX_PICTURES = 1300
"""The most pictures that ImageNet has of a class; more must be a mistake."""
LICENCE = "ImageNet's terms: non-commercial research and education only"
HOW = "get it yourself, since these terms allow no download by hnas, and name its folder with --data-root"
AGAIN = "copy or download the file again"
HINT = f"Mini-ImageNet comes under {LICENCE}; {HOW}"


@cache
def classes(split: Split) -> tuple[str, ...]:
    """Return the WordNet ids of Ravi and Larochelle's split (2017), sorted: 64 for training, 16 and 20."""
    listing = json.loads(files("hnas_plugins.tasks.mini_imagenet").joinpath("split.json").read_text(encoding="utf-8"))
    return tuple(listing[split])


def refuse(path: Path, why: str) -> DataError:
    """Return the error for a file that is not as expected."""
    return DataError(f"mini-imagenet: {path}: {why}", hint=AGAIN)


def require_classes(split: Split, counts: Mapping[str, int], where: Path) -> None:
    """Raise `DataError` unless ``counts`` has a number of pictures for each class of the split, and for no other."""
    expected = classes(split)
    faults = []
    if missing := [c for c in expected if not counts.get(c)]:
        faults.append(f"{len(missing)} of {len(expected)} classes have no pictures: {_named(missing)}")
    for other in SPLITS:
        if other != split and (astray := sorted(set(counts) & set(classes(other)))):
            faults.append(f"{len(astray)} classes belong to the {other} split: {_named(astray)}")
    if unknown := sorted(set(counts).difference(*map(classes, SPLITS))):
        faults.append(f"{len(unknown)} classes are not of Mini-ImageNet: {_named(unknown)}")
    if large := [c for c in expected if counts.get(c, 0) > MAX_PICTURES]:
        faults.append(f"{len(large)} classes have more than ImageNet's {MAX_PICTURES} pictures: {_named(large)}")
    if faults:
        raise DataError(
            f"mini-imagenet: {where} is not the {split} split of Ravi and Larochelle: {'; '.join(faults)}",
            hint="expected are the classes of their train.csv, val.csv and test.csv, named by WordNet id such as "
            f"{expected[0]}",
        )


def _named(names: list[str]) -> str:
    return first_few(n[:80] for n in names)
