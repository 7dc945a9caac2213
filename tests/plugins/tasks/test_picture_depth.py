"""Pictures of more than 8 bits: each comes out as the same gradient 0…255, or is refused with its range.

Scaled to the wrong range they become black, and a task of black pictures trains and adapts as if nothing were amiss.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from hnas_plugins.tasks.images.decoding import decode_into, decode_picture, one_colour

GRADIENT = np.linspace(0, 1, 32)[None, :].repeat(32, 0)
BYTES = np.rint(GRADIENT * 255).astype(np.uint8)
TWELVE = "as if they had 12 bits.*save all pictures of the set with 8 bits, values times 255/4095"
EIGHT = "as if they had 8 bits.*save all pictures of the set with 8 bits$"
NO_RANGE = "no range says what is white in signed numbers of (16|32) bits: save it with 8 bits"


def put(image: Image.Image, kind: str = "TIFF", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def grey(most: float, dtype: Any, kind: str = "TIFF", **options: Any) -> bytes:
    values = GRADIENT * most
    return put(Image.fromarray((values if dtype is np.float32 else np.rint(values)).astype(dtype)), kind, **options)


def colours_png(most: int, channels: int = 3) -> bytes:
    """Write a 16-bit PNG of 2 (grey and opacity), 3 or 4 channels, which Pillow reads but does not write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    values = np.stack([GRADIENT * most] * channels, -1)
    if channels != 3:
        values[..., -1] = 65535
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in np.rint(values))
    header = struct.pack(">IIBBBBB", 32, 32, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


def colours_tiff(most: int) -> bytes:
    """Write an uncompressed TIFF of three channels of 16 bits."""
    pixels = np.rint(np.stack([GRADIENT * most] * 3, -1)).astype("<u2").tobytes()
    return tiff(pixels, bits=(16, 16, 16), photometric=2, channels=3)


def twelve_bits_tiff() -> bytes:
    values = np.rint(GRADIENT * 4095).astype(np.uint16).reshape(-1, 2)
    first, second = values[:, 0], values[:, 1]
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], -1).astype(np.uint8)
    return tiff(packed.tobytes(), bits=(12,), photometric=1, channels=1)


def tiff(pixels: bytes, *, bits: tuple[int, ...], photometric: int, channels: int) -> bytes:
    tags = ImageFileDirectory_v2()
    tags[256] = tags[257] = tags[278] = 32
    tags[258], tags[259], tags[262], tags[277], tags[279], tags[273] = bits, 1, photometric, channels, len(pixels), 0
    return b"II*\0\x08\0\0\0" + tags.tobytes(8) + pixels  # which moves the offset, 273, behind the tags


def netpbm(most: int, white: int, magic: bytes = b"P5") -> bytes:
    values = np.rint(GRADIENT * most).repeat(3 if magic == b"P6" else 1).astype(">u2")
    pixels = b" ".join(b"%d" % v for v in values) if magic == b"P2" else values.tobytes()
    return magic + b" 32 32 %d\n" % white + pixels


def lab() -> bytes:
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    return put(ImageCms.applyTransform(Image.fromarray(BYTES).convert("RGB"), to_lab))


