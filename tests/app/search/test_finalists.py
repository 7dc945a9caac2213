"""Finalists and entrants of a race: of different sizes, and each with the reference network's activations, too."""

from __future__ import annotations

import pytest

from hnas import Architecture, Cost
from hnas.strategy import Scored
from hnas_app.search.finalists import entrants, first_of_each, plain
from hnas_plugins.spaces.vgg9 import VGG9, VGG9Options

SPACE = VGG9(VGG9Options(base_width=4))
REFERENCE = SPACE.reference("maml++-omniglot")
assert REFERENCE is not None


def cost(arch: Architecture) -> Cost:
    layers = SPACE.layers(arch, (1, 28, 28), 5)
    return Cost(values={"params": sum(la.params for la in layers), "macs": sum(la.macs for la in layers)})


def network(**changed: object) -> Architecture:
    return SPACE.architecture(**{**SPACE.options(REFERENCE), **changed})  # type: ignore[arg-type]


def test_a_plain_form_has_the_references_activations_and_its_own_widths() -> None:
    """The super-net favours a sigmoid; widths and kernels are what was searched for."""
    arch = network(kernel2=5, scale3=0.5, activation2="sigmoid", activation4="elu")
    assert plain(SPACE, arch, REFERENCE, cost, lambda a: True) == network(kernel2=5, scale3=0.5)
    assert plain(SPACE, REFERENCE, REFERENCE, cost, lambda a: True) == REFERENCE


def test_a_plain_form_keeps_the_limits() -> None:
    """On a device on which an activation has a cost, another one may not fit."""
    arch = network(activation2="sigmoid", activation3="elu")

    def fits(a: Architecture) -> bool:
        return SPACE.options(a)["activation2"] == "sigmoid"

    assert plain(SPACE, arch, REFERENCE, cost, fits) == network(activation2="sigmoid")


def test_a_shallower_network_has_a_plain_form() -> None:
    arch = network(depth=2, activation1="selu")
    assert plain(SPACE, arch, REFERENCE, cost, lambda a: True) == network(depth=2)


def test_the_first_of_each_size() -> None:
    assert first_of_each([((1, 1), "a"), ((2, 1), "b"), ((1, 1), "c"), ((1, 2), "d")]) == ["a", "b", "d"]


def scored(name: int, params: float) -> Scored:
    return Scored(
        arch=Architecture("tiny", (name,)),
        loss=float(name),
        accuracy=0.5,
        cost=Cost(values={"params": params, "macs": 1.0}),
    )


@pytest.mark.parametrize(
    ("count", "expected"),
    [(1, [0]), (2, [0, 1]), (3, [0, 1, 3]), (4, [0, 1, 3, 4]), (5, [0, 1, 3, 4, 5]), (9, [0, 1, 3, 4, 5, 2])],
)
def test_entrants_are_of_different_sizes_first(count: int, expected: list[int]) -> None:
    """Before, all that raced had one structure: a converged population differs in activations only."""
    finalists = [scored(0, 10), scored(1, 10), scored(2, 10), scored(3, 20), scored(4, 20), scored(5, 30)]
    found = entrants(finalists, count)
    assert [arch.genes[0] for arch in found.values()] == expected
    assert list(found) == ["found", *(f"finalist-{i}" for i in range(2, len(expected) + 1))]
