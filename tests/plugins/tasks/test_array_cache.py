"""The array cache: believing a damaged file would train on noise, keeping none would cost every start."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hnas import DataError
from hnas.toolkit.files import sealed
from hnas_plugins.tasks.images.array_cache import Allocate, Images, Prepared, cached, digest, prepared, release

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


def lengthen_the_array(folder: Path) -> None:
    (folder / "key.npy").write_bytes((folder / "key.npy").read_bytes() + b"more")


def cut_the_record(folder: Path) -> None:
    (folder / "key.json").write_bytes((folder / "key.json").read_bytes()[:-9])


def change_the_records_kind(folder: Path) -> None:
    (folder / "key.json").write_text(json.dumps(["not", "a", "record"]))


def remove_the_array(folder: Path) -> None:
    (folder / "key.npy").unlink()


def remove_the_record(folder: Path) -> None:
    (folder / "key.json").unlink()  # what a kill between the two writes leaves


DAMAGE = [
    flip_a_byte,
    cut_the_array,
    lengthen_the_array,
    cut_the_record,
    change_the_records_kind,
    remove_the_array,
    remove_the_record,
]


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
    record["sha256"] = hashlib.sha256((folder / "key.npy").read_bytes()).hexdigest()
    del record["checksum"]
    (folder / "key.json").write_text(json.dumps(sealed(record)))
    assert (cached("things", "key", make)[0] == IMAGES).all()
    assert make.made == 2


def test_a_home_that_cannot_be_written_is_done_without(folder: Path):
    folder.write_text("a file where the folder should be")
    with pytest.warns(RuntimeWarning, match="cannot keep it for the next start"):
        images, _ = cached("things", "key", Maker())
    assert (images == IMAGES).all()


def test_processes_that_start_at_once_all_get_the_array(folder: Path):
    program = (
        "import numpy as np; from hnas_plugins.tasks.images.array_cache import cached\n"
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


# ---------------------------------------------------------------- arrays larger than memory


class Filler:
    """Fills an array of any size, and counts how often."""

    def __init__(self, shape: tuple[int, ...] = IMAGES.shape) -> None:
        self.shape = shape
        self.made = 0

    def __call__(self, allocate: Allocate) -> dict[str, Any]:
        self.made += 1
        array = allocate(self.shape)
        assert not array.any()
        array[:] = IMAGES if self.shape == IMAGES.shape else 7
        return {"counts": [1, 2]}


def prepare(fill: Any) -> Prepared:
    return prepared("things", "key", fill, what="the things")


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.suffix != ".lock")


def test_prepared_once_then_mapped(folder: Path):
    fill = Filler()
    for _ in range(2):
        found = prepare(fill)
        assert (found.images == IMAGES).all()
        assert found.record == {"counts": [1, 2]}
        assert isinstance(found.images.base, np.memmap)
        assert not found.images.flags.writeable
        found.verify()
    assert fill.made == 1
    assert names(folder) == ["key.json", "key.npy"]


@pytest.mark.parametrize("damage", [d for d in DAMAGE if d is not flip_a_byte])
def test_damage_that_a_start_can_see_without_reading_all(folder: Path, damage: Any):
    fill = Filler()
    prepare(fill)
    damage(folder)
    assert (prepare(fill).images == IMAGES).all()
    assert fill.made == 2
    prepare(fill)
    assert fill.made == 2


def test_a_flipped_byte_is_found_by_verify_and_then_made_anew(folder: Path):
    fill = Filler()
    prepare(fill)
    flip_a_byte(folder)
    found = prepare(fill)
    with pytest.raises(DataError, match=r"key.npy is damaged: it has the checksum"):
        found.verify()
    prepare(fill).verify()
    assert fill.made == 2


def test_a_start_does_not_read_the_array(folder: Path):
    """Reading 1.2 GB at every start takes seconds; a file with holes shows whether somebody did."""
    fill = Filler((1 << 18, 84, 84))
    path = folder / "key.npy"
    folder.mkdir()
    np.lib.format.open_memmap(path, "w+", np.uint8, fill.shape)
    record = {"size": path.stat().st_size, "shape": list(fill.shape), "sha256": "unknown", "record": {}}
    path.with_suffix(".json").write_text(json.dumps(sealed(record)))
    start = time.perf_counter()
    assert prepare(fill).images.shape == fill.shape
    assert time.perf_counter() - start < 0.5  # seconds; reading these 1.8 GB and their checksum takes more than 1
    assert fill.made == 0


@pytest.mark.parametrize("error", [DataError("a damaged picture"), KeyboardInterrupt()])
def test_an_interrupted_preparation_leaves_nothing_and_begins_again(folder: Path, error: BaseException):
    def fail(allocate: Allocate) -> dict[str, Any]:
        allocate((5, 5))[:3] = 1
        raise error

    with pytest.raises(type(error)):
        prepare(fail)
    assert names(folder) == []
    assert (prepare(Filler()).images == IMAGES).all()


PROGRAM = """
import os, sys, time
from hnas_plugins.tasks.images.array_cache import prepared
def fill(allocate):
    print("filling", flush=True)
    array = allocate((400, 28, 28)); array[:200] = 7; time.sleep({seconds}); array[200:] = 7
    return {{"n": 400}}
