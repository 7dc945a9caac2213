"""The cost store: what was acknowledged stays, through kills, other processes and time."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time

import attrs
import pytest

from hnas import DataError, DeviceInfo, Measurement, Metric
from hnas_app.costs import store as cost_store_module
from hnas_app.costs.store import CostStore

INFO = DeviceInfo(backend="board", device="A board", runtime="1.0", metrics=(Metric(name="latency", unit="ms"),))

WRITER = """
import sys
from pathlib import Path
from hnas import DeviceInfo, Measurement, Metric
from hnas_app.costs.store import CostStore
path, name, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
info = DeviceInfo(backend="board", device="A board", runtime="1.0", metrics=(Metric(name="latency", unit="ms"),))
print("ready", flush=True)
sys.stdin.readline()
with CostStore(path) as store:
    for i in range(count):
        store.save(info, {f"{name}-{i}": {"latency": Measurement(median=float(i), mad=0.5, n=3, unit="ms")}})
        print(i, flush=True)
"""


def writer(path, name, count):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), name, str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"ready\n"
    return process


def go(process):
    process.stdin.write(b"\n")
    process.stdin.flush()


def row(value, unit="ms"):
    return {"latency": Measurement(median=value, mad=0.25, n=5, unit=unit)}


def test_what_was_saved_is_loaded_in_a_later_run(tmp_path):
    """Measurements change on the way through the file, or are not there when it is opened again."""
    with CostStore(tmp_path / "deep" / "costs.sqlite3") as store:
        store.save(INFO, {"a": row(1 / 3), "b": row(2e-9)})
    with CostStore(tmp_path / "deep" / "costs.sqlite3") as store:
        assert store.load(INFO) == {"a": {0: row(1 / 3)}, "b": {0: row(2e-9)}}


def test_a_newer_measurement_replaces_an_older_one(tmp_path):
    """A repeated profile fails on the key, or keeps the old value."""
    with CostStore(tmp_path / "c") as store:
        store.save(INFO, {"a": row(1.0), "b": row(2.0)})
        store.save(INFO, {"a": row(3.0)})
        assert store.load(INFO) == {"a": {0: row(3.0)}, "b": {0: row(2.0)}}


def test_rounds_are_kept_apart_and_one_can_be_discarded(tmp_path):
    """A round overwrites another's row, or a voided block stays and misleads the median."""
    raw = {"latency": Measurement.of([3.0, 1.0, 2.0], "ms")}
    with CostStore(tmp_path / "c") as store:
        store.save(INFO, {"a": row(1.0), "b": row(2.0)}, 0)
        store.save(INFO, {"a": raw, "b": row(4.0)}, 1)
        store.discard(INFO, ["b", "never measured"], 1)
        assert store.load(INFO) == {"a": {0: row(1.0), 1: raw}, "b": {0: row(2.0)}}


def test_a_store_of_the_first_schema_is_taken_over(tmp_path):
    """An upgrade of hnas throws away what was measured before it."""
    path = tmp_path / "c"
    with sqlite3.connect(path) as old:
        old.execute(
            "CREATE TABLE cost (backend TEXT NOT NULL, fingerprint TEXT NOT NULL, layer TEXT NOT NULL, metric TEXT NOT "
            "NULL, median REAL NOT NULL, mad REAL NOT NULL, n INTEGER NOT NULL, unit TEXT NOT NULL, "
            "PRIMARY KEY (backend, fingerprint, layer, metric)) WITHOUT ROWID"
        )
        old.execute(
            "INSERT INTO cost VALUES (?, ?, 'a', 'latency', 1.5, 0.25, 5, 'ms')", (INFO.backend, INFO.fingerprint)
        )
        old.execute("PRAGMA user_version = 1")
    for _ in range(2):
        with CostStore(path) as store:
            assert store.load(INFO) == {"a": {0: row(1.5)}}


