"""Runs beside each other: paired on the same test tasks, and refused or labelled if they mean different things."""

from __future__ import annotations

import json
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from attrs import evolve

import hnas
from hnas.toolkit.codec import from_json, load, save, to_json
from hnas_app.cli import run as command_line
from hnas_app.report.comparison import Comparison, check_alike, compared
from hnas_app.report.evidence import read
from hnas_app.runs.results import ACCURACIES, Results, TaskAccuracies, read_accuracies
from hnas_app.training.accuracy import t_95


@pytest.fixture
def two(make_run, tmp_path) -> list[Path]:
    return [make_run(tmp_path / "a"), make_run(tmp_path / "b", better=0.02, constraints=("latency<=0.3ref",))]


def test_differences_are_paired_over_the_same_tasks(two):
    """The noise that both share cancels out: the interval of the difference is that of the differences."""
    done = hnas.compare(*two)
    (difference,) = done.differences
    a, b = (np.array(load(run / ACCURACIES, TaskAccuracies).networks["found"].retrained) for run in two)
    assert difference.gain.paired
    assert difference.gain.mean == pytest.approx((b - a).mean())
    assert difference.gain.half_width == pytest.approx(t_95(30) * (b - a).std(ddof=1) / sqrt(30))
    assert (difference.tasks, difference.note) == ("same", "paired over the same 30 test tasks")
    assert done.settings == {"constraints": (("latency<=0.6ref",), ("latency<=0.3ref",))}
    assert from_json(json.loads(json.dumps(to_json(done))), Comparison, "a comparison").runs == done.runs


def test_what_a_prediction_takes_has_rows_if_it_is_not_one_pass(two, make_run, tmp_path, capsys):
    images = make_run(tmp_path / "c", learner__name="prototypical", learner__keep="images")
    assert command_line(["compare", str(two[0]), str(images)]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["inference", "single", "pass", "multi", "pass", "(6)"] in rows
    assert [row[:2] for row in rows if row[:1] == ["stored_B"]] == [["stored_B", "0"]]
    assert command_line(["compare", *map(str, two)]) == 0
    assert "stored_B" not in capsys.readouterr().out


def test_other_test_tasks_are_not_paired(two):
    save(two[1] / ACCURACIES, evolve(load(two[1] / ACCURACIES, TaskAccuracies), tasks="another seed's"))
    (difference,) = hnas.compare(*two).differences
    rows = [run.accuracy for run in hnas.compare(*two).runs]
    assert not difference.gain.paired
    assert difference.gain.half_width == pytest.approx(sqrt(sum(row.half_width**2 for row in rows)))
    assert (difference.tasks, difference.gain.words.endswith(", not paired")) == ("other", True)


def test_a_run_of_an_earlier_hnas_is_compared_without_pairs(two):
    (two[0] / ACCURACIES).unlink()
    (difference,) = hnas.compare(*two).differences
    assert (difference.tasks, difference.gain.paired) == ("unknown", False)
    assert "an earlier hnas kept no accuracy by task" in difference.note


@pytest.mark.parametrize(("key", "value"), [("task__n_way", 3), ("tasks__rotation", 5.0), ("evaluate__n_query", 5)])
def test_runs_of_other_tasks_are_refused_or_labelled(two, make_run, tmp_path, key, value):
    other = make_run(tmp_path / "other", **{key: value})
    with pytest.raises(hnas.ConfigError, match=rf"other: {key.replace('__', '.')} is {value!r}, but it is .* in a"):
        hnas.compare(two[0], other)
    done = hnas.compare(two[0], other, mixed=True)
    assert done.mixed
    assert done.differences[0].gain is None
    assert done.differences[0].note.startswith("other tasks, so no difference is computed")


def test_another_count_of_macs_is_refused(two):
    """Twice the number would look like a network twice as large."""
    results = load(two[1] / "evaluate.json", Results)
    metrics = tuple(evolve(m, help="multiply-adds, counted as two") if m.name == "macs" else m for m in results.metrics)
    save(two[1] / "evaluate.json", evolve(results, metrics=metrics))
    runs = [read(run) for run in two]
    with pytest.raises(hnas.ConfigError, match="macs is 'multiply-adds, counted as two', by sum, but"):
        compared(runs)
    assert len(check_alike(runs, mixed=True)) == 1


def test_settings_that_results_do_not_depend_on_are_no_difference(make_run, tmp_path):
    runs = [make_run(tmp_path / "a", workers=1), make_run(tmp_path / "b", workers=2)]
    assert hnas.compare(*runs).settings == {}


def test_an_unfinished_run_is_beside_the_others(two, make_run, tmp_path):
    done = hnas.compare(*two, make_run(tmp_path / "c", until="adapt"))
    assert done.runs[2].problem == "the phase retrain has not begun"
    assert done.differences[1].note == "c has no test accuracy"


def test_one_run_is_no_comparison(two):
    with pytest.raises(hnas.ConfigError, match="a comparison needs two"):
        hnas.compare(two[0])


def test_accuracies_of_other_lengths_are_damage(two):
    kept = load(two[0] / ACCURACIES, TaskAccuracies)
    save(two[0] / ACCURACIES, evolve(kept, baseline=kept.baseline[1:]))
    with pytest.raises(hnas.DataError, match="different numbers of tasks"):
        read_accuracies(two[0])


def test_the_command_prints_what_python_returns(two, capsys):
    assert command_line(["compare", *map(str, two)]) == 0
    out = capsys.readouterr().out
    assert "constraints  latency<=0.6ref  latency<=0.3ref" in out
    assert "paired over the same 30 test tasks" in out
    assert command_line(["compare", *map(str, two), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["differences"][0]["gain"]["paired"] is True
    assert command_line(["compare", str(two[0])]) == hnas.ConfigError.exit_code
