"""The run directory: made, resumed, locked and listed; what differs on a resume is refused by name."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

from hnas.errors import ConfigError, DataError, DeviceError, DivergenceError, PluginError
from hnas.toolkit.files import sealed
from hnas_app.config.load import load_config
from hnas_app.config.schema import Config, PluginChoice
from hnas_app.runs.environment import changes
from hnas_app.runs.making import resume_or_create
from hnas_app.runs.run_dir import RunDir
from hnas_app.runs.run_list import list_runs


@pytest.fixture
def config(toy_registry) -> Config:
    return load_config(toy_registry, env={}).config


def test_a_new_run_has_its_name_and_files(config, tmp_path):
    run = RunDir.create(config, root=tmp_path / "runs")
    assert re.fullmatch(r"\d{8}-\d{6}-vgg9-eyeriss-[0-9a-f]{6}", run.path.name)
    assert {p.name for p in run.path.iterdir()} == {"run.json", "config.toml", "environment.json", "checkpoints"}
    environment = json.loads((run.path / "environment.json").read_text())
    assert environment["packages"]["torch"]
    assert environment["plugins"]["hnas"]
    assert environment["cpu"]
    record = RunDir.open(run.path).record()
    assert (record["space"], record["seed"], record["phases"]) == ("vgg9", 0, {})


def test_a_user_class_gives_a_folder_name_without_its_path(config, tmp_path):
    board = attrs.evolve(config, backend=PluginChoice(name="/home/me/b.py:MyBoard"))
    assert "-vgg9-MyBoard-" in RunDir.create(board, root=tmp_path).path.name


def test_an_option_that_came_with_a_newer_version_does_not_end_a_run(config, tmp_path):
    """Each release that adds an option would cost users the runs they have under way."""
    run = RunDir.create(config, root=tmp_path)
    lines = run.config_path.read_text().splitlines(keepends=True)
    searched = f"final_tasks = {config.search.final_tasks}\n"
    run.config_path.write_text("".join(line for line in lines if line != searched))
    assert run.check_config(config) == [
        f"search.final_tasks is new since the run began; it is {config.search.final_tasks}"
    ]
    other = attrs.evolve(config, search=attrs.evolve(config.search, final_tasks=config.search.final_tasks + 1))
    with pytest.raises(ConfigError, match=r"search\.final_tasks: None in the run"):
        run.check_config(other)


def test_an_option_that_came_into_a_preset_does_not_end_a_run(config, toy_registry, tmp_path):
    """A run of the preset goes on as it began: its file holds what the preset said then."""
    assert (config.preset, config.retrain.finalists, config.search.start) == ("quick", 7, "scaled")
    run = RunDir.create(config, root=tmp_path)
    lines = run.config_path.read_text().splitlines(keepends=True)
    new = (f"finalists = {config.retrain.finalists}\n", 'start = "scaled"\n', 'candidates = "all"\n')
    run.config_path.write_text("".join(line for line in lines if line not in new))
    again = load_config(toy_registry, file=run.config_path, env={}).config
    assert (again.retrain.finalists, again.search.start, again.search.candidates) == (1, "random", "last")
    assert "retrain.finalists is new since the run began; it is 1" in run.check_config(again)
    assert again.search.tasks == config.search.tasks


def test_the_same_configuration_resumes(config, tmp_path):
    first, notes = resume_or_create(tmp_path / "run", config)
    assert notes == []
    first.set_phase("meta-train", "done", seconds=3)
    again, notes = resume_or_create(tmp_path / "run", config)
    assert notes == []
    assert again.is_done("meta-train")
    assert again.phase("meta-train")["seconds"] == 3
    assert not again.is_done("adapt")


def test_its_own_file_is_the_same_configuration(config, toy_registry, tmp_path):
    run = RunDir.create(config, path=tmp_path / "run")
    assert run.check_config(load_config(toy_registry, file=run.config_path, env={}).config) == []


def test_a_configuration_that_differs_is_refused_with_everything_that_differs(config, toy_registry, tmp_path):
    run = RunDir.create(config, path=tmp_path / "run")
    run.set_phase("meta-train", "done")
    other = load_config(toy_registry, env={}, sets=[("seed", "1"), ("space.base_width", "8"), ("workers", "3")]).config
    with pytest.raises(ConfigError) as error:
        resume_or_create(run.path, other)
    width = config.space.options.base_width
    assert str(error.value).splitlines()[1:] == [
        "seed: 0 in the run, 1 now",
        f"space.base_width: {width} in the run, 8 now",
    ]


def test_another_plugin_is_refused_with_its_options(config, toy_registry, tmp_path):
    run = RunDir.create(config, path=tmp_path / "run")
    with pytest.raises(ConfigError, match=r"space\.name: 'vgg9' in the run, 'deep' now"):
        run.check_config(load_config(toy_registry, env={}, flags={"space": "deep"}).config)


def test_workers_and_the_place_of_the_data_may_change(config, toy_registry, tmp_path):
    run = RunDir.create(config, path=tmp_path / "run")
    other = load_config(toy_registry, env={}, sets=[("workers", "3"), ("tasks.root", "/data")]).config
    _, notes = resume_or_create(run.path, other)
    assert notes == [
        "workers is 3 now, 0 when the run began",
        "tasks.root is '/data' now, '' when the run began",
    ]


def test_a_folder_that_is_no_run_is_refused(config, tmp_path):
    (tmp_path / "thesis.txt").write_text("all of it")
    with pytest.raises(DataError, match="neither a run directory nor empty"):
        resume_or_create(tmp_path, config)
    with pytest.raises(DataError, match="not a run directory"):
        RunDir.open(tmp_path)
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["thesis.txt"]


def test_a_kill_while_the_folder_was_made_is_no_obstacle(config, tmp_path):
    run = RunDir.create(config, path=tmp_path / "run")
    run.record_path.unlink()
    again, _ = resume_or_create(run.path, config)
    assert again.record()["phases"] == {}


@pytest.mark.parametrize("content", ["{", "[]", '{"schema": 1}', '{"schema": 99, "phases": {}}'])
def test_a_damaged_record_is_a_data_error(config, tmp_path, content):
    run = RunDir.create(config, path=tmp_path / "run")
    run.record_path.write_text(content)
    with pytest.raises(DataError, match=r"run\.json"):
        RunDir.open(run.path)


def test_a_version_that_changed_is_told(config, tmp_path):
    run = RunDir.create(config, path=tmp_path / "run")
    path = run.path / "environment.json"
    before = json.loads(path.read_text())
    before["packages"]["torch"] = "1.0"
    del before["checksum"]
    path.write_text(json.dumps(sealed(before)))
    _, notes = resume_or_create(run.path, config)
    assert len(notes) == 1
    assert "torch 1.0 -> " in notes[0]
    assert changes(before, before) == []


HOLD = """
import sys
from pathlib import Path
from hnas_app.runs.making import resume_or_create
from hnas_app.runs.run_dir import RunDir
with RunDir(Path(sys.argv[1])).lock():
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_kept_out_and_told_whose_run_it_is(config, tmp_path):
    run = RunDir.create(config, path=tmp_path / "run")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "locked\n"
    assert run.is_locked()
    with pytest.raises(DataError, match=f"in use by process {holder.pid}"), run.lock():
        pass
    holder.kill()
    holder.communicate()
    assert not run.is_locked()
    with run.lock():  # a killed process leaves no lock behind
        assert (run.path / ".lock").read_text().strip() == str(os.getpid())