def test_a_calibration_is_kept_with_its_device(tmp_path):
    """What calibrating found is lost, is another device's, or goes when the device is described again."""
    other = attrs.evolve(INFO, runtime="2.0")
    with CostStore(tmp_path / "c") as store:
        assert store.load_calibration(INFO) == {}
        for info in (INFO, other):
            store.save_device(info, {"device": info.device})
        store.save_calibration(INFO, {"vgg9 1x28x28": {"latency": [1.1, 0.2]}})
        store.save_device(INFO, {"device": "seen again"})
        assert store.load_calibration(INFO) == {"vgg9 1x28x28": {"latency": [1.1, 0.2]}}
        assert store.load_calibration(other) == {}


@pytest.mark.parametrize(
    "change", [{"backend": "x"}, {"device": "x"}, {"runtime": "2.0"}, {"settings": {"threads": 2}}]
)
def test_other_devices_and_settings_do_not_share_rows(change, tmp_path):
    """A measurement made on one device, runtime or setting is taken for another's."""
    other = attrs.evolve(INFO, **change)
    with CostStore(tmp_path / "c") as store:
        store.save(INFO, {"a": row(1.0)})
        assert store.load(other) == {}
        store.save(other, {"a": row(2.0)})
        assert store.load(INFO) == {"a": {0: row(1.0)}}


def test_the_default_is_in_the_home_of_hnas(tmp_path, monkeypatch):
    """Every run would profile anew, or tests and runs would write into one file."""
    monkeypatch.setenv("HNAS_HOME", str(tmp_path / "h"))
    with CostStore() as store:
        store.save(INFO, {"a": row(1.0)})
    assert (tmp_path / "h" / "costs.sqlite3").is_file()


