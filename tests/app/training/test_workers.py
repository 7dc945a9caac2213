"""The same seed gives the same weights to the last bit, with any number of workers of any kind, and if that changes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import attrs
import pytest
import torch
from tiny_tasks import tiny_setup

from hnas.events import Event
from hnas.learner import State
from hnas_app.config.schema import MetaTrainConfig, RetrainConfig
from hnas_app.executors.in_process import InProcess
from hnas_app.executors.interface import Executor
from hnas_app.executors.local_processes import LocalProcesses
from hnas_app.executors.threads import Threads
from hnas_app.training.meta_train import meta_train
from hnas_app.training.retrain import retrain
from hnas_app.training.setup.setup import Setup
from hnas_plugins.engine.native import library
from hnas_plugins.spaces.vgg9 import VGG9, VGG9Options

pytestmark = pytest.mark.usefixtures("often")

META = MetaTrainConfig(
    epochs=2,
    iterations=4,
    tasks=5,
    n_query=2,
    sampling="attentive",
    architectures=2,
    validate_every=1,
    validate_tasks=5,
)
ALONE = RetrainConfig(epochs=2, iterations=3, tasks=5, n_query=2, validate_every=1, validate_tasks=5)


@pytest.fixture(autouse=True)
def _engine() -> None:
    if library(torch.float32) is None:
        pytest.skip("no C compiler, or HNAS_ENGINE=plain: torch's own convolutions round each batch otherwise")


def trained(
    setup: Setup,
    executor: Executor,
    folder: Path,
    emit: Callable[[Event], None] = lambda event: None,
    meta: MetaTrainConfig = META,
    alone: RetrainConfig = ALONE,
) -> dict[str, torch.Tensor]:
    """Return a super-net's weights and those of two networks that were re-trained from it."""
    state = meta_train(setup, meta, executor, folder=folder / "meta", emit=emit)
    found: State = {f"super/{k}": v for k, v in state.items()}
    reference = setup.space.reference() or setup.space.largest()
    for arch in (reference, setup.space.sample(setup.seeds.numpy("some"))):
        kept = folder / str(arch.genes)
        _, own = retrain(setup, state, arch, alone, executor, phase="retrain", folder=kept, emit=emit)
        found |= {f"{arch.genes}/{k}": v for k, v in own.items()}
    return found


def differing(one: State, other: State) -> list[str]:
    return [k for k in one.keys() | other.keys() if not torch.equal(one[k], other[k])]


def test_any_number_of_workers_gives_the_same_bits(tmp_path: Path) -> None:
    """Of 5 tasks of two networks, cut in 1 to 4 parts; what is reported on the way is the same, too."""
    setup, states, told = tiny_setup(), list[State](), list[list[Event]]()
    kinds: list[Callable[[], AbstractContextManager[Executor]]] = [
        InProcess,
        lambda: LocalProcesses(2),
        lambda: Threads(3),
    ]
    for number, make in enumerate(kinds):
        events: list[Event] = []
        with make() as executor:
            states.append(trained(setup, executor, tmp_path / str(number), events.append))
        told.append(events)
    assert not differing(states[0], states[1])
    assert not differing(states[0], states[2])
    assert told[0] == told[1] == told[2]


def test_a_training_may_go_on_with_another_number(tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(event: Event) -> None:
        if event.kind == "step" and event.done == 3:
            raise Stop

    setup = tiny_setup()
    with InProcess() as one, Threads(3) as three:
        whole = trained(setup, one, tmp_path / "whole")
        with pytest.raises(Stop):
            trained(setup, three, tmp_path / "stopped", stop)
        again = trained(setup, one, tmp_path / "stopped")
    assert not differing(whole, again)


@pytest.mark.slow
@pytest.mark.parametrize("first_order_epochs", [0, 1])
def test_at_the_sizes_of_quick(tmp_path: Path, first_order_epochs: int) -> None:
    """16 tasks of networks of all sizes, in processes: 1, 2 and 3 of them."""
    setup = attrs.evolve(
        tiny_setup(inner_steps=5, first_order_epochs=first_order_epochs, rate_scaling="linear"),
        space=VGG9(VGG9Options(base_width=24)),
    )
    meta = attrs.evolve(META, epochs=1, iterations=8, tasks=16, n_query=5)
    alone = attrs.evolve(ALONE, epochs=1, iterations=4, tasks=16, n_query=5)
    states = []
    for count in (1, 2, 3):
        with LocalProcesses(count) as executor:
            states.append(trained(setup, executor, tmp_path / str(count), meta=meta, alone=alone))
    assert not differing(states[0], states[1])
    assert not differing(states[0], states[2])
