"""Finished runs: read from where nothing can be written, of an older schema, with files that are damaged or gone."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hnas.errors import DivergenceError
from hnas.toolkit.files import sealed
from hnas_app.cli import run as command_line
from hnas_app.runs.run_dir import RunDir
from hnas_app.training import outer_loop


@pytest.fixture
def finished(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished run, and of its home."""
    shutil.copytree(whole, tmp_path / "base", symlinks=True)
    monkeypatch.setenv("HNAS_HOME", str(tmp_path / "base" / "home"))
    return tmp_path / "base" / "run"


def edit(path: Path, change: Callable[[dict[str, Any]], object], seal: bool = True) -> None:
    value = json.loads(path.read_text())
    value.pop("checksum", None)
    change(value)
    path.write_text(json.dumps(sealed(value) if seal else value))


def test_a_run_of_the_older_schema_is_read_and_reported_once(finished: Path, capsys: Any) -> None:
    """An upgrade must not cost a user the runs from before it; nor pretend that they are protected."""
    before = json.loads((finished / "evaluate.json").read_text())["networks"]
    for name in ("run", "profile", "adapt", "race", "evaluate"):
        edit(finished / f"{name}.json", lambda value: value.update(schema=1), seal=False)
    edit(finished / "environment.json", lambda value: value.pop("schema"), seal=False)
    config = finished / "config.toml"
    config.write_text(re.sub(r"\n# checksum.*", "", config.read_text()))
    for _ in range(2):
        capsys.readouterr()
        assert command_line(["evaluate", str(finished)]) == 0
        assert capsys.readouterr().err.count("its records have no checksums, and are read unchecked") == 1
        RunDir(finished).set_phase("evaluate", "done")  # what is written now is of the older schema still
    assert json.loads((finished / "evaluate.json").read_text())["networks"] == before


@pytest.mark.parametrize("name", ["run", "profile", "adapt", "race", "evaluate"])
def test_a_digit_in_a_record_or_no_checksum_is_damage(finished: Path, name: str, capsys: Any) -> None:
    edit(finished / f"{name}.json", lambda value: None, seal=False)
    assert command_line(["evaluate", str(finished)]) == 3
    assert f"{name}.json is damaged or was edited: its checksum does not hold, or is missing" in capsys.readouterr().err


def test_edited_settings_are_refused_unless_results_do_not_depend_on_them(finished: Path, capsys: Any) -> None:
    """A phase that follows would go on with another seed, and nobody could say which numbers are of which."""
    path = finished / "config.toml"
    text = path.read_text()
    path.write_text(text.replace("workers = 1", "workers = 2  # of the new machine"))
    assert RunDir.open(finished).path == finished
    path.write_text(text.replace("seed = 0", "seed = 1"))
    assert command_line(["evaluate", str(finished)]) == 3
    told = capsys.readouterr().err
    assert f"{path} is damaged or was edited" in told
    assert "hnas run --config" in told


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("run", lambda v: v.update(phases=[]), "'phases', got []"),
        ("run", lambda v: v["phases"].update(adapt="done"), "'phases.adapt', got 'done'"),
        ("run", lambda v: v.update(results=3), "'results', got 3"),
        ("environment", lambda v: v.update(plugins=["torch"]), "'plugins', got ['torch']"),
        ("environment", lambda v: v.update(packages=3), "'packages', got 3"),
        ("adapt", lambda v: v.update(population=3), "population"),
        ("evaluate", lambda v: v.update(networks={"a": 1}), "networks"),
    ],
)
def test_wrong_shapes_name_the_file_and_the_key(
    finished: Path, name: str, change: Callable[[dict[str, Any]], object], told: str, capsys: Any
) -> None:
    edit(finished / f"{name}.json", change)
    assert command_line(["run", "--run-dir", str(finished), "--config", str(finished / "config.toml")]) == 3
    seen = capsys.readouterr().err
    assert f"{name}.json is damaged" in seen
    assert told in seen


def test_a_list_of_runs_survives_a_wrong_accuracy(finished: Path, capsys: Any) -> None:
    edit(finished / "run.json", lambda value: value["results"].update(accuracy="high"))
    assert command_line(["runs", str(finished.parent)]) == 0
    assert "'results.accuracy' is 'high'" in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    "name", ["run.json", "environment.json", "adapt.json", "checkpoints/meta-train/state-00000002.json"]
)
def test_deep_nesting_is_damage(finished: Path, name: str, capsys: Any) -> None:
    for text in ("[" * 100_000, "[" * 300 + "]" * 300):
        (finished / name).write_text(text)
        code = command_line(["run", "--run-dir", str(finished), "--config", str(finished / "config.toml")])
        told = capsys.readouterr().err
        assert (code, "unexpected" in told) == (3, False), told
        assert name in told


@pytest.mark.parametrize("text", ["seed = " + "[" * 100_000, "a = " + "{a=" * 10_000])
def test_deep_nesting_in_settings_is_a_mistake(text: str, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "deep.toml").write_text(text)
    assert command_line(["config", "check", str(tmp_path / "deep.toml")]) == 3
    assert command_line(["config", "show", "--set", text[:20_000].replace(" ", "")]) == 3
    assert "unexpected" not in capsys.readouterr().err


