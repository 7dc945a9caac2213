"""`hnas supernets`, and files that lie at an address: fetched whole and verified, or not used."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from hnas_app.cli import run as command_line
from hnas_app.supernets.packing import Packed
from hnas_app.usecases import download


def call(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = command_line(list(words))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """A server of one file: its ``content`` and ``status`` may be changed."""
    told: dict[str, Any] = {"content": b"", "status": 200, "cut": None}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(told["status"])
            self.send_header("Content-Length", str(len(told["content"])))
            self.end_headers()
            self.wfile.write(told["content"][: told["cut"]])

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    told["url"] = f"http://127.0.0.1:{server.server_address[1]}/leaves.safetensors"
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)
    yield told
    server.shutdown()
    server.server_close()


def listed(capsys: pytest.CaptureFixture[str], name: str = "leaves") -> dict[str, Any]:
    """What the list says of one super-net; those that are built in are there, too."""
    (row,) = (row for row in json.loads(call(capsys, "supernets", "list", "--json")[1]) if row["name"] == name)
    return row


def test_the_list_says_what_each_serves(site: Any, tiny: Packed, capsys: pytest.CaptureFixture[str]) -> None:
    built_in = len(json.loads(call(capsys, "supernets", "list", "--json")[1]))
    site.publish(tiny)
    code, out, err = call(capsys, "supernets", "list")
    assert code == 0
    head, *lines = out.splitlines()
    assert len(lines) == built_in + 1
    (line,) = (each for each in lines if each.startswith("leaves "))
    assert head.split() == ["NAME", "SPACE", "DATA", "IMAGES", "CLASSES", "LICENCE", "FROM", "HERE"]
    assert line.split() == [
        "leaves",
        "vgg9",
        "glyphs",
        "1x28x28",
        "2-50",
        "CC0-1.0",
        "hnas-supernet-leaves",
        "1.0",
        "here",
    ]
    assert "next: hnas supernets show " in err
    row = listed(capsys)
    assert (row["space"], row["n_way"], row["licence"], row["to_fetch"]) == ("vgg9", [2, 50], "CC0-1.0", 0)
    assert {f["present"] for f in row["files"].values()} == {True}


def test_a_damaged_one_does_not_hide_the_others(site: Any, tiny: Packed, capsys: pytest.CaptureFixture[str]) -> None:
    (site.publish(tiny) / "config.toml").write_text("seed = 1")
    site.publish(tiny, "twigs", "hnas-supernet-twigs")
    (site.publish(tiny, "roots", "hnas-supernet-roots") / "weights.safetensors").unlink()
    code, out, _ = call(capsys, "supernets", "list")
    assert code == 0
    assert "leaves cannot be used: the configuration of super-net 'leaves'" in out
    assert "roots cannot be used: the weights of super-net 'roots'" in out
    assert "twigs cannot" not in out


def test_show_prints_card_licence_settings_and_paths(site: Any, tiny: Packed, capsys: Any) -> None:
    place = site.publish(tiny)
    code, out, _ = call(capsys, "supernets", "show", "leaves")
    assert code == 0
    for part in ("licence: CC0-1.0", "# Super-net `leaves`", "base_width = 4", str(place / "weights.safetensors")):
        assert part in out
    told = json.loads(call(capsys, "supernets", "show", "leaves", "--json")[1])
    assert told["card"] == tiny.card.decode()
    code, _, err = call(capsys, "supernets", "show", "leavs")
    assert code == 4
    assert "Did you mean 'leaves'?" in err


def test_a_file_at_an_address_is_fetched_and_then_used(
    site: Any, tiny: Packed, served: dict[str, Any], capsys: Any, tmp_path: Path
) -> None:
    site.publish(tiny, weights={"place": served["url"]})
    served["content"] = tiny.weights
    assert "to fetch, 0." in call(capsys, "supernets", "list")[1]
    code, _, err = call(capsys, "adapt", "leaves")
    assert code == 3
    assert "the weights of super-net 'leaves' of hnas-supernet-leaves 1.0: not here yet" in err
    assert "hnas supernets fetch leaves@hnas-supernet-leaves" in err
    code, out, err = call(capsys, "supernets", "fetch", "leaves")
    assert code == 0
    assert "licence: CC0-1.0" in out
    assert "next: hnas adapt leaves" in err
    assert "is there already" in call(capsys, "supernets", "fetch", "leaves")[1]
    row = listed(capsys)
    assert row["to_fetch"] == 0
    fetched = Path(row["files"]["weights"]["path"])
    assert fetched.is_relative_to(tmp_path / "home")
    fetched.write_bytes(tiny.weights[:-1])
    code, _, err = call(capsys, "adapt", "leaves")
    assert code == 3
    assert "damaged, or another file" in err
    assert "hnas supernets fetch" in err


@pytest.mark.parametrize(
    ("trouble", "parts"),
    [
        ({"status": 404}, ["HTTP 404"]),
        ({"status": 503}, ["HTTP 503", "run the command again"]),
        ({"content": b"another file"}, ["the download has sha256"]),
        ({"content": bytes(100_000)}, ["offers 100000 bytes, expected at most"]),
        ({"cut": 1000}, ["the connection was cut; 1000 bytes are there"]),
        ({"url": "http://127.0.0.1:9/leaves.safetensors"}, ["0 bytes are there"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_a_download_that_fails_is_never_used(
    trouble: dict[str, Any], parts: list[str], site: Any, tiny: Packed, served: dict[str, Any], capsys: Any
) -> None:
    served |= {"content": tiny.weights, **trouble}
    site.publish(tiny, weights={"place": served["url"]})
    code, _, err = call(capsys, "supernets", "fetch", "leaves")
    assert code == 3
    assert [part for part in parts if part not in err] == []
    code, _, err = call(capsys, "adapt", "leaves")
    assert code == 3
    assert "not here yet" in err


def test_nothing_is_fetched_that_was_installed(site: Any, tiny: Packed, capsys: pytest.CaptureFixture[str]) -> None:
    site.publish(tiny)
    code, out, _ = call(capsys, "supernets", "fetch", "leaves")
    assert code == 0
    assert "nothing to fetch" in out
