"""Another network than the one that was found: by its number, or of the user's own; runs shown elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import hnas
from hnas_app.cli import run as command_line
from hnas_app.usecases.arguments import WrongArgument

SETTINGS: dict[str, Any] = {
    "space.base_width": 4,
    "task.n_way": 3,
    "learner.inner_steps": 1,
    "strategy.population": 6,
    "strategy.iterations": 2,
    "meta_train.epochs": 1,
    "meta_train.iterations": 2,
    "meta_train.tasks": 2,
    "meta_train.validate_tasks": 2,
    "search.tasks": 2,
    "search.pool": 8,
    "search.n_query": 2,
    "search.final_tasks": 4,
    "search.finalists": 2,
    "retrain.epochs": 1,
    "retrain.iterations": 1,
    "retrain.tasks": 1,
    "evaluate.tasks": 2,
    "evaluate.n_query": 2,
}
RECORDER = """
import json
from hnas import Tracker

class Recorder(Tracker):
    def start(self, run, settings):
        self.path, self.lines = run / "recorded.txt", [f"seed {settings['seed']}"]

    def event(self, event):
        self.lines.append(f"{event.phase} {event.kind}")

    def close(self):
        self.path.write_text("\\n".join([*self.lines, "closed"]))

class Breaks(Recorder):
    def event(self, event):
        raise OSError("no room")
"""


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> hnas.Run:
    """A run whose search is done."""
    return hnas.run(
        space="vgg9",
        tasks="tiny_tasks:TinyTasks",
        backend="tiny_board:TinyBoard",
        preset="none",
        settings=SETTINGS,
        run_dir=tmp_path_factory.mktemp("runs") / "run",
        until="adapt",
    )


def called(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    capsys.readouterr()
    code = command_line([*map(str, words)])
    return code, *capsys.readouterr()


def test_the_table_numbers_what_can_be_picked(searched: hnas.Run, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = called(capsys, "adapt", searched.path, "--workers", "1")
    assert code == 0
    assert out.splitlines()[0].split()[0] == "#"
    assert [line.split()[0] for line in out.splitlines()[1:3]] == ["1", "2"]
    assert "--pick NUMBER" in err
    points = searched.adapt().points
    assert points[:2] == searched.adapt().finalists
    assert len({p.arch for p in points}) == len(points) > 2


def test_a_picked_network_is_trained_and_tested_in_a_run_beside_it(
    searched: hnas.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """It does not race: the user has chosen."""
    wanted = searched.adapt().points[2]
    before = set(searched.path.parent.iterdir())
    code, out, _ = called(capsys, "retrain", searched.path, "--pick", "3", "--workers", "1")
    assert code == 0
    (made,) = set(searched.path.parent.iterdir()) - before
    assert f"found: {made / 'checkpoints' / 'retrain-found'}" in out
    run = hnas.load_run(made)
    assert run.adapt().chosen.arch == wanted.arch
    assert run.evaluate().networks[0].arch == wanted.arch
    assert not (made / "race.json").exists()


@pytest.mark.parametrize("number", [0, -1, 1000])
def test_a_number_that_there_is_not_is_refused_by_name(
    number: int, searched: hnas.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    count, before = len(searched.adapt().points), set(searched.path.parent.iterdir())
    code, _, err = called(capsys, "retrain", searched.path, "--pick", number)
    assert code == 2
    assert f"--pick: {number} is none of the {count} networks of {searched.path}: expected 1 to {count}" in err
    assert set(searched.path.parent.iterdir()) == before
    with pytest.raises(WrongArgument, match="pick: "):
        searched.pick(number)
    with pytest.raises(hnas.ConfigError, match="has no choice"):
        searched.pick(arch="kernel9=1")
    assert set(searched.path.parent.iterdir()) == before


def test_what_contradicts_itself_or_is_not_in_the_space_is_refused(
    searched: hnas.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "--pick: excludes --arch" in called(capsys, "retrain", searched.path, "--pick", "1", "--arch", "x=1")[2]
    for text, told in (("kernel9=1", "has no choice"), ("kernel1=9", "is not one of"), ("[1", "is not JSON")):
        code, _, err = called(capsys, "retrain", searched.path, "--arch", text)
        assert (code, told in err) == (3, True), err


@pytest.mark.slow
def test_a_network_of_the_users_own_is_compared_with_those_that_cost_no_more(searched: hnas.Run) -> None:
    """Its default limit is its own cost: 0.6 of the reference's would refuse many."""
    arch = hnas.load_run(searched.path).adapt().points[-1].arch
    whole = hnas.run(
        space="vgg9",
        tasks="tiny_tasks:TinyTasks",
        backend="tiny_board:TinyBoard",
        preset="none",
        settings=SETTINGS | {"search.architecture": json.dumps(list(arch.genes))},
        run_dir=searched.path.parent / "own",
    )
    rows = {row.name: row for row in whole.results.networks}
    assert rows["found"].arch == arch
    first = whole.results.metrics[0].name
    if "scaled" in rows:
        assert rows["scaled"].cost[first] <= rows["found"].cost[first]
    with pytest.raises(hnas.InfeasibleError, match=r"the network given, .*, breaks a limit of params<=0.5ref"):
        hnas.load_run(searched.path).branch(
            constraints="params<=0.5ref", settings={"search.architecture": "maml++"}
        ).adapt()


