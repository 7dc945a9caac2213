"""Decode the pictures of a user's folder once, all classes into one array."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from attrs import frozen

from hnas.errors import DataError, first_few, shown
from hnas_plugins.tasks.folder.inventory import Inventory
from hnas_plugins.tasks.images.array_cache import Allocate, Images, Prepared, digest, prepared
from hnas_plugins.tasks.images.content import ReadFiles
from hnas_plugins.tasks.images.decoding import Damaged, decode_into, one_colour, read_file
from hnas_plugins.tasks.sampling import Indices

MAX_DAMAGED = 0.01
"""The share of pictures that may be damaged; if it is higher, something else is wrong."""
FORMAT = 3
"""Counts up when pictures are decoded or described differently."""


@frozen(kw_only=True, eq=False)
class Decoded:
    """The images of an inventory's classes, in its order."""

    prepared: Prepared  # images: (N, side, side, C)
    starts: Indices
    counts: Indices
    """Images of each class that could be decoded; between two classes there may be a gap."""
    damaged: list[str]
    """The pictures that could not be decoded, with the reason."""
    one_colour: list[str]
    """The pictures that have one colour all over; they are kept."""
    digests: list[str]
    """A digest of the files of each class."""


def read_folder(inventory: Inventory, side: int, channels: int) -> Decoded:
    """Return all images, mapped from the cache as long as files and options stay the same.

    Damaged pictures are left out with a warning. Raises `DataError` if more than `MAX_DAMAGED` are damaged.
    """
    from PIL import __version__ as pillow

    key = digest([FORMAT, pillow, side, channels, inventory.fingerprint])
    fill = partial(_fill, inventory, side, channels)
    found = prepared("folder", key, fill, what=f"folder: {inventory.root}")
    starts, files = _places(inventory)
    counts, damaged = files.copy(), []
    pictures = _pictures(inventory) if found.record["damaged"] or found.record["one_colour"] else []
    for index, cause in found.record["damaged"]:
        counts[np.searchsorted(starts, index, "right") - 1] -= 1
        damaged.append(f"{pictures[index][0]} ({cause})")
    plain = [pictures[index][0] for index in found.record["one_colour"]]
    return Decoded(
        prepared=found,
        starts=starts,
        counts=counts,
        damaged=damaged,
        one_colour=plain,
        digests=found.record["digests"],
    )


def _fill(inventory: Inventory, side: int, channels: int, allocate: Allocate) -> dict[str, Any]:
    pictures = _pictures(inventory)
    files = ReadFiles(len(pictures))
    noted = [(name, files.noted(i, read)) for i, (name, read) in enumerate(pictures)]
    array = allocate((len(pictures), side, side, channels))
    what = f"folder: decoding {len(pictures)} pictures of {inventory.root}, once"
    damaged = decode_into(array, noted, what=what, crop=True)
    lost = {d.index for d in damaged}
    plain = [i for i in one_colour(array) if i not in lost]
    if damaged:
        _report(inventory, damaged, len(pictures))
        _close_gaps(array, inventory, lost)
    if inventory.unread:
        text = f"folder: {len(inventory.unread)} pictures in {inventory.root} are of kinds that are not read"
        print(f"hnas: warning: {text}: {first_few(inventory.unread)}; save them as JPEG or PNG", file=sys.stderr)
    if plain:
        text = f"folder: {len(plain)} of {len(pictures)} pictures in {inventory.root} have one colour all over"
        print(f"hnas: warning: {text}: {first_few([pictures[i][0] for i in plain])}; they are kept", file=sys.stderr)
    return {
        "damaged": [[d.index, shown(d.cause)] for d in damaged],
        "one_colour": plain,
        "digests": files.digests(_places(inventory)[1]),
    }


def _report(inventory: Inventory, damaged: list[Damaged], total: int) -> None:
    told = first_few([f"{d.name} ({shown(d.cause)})" for d in damaged])
    text = f"folder: {len(damaged)} of {total} pictures in {inventory.root} are damaged: {told}"
    if len(damaged) > MAX_DAMAGED * total:
        raise DataError(
            f"{text}; at most {MAX_DAMAGED:.0%} may be",
            hint="copy damaged files again, save others as said, or take them out of the folder",
        )
    print(f"hnas: warning: {text}; they are left out", file=sys.stderr)


def _close_gaps(array: Images, inventory: Inventory, damaged: set[int]) -> None:
    """Move the undamaged images of each class together, to its beginning."""
    for start, count in zip(*(places.tolist() for places in _places(inventory)), strict=True):
        whole = [i for i in range(start, start + count) if i not in damaged]
        if len(whole) < count:
            array[start : start + len(whole)] = array[whole]


def _places(inventory: Inventory) -> tuple[Indices, Indices]:
    """Return the index of each class's first file, and the number of its files."""
    counts = np.array([len(c.files) for c in inventory.classes], np.int64)
    return np.cumsum(counts) - counts, counts


def _pictures(inventory: Inventory) -> list[tuple[str, Callable[[], bytes]]]:
    paths = [path for c in inventory.classes for path in c.paths]
    return [(shown(str(path.relative_to(inventory.root))), partial(read_file, path)) for path in paths]
