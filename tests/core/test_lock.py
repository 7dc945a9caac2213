"""File locks: one process at a time, whoever waits is told, and no lock outlives its holder."""

from __future__ import annotations

import errno
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest

from hnas import DataError
from hnas.toolkit.lock import file_lock
from hnas_app.runs.folder_lock import folder_lock, is_locked


def _hold(path: Path, pipe: Any) -> None:
    with file_lock(path):
        pipe.send(os.getpid())
        pipe.recv()


@pytest.fixture
def holder(tmp_path: Path) -> Any:
    """A process that holds ``.lock`` until it is sent something."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_hold, args=(tmp_path / ".lock", theirs))
    process.start()
    assert ours.recv() == process.pid
    yield process, ours
    ours.send("end")
    process.join()


def test_a_folder_is_refused_while_another_process_is_in_it(holder: Any, tmp_path: Path) -> None:
    process, _ = holder
    assert is_locked(tmp_path)
    with pytest.raises(DataError, match=f"the folder {tmp_path} is in use by process {process.pid}") as error:
        folder_lock(tmp_path, "the folder").__enter__()
    assert f"kill -INT {process.pid}" in (error.value.hint or "")


def test_who_waits_is_told_for_whom_and_goes_on_after_a_kill(holder: Any, tmp_path: Path) -> None:
    process, _ = holder
    told: list[str] = []

    def tell(owner: str) -> None:
        told.append(owner)
        process.kill()

    with file_lock(tmp_path / ".lock", tell) as locked:
        assert (told, locked) == ([str(process.pid)], True)
        assert (tmp_path / ".lock").read_text() == f"{os.getpid()}\n"
    assert not is_locked(tmp_path)


def test_a_file_system_without_locks_is_no_reason_to_refuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr("hnas.toolkit.lock.fcntl.flock", no_locks)
    with file_lock(tmp_path / ".lock") as locked, folder_lock(tmp_path, "the folder"):
        assert not locked


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
@pytest.mark.parametrize("has_file", [False, True])
def test_a_folder_that_cannot_be_written_needs_no_lock(
    code: int, has_file: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that one can do there is read; if there is a lock file, who may write elsewhere may hold it."""
    real = os.open

    def read_only(path: Any, flags: int, *rest: Any) -> int:
        if flags & (os.O_CREAT | os.O_RDWR):
            raise OSError(code, os.strerror(code))
        return real(path, flags, *rest)

    if has_file:
        (tmp_path / ".lock").write_text("1\n")
    monkeypatch.setattr(os, "open", read_only)
    with folder_lock(tmp_path, "the run directory") as locked:
        assert locked == has_file
        assert is_locked(tmp_path) == has_file
