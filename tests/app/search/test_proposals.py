"""A learner that proposes architectures, from training to the files that a run leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest
from decoding import AmongProposals, Decoding, MixedSpace
from tiny_tasks import TinyTasks

import hnas
from hnas.seeds import Seeds
from hnas.testing import LearnerConformance, SpaceConformance, StrategyConformance, TinySpace
from hnas_app.cli import run as command_line
from hnas_app.executors.in_process import InProcess
from hnas_app.export.classifier import classifier
from hnas_app.runs.pipeline import Pipeline
from hnas_app.search.proposals import PROPOSALS, Proposals, lightest
from hnas_app.trackers.json_lines import JsonLines
from hnas_app.training.fixed_norm import FixedNorm
from hnas_app.training.proposing import support_only
from hnas_app.training.setup.returned import proposed
from hnas_app.training.setup.setup import Setup
from hnas_app.training.setup.subnet import subnet

SETTINGS: dict[str, Any] = {
    "task.n_way": 3,
    "meta_train.epochs": 1,
    "meta_train.iterations": 8,
    "meta_train.tasks": 2,
    "search.tasks": 2,
    "search.pool": 8,
    "search.n_query": 2,
    "search.final_tasks": 4,
    "retrain.epochs": 1,
    "retrain.iterations": 2,
    "retrain.tasks": 2,
    "evaluate.tasks": 12,
    "evaluate.n_query": 5,
}
NAMES = {
    "space": "decoding:MixedSpace",
    "learner": "decoding:Decoding",
    "strategy": "decoding:AmongProposals",
    "tasks": "tiny_tasks:TinyTasks",
    "backend": "tiny_board:TinyBoard",
}
PER_TASK = {"evaluate.architecture": "per-task"}
LIMIT = "params<=0.4ref"


def made(path: Path, settings: dict[str, Any] | None = None, **changes: Any) -> hnas.Run:
    given: dict[str, Any] = {**NAMES, "preset": "none", "constraints": LIMIT, "run_dir": path}
    return hnas.run(**{**given, "settings": {**SETTINGS, **(settings or {})}, **changes})


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> hnas.Run:
    return made(tmp_path_factory.mktemp("proposals") / "run", until="adapt")


@pytest.fixture(scope="module")
def tested(searched: hnas.Run) -> hnas.Run:
    """A run that is tested with an architecture for each task, on the same super-net."""
    run = searched.branch(settings=PER_TASK)
    run.evaluate()
    return run


@pytest.mark.slow
class TestDecoding(LearnerConformance):
    options = Decoding.Options

    def make(self) -> hnas.MetaLearner:
        return Decoding(Decoding.Options())

    def space(self) -> hnas.SearchSpace:
        return TinySpace(depth=2, widths=(4,), norm=True, relaxed=True)


class TestAmongProposals(StrategyConformance):
    options = AmongProposals.Options

    def make(self) -> hnas.SearchStrategy:
        return AmongProposals(AmongProposals.Options())


@pytest.mark.slow
class TestMixedSpace(SpaceConformance):
    samples = 2

    def make(self) -> hnas.SearchSpace:
        return MixedSpace()


def by_hand(phases: Pipeline, task: int) -> tuple[hnas.Architecture, float]:
    """Return the proposal for a test task, and the accuracy of what keeps the limits near it."""
    setup, state = phases.setup, phases.meta_train()
    episodes = setup.episodes("test", "test-tasks", [task], SETTINGS["evaluate.n_query"])
    (arch,) = setup.learner.propose(setup.space, setup.supernet, state, support_only(episodes))
    used = next(a for a in (arch, *setup.space.neighbours(arch)) if phases.limits[0].ratio(phases.cost(a)) <= 1)
    return arch, float(setup.learner.score(setup.supernet, state, episodes, used).accuracy)


def test_each_test_task_has_its_own_architecture(tested):
    """Nothing is searched for; costs, limits and accuracy are those of the architectures that were used."""
    own, count = tested.results.per_task, SETTINGS["evaluate.tasks"]
    assert own is not None
    assert set(tested.phases) == {"profile", "meta-train", "retrain", "evaluate"}
    assert [n.name for n in tested.results.networks] == ["scaled", "whole"]
    assert sum(p.tasks for p in own.architectures) == own.accuracy.tasks == count
    assert len(own.architectures) > 1
    assert "each with the architecture proposed for it" in tested.results.protocol
    with tested.session() as phases:
        limit = phases.limits[0].value
        costs = [phases.cost(p.arch)["params"] for p in own.architectures for _ in range(p.tasks)]
        found = [by_hand(phases, task) for task in range(count)]
        broken = [arch for arch, _ in found if phases.cost(arch)["params"] > limit]
    assert own.moved == len(broken)
    assert 0 < len(broken) < count
    assert own.largest["params"] == max(costs) <= limit
    assert own.cost["params"] == pytest.approx(sum(costs) / count)
    kept = [i for i, (arch, _) in enumerate(found) if arch not in broken]
    assert {found[i][0] for i in kept} <= {p.arch for p in own.architectures}
    assert tested.results.accuracy == own.accuracy.mean
    assert json.loads((tested.path / "run.json").read_text())["results"]["accuracy"] == own.accuracy.mean


def test_an_architecture_for_each_task_is_scored_as_any_other(searched):
    """Without a limit that moves proposals, the accuracy is the mean of the proposals' own."""
    run = searched.branch(settings={**PER_TASK, "retrain.reference": "none"}, constraints="params<=1ref")
    own = run.evaluate().per_task
    assert own is not None
    assert run.results.networks == ()
    with run.session() as phases:
        accuracies = [by_hand(phases, task)[1] for task in range(SETTINGS["evaluate.tasks"])]
    assert own.moved == 0
    assert own.accuracy.mean == pytest.approx(sum(accuracies) / len(accuracies))