def test_a_super_net_that_is_gone_is_not_trained_again_unasked(finished: Path, capsys: Any) -> None:
    """Hours of training began again, and the run's numbers were of another super-net than its record said."""
    shutil.rmtree(finished / "checkpoints" / "meta-train")
    for command in (["evaluate"], ["adapt", "--constraint", "latency<=0.9ref"]):
        assert command_line([command[0], str(finished), *command[1:]]) == 3
        told = capsys.readouterr().err
        assert f"{finished / 'checkpoints' / 'meta-train'} holds no whole checkpoint of it any more" in told
        assert f"hnas meta-train --config {finished / 'config.toml'}" in told
    assert not (finished / "checkpoints" / "meta-train").exists()
    assert {p.name for p in finished.parent.iterdir()} == {"run", "home"}


def weights_of_found(run: Path) -> Path:
    """The folder of the winner of the race."""
    winner = json.loads((run / "race.json").read_text())["heats"][-1]["ranking"][0]
    return run / "checkpoints" / f"retrain-{winner}"


def test_a_network_that_is_gone_is_trained_again_with_a_word(finished: Path, capsys: Any) -> None:
    shutil.rmtree(weights_of_found(finished))
    before = (finished / "evaluate.json").read_bytes()
    assert command_line(["evaluate", str(finished)]) == 0
    assert "so it is trained again from iteration 0" in capsys.readouterr().err
    assert (finished / "evaluate.json").read_bytes() == before


def test_a_damaged_network_is_not_exchanged_for_another_in_an_export(
    finished: Path, tmp_path: Path, capsys: Any
) -> None:
    """The super-net's weights were exported in its place."""
    path = weights_of_found(finished) / "state-00000002.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert command_line(["export", str(finished), "--out", str(tmp_path / "out")]) == 3
    told = capsys.readouterr().err
    assert f"{path} is damaged" in told
    assert f"hnas retrain {finished}" in told
    assert command_line(["retrain", str(finished)]) == 0
    assert command_line(["export", str(finished), "--out", str(tmp_path / "out")]) == 0


def test_temporary_files_of_killed_processes_go_at_the_next_start(finished: Path) -> None:
    """Each kill left one, of the size of a super-net; that of a living process may be in the making."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = [
        finished / f".run.json.{ended.pid}.tmp",
        finished / "checkpoints" / "meta-train" / f".state.{ended.pid}.tmp",
    ]
    kept = [finished / f".adapt.json.{os.getppid()}.tmp", finished / ".mine.tmp"]
    for path in (*left, *kept):
        path.write_text("cut")
    with RunDir(finished).lock():
        assert [p.exists() for p in (*left, *kept)] == [False, False, True, True]


def test_a_diverged_run_has_an_exit_code_of_its_own(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """A script cannot tell "lower the rate" from a fault of the program."""

    def diverged(*_: Any) -> Any:
        raise DivergenceError("meta-train: the meta-loss is nan at iteration 0")

    monkeypatch.setattr(outer_loop, "meta_gradient", diverged)
    assert command_line(["run", "--config", str(finished / "config.toml"), "--run-dir", str(tmp_path / "new")]) == 7
    assert "error: meta-train: the meta-loss is nan" in capsys.readouterr().err


READ_ONLY = ["sh", "-c", 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"']


@pytest.fixture(scope="module")
def read_only(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command line with a folder mounted read-only, for that process alone. Skipped if that is forbidden."""
    unshare = ["unshare", "-m" if os.geteuid() == 0 else "-rm", *READ_ONLY]
    probe = tmp_path_factory.mktemp("probe")
    if (
        shutil.which("unshare") is None
        or subprocess.run([*unshare, str(probe), "true"], capture_output=True).returncode
    ):
        pytest.skip("a folder cannot be mounted read-only here")
    path = os.pathsep.join(p for p in sys.path if p)

    def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from hnas_app.cli import main; main()", *words]
        env = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run([*unshare, str(folder), *command], capture_output=True, text=True, env=env)

    return run


@pytest.mark.slow
def test_a_finished_run_on_read_only_media_is_read(finished: Path, tmp_path: Path, read_only: Any) -> None:
    """A run on a CD, a snapshot or a colleague's disk: `.lock` could not be made, so nothing could be read."""
    numbers = json.loads((finished / "evaluate.json").read_text())["networks"][0]["retrained"]["mean"]
    base = finished.parent
    (finished / ".run.json.999999999.tmp").write_text("left by a kill")
    for words in (["runs", str(base)], ["evaluate", str(finished)], ["adapt", str(finished)]):
        done = read_only(base, *words)
        assert done.returncode == 0, done.stderr
    assert f"{100 * numbers:.2f}" in read_only(base, "evaluate", str(finished)).stdout
    done = read_only(base, "export", str(finished), "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "model.onnx").is_file()
    refused = read_only(base, "export", str(finished))
    assert refused.returncode == 2  # before any work: its own folder cannot be written, and --out names another
    assert "permission denied" in refused.stderr
    known = ["profile", "--config", str(finished / "config.toml")]
    assert read_only(base, *known).returncode == 0
    refused = read_only(base, *known, "--set", "space.base_width=6")
    assert refused.returncode == 3
    assert "readonly" in refused.stderr