@pytest.mark.parametrize("kills", [4, pytest.param(30, marks=pytest.mark.slow)])
def test_a_killed_writer_loses_nothing_that_was_acknowledged(kills, tmp_path):
    """A profile that takes hours on a slow board starts over after a kill."""
    path, expected = tmp_path / "c", {}
    for kill in range(kills):
        process = writer(path, f"run{kill}", 100_000)
        go(process)
        acknowledged = [int(process.stdout.readline()) for _ in range(3 + 30 * kill // kills)]
        os.kill(process.pid, signal.SIGKILL)
        acknowledged += [int(line) for line in process.stdout.read().split(b"\n")[:-1]]
        process.wait()
        for i in acknowledged:
            expected[f"run{kill}-{i}"] = {0: {"latency": Measurement(median=float(i), mad=0.5, n=3, unit="ms")}}
    with CostStore(path) as store:
        found = store.load(INFO)
    assert {k: found.get(k) for k in expected} == expected
    assert len(found) <= len(expected) + kills, "at most the row that was being written may be there besides"


def test_several_processes_make_and_write_one_file_at_once(tmp_path):
    """Two runs started together: 'database is locked', a table made twice, or rows that overwrite each other's."""
    path = tmp_path / "c"
    processes = [writer(path, f"p{i}", 10) for i in range(8)]
    for process in processes:
        go(process)
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    with CostStore(path) as store:
        assert set(store.load(INFO)) == {f"p{i}-{n}" for i in range(8) for n in range(10)}


def test_many_rows_take_one_transaction(tmp_path):
    """Each row flushed on its own: 200 a second, and an analytic table of 500 takes seconds instead of milliseconds."""
    rows = {f"layer{i}": row(float(i)) for i in range(2000)}
    with CostStore(tmp_path / "c") as store:
        begun = time.perf_counter()
        store.save(INFO, rows)
        taken = time.perf_counter() - begun
        assert {key: rounds[0] for key, rounds in store.load(INFO).items()} == rows
    assert taken < 2.0  # about 15 ms here; one by one about 10 s


def test_a_failed_save_leaves_all_as_it_was(tmp_path):
    """Half of a batch is written, or the store cannot be used afterwards."""
    bad = {"n": {"latency": Measurement(median=float("nan"), unit="ms")}}  # SQLite takes it for NULL
    with CostStore(tmp_path / "c") as store:
        with pytest.raises(DataError):
            store.save(INFO, {"a": row(1.0)} | bad)
        assert store.load(INFO) == {}
        store.save(INFO, {"b": row(1.0)})
        assert set(store.load(INFO)) == {"b"}


def test_a_file_that_is_no_database_is_refused_with_what_to_do(tmp_path):
    """A traceback of sqlite3, or worse: the user's file is overwritten."""
    path = tmp_path / "costs.sqlite3"
    path.write_bytes(b"not a database at all, whatever its name says. " * 40)
    with pytest.raises(DataError) as error:
        CostStore(path)
    assert str(path) in str(error.value)
    assert "damaged" in str(error.value)
    assert f"mv {path}" in error.value.hint
    assert path.read_bytes().startswith(b"not a database")


def test_a_damaged_page_is_refused_with_what_to_do(tmp_path):
    """A file damaged in the middle gives a traceback, or half of its rows as if they were all."""
    path = tmp_path / "c"
    with CostStore(path) as store:
        store.save(INFO, {f"layer{i}": row(float(i)) for i in range(2000)})
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 16384] = b"\xff" * 16384
    path.write_bytes(content)
    with CostStore(path) as store, pytest.raises(DataError, match="damaged"):
        store.load(INFO)


def test_another_programs_database_is_refused(tmp_path):
    """A database with our version number and other tables is taken for locked or full."""
    path = tmp_path / "c"
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version = 1")
        other.execute("CREATE TABLE mine (x)")
    with pytest.raises(DataError, match="not a cost store"):
        CostStore(path)
    with sqlite3.connect(path) as other:
        tables = [name for (name,) in other.execute("SELECT name FROM sqlite_master")]
    assert tables == ["mine"], "a foreign file is left as it was"


def test_a_store_of_a_newer_hnas_is_refused(tmp_path):
    """An older hnas writes rows of its own shape into a newer file."""
    path = tmp_path / "c"
    CostStore(path).close()
    with sqlite3.connect(path) as newer:
        newer.execute("PRAGMA user_version = 7")
    with pytest.raises(DataError, match=r"schema 7, written by a newer hnas; this one knows 3"):
        CostStore(path)


def test_a_held_lock_is_not_called_damage(tmp_path, monkeypatch):
    """Waiting in vain for another process, the user is told to move a good file away."""
    monkeypatch.setattr(cost_store_module, "TIMEOUT_S", 0.1)
    path = tmp_path / "c"
    with CostStore(path) as store:
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(DataError) as error:
            store.save(INFO, {"a": row(1.0)})
        holder.close()
        assert "locked" in str(error.value)
        assert "mv " not in error.value.hint
        store.save(INFO, {"a": row(1.0)})  # and goes on once it is free


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    """A traceback where HNAS_HOME points below a file."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="cannot make the folder") as error:
        CostStore(tmp_path / "file" / "costs.sqlite3")
    assert "HNAS_HOME" in error.value.hint


def test_uses_the_settings_that_lost_nothing(tmp_path):
    """The settings under which 30 kills lost nothing of 2,253 rows are changed without anyone measuring again."""
    with CostStore(tmp_path / "c") as store:
        modes = [store._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    assert json.dumps(modes) == '["delete", 2]'  # 2: FULL


def flipped(path, old, new):
    content = path.read_bytes()
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, new))


def test_a_row_with_another_digit_is_named_and_measured_again(tmp_path):
    """SQLite does not see it: 5 of 60 flipped bits gave wrong latencies without a word."""
    path, notes = tmp_path / "c", []
    raw = {"latency": Measurement.of([3.0, 1.0, 2.0], "ms")}
    with CostStore(path) as store:
        store.save(INFO, {"a": raw, "b": row(2.0), "c": row(4.0)})
    flipped(path, b"[3.0, 1.0, 2.0]", b"[3.0, 1.0, 2.5]")
    with CostStore(path, notify=notes.append) as store:
        assert set(store.load(INFO)) == {"b", "c"}
        assert notes == [f"1 rows of the cost store {path} are damaged, so their layers are measured again: 'a'"]
        store.save(INFO, {"a": raw})
        assert store.load(INFO)["a"] == {0: raw}
    assert len(notes) == 1


def test_a_damaged_calibration_is_named_and_not_used(tmp_path):
    path, notes = tmp_path / "c", []
    with CostStore(path) as store:
        store.save_device(INFO, {})
        store.save_calibration(INFO, {"vgg9": {"latency": [1.125, 0.5]}})
    flipped(path, b"1.125", b"1.625")
    with CostStore(path, notify=notes.append) as store:
        assert store.load_calibration(INFO) == {}
    assert "the calibration of A board" in notes[0]


def of_schema_2(path):
    """A store as hnas made it before rows had checksums."""
    with CostStore(path) as store:
        store.save(INFO, {"a": row(1.5), "b": row(2.5)})
        store.save_device(INFO, {})
        store.save_calibration(INFO, {"vgg9": {"latency": [1.1, 0.2]}})
    with sqlite3.connect(path) as old:
        old.execute("ALTER TABLE sample DROP COLUMN checksum")
        old.execute('UPDATE device SET calibration = \'{"vgg9": {"latency": [1.1, 0.2]}}\'')
        old.execute("UPDATE sample SET samples = '[nonsense' WHERE layer = 'b'")
        old.execute("PRAGMA user_version = 2")


def test_a_store_without_checksums_is_taken_over_and_reported_once(tmp_path):
    path, notes = tmp_path / "c", []
    of_schema_2(path)
    for _ in range(2):
        with CostStore(path, notify=notes.append) as store:
            assert store.load(INFO) == {"a": {0: row(1.5)}}
            assert store.load_calibration(INFO) == {"vgg9": {"latency": [1.1, 0.2]}}
    told = f"2 rows of {path} are of an older hnas, and had no checksums; 1 of them make no sense, and are left out"
    assert notes == [told]


@pytest.mark.parametrize("older", [False, True])
def test_a_store_that_cannot_be_written_is_read(older, tmp_path, monkeypatch):
    """Rows of a home on read-only media were out of reach. Simulated: root may write to any folder that is not one."""
    path = tmp_path / "c"
    of_schema_2(path)
    if not older:
        CostStore(path).close()
    before = path.read_bytes()
    access = os.access
    monkeypatch.setattr(os, "access", lambda p, mode: str(p) != str(path) and access(p, mode))
    with CostStore(path, notify=lambda _: None) as store:
        assert store.load(INFO) == {"a": {0: row(1.5)}}
        for change in (lambda: store.save(INFO, {"x": row(1.0)}), lambda: store.discard(INFO, ["a"], 0)):
            with pytest.raises(DataError, match="cannot use the cost store"):
                change()
    assert path.read_bytes() == before


@pytest.mark.parametrize("flips", [40, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_flipped_bit_never_gives_another_row(flips, tmp_path):
    path, generator = tmp_path / "c", random.Random(0)
    rows = {f"conv-{i}": row(1.25 + i) for i in range(20)}
    with CostStore(path) as store:
        store.save_device(INFO, {"device": "A board"})
        store.save(INFO, rows)
        store.save_calibration(INFO, {"vgg9": {"latency": [1.125, 0.5]}})
    content = path.read_bytes()
    for _ in range(flips):
        bit = generator.randrange(8 * len(content))
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            with CostStore(path, notify=lambda _: None) as store:
                found, lines = store.load(INFO), store.load_calibration(INFO)
        except DataError:
            continue
        assert {key: {0: rows[key]} for key in found} == found, f"bit {bit}"
        assert lines in ({}, {"vgg9": {"latency": [1.125, 0.5]}}), f"bit {bit}"