def test_the_table_tells_it(searched, tested, capsys):
    assert command_line(["evaluate", str(tested.path), "--workers", "1"]) == 0
    told = capsys.readouterr().out
    assert "per task: " in told
    assert "moved to keep the limits; costs are means, at most latency " in told
    assert "picture" not in told
    assert command_line(["evaluate", str(tested.path), "--workers", "1", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["per_task"]["moved"] == tested.results.per_task.moved
    words = ["--set", "evaluate.architecture=per-task", "--workers", "1", "--json"]
    assert command_line(["evaluate", str(searched.path), *words]) == 0
    assert json.loads(capsys.readouterr().out) == printed
    with pytest.raises(hnas.DataError, match=r"searched for no network: see results\.per_task"):
        _ = tested.found


def asked(run: Any) -> list[Any]:
    return [json.loads(line)["genes"] for line in (run.path / "search.jsonl").read_text().splitlines()]


def test_a_search_begins_with_proposals(searched):
    """They keep the limits, and are logged as the learner made them."""
    lines = [json.loads(line) for line in (searched.path / PROPOSALS).read_text().splitlines()]
    assert [line["task"] for line in lines] == list(range(12))
    with searched.session() as phases:
        proposals = phases.proposals(searched.path)
        search = phases.search(proposals)
        assert search.problem.proposals is not None
        near = search.problem.proposals(12)
        assert [list(a.genes) for a in proposals.first(12)] == [line["genes"] for line in lines]
        assert all(search.problem.feasible(arch) for arch in near)
        assert near[:3] == search.problem.proposals(3)
        assert search.problem.proposals(0) == []
    assert asked(searched)[0] == [list(a.genes) for a in dict.fromkeys(near[:6])]


def test_workers_get_the_same_proposals(searched, tmp_path):
    again = made(tmp_path / "run", until="adapt", workers=2, settings={"executor": "threads"})
    assert (again.path / PROPOSALS).read_bytes() == (searched.path / PROPOSALS).read_bytes()
    assert asked(again) == asked(searched)


def test_a_search_that_was_stopped_sees_the_same_proposals(searched, monkeypatch):
    def stop(event: hnas.Event) -> None:
        if event.phase == "adapt" and event.kind == "step":
            raise KeyboardInterrupt

    run = searched.branch(settings={"strategy.iterations": 3, "search.tasks": 3})
    with pytest.raises(KeyboardInterrupt):
        hnas.load_run(run.path, on_event=stop).adapt()
    whole = searched.branch(settings={"strategy.iterations": 3, "search.tasks": 3}).adapt()
    first, propose = (run.path / PROPOSALS).read_text().splitlines(), Decoding.propose
    calls: list[int] = []

    def counted(self: Decoding, *given: Any) -> list[hnas.Architecture]:
        calls.append(1)
        return propose(self, *given)

    monkeypatch.setattr("decoding.Decoding.propose", counted)
    assert run.adapt() == whole
    assert len(first) + len(calls) == 18
    assert (run.path / PROPOSALS).read_text().splitlines()[: len(first)] == first


def test_a_damaged_log_of_proposals_is_named(searched):
    run = searched.branch(settings={"strategy.tasks": 2})
    first, *rest = (searched.path / PROPOSALS).read_text().splitlines()
    (run.path / PROPOSALS).write_text("\n".join([first.replace('"task":0', '"task":1'), *rest, ""]))
    with pytest.raises(hnas.DataError, match=r"proposals\.jsonl is damaged or was edited: its checksum does not hold"):
        run.adapt()
    (run.path / PROPOSALS).write_text("\n".join([*rest, ""]))
    with pytest.raises(hnas.DataError, match=r"proposals\.jsonl, line 1: a proposal for task 1, expected 0"):
        run.adapt()


def test_searches_of_a_sweep_share_the_proposals(searched):
    done = searched.sweep(constraints=("params<=0.4ref", "params<=0.3ref"))
    assert (done.path / PROPOSALS).read_bytes() == (searched.path / PROPOSALS).read_bytes()
    assert not list(done.path.glob(f"*/{PROPOSALS}"))
    for pair in done.record.pairs:
        with hnas.load_run(done.path / pair.name).session() as phases:
            assert asked(phases.run)[0]
            costs = [phases.cost(hnas.Architecture("mixed", tuple(genes))) for genes in asked(phases.run)[0]]
            assert max(cost["params"] for cost in costs) <= phases.limits[0].value


def test_what_needs_proposals_refuses_a_learner_without_them(searched, tmp_path):
    """By name, before a folder is made."""
    for settings, names in (
        (PER_TASK, r"evaluate.architecture=per-task and the strategy 'decoding:AmongProposals'"),
        ({}, "the strategy 'decoding:AmongProposals'"),
    ):
        with pytest.raises(hnas.ConfigError, match=f"{names} needs .* 'maml' proposes none"):
            made(tmp_path / "run", settings, learner="maml")
    with pytest.raises(hnas.ConfigError, match=r"^evaluate.architecture=per-task needs"):
        made(tmp_path / "run", PER_TASK, learner="maml", strategy="random")
    assert not (tmp_path / "run").exists()
    plain = made(tmp_path / "plain", {"learner.inner_steps": 1}, learner="maml", strategy="random", until="meta-train")
    for change in ({"settings": PER_TASK}, {"strategy": "decoding:AmongProposals"}):
        with pytest.raises(hnas.ConfigError, match="proposes none"):
            plain.branch(**change)
    assert [p.name for p in tmp_path.iterdir()] == ["plain"]


def test_nothing_of_architecture_weights_leaves_the_super_net(searched):
    """Neither an adapted network, nor one trained alone, has any; parameters are counted without them."""
    with searched.session() as phases:
        setup, state, arch = phases.setup, phases.meta_train(), phases.adapt().chosen.arch
        task = setup.episodes("validation", "export-task", [0], 1)
        network = classifier(setup, state, arch, task)
        alone = attrs.evolve(setup, alone=arch)
        held = sum(v[0].numel() for v in network.params.values())
        assert any(name.endswith(".arch") for name in state)
        assert not [k for k in (*network.params, *alone.fresh_state("alone")) if k.endswith(".arch")]
        assert held == phases.cost(arch)["params"]
    net = subnet(setup.supernet, arch)
    assert net.relaxed == arch
    assert net.decode(network.params) == [arch]
    assert subnet(TinySpace().supernet((1, 8, 8), 3), TinySpace().largest()).relaxed is None


@pytest.mark.slow
def test_a_network_of_such_a_super_net_is_exported(searched, tmp_path, required_module):
    """The model's logits are compared with torch's on the way."""
    required_module("onnx")
    done = searched.export(tmp_path / "out")
    with searched.session() as phases:
        params = phases.cost(phases.adapt().chosen.arch)["params"]
    assert json.loads(done.architecture.read_text())["params"] == params


def test_proposals_for_own_pictures_are_of_these_pictures(searched, tmp_path):
    """There are few tasks then: they repeat; and fixed statistics hide nothing of the learner."""
    with searched.session() as phases:
        given = support_only(phases.setup.episodes("validation", "own", range(2), 1))
        learner = FixedNorm(phases.setup.learner)
        assert learner.proposes
        setup = attrs.evolve(phases.setup, learner=learner, given=given)
        log = JsonLines(tmp_path / PROPOSALS)
        with InProcess() as executor:
            found = Proposals(setup=setup, executor=executor, state=phases.meta_train(), log=log).first(5)
        expected = phases.setup.learner.propose(setup.space, setup.supernet, phases.meta_train(), given)
    assert found == [expected[i % 2] for i in range(5)]


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (None, "returned None; expected 2 architectures, one for each task"),
        ([hnas.Architecture("mixed", (0,) * 7)], "expected 2 architectures"),
        ([hnas.Architecture("mixed", (0,) * 6)] * 2, "6 genes, expected 7"),
        ([hnas.Architecture("mixed", (0,) * 6 + (9,))] * 2, "gene 9 is not in"),
    ],
)
def test_a_wrong_proposal_names_the_learner(found, told):
    with pytest.raises(hnas.PluginError, match=r"learner decoding:Decoding, in propose\(\)") as caught:
        proposed(Decoding(Decoding.Options()), found, 2, MixedSpace())
    assert told in str(caught.value)
    (found,) = proposed(Decoding(Decoding.Options()), [hnas.Architecture("mixed", (0,) * 6 + (1,))], 1, MixedSpace())
    assert found.weights == ()
    assert found.arch.genes == (0,) * 7  # the second layer's activation means nothing in a network of one


