"""A run's super-net as a project of one's own: complete, portable, and without what belongs to one machine."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from published import TINY

import hnas
from hnas.discovery import Registry
from hnas.errors import ConfigError, DataError
from hnas_app.cli import run as command_line
from hnas_app.runs.run_dir import RunDir
from hnas_app.supernets.packing import LICENCE, Packed, packed

PART = {"weights.safetensors": "weights", "config.toml": "config", "card.md": "card"}


@pytest.fixture
def new(trained: RunDir, tmp_path: Path) -> Path:
    """The project that `hnas plugins new supernet` writes."""
    folder = tmp_path / "project"
    words = ["plugins", "new", "supernet", "leaves", "--from", str(trained.path), "--out", str(folder)]
    assert command_line(words) == 0
    return folder


def test_a_project_holds_the_files_and_describes_them(new: Path, site: Any) -> None:
    source = new / "src" / "hnas_supernet_leaves"
    assert {p.name for p in source.iterdir()} == {"__init__.py", "py.typed", *PART}
    assert 'leaves = "hnas_supernet_leaves"' in (new / "pyproject.toml").read_text()
    shutil.copytree(source, site.folder / "hnas_supernet_leaves")
    info = site.folder / "hnas_supernet_leaves-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hnas-supernet-leaves\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text("[hnas]\nleaves = hnas_supernet_leaves\n")
    assert hnas.load_supernet("leaves").phases == {"meta-train": "done"}
    assert command_line(["plugins", "check", "leaves", "--quick"]) == 0


def test_nothing_of_one_machine_is_packed(tiny: Packed, trained: RunDir) -> None:
    config = tiny.config.decode()
    assert 'accelerator = "cpu"' in config
    assert "workers = 0" in config  # the run had 1
    assert "constraints = []" in config
    assert str(trained.path) not in config + tiny.card.decode()


def test_the_card_is_filled_in_as_far_as_the_run_knows(tiny: Packed, trained: RunDir) -> None:
    card = tiny.card.decode()
    for part in (
        "# Super-net `leaves`",
        LICENCE,
        "Tasks of `glyphs`",
        "1 epochs of 2 meta-iterations",
        "torch ",
        "## Limits",
    ):
        assert part in card
    assert "Not tested yet" in card
    assert tiny.n_way == (2, 50)


@pytest.mark.slow
def test_the_card_has_the_accuracies_of_a_run_that_is_evaluated(tmp_path: Path) -> None:
    run = hnas.run(tasks="glyphs", preset="none", settings=TINY, run_dir=tmp_path / "run")
    card = packed(RunDir(run.path), "leaves", Registry(third_party=False)).card.decode()
    assert f"| found | {run.found.zero_retrain} | {run.found.retrained} |" in card
    assert f"Nearest class mean: {run.results.baseline}" in card


def test_a_run_that_is_not_trained_is_refused(tmp_path: Path) -> None:
    run = hnas.run(tasks="glyphs", preset="none", settings=TINY, run_dir=tmp_path / "run", until=None)
    with pytest.raises(DataError, match="not trained to its end"):
        packed(RunDir(run.path), "leaves", Registry(third_party=False))


def test_a_run_of_user_code_is_refused(tmp_path: Path) -> None:
    run = hnas.run(
        tasks="tiny_tasks:TinyTasks", preset="none", settings=TINY, run_dir=tmp_path / "run", until="meta-train"
    )
    with pytest.raises(ConfigError, match="tasks 'tiny_tasks:TinyTasks'") as error:
        packed(RunDir(run.path), "leaves", Registry(third_party=False))
    assert "hnas plugins new KIND NAME" in str(error.value.hint)


@pytest.mark.parametrize("words", [["supernet", "leaves"], ["space", "leaves", "--from", "run"]])
def test_a_run_is_named_for_a_super_net_only(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line(["plugins", "new", *words]) == 2
    assert "--from" in capsys.readouterr().err


def test_a_name_that_is_taken_is_refused(site: Any, tiny: Packed, trained: RunDir, capsys: Any) -> None:
    site.publish(tiny)
    assert command_line(["plugins", "new", "supernet", "leaves", "--from", str(trained.path)]) == 4
    assert "is there, from hnas-supernet-leaves" in capsys.readouterr().err


@pytest.mark.slow
def test_it_is_installed_and_passes_the_check(new: Path, make_venv: Any) -> None:
    venv = make_venv(new)
    assert venv.hnas("plugins", "check", "leaves", cwd=new).returncode == 0