READ = {
    "8 bits": put(Image.fromarray(BYTES), "PNG"),
    "16-bit PNG": grey(65535, np.uint16, "PNG"),
    "16-bit TIFF": grey(65535, np.uint16),
    "16-bit TIFF, big-endian": grey(65535, ">u2"),
    "16-bit TIFF, compressed": grey(65535, np.uint16, compression="tiff_lzw"),
    "16-bit TIFF whose white is 0": put(
        Image.fromarray(np.rint((1 - GRADIENT) * 65535).astype(np.uint16)), tiffinfo={262: 0}
    ),
    "12-bit TIFF": twelve_bits_tiff(),
    "floats": grey(1, np.float32),
    "floats that a filter made": put(Image.fromarray((GRADIENT * 1.002 - 0.001).astype(np.float32))),
    "PGM of 16 bits": netpbm(65535, 65535),
    "PGM of 12 bits": netpbm(4095, 4095),
    "PGM in digits": netpbm(4095, 4095, b"P2"),
    "PPM of 12 bits": netpbm(4095, 4095, b"P6"),
    "16-bit colours": colours_png(65535),
    "16-bit colours and opacity": colours_png(65535, 4),
    "16-bit grey and opacity": colours_png(65535, 2),
    "16-bit colours, TIFF": colours_tiff(65535),
    "CMYK": put(Image.fromarray(BYTES).convert("RGB").convert("CMYK"), "JPEG", quality=100),
    "YCbCr": put(Image.fromarray(BYTES).convert("RGB").convert("YCbCr")),
    "palette": put(Image.fromarray(BYTES).convert("P"), "PNG"),
    "grey and opacity": put(Image.fromarray(BYTES).convert("LA"), "PNG"),
    "first of two frames": put(
        Image.fromarray(BYTES), save_all=True, append_images=[Image.fromarray(np.zeros_like(BYTES))]
    ),
}
REFUSED = {
    "12 bits in a 16-bit PNG": (grey(4095, np.uint16, "PNG"), "end at 4095, " + TWELVE),
    "12 bits in a 16-bit TIFF": (grey(4095, np.uint16), TWELVE),
    "12 bits in a 16-bit PGM": (netpbm(4095, 65535), TWELVE),
    "12 bits in a 16-bit PPM": (netpbm(4095, 65535, b"P6"), TWELVE),
    "12 bits in 16-bit colours": (colours_png(4095), TWELVE),
    "12 bits in 16-bit colours, TIFF": (colours_tiff(4095), TWELVE),
    "12 bits in 16-bit grey and opacity": (colours_png(4095, 2), TWELVE),
    "10 bits": (grey(1023, np.uint16, "PNG"), "10 bits.*times 255/1023"),
    "14 bits": (grey(16383, np.uint16, "PNG"), "14 bits.*times 255/16383"),
    "8 bits in a 16-bit PNG": (grey(255, np.uint16, "PNG"), EIGHT),
    "8 bits in 16-bit colours": (colours_png(255), EIGHT),
    "32-bit numbers up to 255": (grey(255, np.int32), NO_RANGE),
    "32-bit numbers up to 65535": (grey(65535, np.int32), NO_RANGE),
    "negative numbers": (put(Image.fromarray(BYTES.astype(np.int32) - 100)), NO_RANGE),
    "floats up to 255": (grey(255, np.float32), "values go from 0 to 255, expected 0 to 1: divide those of all"),
    "floats up to 65535": (grey(65535, np.float32), "values go from 0 to 65535, expected 0 to 1"),
    "floats below 0": (put(Image.fromarray((2 * GRADIENT - 1).astype(np.float32))), "from -1 to 1, expected 0 to 1"),
    "not a number": (put(Image.fromarray(np.full((8, 8), np.nan, np.float32))), "not finite"),
    "infinite": (put(Image.fromarray(np.full((8, 8), np.inf, np.float32))), "not finite"),
    "Lab": (lab(), "Lab colours are not read: save it as RGB"),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", READ)
def test_every_kind_of_pixels_gives_the_same_gradient(kind: str, channels: int):
    image = decode_picture(READ[kind], height=32, width=32, channels=channels)
    assert np.abs(image.astype(int) - BYTES[..., None]).max() <= 4


@pytest.mark.parametrize("kind", REFUSED)
def test_a_kind_without_a_range_is_refused_with_what_to_do(kind: str):
    content, told = REFUSED[kind]
    for channels in (1, 3):
        with pytest.raises(ValueError, match=told):
            decode_picture(content, height=32, width=32, channels=channels)


def test_a_dark_picture_stays_darker_than_a_bright_one():
    """No picture is scaled by its own values."""
    dark, bright = (
        decode_picture(content, height=32, width=32, channels=1)
        for content in (grey(20_000, np.uint16, "PNG"), grey(60_000, np.uint16, "PNG"))
    )
    assert (dark.max(), bright.max()) == (20_000 >> 8, 60_000 >> 8)
    assert decode_picture(grey(0.2, np.float32), height=32, width=32, channels=1).max() == 51
    assert decode_picture(netpbm(400, 4095), height=32, width=32, channels=1).max() == 25


def test_the_clear_value_of_16_bits_becomes_white():
    content = put(Image.fromarray(np.rint(GRADIENT * 65535).astype(np.uint16)), "PNG", transparency=0)
    image = decode_picture(content, height=32, width=32, channels=1)
    assert image[0, 0, 0] == 255
    assert image[0, 1, 0] == BYTES[0, 1]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\0\0\0\x18ftypheic" + bytes(50), "HEIC, AVIF and videos are not read: save it as JPEG or PNG"),
        (tiff(bytes(8192), bits=(64,), photometric=1, channels=1), "TIFF of a kind that is not read, or damaged"),
    ],
    ids=["HEIC", "64 bits"],
)
def test_pictures_that_pillow_does_not_know_are_named(content: bytes, told: str):
    (damaged,) = decode_into(np.zeros((1, 8, 8, 1), np.uint8), [("a", lambda: content)], what="test")
    assert damaged.cause.startswith(told)


def test_images_of_one_colour_are_found():
    images = np.random.default_rng(0).integers(0, 255, (6, 8, 8, 3), np.uint8)
    images[1] = (255, 0, 7)
    images[3] = 0
    images[3, 5:, 2:] = 1  # a mask of 0 and 1
    images[4, 0] = 9
    assert one_colour(images) == [1, 3]
