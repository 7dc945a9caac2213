"""The accuracy of each network on each test task: kept by a run, and what runs are compared by in pairs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import hnas
from hnas_app.runs.results import ACCURACIES, read_accuracies
from hnas_app.training.accuracy import Accuracy


def test_a_run_keeps_what_its_accuracies_are_means_of(whole: Path) -> None:
    results, kept = hnas.load_run(whole / "run").results, read_accuracies(whole / "run")
    assert kept is not None
    assert set(kept.networks) == {network.name for network in results.networks}
    for network in results.networks:
        by_task = kept.networks[network.name]
        assert (Accuracy.over(by_task.zero_retrain), Accuracy.over(by_task.retrained)) == (
            network.zero_retrain,
            network.retrained,
        )
    assert Accuracy.over(kept.baseline) == results.baseline


def test_a_real_run_has_a_report_and_equals_its_copy(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its device and its tasks are code of the user's own, which a report does without."""
    monkeypatch.setenv("HNAS_HOME", str(whole / "home"))
    copy = tmp_path / "copy"
    shutil.copytree(whole / "run", copy)
    (difference,) = hnas.compare(hnas.load_run(whole / "run"), copy).differences
    assert (difference.tasks, difference.gain.mean, difference.gain.half_width) == ("same", 0, 0)
    done = hnas.load_run(copy).report()
    assert done.path == copy / "report.html"
    assert done.missing == {}
    (copy / ACCURACIES).unlink()
    assert read_accuracies(copy) is None
