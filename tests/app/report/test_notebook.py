"""What a notebook shows of a run: a data frame, the front, the table; and what is refused by name."""

from __future__ import annotations

import re
import sys

import pytest

import hnas


@pytest.fixture(scope="module")
def run(make_run, tmp_path_factory):
    return hnas.load_run(make_run(tmp_path_factory.mktemp("runs") / "first"))


def test_a_data_frame_has_the_numbers_of_the_result(run):
    found = run.to_pandas()
    assert list(found["network"]) == ["found", "scaled", "nearest class mean"]
    first = run.results.networks[0]
    row = found.iloc[0]
    assert row["latency_ms"] == first.cost["latency"]
    assert row["retrained"] == first.retrained.mean
    assert row["retrained_ci95"] == first.retrained.half_width
    assert {name.removeprefix("arch."): row[name] for name in found if name.startswith("arch.")}.items() >= dict(
        first.options
    ).items()
    last = found.iloc[-1]
    assert last["retrained"] == run.results.baseline.mean
    assert last[["latency_ms", "zero_retrain", "arch.depth"]].isna().all()


def test_candidates_are_all_that_the_search_scored(run):
    found = run.to_pandas("candidates")
    assert sorted(set(found["iteration"])) == [0, 1, 2]
    assert len(found) == 3 * len(found[found["iteration"] == 0])
    assert not found["at_least"].any()
    assert {"loss", "accuracy", "latency_ms", "params", "arch.depth"} <= set(found)


def test_genes_stand_in_for_options_that_are_not_known(make_run, tmp_path):
    path = make_run(tmp_path / "run")
    (path / "profile.json").unlink()
    found = hnas.load_run(path).to_pandas("candidates")
    assert [name for name in found if name.startswith("arch.")] == ["arch.genes"]


def test_the_front_is_that_of_the_report_and_shows_itself(run, tmp_path):
    picture = run.plot_front()
    assert picture.name == "front-latency"
    assert [axes.get_ylabel() for axes in picture.figure.axes] == ["validation accuracy, %", "test accuracy, %"]
    assert sorted(p.suffix for p in picture.save(str(tmp_path / "new"))) == [".pdf", ".svg"]
    shown, other = picture._repr_html_(), run.plot_front("params")._repr_html_()
    ids = [set(re.findall(r'\bid="([^"]+)"', html)) for html in (shown, other)]
    assert ids[0]
    assert not ids[0] & ids[1]
    assert run.plot_front()._repr_html_() == shown


def test_a_notebook_shows_the_verdict_and_the_table(run, make_run, tmp_path):
    shown = run._repr_html_()
    assert "on test tasks at" in shown
    assert "nearest class mean" in shown
    unfinished = hnas.load_run(make_run(tmp_path / "<b>", until="profile"))
    assert "Unfinished: " in unfinished._repr_html_()
    assert "<b><b></b>" not in unfinished._repr_html_()
    (unfinished.path / "run.json").unlink()
    assert "is not a run directory" in unfinished._repr_html_()


def test_a_comparison_shows_itself(run, make_run, tmp_path):
    shown = hnas.compare(run, make_run(tmp_path / "second", better=0.1))._repr_html_()
    assert "paired over the same 30 test tasks" in shown


def test_what_cannot_be_shown_is_refused_by_name(run, make_run, tmp_path, monkeypatch):
    with pytest.raises(hnas.ConfigError, match=r"'candidate'.*mean 'candidates'.*networks, candidates"):
        run.to_pandas("candidate")
    with pytest.raises(hnas.ConfigError, match=r"metric='latncy'.*'latency'.*latency, params, macs"):
        run.plot_front("latncy")
    early = hnas.load_run(make_run(tmp_path / "early", until="profile"))
    with pytest.raises(hnas.DataError, match="has no networks yet: the phase adapt") as refused:
        early.to_pandas()
    assert refused.value.hint == "evaluate() does what is still to do"
    with pytest.raises(hnas.DataError, match="no front to draw yet"):
        early.plot_front()
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(hnas.ConfigError, match="needs pandas") as refused:
        run.to_pandas()
    assert refused.value.hint == "pip install 'hnas[pandas]'"
