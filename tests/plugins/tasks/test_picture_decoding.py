"""Decoding pictures: one that is turned, cut short or made to exhaust memory must not get into the images unnoticed."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hnas.toolkit.cores import usable_cores
from hnas_plugins.tasks.images import decoding
from hnas_plugins.tasks.images.decoding import Damaged, Progress, decode_into, decode_picture, read_file

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def encoded(image: Image.Image, kind: str = "png", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def halves(width: int = 40, height: int = 20) -> Image.Image:
    """Draw a picture that is red on the left and blue on the right."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (width // 2, 0, width, height))
    return image


def picture(content: bytes, side: int = 10, channels: int = 3, **options: Any) -> np.ndarray:
    return decode_picture(content, height=side, width=side, channels=channels, **options)


def colour(content: bytes, channels: int = 3) -> tuple[int, ...]:
    """Return the colour in the middle."""
    return tuple(picture(content, 9, channels)[4, 4].tolist())


# ---------------------------------------------------------------- one picture


def test_an_image_of_the_right_size_keeps_every_pixel():
    pixels = np.random.default_rng(0).integers(0, 256, (10, 10, 3), np.uint8)
    assert (picture(encoded(Image.fromarray(pixels))) == pixels).all()


def test_another_size_is_resized_whole_or_cut_in_the_middle():
    whole, cut = picture(encoded(halves())), picture(encoded(halves(60, 20)), crop=True)
    for image in (whole, cut):
        assert image[5, 1].tolist() == list(RED)
        assert image[5, 8].tolist() == list(BLUE)
    edges = Image.new("RGB", (60, 20), RED)
    edges.paste(BLUE, (20, 0, 40, 20))
    assert (picture(encoded(edges), crop=True)[:, 1:-1, 2] > 250).all()  # Lanczos rings at an edge
    assert (picture(encoded(edges))[:, 0] == RED).all()


@pytest.mark.parametrize(("orientation", "top_left", "bottom_left"), [(1, RED, RED), (3, BLUE, BLUE), (6, RED, BLUE)])
def test_a_turned_photograph_is_set_upright(orientation: int, top_left: Any, bottom_left: Any):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = picture(encoded(halves(), "jpeg", exif=exif, quality=95)).astype(int)
    assert abs(image[1, 1] - top_left).max() < 20
    assert abs(image[8, 1] - bottom_left).max() < 20


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_data_do_not_cost_the_picture():
    exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\xff\xff\x01\x12\xff\xff"
    image = picture(encoded(halves(), "jpeg", exif=exif, quality=95)).astype(int)
    assert abs(image[1, 1] - RED).max() < 20


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.new("L", (9, 9), 100), (100, 100, 100)),
        (Image.new("1", (9, 9), 1), WHITE),
        (Image.new("RGB", (9, 9), RED).quantize(4), RED),
        (Image.new("RGBA", (9, 9), (255, 0, 0, 0)), WHITE),
        (Image.new("RGBA", (9, 9), (0, 0, 0, 51)), (204, 204, 204)),
        (Image.new("LA", (9, 9), (0, 0)), WHITE),
        (Image.fromarray(np.full((9, 9), 25_700, np.uint16)), (100, 100, 100)),
    ],
)
def test_every_kind_of_pixels_becomes_colour_or_grey(image: Image.Image, expected: tuple[int, int, int]):
    assert colour(encoded(image)) == expected
    (grey,) = colour(encoded(image), channels=1)
    assert grey == round(np.dot(expected, (0.299, 0.587, 0.114)))


def test_transparent_palettes_and_print_colours():
    clear = encoded(Image.new("P", (9, 9), 0), transparency=0)
    assert colour(clear) == WHITE
    assert np.abs(np.subtract(colour(encoded(Image.new("CMYK", (9, 9), (0, 255, 255, 0)), "jpeg")), RED)).max() < 20


