"""The Python API: whole runs from names and objects, equal to the command line's; quiet, resumable, clear in errors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_board import TinyBoard
from tiny_tasks import TinyTasks

import hnas
from hnas_app.cli import run as command_line
from hnas_plugins.spaces.vgg9 import VGG9, VGG9Options

TINY: dict[str, Any] = {
    "learner.inner_steps": 1,
    "task.n_way": 3,
    "strategy.population": 6,
    "strategy.iterations": 2,
    "meta_train.epochs": 1,
    "meta_train.iterations": 4,
    "meta_train.tasks": 2,
    "meta_train.validate_tasks": 4,
    "search.tasks": 2,
    "search.pool": 8,
    "search.n_query": 2,
    "search.final_tasks": 4,
    "retrain.epochs": 1,
    "retrain.iterations": 3,
    "retrain.tasks": 2,
    "evaluate.tasks": 20,
    "evaluate.n_query": 2,
}


def tiny(path: Path, **changes: Any) -> hnas.Run:
    """Make a whole run with objects of three kinds."""
    given: dict[str, Any] = {
        "space": VGG9(VGG9Options(base_width=4)),
        "tasks": TinyTasks(),
        "backend": TinyBoard(TinyBoard.Options(ns=2.0)),
        "preset": "none",
        "settings": TINY,
        "run_dir": path,
    }
    return hnas.run(**{**given, **changes})


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> hnas.Run:
    return tiny(tmp_path_factory.mktemp("api") / "whole")


def state_of_the_process() -> list[Any]:
    signals = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    random = [torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()]  # type: ignore[index]
    return [signals, random, torch.get_num_threads(), dict(os.environ), Path.cwd(), torch.is_grad_enabled()]


def test_a_run_tells_its_progress_and_leaves_the_process_as_it_was(tmp_path, capfd, whole):
    """A notebook goes on after it: with its threads, its generators, its handlers, and nothing printed.

    An earlier run has compiled what is compiled once; that is told on standard error.
    """
    capfd.readouterr()
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        before, events = state_of_the_process(), []
        made = tiny(tmp_path / "run", on_event=events.append)
        assert state_of_the_process() == before
    finally:
        torch.set_num_threads(threads)
    assert capfd.readouterr() == ("", "")
    assert made.phases == dict.fromkeys(["profile", "meta-train", "adapt", "retrain", "evaluate"], "done")
    starts = [e.phase for e in events if e.kind == "start"]
    assert starts[:3] == ["profile", "meta-train", "adapt"]
    assert starts[-1] == "evaluate"
    assert isinstance(made.results, hnas.Results)
    assert made.found == made.results.networks[0]
    assert made.found.cost["latency"] <= 0.6 * made.results.networks[-1].cost["latency"]


def test_it_does_what_the_command_line_does(tmp_path, whole, capsys):
    """Same settings, same numbers; and either goes on with the run of the other."""
    names = ["--space", "vgg9", "--tasks", "tiny_tasks:TinyTasks", "--backend", "tiny_board:TinyBoard"]
    settings = {**TINY, "space.base_width": 4, "backend.ns": 2.0}
    sets = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    folder = ["--run-dir", str(tmp_path / "shell"), "--workers", "1", "--preset", "none"]
    assert command_line(["run", *names, *sets, *folder, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    mine, theirs = whole.results, hnas.load_run(tmp_path / "shell")
    assert theirs.results.networks == mine.networks
    assert theirs.results.baseline == mine.baseline
    assert printed["networks"][0]["retrained"]["mean"] == whole.found.retrained.mean
    assert theirs.evaluate() == theirs.results


def test_what_objects_were_made_with_is_recorded_and_held_to(whole):
    """A run that goes on with another device would mix costs of two."""
    assert 'name = "object:TinyBoard"\nns = 2.0' in (whole.path / "config.toml").read_text()
    given: dict[str, Any] = {"space": VGG9(VGG9Options(base_width=4)), "tasks": TinyTasks()}
    again = hnas.load_run(whole.path, backend=TinyBoard(TinyBoard.Options(ns=2.0)), **given)
    assert again.evaluate() == whole.results
    assert again.adapt().chosen.arch == whole.found.arch
    with pytest.raises(hnas.ConfigError, match=r"backend\.ns: the object was made with 3\.0, got 2\.0"):
        hnas.load_run(whole.path, backend=TinyBoard(TinyBoard.Options(ns=3.0)), **given).profile()
    with pytest.raises(hnas.ConfigError, match=r"backend\.name: 'object:TinyBoard' in the run, 'eyeriss' now"):
        hnas.run(backend="eyeriss", **given, run_dir=whole.path)


def test_results_can_be_read_without_the_objects_and_no_phase_done(whole):
    lone = hnas.load_run(whole.path)
    assert lone.results == whole.results
    with pytest.raises(hnas.PluginError, match="space 'object:VGG9' is an object that a Python program gave") as caught:
        lone.profile()
    assert any("hnas.load_run(path, space=…)" in note for note in caught.value.__notes__)


def test_a_run_that_was_stopped_goes_on_to_the_same_end(tmp_path, whole):
    """By the user, in the middle of the search; the traceback says how to go on."""

    def stop(event: hnas.Event) -> None:
        if event.phase == "adapt" and event.kind == "step":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        tiny(tmp_path / "run", on_event=stop)
    assert caught.value.__notes__ == [f"to go on: hnas.load_run({str(tmp_path / 'run')!r})"]
    assert hnas.load_run(tmp_path / "run").phases["adapt"] == "stopped"
    with pytest.raises(hnas.DataError, match="no results yet; done: profile, meta-train"):
        _ = hnas.load_run(tmp_path / "run").results
    assert tiny(tmp_path / "run").results.networks == whole.results.networks


def test_after_any_error_the_phase_is_stopped_and_goes_on(tmp_path, whole):
    """One of a plugin, of training, of the machine, of the program, a wish to end: none leaves it "running"."""
    errors = [hnas.PluginError("x"), hnas.DivergenceError("x"), MemoryError(), ZeroDivisionError(), SystemExit(3)]
    for error in errors:

        def fail(event: hnas.Event, error: BaseException = error) -> None:
            if event.phase == "adapt" and event.kind == "step":
                assert hnas.load_run(tmp_path / "run").phases["adapt"] == "running"
                raise error

        with pytest.raises(type(error)):
            tiny(tmp_path / "run", on_event=fail)
        record = json.loads((tmp_path / "run" / "run.json").read_text())
        assert record["phases"]["adapt"]["state"] == "stopped"
    assert tiny(tmp_path / "run").results.networks == whole.results.networks


def test_phases_one_by_one_and_a_branch_for_another_limit(tmp_path):
    """One super-net serves several limits: the branch has a copy of it, and trains none."""
    made = tiny(tmp_path / "run", until=None)
    assert made.phases == {}
    with pytest.raises(hnas.DataError, match="not trained to its end"):
        made.branch(constraints="params<=2K")
    state = made.meta_train()
    assert made.profile().info.settings["ns"] == 2.0
    assert set(made.phases) == {"meta-train", "profile"}
    events: list[hnas.Event] = []
    given: dict[str, Any] = {"space": VGG9(VGG9Options(base_width=4)), "tasks": TinyTasks()}
    board = TinyBoard(TinyBoard.Options(ns=5.0))
    other = hnas.load_run(made.path, backend=TinyBoard(TinyBoard.Options(ns=2.0)), on_event=events.append, **given)
    branch = other.branch(backend=board, constraints=["params<=700,macs<=20K"], settings={"search.finalists": 3})
    chosen = branch.adapt().chosen
    assert chosen.cost["params"] <= 700
    assert chosen.cost["macs"] <= 20_000
    assert all(torch.equal(state[name], tensor) for name, tensor in branch.meta_train().items())
    assert "meta-train" not in {e.phase for e in events}
    assert branch.profile().info.settings["ns"] == 5.0


@pytest.mark.parametrize(("limit", "told"), [("energy<=3mJ", "unknown metric"), ("latency<=3mJ", "unit 'mJ'")])
def test_a_limit_that_no_device_could_check_is_told_before_anything_is_measured(tmp_path, limit, told):
    """Profiling a board takes minutes."""
    events: list[hnas.Event] = []
    with pytest.raises(hnas.ConfigError, match=told):
        tiny(tmp_path / "run", constraints=limit, on_event=events.append)
    assert "profile" not in {e.phase for e in events}


def test_several_phases_share_a_session_that_nobody_else_can_enter(whole):
    given: dict[str, Any] = {"space": VGG9(VGG9Options(base_width=4)), "tasks": TinyTasks()}
    run = hnas.load_run(whole.path, backend=TinyBoard(TinyBoard.Options(ns=2.0)), **given)
    with run.session() as phases:
        assert phases.cost(whole.found.arch) == whole.found.cost
        with pytest.raises(hnas.DataError, match="in use by process"), run.session():
            pass
    assert run.profile().info.device == "board"


def test_all_wrong_settings_are_told_at_once_in_the_words_of_python(tmp_path):
    with pytest.raises(hnas.ConfigError) as caught:
        hnas.run(
            seed=-1, settings={"search.taks": 3, "retrain.epochs": "many"}, constraints="latency<5", run_dir=tmp_path
        )
    told = str(caught.value)
    for part in ("seed: must be >= 0", "search.taks: unknown key", "retrain.epochs: expected int", "constraints: "):
        assert part in told
    assert "--" not in told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"backend": VGG9()}, hnas.PluginError, "expected a name or a hnas.HardwareBackend"),
        ({"backend": "eyeris"}, hnas.PluginError, "Did you mean 'eyeriss'"),
        ({"until": "retrian"}, hnas.ConfigError, "Did you mean 'retrain'"),
        ({"preset": "quik"}, hnas.ConfigError, "Did you mean 'quick'"),
        ({"space": VGG9(), "settings": {"space.base_width": 8}}, hnas.ConfigError, "made with 64, got 8"),
        ({"space": {"base_widht": 8}}, hnas.ConfigError, "space.base_widht: unknown key .* 'space.base_width'"),
        ({"learner": {"name": "maml", "inner_steps": "5"}}, hnas.ConfigError, "inner_steps: expected int, got str '5'"),
        ({"learner": {"name": 5}}, hnas.ConfigError, "learner.name: expected str, got int 5"),
        ({"settings": {"search": {"taks": 8}}}, hnas.ConfigError, "search.taks: unknown key"),
    ],
)
def test_a_wrong_argument_is_an_error_of_its_kind(tmp_path, given, error, message):
    with pytest.raises(error, match=message):
        hnas.run(run_dir=tmp_path, **given)
    assert list(tmp_path.iterdir()) == []


def test_a_plugin_may_be_a_table_of_its_options(tmp_path):
    """As a file of settings has them, with or without a name; sections of settings as well."""
    given = {"space": {"base_width": 8}, "learner": {"name": "maml", "inner_steps": 3}, "strategy": "random"}
    made = hnas.run(**given, settings={"search": {"tasks": 7}, "retrain.epochs": 2}, until=None, run_dir=tmp_path / "r")
    text = (made.path / "config.toml").read_text()
    for line in ("base_width = 8", 'name = "maml"', "inner_steps = 3", "tasks = 7", "epochs = 2"):
        assert f"\n{line}\n" in text


def test_a_folder_that_is_no_run_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(hnas.DataError, match="not a run directory") as caught:
        hnas.load_run(tmp_path)
    assert caught.value.__notes__[0].startswith("hint: `hnas runs` lists those in runs/")


NOTEBOOK = """
import hnas
from tiny_tasks import TinyTasks
class Mine(TinyTasks):
    pass
try:
    hnas.run(tasks=Mine(), workers=2)
except hnas.ConfigError as error:
    print(error)
"""


def test_workers_are_refused_what_they_cannot_import(tmp_path):
    """They would die in the middle of the run, with an error that names pickle."""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1] / "in_workers")}
    done = subprocess.run([sys.executable, "-c", NOTEBOOK], capture_output=True, text=True, cwd=tmp_path, env=env)
    assert "Mine is defined in a notebook" in done.stdout, done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_workers_compute_with_objects_of_importable_classes(tmp_path):
    assert tiny(tmp_path / "run", workers=2).phases["evaluate"] == "done"
