"""Attentive sampling: what did well is drawn more often, nothing is given up, and a resumed training draws the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_tasks import tiny_setup

from hnas import Progress
from hnas.errors import HnasError
from hnas.events import Event
from hnas.seeds import Seeds
from hnas_app.config.schema import MetaTrainConfig
from hnas_app.executors.in_process import InProcess
from hnas_app.training.meta_batch import Part
from hnas_app.training.meta_train import meta_train
from hnas_app.training.outer_loop import _accuracies
from hnas_app.training.sampling.architectures import sampler_of
from hnas_app.training.sampling.attention import EVEN_SHARE, Attention


def taught(space: Any, temperature: float = 0.1, rounds: int = 400) -> Attention:
    """Return what has seen networks whose first choice decides their accuracy: the more, the better its last option."""
    attention = Attention(space, temperature)
    generator = np.random.default_rng(0)
    for _ in range(rounds):
        arch = space.sample(generator)
        attention.learn(arch, 0.5 + 0.3 * (arch.genes[0] == len(space.choices[0].options) - 1))
    return attention


def test_before_anything_is_learnt_options_are_equally_likely(tiny_space: Any) -> None:
    for choice, p in zip(tiny_space.choices, Attention(tiny_space, 0.1).probabilities(), strict=True):
        assert p == pytest.approx(np.full(len(choice.options), 1 / len(choice.options)))


def test_what_did_well_is_drawn_more_often(tiny_space: Any) -> None:
    """An option that is worth 0.3 at a temperature of 0.1 is some e³ times as likely, but for the even share."""
    p = taught(tiny_space).probabilities()[0]
    n = len(p)
    chosen = (p - EVEN_SHARE / n) / (1 - EVEN_SHARE)
    assert chosen[-1] / chosen[:-1].mean() == pytest.approx(np.exp(3), rel=0.5)
    assert p.sum() == pytest.approx(1)
    drawn = [taught(tiny_space).draw(np.random.default_rng(i)).genes[0] for i in range(200)]
    assert np.mean(np.array(drawn) == n - 1) == pytest.approx(p[-1], abs=0.1)


def test_nothing_is_given_up(tiny_space: Any) -> None:
    """However cold: an option that is never drawn can never show that it has become better."""
    for p in taught(tiny_space, temperature=1e-3).probabilities():
        assert p.min() >= EVEN_SHARE / len(p) * 0.999
        assert np.isfinite(p).all()


def test_what_a_network_does_not_have_learns_nothing_from_it(tiny_space: Any) -> None:
    """Genes of inactive choices are 0, which says nothing about their first option."""
    attention = Attention(tiny_space, 0.1)
    generator = np.random.default_rng(0)
    arch = next(a for a in iter(lambda: tiny_space.sample(generator), None) if not all(tiny_space.active(a)))
    attention.learn(arch, 0.2)
    attention.learn(arch, 0.9)
    inactive = [i for i, active in enumerate(tiny_space.active(arch)) if not active]
    assert inactive
    for i, p in enumerate(attention.probabilities()):
        assert (len(set(p)) == 1) == (i in inactive)


def test_an_accuracy_that_is_no_number_changes_nothing(tiny_space: Any) -> None:
    attention = taught(tiny_space)
    before = json.dumps(attention.memory)
    attention.learn(tiny_space.largest(), float("nan"))
    assert json.dumps(attention.memory) == before


def test_its_memory_survives_json(tiny_space: Any) -> None:
    one, other = taught(tiny_space), Attention(tiny_space, 0.1)
    other.memory = json.loads(json.dumps(one.memory))
    for attention in (one, other):
        attention.learn(tiny_space.largest(), 0.6)
    assert [one.draw(np.random.default_rng(i)) for i in range(20)] == [
        other.draw(np.random.default_rng(i)) for i in range(20)
    ]


def test_the_sampler_draws_by_it(tiny_space: Any) -> None:
    config = MetaTrainConfig(sampling="attentive", architectures=2)
    sampler = sampler_of(tiny_space, config, Seeds(0), taught(tiny_space))
    progress = [Progress(iteration=i, iterations_per_epoch=100, epochs=1) for i in range(100)]
    last = len(tiny_space.choices[0].options) - 1
    drawn = [arch.genes[0] == last for p in progress for arch in sampler(p)]
    assert np.mean(drawn) > 0.6
    assert sampler(progress[7]) == sampler(progress[7])


def test_pieces_of_one_architecture_count_once(tiny_space: Any) -> None:
    """How tasks are cut depends on the number of workers; what is learnt must not."""
    one, other = tiny_space.largest(), tiny_space.smallest()
    parts = [Part(arch=one, tasks=range(3)), Part(arch=other, tasks=range(4, 8)), Part(arch=one, tasks=range(3, 4))]
    found = _accuracies(parts, [(0.0, 1.2), (0.0, 2.0), (0.0, 0.8)])
    assert found == {one: pytest.approx(0.5), other: pytest.approx(0.5)}


@pytest.mark.parametrize("stop_at", [3, 6])
def test_a_stopped_training_goes_on_with_what_it_has_learnt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    """Bitwise the same state and the same memory as of a training that was never stopped."""
    monkeypatch.setattr("hnas_app.training.outer_loop.CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr("hnas_app.training.outer_loop.REPORT_SECONDS", 0.0)
    setup = tiny_setup()
    config = MetaTrainConfig(
        epochs=2, iterations=4, tasks=4, n_query=2, sampling="attentive", architectures=2, validate_tasks=5
    )

    def stop(event: Event) -> None:
        if event.kind == "step" and event.done == stop_at:
            raise HnasError("stopped")

    with InProcess() as executor:
        whole = meta_train(setup, config, executor, folder=tmp_path / "whole", emit=lambda event: None)
        with pytest.raises(HnasError, match="stopped"):
            meta_train(setup, config, executor, folder=tmp_path / "cut", emit=stop)
        resumed = meta_train(setup, config, executor, folder=tmp_path / "cut", emit=lambda event: None)
    assert all(bool((whole[k] == resumed[k]).all()) for k in whole)
    memories = [
        json.loads((tmp_path / name / "state-00000008.json").read_text())["meta"]["attention"]
        for name in ("whole", "cut")
    ]
    assert memories[0] == memories[1]
    assert sum(map(sum, memories[0]["seen"])) > 8
