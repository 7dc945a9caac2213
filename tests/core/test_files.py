"""Files that survive: replaced whole or not at all, lines appended whole, a full disk told with its free space."""

from __future__ import annotations

import errno
import json
import multiprocessing
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hnas.errors import DataError
from hnas.toolkit.files import check_seal, parse_json, read_json, sealed, write_json
from hnas_app.trackers.json_lines import JsonLines


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Make the kernel refuse to let any file of this process grow beyond ``size`` bytes, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_write_that_fails_keeps_the_old_file_and_tells_the_free_space(tmp_path):
    path = tmp_path / "run.json"
    write_json(path, {"good": True})
    with file_size_limit(4096), pytest.raises(DataError, match=r"cannot write .*run\.json.* MiB are free") as error:
        write_json(path, {"bad": "x" * 10_000})
    assert error.value.exit_code == 3
    assert read_json(path) == {"good": True}
    assert [p.name for p in tmp_path.iterdir()] == ["run.json"]


def test_a_missing_folder_is_told(tmp_path):
    with pytest.raises(DataError, match="No such file or directory"):
        write_json(tmp_path / "none" / "run.json", {})


@pytest.mark.parametrize("content", ["", "{", '{"a": 1', "\x00"])
def test_a_damaged_json_file_is_a_data_error(tmp_path, content):
    path = tmp_path / "run.json"
    path.write_text(content)
    with pytest.raises(DataError, match="damaged"):
        read_json(path)


@pytest.mark.parametrize("torn", [b'{"n": 3, "lo', b'{"n": 3}', b"", b"\xff\xfe"])
def test_a_torn_last_line_is_dropped_and_ended_by_the_next_writer(tmp_path, torn):
    """Also where only the line end is missing: such a line was never acknowledged, and is written again on resume."""
    lines = JsonLines(tmp_path / "metrics.jsonl")
    lines.append({"n": 1})
    lines.append({"n": 2})
    with open(lines.path, "ab") as file:
        file.write(torn)
    assert list(lines.read()) == [{"n": 1}, {"n": 2}]
    lines.append({"n": 3}, sync=True)
    assert list(lines.read()) == [{"n": 1}, {"n": 2}, {"n": 3}]


def test_a_line_that_did_not_fit_is_refused_and_the_next_one_is_whole(tmp_path):
    lines = JsonLines(tmp_path / "metrics.jsonl")
    lines.append({"n": 1})
    with file_size_limit(100), pytest.raises(DataError, match=r"metrics\.jsonl"):
        lines.append({"text": "x" * 200})
    lines.append({"n": 2})
    assert list(lines.read()) == [{"n": 1}, {"n": 2}]


def test_a_line_that_did_not_fit_leaves_nothing(tmp_path):
    lines = JsonLines(tmp_path / "search.jsonl", compact=True)
    lines.append({"n": 1})
    with file_size_limit(100), pytest.raises(DataError, match="MiB are free"):
        lines.append({"text": "x" * 200})
    assert lines.path.read_bytes() == b'{"n":1}\n'
    lines.append({"n": 2}, sync=True)
    assert lines.recover() == [{"n": 1}, {"n": 2}]


def test_a_torn_line_is_kept_and_ended_where_there_are_no_locks(tmp_path, monkeypatch):
    """It could be the line in the making of another writer, so nothing of it may be cut off."""

    def no_locks(*_):
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr("hnas.toolkit.lock.fcntl.flock", no_locks)
    lines = JsonLines(tmp_path / "metrics.jsonl")
    lines.path.write_bytes(b'{"n": 1}\n{"n": 2}')
    lines.append({"n": 3})
    assert lines.path.read_bytes() == b'{"n": 1}\n{"n": 2} <torn>\n{"n": 3}\n'
    assert list(lines.read()) == lines.recover() == [{"n": 1}, {"n": 3}]