def test_a_learner_without_proposals_offers_none(tmp_path):
    """The strategy sees it by the problem, before it asks."""
    run = made(tmp_path / "run", {"learner.inner_steps": 1}, learner="maml", strategy="random", until="meta-train")
    with run.session() as phases:
        assert phases.search(phases.proposals(run.path)).problem.proposals is None
        assert not phases.setup.learner.proposes
        with pytest.raises(NotImplementedError, match="MAML proposes no architectures"):
            phases.setup.learner.propose(phases.setup.space, phases.setup.supernet, {}, None)
    assert not (run.path / PROPOSALS).exists()


def test_the_set_up_of_the_tests_is_sound():
    """Trained, the learner proposes other architectures for other tasks."""
    setup = Setup(
        space=MixedSpace(),
        learner=Decoding(Decoding.Options()),
        tasks=TinyTasks(),
        n_way=3,
        k_shot=1,
        seeds=Seeds(0),
    )
    state = setup.fresh_state("start")
    episodes = setup.episodes("validation", "tasks", range(8), 1)
    found = setup.learner.propose(setup.space, setup.supernet, state, support_only(episodes))
    assert len(set(found)) > 1
    with pytest.raises(hnas.ConfigError, match="TinySuperNet has no relaxed network"):
        setup.learner.init(TinySpace().supernet((1, 8, 8), 3), Seeds(0).torch("start"))


