"""The experiment that narrows a super-net's choices: it trains what it says it does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from hnas import Progress, Seeds
from hnas.learner import State
from hnas_plugins.meta_learners.maml import MAML
from hnas_plugins.meta_learners.options import MAMLPlusPlusOptions
from hnas_plugins.spaces.vgg9 import VGG9


class SeedsOnly:
    """What `narrowed` needs of a set-up."""

    seeds = Seeds(0)


@pytest.fixture(scope="module")
def interference(benchmark_module: Callable[[str], Any]) -> Any:
    return benchmark_module("interference")


def drawn(interference: Any, name: str) -> list[dict[str, Any]]:
    space = VGG9()
    sampler = interference.narrowed(space, interference.NARROWED[name], SeedsOnly())
    return [
        space.options(a) for i in range(60) for a in sampler(Progress(iteration=i, iterations_per_epoch=60, epochs=1))
    ]


def of_kind(options: dict[str, Any], kind: str) -> set[Any]:
    return {v for k, v in options.items() if k.rstrip("1234") == kind}


@pytest.mark.parametrize(
    ("name", "kind", "left"),
    [
        ("kernel", "kernel", {3}),
        ("kernel-1-or-3", "kernel", {1, 3}),
        ("depth", "depth", {4}),
        ("nothing", "kernel", {1, 3, 5}),
    ],
)
def test_only_the_options_that_are_left_are_drawn(interference: Any, name: str, kind: str, left: set[Any]) -> None:
    found = drawn(interference, name)
    assert set().union(*(of_kind(o, kind) for o in found)) == left
    assert len(set().union(*(of_kind(o, "activation") for o in found))) == 6  # the other choices stay free


def test_only_the_named_parameters_go_on_being_trained(interference: Any) -> None:
    """What `tune` says about a part of the super-net would be wrong if others moved too."""
    options = MAMLPlusPlusOptions(meta_lr=0.1)
    supernet = VGG9().supernet((1, 28, 28), 5)
    start = MAML(options).init(supernet, torch.Generator().manual_seed(0))
    gradient: State = {k: torch.ones_like(v) for k, v in start.items() if k.startswith(("params/", "lslr/"))}
    state = {k: v.clone() for k, v in start.items()}
    progress = Progress(iteration=0, iterations_per_epoch=1, epochs=1)
    interference.Tuner(options, ("params/conv",)).update(state, gradient, 1, progress)
    moved = {k for k in gradient if not torch.equal(state[k], start[k])}
    assert moved == {k for k in gradient if k.startswith("params/conv")}
