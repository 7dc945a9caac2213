"""Bring pictures of more than 8 bits to 0…255 by the range of their format, or refuse them.

A picture is never scaled by its own values: pictures of one set would get different scales, and a dark one would look
like a bright one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL import Image as Pillow

_FULL = 65_535
"""The largest value of 16 bits."""
_DOUBTFUL = 1 << 14
"""Pictures of 16 bits that stay below this may hold 8, 10, 12 or 14 bits, and would become dark or black."""
_BITS, _SIGN, _WHITE_IS_ZERO, _SAMPLES = 258, 339, 262, {1: "unsigned", 2: "signed", 3: "floating-point"}
"""Tags of TIFF, and the values of the second."""


class Depth:
    """The range that an opened picture declares; it has to be made before the picture is loaded."""

    def __init__(self, opened: Pillow.Image) -> None:
        tags: Any = getattr(opened, "tag_v2", {})
        tiles: Any = getattr(opened, "tile", None)
        args = tiles[0].args if tiles else ()
        args = args if isinstance(args, tuple) else (args,)
        if opened.format == "TIFF":
            self._white = (1 << max(tags.get(_BITS, (1,)))) - 1
        elif opened.format == "PPM":
            self._white = args[1] if len(args) == 2 and isinstance(args[1], int) else _full(args, 255)
        else:
            self._white = _full(args, 255)
        self._kind = _SAMPLES.get(max(tags.get(_SIGN, (1,))), "unknown")
        self._stored_bits = 12 if opened.format == "TIFF" and self._white == 4095 else 16
        self._inverted = tags.get(_WHITE_IS_ZERO) == 0

    def to_8_bits(self, image: Pillow.Image) -> Pillow.Image:
        """Return the loaded picture with 8 bits. Raises `ValueError` if no range says which value is white."""
        from PIL import Image

        if image.mode == "F":
            levels = _from_floats(np.asarray(image))
        elif self._kind != "unsigned" or self._white > _FULL:
            bits = self._white.bit_length()
            raise ValueError(f"no range says what is white in {self._kind} numbers of {bits} bits: save it with 8 bits")
        elif image.mode.startswith("I"):
            values = np.asarray(image)
            if self._white == _FULL and values.any():
                _require_full(int(values.max()))
            levels = (values >> (self._stored_bits - 8)).astype(np.uint8)
        else:
            if self._white == _FULL:  # Pillow keeps the upper 8 bits of colours
                _require_full(255 * _brightest(image))
            return image
        levels = 255 - levels if self._inverted else levels
        if isinstance(clear := image.info.get("transparency"), int):
            levels[np.asarray(image) == clear] = 255
        return Image.fromarray(levels)


def _full(args: tuple[Any, ...], otherwise: int) -> int:
    return _FULL if args and ";16" in str(args[0]) else otherwise


def _require_full(most: int) -> None:
    """Refuse values of 16 bits that may be those of fewer."""
    if most < _DOUBTFUL:
        bits = next(bits for bits in (8, 10, 12, 14) if most < 1 << bits)
        factor = f", values times 255/{(1 << bits) - 1}" if bits > 8 else ""
        raise ValueError(
            f"its 16-bit values end at {most}, as if they had {bits} bits, and would be dark or black: save all "
            f"pictures of the set with 8 bits{factor}"
        )


def _brightest(image: Pillow.Image) -> int:
    """Return the largest value of all bands but transparency."""
    bands = [image.getchannel(band) for band in image.getbands() if band not in "Aa"]
    return max(int(np.asarray(band).max()) for band in bands)


def _from_floats(values: Any) -> Any:
    if not np.isfinite(values).all():
        raise ValueError("it has values that are not finite")
    levels = np.rint(values * 255)
    if levels.min() < 0 or levels.max() > 255:
        raise ValueError(
            f"its floating-point values go from {values.min():g} to {values.max():g}, expected 0 to 1: divide those of "
            "all pictures of the set by the same number"
        )
    return levels.astype(np.uint8)
