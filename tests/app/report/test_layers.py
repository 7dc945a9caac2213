"""A network as it is drawn: its layers in steps, what each reads, and what each costs."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from hnas.cost import CostTable, DeviceInfo, Measurement, Metric
from hnas.errors import DataError
from hnas_app.report.evidence import read, read_all
from hnas_app.report.figures import network as drawn
from hnas_app.report.layers import Rebuilt

LATENCY = Metric(name="latency", unit="ms")


@pytest.fixture
def residual(make_run, registry, tmp_path) -> Rebuilt:
    """The largest residual network at 84 × 84; a layer costs a millisecond."""
    space = registry.create("space", "resnet12")
    layers = space.layers(space.largest(), (3, 84, 84), 5)
    info = DeviceInfo(backend="made up", device="mine", runtime="1", metrics=(LATENCY,))
    rows = {layer.key: {"latency": Measurement(median=1.0, unit="ms")} for layer in layers}
    run = evolve(read(make_run(tmp_path / "run")), table=CostTable(info=info, rows=rows))
    return Rebuilt(space=space, input_shape=(3, 84, 84), n_way=5, evidence=run)


def test_a_shortcut_is_seen(residual):
    """Each block of four convolutions: the shortcut reads what the first one reads, the sum both ends."""
    steps = residual.steps(residual.space.largest())
    assert [step.title for step in steps[:5]] == ["conv 5×5 /2", "conv 5×5", "conv 5×5", "conv 1×1 /2", "add"]
    assert [step.reads for step in steps[:10]] == [(), (), (), (-1,), (2,), (), (), (), (4,), (7,)]
    assert steps[-1].title == "linear"


def test_the_steps_add_up_to_the_network(residual):
    arch = residual.space.largest()
    steps = residual.steps(arch)
    whole = residual.evidence.table.cost(residual.space.layers(arch, (3, 84, 84), 5))
    assert sum(step.cost["latency"] for step in steps) == pytest.approx(whole["latency"])
    assert (sum(s.params for s in steps), sum(s.macs for s in steps)) == (whole["params"], whole["macs"])


def test_an_offset_of_the_whole_network_is_no_layers(residual):
    """A calibration has a slope for each layer and an offset for the network."""
    arch = residual.space.largest()
    before = residual.steps(arch)[0].cost["latency"]
    table = evolve(residual.evidence.table, calibration={"latency": (2.0, 5.0)})
    after = evolve(residual, evidence=evolve(residual.evidence, table=table)).steps(arch)[0].cost["latency"]
    assert after == pytest.approx(2 * before)


IMAGES = {"learner__name": "prototypical", "learner__keep": "images"}
"""Five images of a 5-way 1-shot task pass with every prediction, so it takes six passes."""


def test_costs_of_several_passes_follow_from_the_table(make_run, registry, tmp_path):
    whole = Rebuilt.of(read(make_run(tmp_path / "run", **IMAGES)), registry)
    _, arch, cost = whole.reference
    assert cost["latency"] == pytest.approx(6 * sum(step.cost["latency"] for step in whole.steps(arch)))
    assert cost["macs"] == 6 * sum(step.macs for step in whole.steps(arch))


def test_costs_of_a_learner_that_is_not_here_do_not_follow(make_run, registry, tmp_path):
    """A single pass is then all that can be known, and no wrong reference stands in the page."""
    run = read(make_run(tmp_path / "run", **IMAGES))
    gone = evolve(run, config={**run.config, "learner.name": "theirs:Learner"})
    with pytest.raises(DataError, match=r"do not follow .* vgg9 and theirs:Learner"):
        Rebuilt.of(gone, registry)


def test_a_long_network_says_what_is_left_out(residual, monkeypatch):
    steps = residual.steps(residual.space.largest())
    whole = drawn.network("found", steps, LATENCY)
    assert whole is not None
    assert len(whole.tips["layers"]) == len(steps) == 21
    assert "costliest" not in whole.caption
    monkeypatch.setattr(drawn, "MOST_STEPS", 6)
    part = drawn.network("found", steps, LATENCY)
    assert part is not None
    assert len(part.tips["layers"]) == 6
    assert part.caption.endswith("Shown are the 6 costliest of 21 layers.")


def test_the_runs_of_a_sweep_are_all_read(make_run, tmp_path: Path):
    for name in ("02-x86", "01-eyeriss"):
        make_run(tmp_path / "sweep" / name, until="profile")
    (tmp_path / "sweep" / "sweep.json").write_text("{}")
    assert [run.name for run in read_all([tmp_path / "sweep"])] == ["01-eyeriss", "02-x86"]


def test_runs_of_one_name_are_told_apart(make_run, tmp_path: Path):
    """Pairs of two sweeps are called alike."""
    runs = [make_run(tmp_path / folder / "01-eyeriss", until="profile") for folder in ("a", "b")]
    assert [run.name for run in read_all(runs)] == ["a/01-eyeriss", "b/01-eyeriss"]
