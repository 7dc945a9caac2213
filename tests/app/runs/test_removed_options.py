"""Runs of an earlier version, whose config.toml names options that are gone: read, gone on with, or refused by name."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import hnas
from hnas.errors import ConfigError
from hnas_app.cli import run as command_line
from hnas_app.config.changes import with_checksum
from hnas_app.config.load import load_config
from hnas_app.fronts.runs import check_one_supernet, read_run
from hnas_app.runs.making import resume_or_create
from hnas_app.runs.run_dir import RunDir
from hnas_app.training.checkpoint import load_latest, save_checkpoint

TINY: dict[str, Any] = {
    "space.base_width": 4,
    "learner.inner_steps": 1,
    "task.n_way": 3,
    "strategy.population": 6,
    "strategy.iterations": 2,
    "meta_train.epochs": 1,
    "meta_train.iterations": 4,
    "meta_train.tasks": 2,
    "search.tasks": 2,
    "search.pool": 8,
    "search.final_tasks": 4,
    "retrain.epochs": 1,
    "retrain.iterations": 3,
    "retrain.tasks": 2,
    "evaluate.tasks": 20,
}
OLD = {
    'downsample = "stride"\n': 'downsample = "stride"\nheads = "shared"\n',
    'rate_scaling = "none"\n': 'rate_scaling = "none"\nrates_by_group = false\n',
}
"""Lines of a run's config.toml, and how an earlier version wrote them."""
CHANGED = [
    ('heads = "shared"', 'heads = "depth"', "space.heads: 'depth' was removed"),
    ('norms = "shared"', 'norms = "kernel"', "space.norms: 'kernel' was removed"),
    ('kernels = "crop"', 'kernels = "own"', "space.kernels: 'own' was removed"),
    ("rates_by_group = false", "rates_by_group = true", "learner.rates_by_group: True was removed"),
]


def rewrite(run: Path, old: str, new: str) -> None:
    path = run / "config.toml"
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(with_checksum(text.rpartition("\n# checksum")[0].replace(old, new)))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run whose configuration is as an earlier version wrote it."""
    path = tmp_path_factory.mktemp("runs") / "old"
    sets = [word for key, value in TINY.items() for word in ("--set", f"{key}={value}")]
    names = ["--tasks", "tiny_tasks:TinyTasks", "--backend", "tiny_board:TinyBoard", "--set", "backend.ns=2.0"]
    assert command_line(["run", "--preset", "none", "--workers", "1", "--run-dir", str(path), *names, *sets]) == 0
    for line, before in OLD.items():
        rewrite(path, line, before)
    return path


@pytest.fixture
def old(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "old")


def test_a_run_at_the_values_that_stayed_goes_on_silently(old, capsys):
    """As if its configuration did not name them: nothing is told, a phase that is missing is done."""
    before = hnas.load_run(old).results
    RunDir(old).set_phase("evaluate", "stopped")
    assert command_line(["run", "--run-dir", str(old)]) == 0
    told = capsys.readouterr()
    assert "heads" not in told.out + told.err
    assert "rates_by_group" not in told.out + told.err
    assert hnas.load_run(old).results == before
    assert command_line(["retrain", str(old)]) == 0
    assert command_line(["export", str(old)]) == 0
    assert hnas.load_run(old).adapt().chosen.arch == before.networks[0].arch


def test_a_run_beside_it_is_written_without_them_and_compares(old):
    """A front shows an old run and one that started from its super-net together."""
    other = hnas.load_run(old).branch(constraints="latency<=0.9ref")
    assert "heads" not in (other.path / "config.toml").read_text()
    other.adapt()
    check_one_supernet([read_run(old), read_run(other.path)])


@pytest.mark.parametrize(("line", "changed", "told"), CHANGED)
def test_a_run_with_a_removed_value_is_shown_but_not_gone_on_with(old, capsys, line, changed, told):
    rewrite(old, line, changed)
    assert command_line(["runs", str(old.parent)]) == 0
    made = hnas.load_run(old)
    assert made.found == made.results.networks[0]
    capsys.readouterr()
    for command in (["adapt"], ["retrain"], ["adapt", "--constraint", "latency<=0.9ref"], ["run", "--run-dir"]):
        assert command_line([*command, str(old)]) == 3
        assert told in capsys.readouterr().err
    for phase in (made.adapt, made.branch):
        with pytest.raises(ConfigError, match=told):
            phase()


@pytest.mark.parametrize(("line", "changed", "told"), CHANGED)
def test_its_network_is_exported_where_it_was_trained_alone(old, capsys, line, changed, told):
    rewrite(old, line, changed)
    assert command_line(["export", str(old)]) == 0
    shutil.rmtree(old / "checkpoints" / "retrain-found")
    assert command_line(["export", str(old)]) == 3
    key, _, value = told.removesuffix(" was removed").partition(": ")
    assert f"super-net weights of {old} cannot be exported: {key}={value} was removed" in capsys.readouterr().err


def test_a_network_is_not_exported_where_the_option_left_a_trace_in_it(old, capsys):
    """Inner rates by group had a row for each, in the network trained alone, too."""
    rewrite(old, "rates_by_group = false", "rates_by_group = true")
    folder = old / "checkpoints" / "retrain-found"
    state, meta = load_latest(folder, "state")
    grouped = {k: v.expand(4, -1) if k.startswith("lslr/") else v for k, v in state.items()}
    save_checkpoint(folder, f"state-{meta['iteration']:08d}", grouped, meta)
    assert command_line(["export", str(old)]) == 3
    assert "re-trained weights" in (told := capsys.readouterr().err)
    assert "learner.rates_by_group=True was removed" in told


def test_another_configuration_does_not_hide_a_removed_value(old):
    """Given a file of the user's, the run's own is compared with it."""
    rewrite(old, 'heads = "shared"', 'heads = "depth"')
    registry = hnas.Registry()
    config = load_config(registry, file=old / "config.toml", env={}, only_read=True).config
    with pytest.raises(ConfigError, match=r"space\.heads: 'depth' in the run, removed since"):
        resume_or_create(old, config)
    assert RunDir(old).check_config(config, only_read=True) == []
