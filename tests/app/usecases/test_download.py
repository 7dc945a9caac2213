"""Downloads against a real server on this machine that cuts, refuses, forgets ranges or sends something else."""

from __future__ import annotations

import fcntl
import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from hnas import DataError
from hnas.toolkit.remote_file import RemoteFile
from hnas_app.usecases.download import download, part_path

CONTENT = bytes(range(256)) * 1200  # 307,200 bytes: several chunks


class Handler(BaseHTTPRequestHandler):
    """Serves ``server.content``; ``server.faults`` are used up one request at a time."""

    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        fault = self.server.faults.pop(0) if self.server.faults else None
        if isinstance(fault, int):
            self.send_error(fault)
            return
        content, start = self.server.content, 0
        if asked and fault != "no range":
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self.send_error(416)
                return
        self.send_response(206 if start else 200)
        if fault != "no length":
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start : len(content) // 2] if fault == "cut" else content[start:])

    def log_message(self, *_: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    content = CONTENT

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.faults: list[int | str] = []
        self.ranges: list[str | None] = []


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def remote(server: Server, tmp_path: Path) -> RemoteFile:
    url = f"http://127.0.0.1:{server.server_address[1]}/set.zip"
    return RemoteFile(url=url, path=tmp_path / "data" / "set.zip", sha256=hashlib.sha256(CONTENT).hexdigest())


def fetch(remote: RemoteFile) -> list[tuple[int, int | None]]:
    said: list[tuple[int, int | None]] = []
    download(remote, lambda done, total: said.append((done, total)), pause_s=0.01)
    return said


def test_a_file_arrives_whole_and_progress_is_told(remote: RemoteFile):
    said = fetch(remote)
    assert remote.path.read_bytes() == CONTENT
    assert said[-1] == (len(CONTENT), len(CONTENT))
    assert [d for d, _ in said] == sorted({d for d, _ in said})
    assert [p.name for p in remote.path.parent.iterdir()] == ["set.zip"]


def test_a_server_that_gives_no_length_is_read_to_its_end(remote: RemoteFile, server: Server):
    server.faults = ["no length"]
    assert fetch(remote)[-1] == (len(CONTENT), None)
    assert remote.path.read_bytes() == CONTENT


def test_a_cut_connection_is_continued_where_it_was_cut(remote: RemoteFile, server: Server):
    server.faults = ["cut"]
    fetch(remote)
    assert remote.path.read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={len(CONTENT) // 2}-"]


def test_a_later_run_continues_what_an_earlier_one_left(remote: RemoteFile, server: Server):
    server.faults = ["cut", 503, 503, 503, 503]
    with pytest.raises(DataError, match=f"HTTP 503.*; {len(CONTENT) // 2} bytes are there") as caught:
        fetch(remote)
    assert "run the command again" in (caught.value.hint or "")
    assert not remote.path.exists()
    server.ranges.clear()
    said = fetch(remote)
    assert server.ranges == [f"bytes={len(CONTENT) // 2}-"]
    assert said[0][0] > len(CONTENT) // 2
    assert said[-1] == (len(CONTENT), len(CONTENT))
    assert remote.path.read_bytes() == CONTENT


def test_a_server_without_ranges_begins_again(remote: RemoteFile, server: Server):
    server.faults = ["cut", "no range"]
    fetch(remote)
    assert remote.path.read_bytes() == CONTENT


def test_a_whole_part_file_is_put_in_place(remote: RemoteFile, server: Server):
    part_path(remote).parent.mkdir()
    part_path(remote).write_bytes(CONTENT)
    fetch(remote)
    assert remote.path.read_bytes() == CONTENT
    assert server.ranges == [f"bytes={len(CONTENT)}-"]


def test_a_part_file_of_another_version_is_thrown_away_and_fetched_anew(remote: RemoteFile, server: Server):
    part_path(remote).parent.mkdir()
    part_path(remote).write_bytes(b"old" * 100)
    fetch(remote)
    assert remote.path.read_bytes() == CONTENT
    assert server.ranges == ["bytes=300-", None]


def test_a_wrong_checksum_keeps_the_old_file_and_leaves_no_part(remote: RemoteFile, server: Server):
    remote.path.parent.mkdir()
    remote.path.write_bytes(b"old")
    server.content = CONTENT[:-1] + b"?"
    with pytest.raises(DataError, match=f"sha256 [0-9a-f]{{64}}, expected {remote.sha256}"):
        fetch(remote)
    assert remote.path.read_bytes() == b"old"
    assert not part_path(remote).exists()


def test_md5_alone_is_enough_and_is_checked(remote: RemoteFile, server: Server):
    good = RemoteFile(url=remote.url, path=remote.path, md5=hashlib.md5(CONTENT, usedforsecurity=False).hexdigest())
    fetch(good)
    assert good.mismatch(good.path) is None
    with pytest.raises(DataError, match=r"md5 [0-9a-f]{32}, expected 00"):
        fetch(RemoteFile(url=remote.url, path=remote.path, md5="0" * 32))


def test_a_missing_page_is_told_at_once_with_another_way(remote: RemoteFile, server: Server):
    server.faults = [404] * 9
    with pytest.raises(DataError, match="HTTP 404") as caught:
        fetch(remote)
    assert str(remote.path) in (caught.value.hint or "")
    assert len(server.ranges) == 1


def test_a_busy_server_is_asked_again(remote: RemoteFile, server: Server):
    server.faults = [503]
    fetch(remote)
    assert remote.path.read_bytes() == CONTENT


def test_nobody_there_is_a_data_error(remote: RemoteFile, server: Server):
    server.server_close()  # the port is free again
    with pytest.raises(DataError, match="refused; 0 bytes are there"):
        fetch(remote)


def test_more_than_the_bound_is_not_written(remote: RemoteFile, server: Server):
    small = RemoteFile(url=remote.url, path=remote.path, sha256=remote.sha256, max_bytes=1000)
    with pytest.raises(DataError, match=r"offers 307200 bytes, expected at most 1000"):
        fetch(small)
    server.faults = ["no length"]
    with pytest.raises(DataError, match="more than the 1000 bytes"):
        fetch(small)
    assert part_path(remote).stat().st_size == 0


def test_a_full_disk_keeps_the_old_file(remote: RemoteFile):
    remote.path.parent.mkdir()
    remote.path.write_bytes(b"old")
    part_path(remote).symlink_to("/dev/full")  # every write there fails as on a full disk
    with pytest.raises(DataError, match="the disk is full"):
        fetch(remote)
    assert remote.path.read_bytes() == b"old"


def test_a_folder_that_cannot_be_made_is_a_data_error(remote: RemoteFile):
    remote.path.parent.write_text("a file where the folder should be")
    with pytest.raises(DataError) as caught:
        fetch(remote)
    assert "--data-root" in (caught.value.hint or "")


def test_two_downloads_of_one_file_do_not_mix(remote: RemoteFile):
    part_path(remote).parent.mkdir()
    with part_path(remote).open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(DataError, match="another process is downloading"):
            fetch(remote)
    fetch(remote)
    assert remote.path.read_bytes() == CONTENT


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/set.zip", "set.zip"])
def test_only_web_addresses_are_accepted(url: str, tmp_path: Path):
    with pytest.raises(ValueError, match="only http and https"):
        RemoteFile(url=url, path=tmp_path / "set.zip", md5="0" * 32)


def test_a_download_without_a_checksum_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="needs a checksum"):
        RemoteFile(url="https://host/set.zip", path=tmp_path / "set.zip")
