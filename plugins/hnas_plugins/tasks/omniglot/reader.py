"""Decode the drawings of Omniglot once: 1-bit PNG of 105×105 to grey 28×28."""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnas.errors import DataError, first_few
from hnas_plugins.tasks.images.array_cache import Images, cached, digest
from hnas_plugins.tasks.omniglot.inventory import HINT, MAX_DRAWING_BYTES, Inventory, take_inventory
from hnas_plugins.tasks.omniglot.splits import DRAWINGS, characters

SIDE = 28
ORIGINAL_SIDE = 105
OFFICIAL_CONTENT = "75a36f7ce605ee617d0c45021613841aec979e079f71594e885aba52a7c003ce"
"""SHA-256 over the ink of all drawings in order, packed to bits: recognises the data set however it was packed."""
FORMAT = 1
"""Counts up when this module decodes differently."""


def read_images(root: Path) -> tuple[Images, bool]:
    """Return all drawings (1623, 20, 28, 28), ink = 255, and whether they are the official ones.

    Decoded once (some seconds), then memory-mapped from the cache as long as the files below ``root`` stay the same.
    Raises `DataError` where drawings are missing or damaged.
    """
    from PIL import __version__ as pillow

    inventory = take_inventory(root)
    key = digest({"format": FORMAT, "pillow": pillow, "files": inventory.fingerprint})
    images, record = cached("omniglot", key, lambda: _decode_all(inventory))
    return images, record["content"] == OFFICIAL_CONTENT


def _decode_all(inventory: Inventory) -> tuple[Images, dict[str, Any]]:
    images = np.empty((len(characters()), DRAWINGS, SIDE, SIDE), np.uint8)
    content = hashlib.sha256()
    damaged: list[str] = []
    for i, character in enumerate(characters()):
        part = inventory.parts[character.folder]
        for j, name in enumerate(inventory.drawings[character]):
            try:
                ink, images[i, j] = _decode(part.read(name))
                content.update(np.packbits(ink).tobytes())
            except _UNREADABLE as cause:
                damaged.append(f"{part.path.name}: {name} ({str(cause) or type(cause).__name__})")
    if damaged:
        shown = first_few(damaged, separator="; ")
        raise DataError(
            f"Omniglot: {len(damaged)} of {images.shape[0] * DRAWINGS} drawings are damaged: {shown}", hint=HINT
        )
    return images, {"content": content.hexdigest()}


_UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""All that `zipfile` and Pillow raise on files that are cut short, altered, encrypted or no images."""


def _decode(png: bytes) -> tuple[NDArray[np.bool_], NDArray[np.uint8]]:
    """Return the ink of a drawing, (105, 105), and the drawing as MAML++ scales it, (28, 28) with ink = 255."""
    from PIL import Image

    if len(png) > MAX_DRAWING_BYTES:
        raise ValueError(f"more than {MAX_DRAWING_BYTES} bytes")
    with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
        if image.size != (ORIGINAL_SIDE, ORIGINAL_SIDE):
            raise ValueError(f"{image.size[0]}x{image.size[1]} pixels, expected {ORIGINAL_SIDE}x{ORIGINAL_SIDE}")
        paper = image.convert("L")
    small = paper.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    return np.asarray(paper) < 128, 255 - np.asarray(small)
