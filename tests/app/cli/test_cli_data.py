"""`hnas data`, with the built-in task sources and with a third party's that a local server feeds."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import sys
import threading
import types
from collections.abc import Iterator, Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from PIL import Image
from typer.testing import CliRunner, Result

from hnas import ConfigError, DataError, Plugin, PluginError, Registry, TaskSource, hookimpl
from hnas.task_source import Split
from hnas.toolkit.remote_file import RemoteFile
from hnas_app.cli import run as command_line
from hnas_app.cli.commands.data import app
from hnas_app.cli.invocation import Invocation


@frozen(kw_only=True)
class TextOptions:
    root: str = "unset"


class Text(TaskSource):
    """One text file, which counts as complete when it says 'whole'."""

    url = ""

    def __init__(self, options: TextOptions) -> None:
        self._path = Path(options.root) / "text.txt"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return (1, 2, 3)

    def n_classes(self, split: Split) -> int:
        return len(split)

    def sample(self, *_: Any) -> Any:
        raise NotImplementedError

    def remote_files(self) -> Sequence[RemoteFile]:
        checksum = hashlib.sha256(b"whole text").hexdigest()
        return [RemoteFile(url=self.url, path=self._path, sha256=checksum, licence="MIT")]

    def check(self) -> str:
        if not self._path.is_file() or not self._path.read_text().startswith("whole"):
            raise DataError(f"{self._path} is not whole")
        return "a whole text"


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """A registry with `text` beside the built-in plugins; a server on this machine offers its file."""
    served = tmp_path / "served"
    served.mkdir()
    (served / "text.txt").write_text("whole text")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(served))
    module: Any = types.ModuleType("hnas_tasks_text")
    plugin = Plugin(name="text", summary="one text file", factory=Text, options=TextOptions)
    module.hnas_task_sources = hookimpl(lambda: [plugin])
    module.hnas_task_sources.__name__ = "hnas_task_sources"
    monkeypatch.setitem(sys.modules, "hnas_tasks_text", module)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        monkeypatch.setattr(Text, "url", f"http://127.0.0.1:{server.server_address[1]}/text.txt")
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield Registry([EntryPoint("text", "hnas_tasks_text", "hnas"), *entry_points(group="hnas")])
        server.shutdown()
        thread.join()


def run(registry: Registry, *words: str) -> Result:
    invocation = Invocation()
    invocation.registry = registry  # type: ignore[misc]
    return CliRunner().invoke(app, list(words), obj=invocation)


def test_list_names_the_built_in_sources_and_what_they_download():
    registry = Registry(third_party=False)
    result = run(registry, "list", "--json")
    rows = {row["name"]: row for row in json.loads(result.stdout)}
    assert rows["glyphs"]["files"] == []
    assert [f["licence"] for f in rows["omniglot"]["files"]] == ["MIT", "MIT"]
    assert "images_background.zip" in run(registry, "list").stdout


def test_list_says_what_each_set_needs_and_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Where it is looked for, whether that is there, under which terms; and a plugin that lacks a package is listed."""
    monkeypatch.setenv("HNAS_DATA", str(tmp_path))
    (tmp_path / "mini-imagenet").mkdir()
    registry = Registry(third_party=False)
    rows = {row["name"]: row for row in json.loads(run(registry, "list", "--json").stdout)}
    assert rows["glyphs"]["origin"] is rows["folder"]["origin"]["path"] is None
    assert "--data-root" in rows["folder"]["origin"]["how"]
    mini, omniglot = rows["mini-imagenet"]["origin"], rows["omniglot"]["origin"]
    assert (mini["path"], mini["present"]) == (str(tmp_path / "mini-imagenet"), True)
    assert "non-commercial research" in mini["licence"]
    assert (omniglot["present"], omniglot["how"]) == (False, "hnas data fetch omniglot")
    assert rows["cifar-fs"]["origin"]["path"] == rows["fc100"]["origin"]["path"] == str(tmp_path / "cifar-100")
    told = run(registry, "list").stdout
    assert f"{tmp_path / 'omniglot'} (not there); licence: MIT" in told
    assert "to get it: hnas data fetch fc100" in told
    assert "get it yourself" in run(registry, "fetch", "mini-imagenet").stdout