@pytest.mark.parametrize(
    "error",
    [
        PluginError("a strategy broke its contract"),
        DeviceError("no answer"),
        DivergenceError("not a number"),
        DataError("the disk is full"),
        ZeroDivisionError("unexpected"),
        KeyboardInterrupt(),
        SystemExit(1),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_phase_is_stopped_after_any_error(config, tmp_path, error):
    run = RunDir.create(config, path=tmp_path / "run")

    def fail() -> None:
        with run.running("adapt"):
            assert run.phase("adapt")["state"] == "running"
            raise error

    with pytest.raises(type(error)) as caught:
        fail()
    assert caught.value is error
    assert run.phase("adapt")["state"] == "stopped"
    with run.running("adapt"):
        pass
    assert run.phase("adapt")["state"] == "done"


def test_a_record_that_cannot_be_written_hides_no_error(config, tmp_path):
    """A full disk or a damaged record is the smaller news."""
    run = RunDir.create(config, path=tmp_path / "run")

    def fail() -> None:
        with run.running("adapt"):
            run.record_path.write_text("{")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()


def test_the_list_shows_states_and_accuracy(config, tmp_path):
    done = RunDir.create(config, root=tmp_path)
    done.set_phase("evaluate", "done")
    done.update(results={"accuracy": 0.8125})
    stopped = RunDir.create(config, path=tmp_path / "killed")
    stopped.set_phase("meta-train", "running")
    damaged = RunDir.create(config, path=tmp_path / "damaged")
    damaged.record_path.write_text("{")
    (tmp_path / "no-run").mkdir()
    found = {r.path: r for r in list_runs(tmp_path)}
    assert set(found) == {done.path, stopped.path, damaged.path}
    assert found[done.path].accuracy == 0.8125
    assert found[stopped.path].phases == {"meta-train": "stopped"}
    assert "damaged" in str(found[damaged.path].problem)
    with stopped.lock():
        (running,) = [r for r in list_runs(tmp_path) if r.path == stopped.path]
        assert running.phases == {"meta-train": "running"}


def test_no_folder_has_no_runs(tmp_path):
    assert list_runs(Path(tmp_path) / "none") == []


def test_odd_values_in_the_record_of_an_older_run_are_left_out(tmp_path):
    """Records of then have no checksums, so anything may stand there."""
    for i, (key, value) in enumerate({"constraints": 5, "found": 7, "results": {"metrics": 3}}.items()):
        (tmp_path / str(i)).mkdir()
        record = {"schema": 1, "phases": {}, key: value}
        (tmp_path / str(i) / "run.json").write_text(json.dumps(record))
    (tmp_path / "0" / "pictures.json").write_text("[]")
    found = list_runs(tmp_path)
    assert [(r.limits, r.cost, r.problem) for r in found] == [((), None, None)] * 3
    assert found[0].pictures == "?"
