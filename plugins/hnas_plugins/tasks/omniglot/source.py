"""The task source `omniglot`: 1623 handwritten characters, 20 drawings each (Lake et al., 2015).

The drawings are decoded once, from 1-bit PNG of 105×105 to grey 28×28.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from hnas.episode import Episodes, EpisodeSpec
from hnas.errors import DataError, first_few
from hnas.layer import Shape
from hnas.settings import at_least_0, one_of, setting
from hnas.task_source import SPLITS, Origin, Split, TaskSource
from hnas.toolkit.remote_file import RemoteFile
from hnas_plugins.tasks.data_root import data_root, root_setting
from hnas_plugins.tasks.images.array_cache import Images, cached, digest
from hnas_plugins.tasks.images.content import content_digest
from hnas_plugins.tasks.omniglot.inventory import HINT, MAX_DRAWING_BYTES, Inventory, take_inventory
from hnas_plugins.tasks.omniglot.splits import DRAWINGS, RANDOM_SHARES, characters, vinyals_split
from hnas_plugins.tasks.sampling import Indices, assemble, draw_tasks, pixels, random_split

SIDE = 28
ORIGINAL_SIDE = 105
OFFICIAL_CONTENT = "75a36f7ce605ee617d0c45021613841aec979e079f71594e885aba52a7c003ce"
"""SHA-256 over the ink of all drawings in order, packed to bits: recognises the data set however it was packed."""
FORMAT = 2
"""Counts up when this module decodes or describes drawings differently."""
_UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""All that `zipfile` and Pillow raise on files that are cut short, altered, encrypted or no images."""
_URL = "https://github.com/brendenlake/omniglot/raw/master/python/"
_MD5 = {  # as torchvision records them; no SHA-256 was ever published
    "images_background.zip": "68d2efa1b9178cc56df9314c21c6e718",
    "images_evaluation.zip": "6b91aef0f799c5bb55b94e3f2daec811",
}


@frozen(kw_only=True)
class OmniglotOptions:
    """Options of `Omniglot`."""

    root: str = root_setting("images_background and images_evaluation, as folders or zips", "omniglot")
    split: Literal["vinyals", "random"] = setting(
        "vinyals", "vinyals: 1028/172/423 characters; random: 1150/50/423", one_of("vinyals", "random")
    )
    split_seed: int = setting(0, "shuffles the characters of the random split", at_least_0, most=2**63 - 1)
    rotations: bool = setting(
        True, "add each training character turned by 90, 180 and 270 degrees as classes of their own"
    )


class Omniglot(TaskSource):
    """Omniglot at 28×28, grey, ink = 1.

    Rotations multiply the training classes by four. Validation and test stay upright, as in the code of MAML++, so that
    accuracies compare with it. (Prototypical networks and torchmeta's helper rotate these too.)
    """

    inverted = True

    def __init__(self, options: OmniglotOptions | None = None) -> None:
        self._options = options or OmniglotOptions()

    @property
    def root(self) -> Path:
        """The folder that the data are read from."""
        return data_root(self._options.root, "omniglot")

    @property
    def image_shape(self) -> Shape:
        return (1, SIDE, SIDE)

    def n_classes(self, split: Split) -> int:
        return len(self._characters[split]) * self._turns(split)

    def sample(self, split: Split, spec: EpisodeSpec, generators: Sequence[np.random.Generator]) -> Episodes:
        turns = self._turns(split)
        drawn = draw_tasks(generators, self.n_classes(split), DRAWINGS, spec, f"omniglot's {split} split")
        images = self._images[drawn.each_image(self._characters[split][drawn.classes // turns]), drawn.images]
        turn = drawn.each_image(drawn.classes % turns)
        for quarter in range(1, turns):
            turned = np.flatnonzero(turn == quarter)
            images[turned] = _turned(images[turned], quarter)
        return assemble(pixels(images), len(drawn), spec, drawn.classes)

    def class_digests(self, split: Split) -> Mapping[str, str]:
        return {characters()[i].path: self._read[2][i] for i in self._characters[split]}

    def remote_files(self) -> Sequence[RemoteFile]:
        return [
            RemoteFile(url=_URL + name, path=self.root / name, md5=md5, licence="MIT", max_bytes=64 << 20)
            for name, md5 in _MD5.items()
        ]

    def origin(self) -> Origin:
        return Origin(path=self.root, licence="MIT", how="hnas data fetch omniglot")

    def check(self) -> str:
        images, official, _ = self._read
        content = "the official drawings" if official else "NOT the official drawings: results will not compare"
        return f"{images.shape[0]} characters x {images.shape[1]} drawings, {content}"

    def _turns(self, split: Split) -> int:
        return 4 if self._options.rotations and split == "train" else 1

    @cached_property
    def _read(self) -> tuple[Images, bool, list[str]]:
        return _read_images(self.root)

    @property
    def _images(self) -> Images:
        return self._read[0]

    @cached_property
    def _characters(self) -> dict[Split, Indices]:
        random, seed = self._options.split == "random", self._options.split_seed
        return {s: np.array(random_split(RANDOM_SHARES, s, seed) if random else vinyals_split(s)) for s in SPLITS}


def _turned(images: Images, quarter: int) -> Images:
    """Turn images (N, H, W) left by 1, 2 or 3 quarters, as `numpy.rot90` does, without its checks."""
    if quarter == 2:
        return images[:, ::-1, ::-1]
    turned = images.transpose(0, 2, 1)
    return turned[:, ::-1] if quarter == 1 else turned[:, :, ::-1]


def _read_images(root: Path) -> tuple[Images, bool, list[str]]:
    """Return all drawings (1623, 20, 28, 28), ink = 255; whether they are the official ones; each character's digest.

    Decoded once (some seconds), then memory-mapped from the cache as long as the files below ``root`` stay the same.
    Raises `DataError` if drawings are missing or damaged.
    """
    from PIL import __version__ as pillow

    inventory = take_inventory(root)
    key = digest({"format": FORMAT, "pillow": pillow, "files": inventory.fingerprint})
    images, record = cached("omniglot", key, lambda: _decode_all(inventory))
    return images, record["content"] == OFFICIAL_CONTENT, record["digests"]


def _decode_all(inventory: Inventory) -> tuple[Images, dict[str, Any]]:
    images = np.empty((len(characters()), DRAWINGS, SIDE, SIDE), np.uint8)
    content = hashlib.sha256()
    digests, damaged = list[str](), list[str]()
    for i, character in enumerate(characters()):
        part, inks = inventory.parts[character.folder], list[bytes]()
        for j, name in enumerate(inventory.drawings[character]):
            try:
                ink, images[i, j] = _decode(part.read(name))
                inks.append(np.packbits(ink).tobytes())
                content.update(inks[-1])
            except _UNREADABLE as cause:
                damaged.append(f"{part.path.name}: {name} ({str(cause) or type(cause).__name__})")
        digests.append(content_digest(inks))
    if damaged:
        shown = first_few(damaged, separator="; ")
        raise DataError(
            f"Omniglot: {len(damaged)} of {images.shape[0] * DRAWINGS} drawings are damaged: {shown}", hint=HINT
        )
    return images, {"content": content.hexdigest(), "digests": digests}


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