def test_a_run_has_a_name_if_it_is_given_one(
    searched: hnas.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert called(capsys, "adapt", searched.path, "--name", "mine", "--workers", "1")[0] == 0
    assert hnas.load_run(tmp_path / "runs" / "mine").phases["adapt"] == "done"
    code, _, err = called(capsys, "adapt", searched.path, "--name", "mine")
    assert (code, "--name: runs/mine is there already; `hnas adapt runs/mine` goes on" in err) == (2, True)
    assert "is not a name" in called(capsys, "adapt", searched.path, "--name", "a/b")[2]


def test_a_tilde_that_a_shell_left_is_the_home(
    searched: hnas.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder called ``~`` was made, or a report was written into it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(searched.path)
    assert f"{tmp_path}/none is not a run directory" in called(capsys, "report", "~/none")[2]
    assert f"cannot write {tmp_path}/no/page.html" in called(capsys, "report", "~/link", "--out=~/no/page.html")[2]
    assert f"there is no folder {tmp_path}/task" in called(capsys, "adapt", "~/link", "--pictures", "~/task")[2]
    assert called(capsys, "config", "init", "~/mine.toml")[0] == 0
    assert (tmp_path / "mine.toml").is_file()
    assert not (tmp_path / "~").exists()


def test_events_reach_a_tracker_and_one_that_fails_changes_nothing(
    searched: hnas.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recorder_of_a_test.py").write_text(RECORDER)
    logs = [part for name in ("Breaks", "Recorder") for part in ("--log", f"./recorder_of_a_test.py:{name}")]
    words = ["adapt", searched.path, "--name", "logged", "--workers", "1", "--json", *logs]
    code, out, err = called(capsys, *words)
    assert code == 0
    lines = (tmp_path / "runs" / "logged" / "recorded.txt").read_text().splitlines()
    assert (lines[0], lines[-1]) == ("seed 0", "closed")
    assert lines.count("adapt step") == 2
    assert err.count("Breaks shows no more of this run, which goes on: OSError: no room") == 1
    assert json.loads(out)["finalists"] == json.loads((searched.path / "adapt.json").read_text())["finalists"]
    code, _, err = called(capsys, "adapt", searched.path, "--name", "other", "--log", "tensorbord")
    assert (code, "unknown tracker 'tensorbord'. Did you mean 'tensorboard'?" in err) == (4, True)
    assert not (tmp_path / "runs" / "other").exists()