class Weighing(Decoding):
    """It weighs the options of all choices."""

    def propose(self, space: Any, supernet: Any, state: Any, episodes: Any) -> list[Any]:
        assert supernet.relaxed is not None
        adapted = self.adapt(supernet, state, episodes, supernet.relaxed)
        shares = [adapted[f"{c.name}.arch"].softmax(-1) for c in space.choices]
        return [
            hnas.Proposal(arch=a, weights=tuple(tuple(s[t].tolist()) for s in shares))
            for t, a in enumerate(supernet.decode(adapted))
        ]


def test_a_proposal_with_weights_is_moved_by_the_lightest_change_and_survives_its_log(searched, tmp_path):
    """Nothing is drawn for it: all tasks that propose the same get the same."""
    with searched.session() as phases, InProcess() as executor:
        setup = attrs.evolve(phases.setup, learner=Weighing(Decoding.Options()))
        log = JsonLines(tmp_path / PROPOSALS)
        first = Proposals(setup=setup, executor=executor, state=phases.meta_train(), log=log)
        made, feasibility = first.weighed(8), phases.feasibility
        within = first.within(feasibility)
        assert within is not None
        used = within(8)
        again = Proposals(setup=setup, executor=executor, state={}, log=JsonLines(tmp_path / PROPOSALS))
        assert again.weighed(8) == made
    assert all(len(p.weights) == 7 for p in made)
    assert any(not feasibility.feasible(p.arch) for p in made)
    for proposal, arch in zip(made, used, strict=True):
        assert feasibility.feasible(arch)
        assert arch == lightest(proposal, setup.space.canonical, feasibility.violation)
        assert (arch == proposal.arch) == feasibility.feasible(proposal.arch)


@pytest.mark.parametrize(
    ("weights", "told"),
    [
        (((0.5, 0.5),), "weights of 2 options; expected 2, 3, 3, "),
        (((), (), (), (), (), (), (float("nan"),) * 2), "expected finite ones"),
    ],
)
def test_wrong_weights_name_the_learner(weights, told):
    found = [hnas.Proposal(arch=MixedSpace().largest(), weights=weights)]
    with pytest.raises(hnas.PluginError, match=r"learner decoding:Decoding, in propose\(\)") as caught:
        proposed(Decoding(Decoding.Options()), found, 1, MixedSpace())
    assert told in str(caught.value)
