"""`hnas adapt` with several backends and limits: what it leaves, how it goes on after a kill, what it refuses."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from hnas import PluginError, load_run
from hnas.toolkit.codec import load, to_json
from hnas.toolkit.files import sealed
from hnas_app.cli import run
from hnas_app.runs.run_dir import RunDir
from hnas_app.runs.run_list import list_runs
from hnas_app.search.adapt import Adaption
from hnas_app.sweeps.record import read_sweep

TINY = {
    "space.base_width": 4,
    "task.n_way": 2,
    "strategy.population": 6,
    "strategy.iterations": 3,
    "learner.inner_steps": 1,
    "learner.multi_step_loss": False,
    "meta_train.epochs": 1,
    "meta_train.iterations": 2,
    "meta_train.tasks": 2,
    "meta_train.shrink_start": 0,
    "search.tasks": 3,
    "search.pool": 8,
    "search.n_query": 2,
    "search.finalists": 2,
    "search.final_tasks": 5,
    "retrain.epochs": 1,
    "retrain.iterations": 1,
    "retrain.tasks": 2,
    "evaluate.tasks": 4,
}
SETS = [part for key, value in TINY.items() for part in ("--set", f"{key}={value}")]
LIMITS = ("latency<=0.6ref", "params<=1ref,macs<=0.5ref")
PAIRS = [part for backend in ("eyeriss", "eyeriss-rs") for part in ("--backend", backend)]
PAIRS += [part for limits in LIMITS for part in ("--constraint", limits)]


@pytest.fixture(scope="module")
def supernet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trained") / "supernet"
    assert run(["meta-train", "--preset", "none", "--workers", "1", "--run-dir", str(path), *SETS]) == 0
    return path


@pytest.fixture
def runs(supernet: Path, tmp_path: Path) -> Path:
    """A folder of runs with the super-net in it."""
    shutil.copytree(supernet, tmp_path / "runs" / "supernet")
    return tmp_path / "runs"


@pytest.fixture
def adapt(runs: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(*words: str, path: Path | None = None) -> tuple[int, str, str]:
        code = run(["adapt", str(path or runs / "supernet"), "--workers", "1", *words])
        return code, *capsys.readouterr()

    return call


def folder_of(runs: Path) -> Path:
    (folder,) = runs.glob("*-sweep-*")
    return folder


@pytest.fixture(scope="module")
def untouched(supernet: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep over four pairs."""
    runs = tmp_path_factory.mktemp("runs")
    shutil.copytree(supernet, runs / "supernet")
    assert run(["adapt", str(runs / "supernet"), "--workers", "1", *PAIRS]) == 0
    return folder_of(runs)


def test_the_environment_does_not_change_a_run_behind_its_back(adapt, runs, monkeypatch):
    """A variable that was set for another run; with flags a new run is asked for, here none is."""
    monkeypatch.setenv("HNAS_SEED", "7")
    code, _, err = adapt()
    assert code == 3
    assert "seed: 0 in the run, 7 now" in err
    assert [p.name for p in runs.iterdir()] == ["supernet"]


def results(folder: Path) -> dict[str, Any]:
    """Return what a sweep found, of each pair and of all, without what tells one folder from another."""
    table = json.loads((folder / "sweep.json").read_text())
    del table["supernet"], table["checksum"]  # it is of the folder, too
    found = {"table": table}
    for pair in table["pairs"]:
        path = folder / pair["name"]
        for name in ("search.jsonl", "config.toml"):
            found[f"{pair['name']} {name}"] = (path / name).read_text()
        for name in ("adapt.json", "profile.json"):
            found[f"{pair['name']} {name}"] = json.loads((path / name).read_text())
    return found


