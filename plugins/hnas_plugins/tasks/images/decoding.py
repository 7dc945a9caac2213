"""Decode many pictures into one array of equally large images, on all cores, and print the progress."""

from __future__ import annotations

import io
import multiprocessing
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from attrs import field, frozen, mutable

from hnas.errors import first_few
from hnas.toolkit.cores import usable_cores
from hnas_plugins.tasks.images.array_cache import Images, release
from hnas_plugins.tasks.images.depth import Depth

if TYPE_CHECKING:
    from PIL import Image as Pillow

SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".ppm", ".pgm", ".pbm", ".pnm", ".tif", ".tiff", ".webp",
)  # fmt: skip
"""Suffixes of decoded files, in upper or lower case. Pillow knows more kinds; some of them start programs."""
UNREAD = (".heic", ".heif", ".avif", ".jxl", ".jp2", ".tga", ".psd", ".svg", ".exr", ".dng", ".nef", ".cr2", ".arw")
"""Suffixes of pictures that are not decoded; users are told of them, rather than miss them."""
ENDINGS = f"pictures end in {', '.join(SUFFIXES)}; save others, such as .heic, as JPEG or PNG"
"""For a message."""
MAX_BYTES = 64 << 20
"""The most bytes that a file of one picture may have."""
MAX_PIXELS = 1 << 26
"""The most pixels that a picture may have, 8192×8192: a few bytes can claim any number, and each takes memory."""
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
_BATCH = 32
"""Pictures that a thread decodes between two looks at the clock."""


@frozen(kw_only=True)
class Damaged:
    """A picture that could not be read or decoded; its place in the array was left as it was."""

    index: int
    name: str
    cause: str


def decode_into(
    array: Images, pictures: Iterable[tuple[str, Callable[[], bytes]]], *, what: str, crop: bool = False
) -> list[Damaged]:
    """Decode ``pictures`` into ``array`` (N, H, W, C), C = 1 for grey or 3 for colour; return those that are damaged.

    A picture is a name, and a function that reads its file in a thread when it is its turn. `decode_picture` describes
    how each becomes an image. Only a few at a time are in memory: they are taken from ``pictures``, in order, when a
    thread is free. ``what`` names the work in the progress.
    """
    from PIL import Image

    Image.init()  # loads the formats here, rather than in several threads at once
    progress, workers, taken = Progress(what=what, total=len(array)), usable_cores(), enumerate(pictures)
    pending: deque[tuple[int, Future[list[Damaged]]]] = deque()
    damaged: list[Damaged] = []

    def collect() -> None:
        count, future = pending.popleft()
        damaged.extend(future.result())
        progress.add(count)
        release(array)

    # Pillow warns of large pictures, which are refused here, and of damage beside the image, such as in EXIF.
    with warnings.catch_warnings(), ThreadPoolExecutor(workers) as pool:
        warnings.filterwarnings("ignore", module=r"PIL\.")
        try:
            while batch := list(islice(taken, _BATCH)):
                pending.append((len(batch), pool.submit(_decode_batch, array, batch, crop)))
                if len(pending) > 2 * workers:
                    collect()
            while pending:
                collect()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    progress.end()
    return damaged


def decode_picture(content: bytes, *, height: int, width: int, channels: int, crop: bool = False) -> Images:
    """Return a picture as an image (height, width, channels), grey for one channel and RGB for three.

    It is turned as its EXIF data say, and transparent parts become white. More than 8 bits are brought to 0…255 as
    `Depth` describes. One of another size is resized (Lanczos), whatever its proportions; with ``crop`` it keeps them,
    and the longer side is cut at both ends. Of several frames the first is read. Pillow raises all kinds of exceptions
    if ``content`` is damaged or no picture.
    """
    from PIL import Image, ImageOps

    if len(content) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES} bytes")
    with Image.open(io.BytesIO(content), formats=_FORMATS) as opened:
        if opened.width * opened.height > MAX_PIXELS:
            raise ValueError(f"{opened.width}x{opened.height} pixels, expected at most {MAX_PIXELS} in all")
        depth = Depth(opened)
        image = _coloured(depth.to_8_bits(_upright(opened)), "L" if channels == 1 else "RGB")
    if image.size != (width, height):
        lanczos = Image.Resampling.LANCZOS
        image = ImageOps.fit(image, (width, height), lanczos) if crop else image.resize((width, height), lanczos)
    return np.asarray(image).reshape(height, width, channels)