found = prepared("things", "key", fill, what="the things")
assert found.images.sum() == 7 * 400 * 784 and found.record == {{"n": 400}}; found.verify()
"""


def start(seconds: float) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", PROGRAM.format(seconds=seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_a_killed_preparation_is_begun_again_and_cleared_away(folder: Path):
    killed = start(60)
    assert killed.stdout is not None
    killed.stdout.readline()
    while not (folder.is_dir() and list(folder.glob("*.part"))):
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    (left,) = folder.glob("*.part")
    prepare(Filler()).verify()
    assert not left.exists()
    assert names(folder) == ["key.json", "key.npy"]


def test_of_processes_that_start_at_once_one_prepares_and_the_others_wait(folder: Path):
    results = [(*p.communicate(), p.returncode) for p in [start(1) for _ in range(3)]]
    assert [code for *_, code in results] == [0, 0, 0], results
    assert b"".join(out for out, *_ in results) == b"filling\n"
    told = [err for _, err, _ in results if err]
    assert told == [b"hnas: the things: another process prepares the images; waiting for it\n"] * len(told)
    assert names(folder) == ["key.json", "key.npy"]


def test_where_nothing_can_be_written_it_says_what_to_do(folder: Path):
    folder.write_text("a file where the folder should be")
    with pytest.raises(DataError, match=r"the things: cannot keep the decoded images in .*things") as caught:
        prepare(Filler())
    assert caught.value.hint == "set the environment variable HNAS_HOME to a folder that can be written"


@pytest.fixture
def small_disk(folder: Path) -> Iterator[Path]:
    """Let the folder be on a disk of one MiB."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_is_told_and_kills_nobody(small_disk: Path):
    """Writing to a mapped page that has no room would end the process with SIGBUS."""
    with pytest.raises(DataError, match=r"No space left on device; \d\.\d MiB are free there") as caught:
        prepare(Filler((2 << 20,)))
    assert (caught.value.hint or "").startswith("make room there, or set the environment variable HNAS_HOME")
    assert names(small_disk) == []
    assert (prepare(Filler()).images == IMAGES).all()


def test_a_limit_on_the_size_of_files_is_told(folder: Path):
    program = (
        "import resource, signal; from hnas import DataError\n"
        "from hnas_plugins.tasks.images.array_cache import prepared\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n"
        "try: prepared('things', 'key', lambda allocate: {'a': allocate((2 << 20,)).sum()}, what='the things')\n"
        "except DataError as cause: print(cause)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "the things: cannot keep the decoded images" in done.stdout
    assert "File too large" in done.stdout
    assert names(folder) == []


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system does not tell a process's memory")
def test_released_pages_leave_the_process_and_keep_what_was_written(folder: Path):
    """813 MB that were looked at once would count as the process's memory for the rest of a run."""

    def mapped() -> int:
        told = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
        return int(told["RssFile"].split()[0]) >> 10

    def fill(allocate: Allocate) -> dict[str, Any]:
        array = allocate((64, 1 << 20))
        for i in range(64):
            array[i] = i
            release(array)
        assert mapped() < before + 32
        return {}

    before = mapped()
    images = prepare(fill).images
    assert images[:, ::4096].sum() == sum(range(64)) * 256
    assert mapped() > before + 60
    release(images)
    assert mapped() < before + 8
    assert images[:, -1].tolist() == list(range(64))
    release(np.zeros(3, np.uint8))  # one that is not mapped stays as it is


def test_a_flipped_bit_of_a_record_makes_the_array_again(folder: Path):
    """The record holds the classes' names and counts: with another digit, tasks are of other classes."""
    make = Maker()
    cached("things", "key", make)
    content = (folder / "key.json").read_bytes()
    for bit in range(0, 8 * len(content), 37):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        (folder / "key.json").write_bytes(damaged)
        assert cached("things", "key", make)[1] == {"counts": [1, 2]}


def test_old_temporary_files_go(folder: Path):
    folder.mkdir(parents=True)
    old, new = folder / ".other.npy.1.tmp", folder / ".other.npy.2.tmp"
    for path in (old, new):
        path.write_text("cut")
    os.utime(old, (0, 0))
    cached("things", "key", Maker())
    assert (old.exists(), new.exists()) == (False, True)
