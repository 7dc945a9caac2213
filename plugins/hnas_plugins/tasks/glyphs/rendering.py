"""Render characters from the fonts that matplotlib ships, and keep those with enough different renderings."""

from __future__ import annotations

import importlib.util
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hnas.errors import DataError

SIDE = 28
"""Height and width of an image, as in Omniglot."""
INK = 20
"""Height or width of the ink, whichever is larger, as in MNIST; the rest is margin for the variation."""
FONT_SIZE = 40
"""Pixels per em at which FreeType draws. Ink is enlarged at most twice as much as a whole em would be."""
FORMAT = 1
"""Counts up when this module renders differently, so that caches of older versions are not used."""

_WHOLE = ("DejaVu", "STIXGeneral")
_TEXT = ("cmr10", "cmb10", "cmss10", "cmti10", "cmtt10")
"""Computer Modern: TeX's own code points, right for ASCII letters and digits only."""

Image = NDArray[np.uint8]


def font_files() -> list[Path]:
    """Return the fonts that characters are drawn from, without importing matplotlib."""
    found = importlib.util.find_spec("matplotlib")
    folder = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" if found and found.origin else None
    fonts = sorted(p for p in folder.glob("*.ttf") if p.name.startswith(_WHOLE + _TEXT)) if folder else []
    if len(fonts) < 4:
        raise DataError(
            f"{folder or 'matplotlib'}: {len(fonts)} of the fonts that the glyphs are drawn from are there, "
            "expected DejaVu*.ttf, STIXGeneral*.ttf and cm*.ttf",
            hint="install matplotlib from its wheel (some systems' packages leave its fonts out): "
            "pip install --force-reinstall matplotlib",
        )
    return fonts


def provenance() -> dict[str, Any]:
    """Return everything that renderings depend on, apart from options; it is part of the cache's key."""
    from PIL import features

    return {
        "format": FORMAT,
        "fonts": [[p.name, p.stat().st_size] for p in font_files()],
        "matplotlib": version("matplotlib"),
        "pillow": version("Pillow"),
        "freetype": features.version("freetype2"),
    }


def render(min_renderings: int, min_distance: float) -> tuple[Image, dict[str, list[int]]]:
    """Draw every character that has ``min_renderings`` pairwise different renderings.

    Two renderings differ if their grey values (0–255) are at least ``min_distance`` apart in the mean over pixels.
    Characters that share a bitmap in some font (Latin A, Greek Alpha, Cyrillic A) cannot be distinguished. Together
    they are one class, under the lowest of their code points.

    Returns all renderings, (N, SIDE, SIDE) with ink = 255, and a record: the ``code_points``, ascending, and the
    ``counts`` of the renderings of each.
    """
    drawn: dict[int, dict[bytes, None]] = defaultdict(dict)  # in the fonts' order, without exact repeats
    for code_point, bitmap in _draw_all(min_renderings):
        drawn[code_point][bitmap] = None
    code_points, counts, images = [], [], []
    for members in _alike(drawn):
        bitmaps = list(dict.fromkeys(bitmap for member in members for bitmap in drawn[member]))
        kept = _differing(bitmaps, min_distance) if len(bitmaps) >= min_renderings else []
        if len(kept) >= min_renderings:
            code_points.append(members[0])
            counts.append(len(kept))
            images += kept
    stacked = np.stack(images) if images else np.empty((0, SIDE, SIDE), np.uint8)
    return stacked, {"code_points": code_points, "counts": counts}


def _draw_all(min_fonts: int) -> Iterator[tuple[int, bytes]]:
    """Yield (code point, bitmap) for the characters that at least ``min_fonts`` fonts map to a visible glyph."""
    from fontTools.ttLib import TTFont  # matplotlib requires it
    from PIL import ImageFont

    known = {}
    for path in font_files():
        with TTFont(path, lazy=True) as font:
            code_points = font.getBestCmap() or {}
        known[path] = [c for c in sorted(code_points) if _wanted(c, path.name)]
    counts = np.bincount(np.concatenate([np.array(v) for v in known.values()]))
    for path, code_points in known.items():
        font = ImageFont.truetype(str(path), FONT_SIZE, layout_engine=ImageFont.Layout.BASIC)
        for code_point in code_points:
            if counts[code_point] >= min_fonts:
                bitmap = _draw(font, chr(code_point))
                if bitmap is not None:
                    yield code_point, bitmap.tobytes()


def _wanted(code_point: int, font: str) -> bool:
    if font.startswith(_TEXT):
        return code_point < 128 and chr(code_point).isalnum()
    return unicodedata.category(chr(code_point))[0] not in "CZ"  # control, private use, unassigned; spaces


def _draw(font: Any, character: str) -> Image | None:
    """Draw one character, its ink scaled and centred, or return ``None`` if it has no ink."""
    from PIL import Image as Pillow

    mask = font.getmask(character, mode="L")
    if 0 in mask.size:
        return None
    glyph = Pillow.frombytes("L", mask.size, bytes(mask))
    box = glyph.getbbox()
    if box is None:
        return None
    width, height = box[2] - box[0], box[3] - box[1]
    scale = min(INK / max(width, height), 2 * INK / FONT_SIZE)
    width, height = max(1, round(width * scale)), max(1, round(height * scale))
    image = np.zeros((SIDE, SIDE), np.uint8)
    top, left = (SIDE - height) // 2, (SIDE - width) // 2
    ink = glyph.resize((width, height), Pillow.Resampling.LANCZOS, box=box)
    image[top : top + height, left : left + width] = np.asarray(ink)
    return image


def _alike(drawn: dict[int, dict[bytes, None]]) -> list[list[int]]:
    """Group code points that share a bitmap, directly or through others; ascending within and between groups."""
    first: dict[bytes, int] = {}
    parent = {c: c for c in drawn}

    def root(c: int) -> int:
        while parent[c] != c:
            c = parent[c]
        return c

    for code_point in sorted(drawn):
        for bitmap in drawn[code_point]:
            a, b = sorted((root(first.setdefault(bitmap, code_point)), root(code_point)))
            parent[b] = a
    groups: dict[int, list[int]] = defaultdict(list)
    for code_point in sorted(drawn):
        groups[root(code_point)].append(code_point)
    return list(groups.values())


def _differing(bitmaps: list[bytes], min_distance: float) -> list[Image]:
    """Keep, in order, the bitmaps that differ from every one kept before."""
    images = np.stack([np.frombuffer(b, np.uint8).reshape(SIDE, SIDE) for b in bitmaps])
    flat = images.reshape(len(images), -1).astype(np.float32)
    distance = np.abs(flat[:, None] - flat).mean(-1)
    kept: list[int] = []
    for i in range(len(images)):
        if all(distance[i, j] >= min_distance for j in kept):
            kept.append(i)
    return [images[i] for i in kept]