def test_every_pair_is_a_run_directory_of_its_own(untouched: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = read_sweep(untouched)
    assert [(p.backend, p.constraints) for p in record.pairs] == [
        (backend, tuple(limits.split(","))) for backend in ("eyeriss", "eyeriss-rs") for limits in LIMITS
    ]
    assert record.evaluations == sum(p.found.evaluations for p in record.pairs if p.found)
    for pair in record.pairs:
        assert pair.found is not None
        path = untouched / pair.name
        found = load(path / "adapt.json", Adaption).chosen
        assert (found.arch, found.loss, found.accuracy) == (pair.found.arch, pair.found.loss, pair.found.accuracy)
        assert {pair.found.cost["params"], pair.found.cost["macs"]} == {found.cost["params"], found.cost["macs"]}
        assert [p for p in ("meta-train", "profile", "adapt") if RunDir.open(path).is_done(p)] == [
            "meta-train", "profile", "adapt",
        ]  # fmt: skip
        weights = [next(p.glob("checkpoints/meta-train/*.safetensors")) for p in (path, untouched.parent / "supernet")]
        assert weights[0].samefile(weights[1])  # no space is taken by copies
    assert {r.path.name for r in list_runs(untouched.parent)} == {"supernet", *(p.name for p in record.pairs)}
    assert run(["adapt", str(untouched), "--json"]) == 0  # a finished sweep is shown again
    assert sealed(json.loads(capsys.readouterr().out)) == json.loads((untouched / "sweep.json").read_text())


def test_the_table_tells_what_each_pair_cost_and_what_to_do_next(
    untouched: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["adapt", str(untouched)]) == 0
    out, err = capsys.readouterr()
    lines, record = out.splitlines(), read_sweep(untouched)
    assert lines[0].split()[-1] == "evaluations"
    for line, pair in zip(lines[1:], record.pairs, strict=False):
        assert pair.found is not None
        assert line.split()[:3] == [pair.name, pair.backend, ",".join(pair.constraints)]
        assert line.split()[-1] == str(pair.found.evaluations)
    assert f"{record.evaluations:,} evaluations" in out
    assert f"next: hnas retrain {untouched} --pick NUMBER" in err


@pytest.mark.parametrize(
    "after", [pytest.param(1, marks=pytest.mark.slow), 9, pytest.param(25, marks=pytest.mark.slow)]
)
def test_a_sweep_that_was_killed_goes_on_to_the_same_result(
    runs: Path, untouched: Path, adapt: Callable[..., tuple[int, str, str]], after: int
) -> None:
    """Killed by the kernel when ``after`` architectures had been scored, then named to the same command."""
    program = (
        "import os, signal, sys, hnas_app.search.score_store as s\n"
        "left = [int(sys.argv.pop(1))]\n"
        "append = s.JsonLines.append\n"
        "def append_and_die(self, value, **options):\n"
        "    append(self, value, **options)\n"
        "    left[0] -= self.path.name == 'scores.jsonl'\n"
        "    left[0] or os.kill(os.getpid(), signal.SIGKILL)\n"
        "s.JsonLines.append = append_and_die\n"
        "from hnas_app.cli import main; main()"
    )
    command = [sys.executable, "-c", program, str(after), "adapt", str(runs / "supernet"), "--workers", "1", *PAIRS]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == -signal.SIGKILL, done.stderr
    folder = folder_of(runs)
    assert not read_sweep(folder).is_done
    assert RunDir.open(folder / "01-eyeriss").phase("adapt")["state"] == "running"  # a killed process corrects nothing
    assert [r.phases["adapt"] for r in list_runs(folder)] == ["stopped"] * 4
    assert load_run(folder / "01-eyeriss").phases["adapt"] == "stopped"
    code, _, err = adapt(path=folder / "01-eyeriss")
    assert (code, f"finish the sweep first: hnas adapt {folder}" in err) == (3, True)
    assert adapt(path=folder)[0] == 0
    assert results(folder) == results(untouched)


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit, PluginError])
def test_after_any_error_each_pair_is_stopped(
    runs: Path, adapt: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def fail(*arguments: Any) -> None:
        raise error("in the middle")

    with monkeypatch.context() as patch:
        patch.setattr("hnas_app.search.score_store.ScoreStore.settle", fail)
        with suppress(SystemExit):
            adapt(*PAIRS)
    folder = folder_of(runs)
    assert [RunDir.open(p.parent).phase("adapt")["state"] for p in folder.glob("*/run.json")] == ["stopped"] * 4


def test_a_pair_is_trained_and_tested_like_any_run(untouched: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = untouched / "03-eyeriss_rs"
    assert run(["evaluate", str(path), "--workers", "1", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    pair = read_sweep(untouched).pairs[2]
    assert pair.found is not None
    assert shown["networks"][0]["arch"] == to_json(pair.found.arch)
    assert shown["limits"] == list(pair.constraints)


def test_mistakes_of_all_pairs_are_told_before_anything_is_made(
    runs: Path, adapt: Callable[..., tuple[int, str, str]]
) -> None:
    """A metric that one backend lacks, a unit that is wrong, a text that is no limit, each with its pair."""
    wrong = ["energy<=5", "latency<=3mJ", "latency<=1ms,params<1"]
    code, _, err = adapt(
        *PAIRS[:4], *(part for limits in (*wrong, "latency<=1ms") for part in ("--constraint", limits))
    )
    assert code == 3
    assert "5 of 8 pairs cannot be searched" in err
    assert "eyeriss, energy<=5: constraint 'energy<=5': unknown metric 'energy'" in err
    assert "give: latency, cycles, params, macs" in err
    for backend in ("eyeriss", "eyeriss-rs"):
        assert f"{backend}, latency<=3mJ: constraint 'latency<=3mJ': unit 'mJ' is not possible" in err
        assert f"{backend}, latency<=1ms,params<1: constraint 'params<1': '<' is not possible" in err
    assert [p.name for p in runs.iterdir()] == ["supernet"]


def test_limits_out_of_reach_are_told_together(runs: Path, adapt: Callable[..., tuple[int, str, str]]) -> None:
    code, _, err = adapt(*PAIRS[:4], "--constraint", "latency<=1ns", "--constraint", "latency<=1ms")
    assert code == 5
    assert "2 of 4 pairs cannot be searched" in err
    for backend in ("eyeriss", "eyeriss-rs"):
        assert f"{backend}, latency<=1ns: no architecture of vgg9 satisfies latency<=1ns: the smallest latency" in err
    assert [p.name for p in runs.iterdir()] == ["supernet"]  # the next try makes a folder of its own


def test_what_makes_no_sense_is_refused(
    runs: Path, untouched: Path, adapt: Callable[..., tuple[int, str, str]]
) -> None:
    code, _, err = adapt("--backend", "eyeriss", "--backend", "eyeriss")
    assert (code, "'eyeriss' is given twice" in err) == (2, True)
    code, _, err = adapt(*PAIRS, "--device", "pi4")
    assert (code, "write --backend NAME:DEVICE for each" in err) == (2, True)
    code, _, err = adapt("--constraint", "params<=1K", path=untouched)
    assert (code, "its pairs and settings are chosen already" in err) == (3, True)
    code, _, err = adapt(*PAIRS, path=runs / "nowhere")
    assert (code, "is not a run directory" in err) == (3, True)


def test_elsewhere_limits_are_one_set(capsys: pytest.CaptureFixture[str]) -> None:
    """A repeated flag meant "and" before; to search for the last one only would be silent and wrong."""
    assert run(["config", "show", "--constraint", "params<=1K", "--constraint", "macs<=1M"]) == 2
    err = capsys.readouterr().err
    assert "joined by a comma, as in 'params<=1K,macs<=1M'" in err
    assert "`hnas adapt` takes it repeatedly" in err
    assert run(["config", "show", "--constraint", "params<=1K, macs<=1M", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["constraints"] == {"value": ["params<=1K", "macs<=1M"], "origin": "--constraint"}