def test_what_one_writer_recovers(tmp_path):
    """A last line of zeros, as a power cut leaves it, goes; damage before the last line is refused and left."""
    lines = JsonLines(tmp_path / "search.jsonl")
    lines.path.write_bytes(b'{"n": 1}\n' + bytes(9) + b"\n")
    assert lines.recover() == [{"n": 1}]
    assert lines.path.read_bytes() == b'{"n": 1}\n'
    damaged = b'{"n": 1\n{"n": 2}\n'
    lines.path.write_bytes(damaged)
    with pytest.raises(DataError, match="line 1: not JSON"):
        lines.recover()
    assert lines.path.read_bytes() == damaged


def test_a_missing_file_has_no_lines(tmp_path):
    assert list(JsonLines(tmp_path / "none.jsonl").read()) == []


def _append_many(path: Path, writer: int) -> None:
    for i in range(200):
        JsonLines(path).append({"writer": writer, "i": i, "text": "ä" * 200})


def test_lines_of_two_processes_do_not_mix(tmp_path):
    """Each line is one write to a file opened for appending."""
    path = tmp_path / "metrics.jsonl"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_append_many, args=(path, w)) for w in range(2)]
    for w in writers:
        w.start()
    for w in writers:
        w.join()
    assert sorted((v["writer"], v["i"]) for v in JsonLines(path).read()) == [
        (w, i) for w in range(2) for i in range(200)
    ]
    assert len(path.read_bytes().splitlines()) == 400


def test_json_is_readable_text(tmp_path):
    write_json(tmp_path / "a.json", {"name": "Größe"})
    assert "Größe" in (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"name": "Größe"}


def test_a_file_name_that_is_no_text_comes_back(tmp_path: Path) -> None:
    """A lone surrogate ended a run in an encoder; the mark that Windows writes is no damage."""
    value = {"text": "\udcff\x1b é"}
    JsonLines(tmp_path / "lines").append(value)
    assert list(JsonLines(tmp_path / "lines").read()) == [value]
    write_json(tmp_path / "file", value)
    (tmp_path / "file").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "file").read_bytes())
    assert read_json(tmp_path / "file") == value


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "[" * 102 + "]" * 102, "[" * 600 + "]" * 600])
def test_json_that_is_nested_without_end_is_a_value_error(text):
    """Python raises a RecursionError, at once or when somebody writes the value into a message."""
    with pytest.raises(ValueError, match="nested over 100 levels"):
        parse_json(text)
    assert parse_json("[" * 100 + "]" * 100)


def test_a_seal_holds_over_what_is_read_back_and_over_nothing_else():
    value = sealed({"tuple": (1, 2), "number": 1 / 3, 4: "ä", "empty": {}})
    assert list(value)[-1] == "checksum"
    again = json.loads(json.dumps(value, indent=2, ensure_ascii=False))
    check_seal(dict(reversed(again.items())), "it", needed=True)
    for wrong in ({**again, "number": 0.5}, {k: v for k, v in again.items() if k != "checksum"}):
        with pytest.raises(DataError, match="it is damaged or was edited: its checksum does not hold"):
            check_seal(wrong, "it", needed=True, hint="again")
    check_seal({"number": 0.5}, "it", needed=False)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_flipped_bit_of_a_sealed_object_goes_unseen(data):
    """Whatever becomes of the text: no JSON, damage, or the same value."""
    value = sealed({"schema": 2, "loss": [1.616, -0.0, 3e-9], "arch": {"space": "vgg9", "genes": [1, 2]}, "of": True})
    content = bytearray(json.dumps(value).encode())
    bit = data.draw(st.integers(0, 8 * len(content) - 1))
    content[bit // 8] ^= 1 << bit % 8
    try:
        seen = parse_json(bytes(content))
        check_seal(seen, "it", needed=True)
    except (ValueError, DataError):
        return
    assert json.dumps(seen) == json.dumps(value)
