"""What a run directory holds is read as far as it can be, and nothing is written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from attrs import evolve

import hnas
from hnas import DataError
from hnas.toolkit.codec import load, save
from hnas_app.report.evidence import read, read_all
from hnas_app.report.figures.front import front
from hnas_app.report.pictures import PictureResult, Rival, Tally
from hnas_app.report.run_report import RunReport
from hnas_app.runs.results import ACCURACIES, PerTask, Results, TaskAccuracies
from hnas_app.runs.run_dir import RunDir

FILES = ("run.json", "config.toml", "environment.json", "evaluate.json", "adapt.json", "profile.json")
LOGS = ("search.jsonl", "accuracies.json")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_finished_run_lacks_nothing_and_stays_as_it_is(make_run, registry, tmp_path):
    run = make_run(tmp_path / "run")
    before = contents(run)
    report = RunReport.of(read(run), registry)
    assert report.missing == ()
    assert report.reference is not None
    assert report.limits[0].value == pytest.approx(0.6 * report.reference[2]["latency"])
    assert re.match(r"7\d\.\d ± \d\.\d % on test tasks at \d\.\d\d of the latency of the reference", report.verdict)
    assert re.search(r"; \+\d+\.\d ± \d\.\d points over the scaled reference \(a clear difference\)\.$", report.verdict)
    assert contents(run) == before


@pytest.mark.parametrize("name", [*FILES, *LOGS])
def test_a_damaged_file_is_named_and_the_rest_is_shown(make_run, registry, tmp_path, name):
    run = make_run(tmp_path / "run")
    path = run / name
    middle = len(path.read_bytes()) // 2
    path.write_bytes(path.read_bytes()[:middle] + b"\x00#" + path.read_bytes()[middle + 2 :])
    before = contents(run)
    report = RunReport.of(read(run), registry)
    assert any(name in sentence for sentence in report.missing)
    assert "<table>" in report.body("r0", [])
    assert report.verdict
    assert contents(run) == before


@pytest.mark.parametrize("name", ["evaluate.json", "adapt.json", "profile.json"])
def test_a_file_that_is_gone_is_named(make_run, registry, tmp_path, name):
    run = make_run(tmp_path / "run")
    (run / name).unlink()
    assert any(sentence.startswith(f"{name} is missing, ") for sentence in RunReport.of(read(run), registry).missing)
    (run / "run.json").write_text("{")
    assert f"{name} is missing" in RunReport.of(read(run), registry).missing


def test_a_last_line_that_was_cut_short_is_left_out_and_stays(make_run, tmp_path):
    run = make_run(tmp_path / "run")
    search = run / "search.jsonl"
    search.write_bytes(search.read_bytes()[:-20])
    before = search.read_bytes()
    assert len(read(run).iterations) == 2
    assert search.read_bytes() == before


def test_an_unfinished_run_says_what_is_still_to_do(make_run, registry, tmp_path):
    report = RunReport.of(read(make_run(tmp_path / "run", until="adapt")), registry)
    assert report.verdict.startswith("Not tested yet. The search chose a network with 60.0 % on validation tasks")
    assert report.missing == ("the phase retrain has not begun", "the phase evaluate has not begun")
    begun = RunReport.of(read(make_run(tmp_path / "young", until="profile")), registry)
    assert begun.verdict == "Unfinished: meta-train, profile done, so there is no network yet."


def test_the_curve_of_a_super_net_that_was_copied_is_that_of_its_run(make_run, tmp_path):
    origin, run = make_run(tmp_path / "origin"), make_run(tmp_path / "run")
    (run / "metrics.jsonl").write_text("")
    RunDir(run).set_phase("meta-train", "done", copied_from=str(origin))
    assert read(run).curves["meta-train"] == read(origin).curves["meta-train"]
    RunDir(run).set_phase("meta-train", "done", copied_from=str(tmp_path / "gone"))
    assert any("the curve of meta-training" in sentence for sentence in read(run).missing)


def test_code_of_a_run_is_not_run(make_run, registry, tmp_path):
    """A report may be of a run from elsewhere."""
    run = make_run(tmp_path / "run")
    evil = tmp_path / "evil.py"
    evil.write_text(f"open({str(tmp_path / 'was_run')!r}, 'w')\nclass Space: pass\n")
    config = run / "config.toml"
    config.write_text(re.sub(r"\n# checksum.*", "", config.read_text().replace('"vgg9"', f'"{evil}:Space"')))
    report = RunReport.of(read(run), registry)
    assert any("runs no code of a run" in sentence for sentence in report.missing)
    assert not (tmp_path / "was_run").exists()


def test_another_version_of_a_space_draws_no_wrong_layers(make_run, registry, tmp_path):
    """The costs on record are those of other layers then."""
    run = make_run(tmp_path / "run")
    config = run / "config.toml"
    text = re.sub(r"\n# checksum.*", "", config.read_text())
    config.write_text(re.sub(r"base_width = \d+", "base_width = 8", text))
    report = RunReport.of(read(run), registry)
    assert report.rebuilt is None
    assert any("do not follow from the cost table" in sentence for sentence in report.missing)


def test_a_run_for_pictures_says_what_its_scores_are_of(make_run, registry, tmp_path):
    """They are of the user's own pictures; there are no validation tasks, and nothing is re-trained."""
    run = make_run(tmp_path / "run", until="adapt")
    (run / "pictures.json").write_text("{}")
    report = RunReport.of(read(run), registry)
    assert "60.0 % on the labelled pictures" in report.verdict
    assert report.missing == ()
    chosen = report.evidence.adaption.chosen
    confusion = ((9, 1, 0), (0, 0, 0), (2, 0, 18))
    told = PictureResult(
        classes=("cat", "dog", "<b>"), k_shot=2, arch=chosen.arch, cost=chosen.cost,
        options=report.options(chosen.arch), metrics=report.evidence.metrics, limits=(), fitness="loss",
        loss=0.5, retrained=False,
        held_out=Tally(right=9, of=10), query=Tally(right=27, of=30), confusion=confusion,
        rivals=(Rival(name="1-NN", held_out=None, query=Tally(right=20, of=30), network_only=8, rival_only=1),),
    )  # fmt: skip
    save(run / "task.json", told)
    report = RunReport.of(read(run), registry)
    assert report.verdict.startswith("27 of 30 pictures in query/ right, at ")
    page = report.body("a", [])
    for text in (
        "pixels: 1-NN",
        "20/30 (66.7 %)",
        "worse, p 0.039",
        "#3 &lt;b&gt;",
        "(none of #2 dog)",
        "hnas export ",
    ):
        assert text in page
    assert "hnas evaluate" not in page  # such a run ends here
    drawn = front(report.evidence, report.limits[0].metric, report.limits[0], report.options)
    assert drawn is not None
    assert "% on the labelled pictures" in drawn.tips["finalists"][0]


def test_an_architecture_for_each_task_is_reported_and_compared(make_run, registry, tmp_path):
    """Nothing was found for all tasks then, and nothing re-trained."""
    run = make_run(tmp_path / "run")
    results, kept = load(run / "evaluate.json", Results), load(run / ACCURACIES, TaskAccuracies)
    network = results.networks[0]
    own = PerTask.of([network.arch] * 30, [network.arch] * 30, [network.cost] * 30, network.zero_retrain)
    save(run / "evaluate.json", evolve(results, networks=(), per_task=own))
    save(run / ACCURACIES, evolve(kept, networks={}, per_task=kept.networks["found"].zero_retrain))
    report = RunReport.of(read(run), registry)
    assert "% with an architecture for each test task, at a mean of " in report.verdict
    assert "per task: 1 architectures for 30 tasks" in report.body("r0", [])
    (difference,) = hnas.compare(run, make_run(tmp_path / "other")).differences
    assert difference.note == "paired over the same 30 test tasks"
    assert difference.gain.mean > 0.1


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"has no run\.json"):
        read_all([tmp_path])
