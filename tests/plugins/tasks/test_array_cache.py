"""The array cache: believing a damaged file would train on noise, keeping none would cost every start."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hnas_plugins.tasks.array_cache import Images, cached, digest

IMAGES = np.arange(5000, dtype=np.uint8).reshape(5, 10, 100)


class Maker:
    """Makes the array, and counts how often."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self) -> tuple[Images, dict[str, Any]]:
        self.made += 1
        return IMAGES, {"counts": [1, 2]}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HNAS_HOME", str(tmp_path))
    return tmp_path / "things"


def test_made_once_then_mapped(folder: Path):
    make = Maker()
    for _ in range(2):
        images, record = cached("things", "key", make)
        assert (images == IMAGES).all()
        assert record == {"counts": [1, 2]}
    assert make.made == 1
    assert isinstance(images.base, np.memmap)
    assert sorted(p.name for p in folder.iterdir()) == ["key.json", "key.npy"]


def flip_a_byte(folder: Path) -> None:
    content = bytearray((folder / "key.npy").read_bytes())
    content[-100] ^= 1
    (folder / "key.npy").write_bytes(content)


def cut_the_array(folder: Path) -> None:
    (folder / "key.npy").write_bytes((folder / "key.npy").read_bytes()[:-1])


def cut_the_record(folder: Path) -> None:
    (folder / "key.json").write_bytes((folder / "key.json").read_bytes()[:-9])


def change_the_records_kind(folder: Path) -> None:
    (folder / "key.json").write_text(json.dumps(["not", "a", "record"]))


def remove_the_array(folder: Path) -> None:
    (folder / "key.npy").unlink()


def remove_the_record(folder: Path) -> None:
    (folder / "key.json").unlink()  # what a kill between the two writes leaves


DAMAGE = [flip_a_byte, cut_the_array, cut_the_record, change_the_records_kind, remove_the_array, remove_the_record]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_cache_is_made_again(folder: Path, damage: Any):
    make = Maker()
    cached("things", "key", make)
    damage(folder)
    images, record = cached("things", "key", make)
    assert (images == IMAGES).all()
    assert record == {"counts": [1, 2]}
    assert make.made == 2
    cached("things", "key", make)
    assert make.made == 2


def test_a_pickle_in_its_place_is_not_loaded(folder: Path):
    make = Maker()
    cached("things", "key", make)
    np.save(folder / "key.npy", np.array([{"an": "object"}]), allow_pickle=True)
    record = json.loads((folder / "key.json").read_text())
    record["checksum"] = hashlib.sha256((folder / "key.npy").read_bytes()).hexdigest()
    (folder / "key.json").write_text(json.dumps(record))
    assert (cached("things", "key", make)[0] == IMAGES).all()
    assert make.made == 2


def test_a_home_that_cannot_be_written_is_done_without(folder: Path):
    folder.write_text("a file where the folder should be")
    with pytest.warns(RuntimeWarning, match="cannot keep it for the next start"):
        images, _ = cached("things", "key", Maker())
    assert (images == IMAGES).all()


def test_processes_that_start_at_once_all_get_the_array(folder: Path):
    program = (
        "import numpy as np; from hnas_plugins.tasks.array_cache import cached\n"
        "make = lambda: (np.full((400, 28, 28), 7, np.uint8), {'n': 400})\n"
        "for _ in range(20):\n"
        "    a, r = cached('things', 'key', make); assert a.sum() == 7 * 400 * 784 and r == {'n': 400}\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE) for _ in range(3)]
    assert [(p.wait(), p.stderr.read()) for p in running if p.stderr] == [(0, b"")] * 3
    assert sorted(p.name for p in folder.iterdir()) == ["key.json", "key.npy"]


def test_a_key_depends_on_every_value_but_not_on_their_order():
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest({"a": 1, "b": 2}) != digest({"a": 1, "b": 3})