def one_colour(images: Images) -> list[int]:
    """Return which of the images (N, H, W, C) have one colour all over, give or take a level: nothing is on them."""
    found = [i for i, image in enumerate(images) if _span(image[0]) <= 1 and _span(image) <= 1]
    release(images)
    return found


def is_picture(name: str, suffixes: tuple[str, ...] = SUFFIXES) -> bool:
    """Return whether a file's name is that of a picture. File managers leave files whose names begin with a dot."""
    return name.lower().endswith(suffixes) and not name.startswith(".")


def read_file(path: Path | str) -> bytes:
    """Return a file's content, cut to the length that lets `decode_picture` refuse it."""
    with open(path, "rb") as file:
        return file.read(MAX_BYTES + 1)


def named(damaged: list[Damaged]) -> str:
    """Name the damaged pictures, up to four, for a message."""
    return first_few((f"{d.name} ({d.cause})" for d in damaged), separator="; ")


@mutable(kw_only=True)
class Progress:
    """Prints progress to stderr: one line on a terminal, every quarter elsewhere, nothing within a second.

    Only the main process prints: workers that prepare the same data would all print the same.
    """

    what: str
    total: int
    _done: int = 0
    _told: int = -1
    _began: float = field(factory=lambda: time.monotonic())

    def add(self, count: int) -> None:
        """Add to the work that is done."""
        self._done += count
        percent, terminal = 100 * self._done // max(self.total, 1), sys.stderr.isatty()
        if time.monotonic() - self._began < 1 or multiprocessing.parent_process() is not None:
            return
        step = 1 if terminal else 25
        if self._told < 0 or percent // step > self._told // step:
            self._told = percent
            text = f"hnas: {self.what}: {percent} %"
            print(f"\r{text}" if terminal else text, end="" if terminal else "\n", file=sys.stderr, flush=True)

    def end(self) -> None:
        """End the line on a terminal."""
        if self._told >= 0 and sys.stderr.isatty():
            print(file=sys.stderr)


def _span(pixels: Images) -> int:
    """Return the largest difference within a channel, the last axis."""
    flat = pixels.reshape(-1, pixels.shape[-1])
    return int((flat.max(0) - flat.min(0)).max())


def _decode_batch(array: Images, batch: list[tuple[int, tuple[str, Callable[[], bytes]]]], crop: bool) -> list[Damaged]:
    _, height, width, channels = array.shape
    damaged = []
    for index, (name, read) in batch:
        content = b""
        try:
            content = read()
            image = decode_picture(content, height=height, width=width, channels=channels, crop=crop)
        except Exception as cause:  # Pillow's readers raise any exception on damaged files
            told = " ".join(str(cause).split())[:200] or type(cause).__name__
            if "cannot identify image file" in told:  # it goes on with an address in memory
                told = _unidentified(content)
            damaged.append(Damaged(index=index, name=name, cause=told))
        else:
            array[index] = image
    return damaged


def _unidentified(content: bytes) -> str:
    if content[4:8] == b"ftyp":
        return "HEIC, AVIF and videos are not read: save it as JPEG or PNG, such as by `magick photo.heic photo.jpg`"
    if content[:2] in (b"II", b"MM"):
        return "TIFF of a kind that is not read, or damaged: save it with 8 bits, or copy it again"
    return f"not a picture, or not one of {', '.join(_FORMATS)}"


def _upright(image: Pillow.Image) -> Pillow.Image:
    from PIL import ImageOps

    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # damaged EXIF data do not make the picture unusable
        return image


def _coloured(image: Pillow.Image, mode: str) -> Pillow.Image:
    from PIL import Image

    if image.mode == "LAB":
        raise ValueError("Lab colours are not read: save it as RGB")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        over = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", over.size, "white"), over)
    return image.convert(mode)
