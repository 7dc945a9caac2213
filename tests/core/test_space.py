"""What the core derives from the choices of a space, against enumeration."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hnas import Architecture, Choice, ConfigError, Layer, PluginError, SearchSpace
from hnas.toolkit.codec import from_json, to_json
from hnas_app.search.sizes import true_size


class AnySpace(SearchSpace):
    """A space of given choices, without layers or weights."""

    name = "any"

    def __init__(self, choices: tuple[Choice, ...]) -> None:
        self._choices = choices

    @property
    def choices(self) -> tuple[Choice, ...]:
        return self._choices

    def layers(self, arch: Any, input_shape: Any, n_way: Any) -> Any:
        raise NotImplementedError

    def supernet(self, input_shape: Any, n_way: Any) -> Any:
        raise NotImplementedError

    def everything(self) -> set[Architecture]:
        genes = product(*(range(len(c.options)) for c in self.choices))
        return {self.canonical(Architecture(self.name, g)) for g in genes}


@st.composite
def spaces(draw: st.DrawFn) -> AnySpace:
    """Draw a space of up to six choices; some depend on one of the first two, in any gene order."""
    parents = [
        Choice(name=f"p{i}", options=tuple(range(draw(st.integers(1, 3))))) for i in range(draw(st.integers(1, 2)))
    ]
    children = []
    for i in range(draw(st.integers(0, 4))):
        parent = draw(st.sampled_from(parents))
        when = draw(st.sets(st.sampled_from(parent.options)))
        needs = (parent.name, tuple(sorted(when))) if draw(st.booleans()) else None
        children.append(Choice(name=f"c{i}", options=tuple("abc"[: draw(st.integers(1, 3))]), needs=needs))
    return AnySpace(tuple(draw(st.permutations(parents + children))))


def active_differences(space: SearchSpace, a: Architecture, b: Architecture) -> int:
    both = [x and y for x, y in zip(space.active(a), space.active(b), strict=True)]
    return sum(on and x != y for on, x, y in zip(both, a.genes, b.genes, strict=True))


@given(spaces())
def test_size_true_counts_every_distinct_network_once(space: AnySpace) -> None:
    assert true_size(space) == len(space.everything())


@given(spaces(), st.integers(0, 2**32))
def test_samples_are_canonical_members(space: AnySpace, seed: int) -> None:
    arch = space.sample(np.random.default_rng(seed))
    space.check(arch)
    assert arch == space.canonical(arch)
    assert arch in space.everything()


@given(spaces(), st.integers(0, 2**32), st.integers(1, 3))
def test_a_mutant_differs_in_at_most_the_choices_asked_for(space: AnySpace, seed: int, count: int) -> None:
    generator = np.random.default_rng(seed)
    arch = space.sample(generator)
    mutant = space.mutate(arch, generator, count)
    assert mutant in space.everything()
    assert active_differences(space, arch, mutant) <= count
    movable = any(on and len(c.options) > 1 for on, c in zip(space.active(arch), space.choices, strict=True))
    assert (mutant != arch) == movable


@given(spaces(), st.integers(0, 2**32))
def test_neighbours_are_all_that_differ_in_one_active_choice(space: AnySpace, seed: int) -> None:
    arch = space.sample(np.random.default_rng(seed))
    found = list(space.neighbours(arch))
    assert len(found) == len(set(found))
    assert arch not in found
    # Choices that a changed parent switches on start at their first option; the space says so by its canonical form.
    expected = {
        space.canonical(Architecture("any", (*arch.genes[:i], g, *arch.genes[i + 1 :])))
        for i, on in enumerate(space.active(arch))
        if on
        for g in range(len(space.choices[i].options))
    } - {arch}
    assert set(found) == expected
    assert all(active_differences(space, arch, n) == 1 for n in found)


@given(spaces(), st.integers(0, 2**32))
def test_options_and_json_name_the_same_architecture(space: AnySpace, seed: int) -> None:
    arch = space.sample(np.random.default_rng(seed))
    assert space.architecture(**space.options(arch)) == arch
    assert from_json(to_json(arch), Architecture, "a test") == arch


def test_sampling_and_mutation_reach_every_architecture(make_tiny_space: Any) -> None:
    """A walk of mutations, or samples, that leaves out a part of the space would hide its optimum from a search."""
    space = make_tiny_space(depth=2, widths=(2, 4), acts=("relu",))
    generator = np.random.default_rng(0)
    everything = set(space.everything())
    assert {space.sample(generator) for _ in range(1000)} == everything
    walked = [space.sample(generator)]
    for _ in range(3000):
        walked.append(space.mutate(walked[-1], generator))
    assert set(walked) == everything


def test_distinct_layers_are_those_of_all_architectures(tiny_space: Any) -> None:
    """A layer that is left out has no row in the cost table, and the first architecture with it has no cost."""
    expected = {layer for arch in tiny_space.everything() for layer in tiny_space.layers(arch, (1, 8, 8), 5)}
    found = tiny_space.distinct_layers((1, 8, 8), 5)
    assert set(found) == expected
    assert found == sorted(expected)


def test_an_architecture_of_another_space_is_refused(tiny_space: Any) -> None:
    for arch, seen in (
        (Architecture("other", (0,) * 10), "other"),
        (Architecture("tiny", (0,) * 9), "9 genes"),
        (Architecture("tiny", (0, 3, *(0,) * 8)), "kernel1"),
    ):
        with pytest.raises(ConfigError, match=seen):
            tiny_space.check(arch)


def test_a_wrong_option_is_named_with_what_is_possible(tiny_space: Any) -> None:
    with pytest.raises(ConfigError, match=r"kernel1: 7 is not one of \[1, 3, 5\]"):
        tiny_space.architecture(kernel1=7)
    with pytest.raises(ConfigError, match="no choice"):
        tiny_space.architecture(kernel9=1)


def test_a_space_whose_choices_move_all_later_layers_has_to_name_its_layers() -> None:
    """The default would visit 2^40 combinations before a profile begins, without a word."""

    class Moving(SearchSpace):
        name = "moving"
        choices = tuple(Choice(name=f"skip{i}", options=(0, 1)) for i in range(40))

        def layers(self, arch: Architecture, input_shape: Any, n_way: int) -> list[Layer]:
            shapes = [(1, 8 + i, 8) for i, skips in enumerate(arch.genes) if not skips]
            return [Layer(op="relu", in_shape=s, out_shape=s) for s in shapes]

        def supernet(self, input_shape: Any, n_way: int) -> Any:
            raise NotImplementedError

    with pytest.raises(PluginError, match=r"moving: which layers stand at a place depends on 1e\+12 comb") as caught:
        Moving().distinct_layers((1, 8, 8), 5)
    assert "distinct_layers" in caught.value.hint