def test_a_source_that_fails_is_listed_with_its_error(registry: Registry, monkeypatch: pytest.MonkeyPatch):
    def fail(self: Text) -> Sequence[RemoteFile]:
        raise DataError("the list of files is not to be had")

    monkeypatch.setattr(Text, "remote_files", fail)
    rows = {row["name"]: row for row in json.loads(run(registry, "list", "--json").stdout)}
    assert rows["text"]["error"] == "the list of files is not to be had"
    assert "cannot be used here: the list" in run(registry, "list").stdout


def test_fetch_downloads_then_leaves_it_alone(registry: Registry, tmp_path: Path):
    root = tmp_path / "set"
    result = run(registry, "fetch", "text", "--data-root", str(root))
    assert result.exit_code == 0, result.output
    assert (root / "text.txt").read_text() == "whole text"
    assert "hnas data check text --data-root" in result.stderr
    assert "text is complete" in run(registry, "fetch", "text", "--data-root", str(root)).stdout


def test_data_that_came_otherwise_are_accepted_by_content(registry: Registry, tmp_path: Path):
    """A re-packed archive has another checksum; fetching must neither refuse nor replace it."""
    (tmp_path / "text.txt").write_text("whole, but packed otherwise")
    assert run(registry, "fetch", "text", "--data-root", str(tmp_path)).exit_code == 0
    assert (tmp_path / "text.txt").read_text() == "whole, but packed otherwise"


def test_damaged_data_are_replaced(registry: Registry, tmp_path: Path):
    (tmp_path / "text.txt").write_text("dam")
    assert run(registry, "fetch", "text", "--data-root", str(tmp_path)).exit_code == 0
    assert (tmp_path / "text.txt").read_text() == "whole text"


def test_check_tells_what_is_there_or_what_is_not(registry: Registry, tmp_path: Path):
    assert isinstance(run(registry, "check", "text", "--data-root", str(tmp_path)).exception, DataError)
    (tmp_path / "text.txt").write_text("whole")
    told = json.loads(run(registry, "check", "text", "--data-root", str(tmp_path), "--json").stdout)
    assert told["content"] == "a whole text"
    assert told["classes"] == {"train": 5, "validation": 10, "test": 4}
    assert "5 train, 10 validation, 4 test" in run(registry, "check", "text", "--data-root", str(tmp_path)).stdout


def test_check_reads_pictures_as_the_run_will(tmp_path: Path, hnas_home: Path):
    """Decoded at another size, a large folder would be decoded twice, and the first time in vain."""
    for label in range(6):
        (tmp_path / str(label)).mkdir()
        Image.effect_noise((12, 12), 90).save(tmp_path / str(label) / "a.png")
    built_in, root = Registry(third_party=False), str(tmp_path)

    def shape(*words: str) -> list[int]:
        told = run(built_in, "check", "folder", "--data-root", root, *words, "--json")
        assert told.exit_code == 0, told.output
        return json.loads(told.stdout)["image_shape"]

    assert shape() == [3, 32, 32]  # the preset `quick`
    assert shape("--preset", "none") == [3, 84, 84]
    assert shape("--set", "tasks.side=20", "--set", "tasks.grey=true") == [1, 20, 20]
    (tmp_path / "hnas.toml").write_text('[tasks]\nname = "folder"\nside = 16\n')
    assert shape("--config", str(tmp_path / "hnas.toml")) == [3, 16, 16]
    told = run(built_in, "check", "folder", "--data-root", root, "--preset", "none", "--set", "tasks.side=20").stderr
    assert "next: hnas run --tasks folder --data-root" in told
    assert told.endswith("--preset none --set tasks.side=20 --set task.n_way=2\n")
    assert isinstance(run(built_in, "check", "folder", "--set", "tasks.sides=20").exception, ConfigError)


def test_mistakes_are_told(registry: Registry, tmp_path: Path):
    built_in = Registry(third_party=False)
    assert isinstance(run(built_in, "fetch", "omniglott").exception, PluginError)
    assert "nothing to download" in run(built_in, "fetch", "glyphs").stdout
    assert isinstance(run(built_in, "check", "glyphs", "--data-root", str(tmp_path)).exception, ConfigError)


def test_incomplete_data_end_with_exit_code_3_and_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert command_line(["data", "check", "omniglot", "--data-root", str(tmp_path)]) == 3
    told = capsys.readouterr().err
    assert f"{tmp_path} has neither images_background/ nor images_background.zip" in told
    assert "hnas data fetch omniglot" in told
    assert "Traceback" not in told
