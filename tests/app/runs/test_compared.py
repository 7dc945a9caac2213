"""The networks that a run compares with: trained and tested like the one it found, or said to be missing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hnas_app.cli import run as command_line

Run = Callable[..., int]


@pytest.fixture
def run(tiny_settings: dict[str, Any], tmp_path: Path) -> Run:
    """A function that runs with some networks to compare with, into the folder ``run``."""

    def make(reference: str | None, limit: str = "latency<=0.6ref", **more: Any) -> int:
        named = more if reference is None else {"retrain.reference": reference, **more}
        given = {**tiny_settings, "space.base_width": 16, **named}
        sets = [word for key, value in given.items() for word in ("--set", f"{key}={value}")]
        names = ["--tasks", "tiny_tasks:TinyTasks", "--backend", "tiny_board:TinyBoard", "--workers", "1"]
        folder = ["--run-dir", str(tmp_path / "run")]
        return command_line(["run", "--preset", "none", *names, *sets, *folder, "--constraint", limit])

    return make


@pytest.mark.parametrize(
    ("reference", "rows"),
    [
        (None, ["found", "scaled", "maml++-omniglot"]),
        ("scaled", ["found", "scaled"]),
        ("maml++, scaled", ["found", "maml++", "scaled"]),
        ("none", ["found"]),
    ],
)
def test_the_rows_are_those_that_are_named(reference: str | None, rows: list[str], run: Run, tmp_path: Path) -> None:
    assert run(reference) == 0
    networks = json.loads((tmp_path / "run" / "evaluate.json").read_text())["networks"]
    assert [n["name"] for n in networks] == rows
    recorded = json.loads((tmp_path / "run" / "run.json").read_text())["results"]["networks"]
    assert [n["name"] for n in recorded] == rows
    costs = {n["name"]: n["cost"]["values"] for n in networks}
    if "scaled" in rows and "maml++" not in rows:
        trained = (tmp_path / "run" / "checkpoints" / "retrain-scaled").glob("state-*.json")
        assert [path.stem for path in trained] == ["state-00000002"]
        if reference is None:
            assert costs["scaled"]["latency"] <= 0.6 * costs["maml++-omniglot"]["latency"]
            assert costs["scaled"]["params"] < costs["maml++-omniglot"]["params"]


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        ("params<=400", "scaled: maml++-omniglot satisfies the limits at no width of vgg9"),
        ("latency<=1ref", "scaled: maml++-omniglot itself is the widest that satisfies the limits"),
    ],
)
def test_a_missing_row_is_said_and_the_run_goes_on(
    limit: str, told: str, run: Run, tmp_path: Path, capsys: Any
) -> None:
    assert run(None, limit) == 0
    assert told in capsys.readouterr().out
    found = json.loads((tmp_path / "run" / "evaluate.json").read_text())
    assert found["missing"] == [told]
    assert [n["name"] for n in found["networks"]] == ["found", "maml++-omniglot"]


def test_the_scaled_network_is_a_row_though_it_is_the_reference_if_that_is_none(run: Run, tmp_path: Path) -> None:
    """There was nothing to compare with, though that was asked for."""
    assert run("scaled", "latency<=1ref") == 0
    found = json.loads((tmp_path / "run" / "evaluate.json").read_text())
    assert [n["name"] for n in found["networks"]] == ["found", "scaled"]
    assert found["missing"] == []


def test_a_space_without_widths_says_so(run: Run, tmp_path: Path) -> None:
    assert run(None, **{"space.ge": "false"}) == 0
    found = json.loads((tmp_path / "run" / "evaluate.json").read_text())
    assert found["missing"] == ["scaled: vgg9 has no choices of widths, so maml++ cannot be scaled"]


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("scaled,maml+", "vgg9 has no reference network 'maml+'"),
        ("auto,none", "expected 'none', or different names with commas between them, got 'auto,none'"),
        ("auto,,scaled", "got 'auto,,scaled'"),
        ("auto,auto", "got 'auto,auto'"),
    ],
)
def test_a_wrong_name_is_refused_before_anything_is_made(
    reference: str, told: str, run: Run, tmp_path: Path, capsys: Any
) -> None:
    assert run(reference) == 3
    assert told in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_winner_of_the_race_is_what_was_found(
    run: Run, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever wins: its weights are those tested, exported and gone on from, and are trained to the end, once."""
    monkeypatch.setattr("hnas_app.runs.alone.mean_accuracy", lambda *given: given[0].alone.genes[1] + 1.0)
    options = {"retrain.finalists": 3, "retrain.iterations": 8, "search.final_tasks": 4, "search.finalists": 6}
    assert run(None, **options) == 0
    out = capsys.readouterr().out
    assert "\nthe search's choice: place 1 to " in out
    folder = tmp_path / "run"
    race = json.loads((folder / "race.json").read_text())
    assert list(race["networks"])[-1] == "scaled"
    winner = race["heats"][-1]["ranking"][0]
    assert f"{winner} won".replace("found", "the search's choice") in out
    results = json.loads((folder / "evaluate.json").read_text())
    assert results["networks"][0]["arch"] == race["networks"][winner]
    assert results["race"]["networks"] == race["networks"]
    ends = {p.parent.name: p.stem for p in sorted(folder.glob("checkpoints/retrain-*/state-*.json"))}
    assert ends[f"retrain-{winner}"] == ends["retrain-scaled"] == "state-00000008"
    assert "the super-net is too young" in out  # so twice as many race
    assert len(race["networks"]) == 2 * 3 + 1
    losers = set(race["networks"]) - {winner, "scaled"}
    assert all(ends[f"retrain-{name}"] in {f"state-0000000{n}" for n in (1, 2, 4)} for name in losers)
    assert command_line(["retrain", str(folder)]) == 0
    assert f"found: {folder / 'checkpoints' / f'retrain-{winner}'}\n" in capsys.readouterr().out