def bomb(width: int, height: int) -> bytes:
    """Write a PNG of a few bytes that claims a size, as a decompression bomb does."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


# ---------------------------------------------------------------- many


def pictures(contents: list[Any]) -> list[tuple[str, Callable[[], bytes]]]:
    return [(f"{i}.png", c if callable(c) else partial(bytes, c)) for i, c in enumerate(contents)]


def decode(contents: list[Any], channels: int = 3) -> tuple[np.ndarray, list[Damaged]]:
    array = np.full((len(contents), 8, 8, channels), 77, np.uint8)
    return array, decode_into(array, pictures(contents), what="test")


@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 500])
def test_each_image_comes_to_its_place(count: int):
    contents: list[Any] = [encoded(Image.new("L", (8, 8), i % 256)) for i in range(count)]
    contents[1::2] = [lambda c=c: c for c in contents[1::2]]
    array, damaged = decode(contents, channels=1)
    assert damaged == []
    assert [int(image.max()) for image in array] == [i % 256 for i in range(count)]
    assert [int(image.min()) for image in array] == [i % 256 for i in range(count)]


def test_damaged_ones_are_named_in_order_and_leave_their_place_alone(tmp_path: Path):
    whole = encoded(halves())

    def missing() -> bytes:
        return read_file(tmp_path / "gone.jpg")

    photograph = encoded(Image.effect_noise((64, 64), 50), "jpeg")
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    bad = [
        b"",
        b"no picture",
        whole[:-30],
        photograph[:-200],
        missing,
        postscript,
        bomb(10_000, 10_000),
        bomb(60_000, 60_000),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        array, damaged = decode([whole, *bad, whole])
    assert [d.index for d in damaged] == list(range(1, 9))
    causes = [d.cause for d in damaged]
    assert causes[0].startswith("not a picture, or not one of JPEG, PNG")
    assert "truncated" in causes[3]
    assert "No such file" in causes[4]
    assert causes[5].startswith("not a picture")
    assert causes[6] == "10000x10000 pixels, expected at most 67108864 in all"
    assert "decompression bomb" in causes[7]
    assert (array[1:9] == 77).all()
    assert (array[0] == array[9]).all()
    assert array[0, 4, 0].tolist() == list(RED)


def test_files_beyond_all_measure_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(decoding, "MAX_BYTES", 1000)
    path = tmp_path / "huge.png"
    path.write_bytes(encoded(halves()) + bytes(5000))
    assert len(read_file(path)) == 1001
    assert [d.cause for d in decode([lambda: read_file(path)])[1]] == ["more than 1000 bytes"]


def test_few_pictures_are_in_memory_at_once():
    """A pass over an archive yields the bytes of all of them, one after the other."""
    content, lock = encoded(Image.new("L", (8, 8))), threading.Lock()
    taken = decoded = most = 0

    def read() -> bytes:
        nonlocal decoded
        with lock:
            decoded += 1
        return content

    def stream() -> Any:
        nonlocal taken, most
        for _ in range(2000):
            with lock:
                taken += 1
                most = max(most, taken - decoded)
            yield "", read

    decode_into(np.empty((2000, 8, 8, 1), np.uint8), stream(), what="test")
    assert decoded == 2000
    assert most <= 32 * (3 * usable_cores() + 2)


def test_an_error_of_the_source_ends_it():
    def stream() -> Any:
        yield from pictures([encoded(halves())] * 100)
        raise OSError("the archive is cut short")

    with pytest.raises(OSError, match="cut short"):
        decode_into(np.empty((100, 8, 8, 3), np.uint8), stream(), what="test")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to a core")
def test_as_many_threads_as_cores_that_may_be_used():
    told = (
        "import os; from hnas.toolkit.cores import usable_cores\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); print(usable_cores())"
    )
    assert subprocess.run([sys.executable, "-c", told], capture_output=True, check=True, text=True).stdout == "1\n"


# ---------------------------------------------------------------- progress


def progress(monkeypatch: pytest.MonkeyPatch, terminal: bool, seconds_each: float) -> None:
    now = iter(np.arange(0, 1000, seconds_each).tolist())
    monkeypatch.setattr(decoding.time, "monotonic", lambda: next(now))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    told = Progress(what="things", total=200)
    for _ in range(200):
        told.add(1)
    told.end()


def test_progress_is_told_in_quarters_or_in_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    progress(monkeypatch, terminal=False, seconds_each=0.3)
    assert capsys.readouterr().err.splitlines() == [f"hnas: things: {p} %" for p in (2, 25, 50, 75, 100)]
    progress(monkeypatch, terminal=True, seconds_each=0.3)
    lines = capsys.readouterr().err
    assert lines.count("\n") == 1
    assert len(lines.split("\r")) == 100
    assert lines.endswith("\rhnas: things: 100 %\n")


def test_what_takes_no_second_is_not_worth_a_word(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    progress(monkeypatch, terminal=False, seconds_each=0.001)
    progress(monkeypatch, terminal=True, seconds_each=0.001)
    assert capsys.readouterr().err == ""


def test_workers_are_silent(capfd: pytest.CaptureFixture):
    told = (
        "import multiprocessing\n"
        "from hnas_plugins.tasks.images.decoding import Progress\n"
        "def say(): p = Progress(what='things', total=2); p._began -= 2; p.add(2)\n"
        "if __name__ == '__main__':\n"
        "    w = multiprocessing.get_context('fork').Process(target=say); w.start(); w.join(); say()\n"
    )
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, check=True, text=True)
    assert done.stderr == "hnas: things: 100 %\n"
