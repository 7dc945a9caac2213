"""`hnas run` over DARTS cells by T-NAS and the strategy `gradient`: whole, stopped and resumed, and refused."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

import hnas
from hnas_plugins.meta_learners.maml import MAML

TINY: dict[str, Any] = {
    "space.mixed": True,
    "space.cells": 3,
    "space.channels": 2,
    "task.n_way": 2,
    "learner.inner_steps": 1,
    "meta_train.epochs": 1,
    "meta_train.iterations": 2,
    "meta_train.tasks": 1,
    "meta_train.n_query": 1,
    "meta_train.validate_tasks": 1,
    "strategy.tasks": 2,
    "search.tasks": 2,
    "search.pool": 2,
    "search.n_query": 1,
    "search.final_tasks": 2,
    "retrain.epochs": 1,
    "retrain.iterations": 1,
    "retrain.tasks": 1,
    "retrain.reference": "none",
    "evaluate.tasks": 2,
    "evaluate.n_query": 1,
}
NAMES = {"space": "darts", "learner": "t-nas", "strategy": "gradient", "tasks": "glyphs", "backend": "eyeriss"}
LIMIT = "latency<=0.5ref"


def made(path: Path, settings: dict[str, Any] | None = None, **changes: Any) -> hnas.Run:
    given: dict[str, Any] = {**NAMES, "preset": "none", "constraints": LIMIT, "run_dir": path}
    return hnas.run(**{**given, "settings": {**TINY, **(settings or {})}, **changes})


@pytest.mark.slow
def test_a_whole_run_keeps_its_limit_counts_its_search_and_resumes(tmp_path, monkeypatch):
    spent, propose = [0.0], MAML.propose

    def timed(self: MAML, *given: Any) -> Any:
        begun = time.perf_counter()
        found = propose(self, *given)
        spent[0] += time.perf_counter() - begun
        return found

    monkeypatch.setattr(MAML, "propose", timed)
    whole = made(tmp_path / "whole")
    (found,) = whole.results.networks
    with whole.session() as phases:
        (limit,) = phases.limits
        assert found.cost["latency"] <= limit.value
        made_for = phases.proposals(whole.path).weighed(2)
        assert any(phases.cost(p.arch)["latency"] > limit.value for p in made_for)  # so that some were moved
        assert all(len(p.weights) == len(phases.setup.space.choices) for p in made_for)
        costs = [phases.cost(p.arch)["latency"] for p in made_for]
    run = whole.branch(settings={"strategy.penalty": 100.0})
    run.adapt()
    with run.session() as phases:
        (log,) = run.path.glob("proposals-*.jsonl")
        genes = [json.loads(line)["genes"] for line in log.read_text().splitlines()]
        penalised = [phases.cost(hnas.Architecture("darts", tuple(g)))["latency"] for g in genes]
    assert len(penalised) == len(costs)
    assert max(penalised) < min(costs)
    events = [json.loads(line) for line in (whole.path / "metrics.jsonl").read_text().splitlines()]
    times = {e["kind"]: e["time"] for e in events if e["phase"] == "adapt"}
    assert 0 < spent[0] < times["end"] - times["start"]

    def stop(event: hnas.Event) -> None:
        if event.phase == stopped_in and event.kind == "step":
            raise KeyboardInterrupt

    stopped_in = "meta-train"
    with pytest.raises(KeyboardInterrupt):
        made(tmp_path / "again", on_event=stop)
    for stopped_in in ("adapt", "nowhere"):
        run = hnas.load_run(tmp_path / "again", on_event=stop)
        if stopped_in == "adapt":
            with pytest.raises(KeyboardInterrupt):
                run.evaluate()
        else:
            run.evaluate()
    assert run.results.networks == whole.results.networks
    assert (run.path / "proposals.jsonl").read_bytes() == (whole.path / "proposals.jsonl").read_bytes()


@pytest.mark.parametrize("learner", ["t-nas", "t-nas++", "base", "darts"])
def test_a_space_without_a_mixture_is_refused_before_a_device_is_profiled(tmp_path, learner):
    for space, settings in (("vgg9", {}), ("darts", {"space.cells": 3})):
        with pytest.raises(hnas.ConfigError, match="SuperNet has no relaxed network") as caught:
            hnas.run(**{**NAMES, "space": space, "learner": learner}, settings=settings, run_dir=tmp_path / "run")
        assert "space.mixed=true" in str(caught.value.hint)
        assert not (tmp_path / "run" / "profile.json").exists()


def test_a_penalty_is_refused_if_nobody_knows_what_it_means(tmp_path):
    """By the learner's name, or the space's, before anything is made."""
    root = Path(__file__).resolve().parents[3]
    bare = {"space": f"{root / 'tests' / 'app' / 'in_workers' / 'decoding.py'}:MixedSpace"}
    other = {**bare, "learner": f"{root / 'tests' / 'app' / 'in_workers' / 'decoding.py'}:Decoding"}
    for names, told in (
        (other, r"the learner '.*Decoding' offers none"),
        (bare, r"the super-net of space '.*MixedSpace'"),
    ):
        with pytest.raises(
            hnas.ConfigError, match=f"'gradient' asks for a penalty of 2.0 on expected costs, and {told}"
        ):
            hnas.run(**{**NAMES, **names}, settings={"strategy.penalty": 2.0}, run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(hnas.ConfigError, match="penalty"):
        hnas.run(**NAMES, settings={"strategy.penalty": -1.0, "space.mixed": True}, run_dir=tmp_path / "run")


def test_the_strategy_refuses_a_learner_that_proposes_nothing(tmp_path):
    with pytest.raises(hnas.ConfigError, match=r"the strategy 'gradient' needs architectures .* 'maml' proposes none"):
        hnas.run(**{**NAMES, "learner": "maml"}, run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_what_no_network_keeps_is_refused(tmp_path):
    with pytest.raises(hnas.InfeasibleError, match="no architecture of darts satisfies"):
        made(tmp_path / "run", constraints="latency<=0.01ref")
