"""benchmarks/small_pictures.py cuts a folder that `folder` can read."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image


def test_each_class_gets_its_first_pictures_in_the_small_size(
    benchmark_module: Callable[[str], Any], tmp_path: Path
) -> None:
    for split, classes in {"train": ("n1", "n2"), "val": ("n3",), "test": ("n4",)}.items():
        with tarfile.open(tmp_path / f"mini-imagenet-{split}.tar.xz", "w:xz") as tar:
            for name, i in ((name, i) for i in range(3) for name in classes):
                jpeg = io.BytesIO()
                Image.new("RGB", (84, 84), (80 * i, 0, 0)).save(jpeg, "JPEG")
                info = tarfile.TarInfo(f"{split}/{name}/{name}{i}.jpg")
                info.size = jpeg.tell()
                tar.addfile(info, io.BytesIO(jpeg.getvalue()))

    assert benchmark_module("small_pictures").cut(tmp_path, tmp_path / "cut", pictures=2) == 8

    found = sorted(p.relative_to(tmp_path / "cut").as_posix() for p in (tmp_path / "cut").rglob("*.png"))
    assert found == [f"n{c}/n{c}{i}.png" for c in (1, 2, 3, 4) for i in (0, 1)]
    picture = Image.open(tmp_path / "cut/n1/n11.png")
    assert picture.size == (32, 32)
    red = picture.getpixel((5, 5))
    assert isinstance(red, tuple)
    assert abs(red[0] - 80) < 5
