"""The closed forms against a walk through the passes, the search against all mappings, and what must always hold."""

from itertools import product

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hnas_backends.eyeriss_rs import chip, cost
from hnas_backends.eyeriss_rs.mapping import Mapping, Mappings, fits
from hnas_backends.eyeriss_rs.search import best, candidates
from hnas_backends.eyeriss_rs.shape import Shape

LINK_WORDS = 1.2


def shape(N=1, M=1, C=1, k=3, E=4, U=1, D=1, padding=0):
    size = (E - 1) * U + (k - 1) * D + 1 - 2 * padding
    return Shape(N=N, M=M, C=C, R=k, S=k, E=E, F=E, U=U, D=D, height=size, width=size, padding=padding)


@st.composite
def shapes(draw, images=3, channels=40, size=30):
    k = draw(st.sampled_from([1, 3, 5, 7, 12]))
    U = draw(st.integers(1, 3))
    D = draw(st.integers(1, 3)) if U == 1 and k < 7 else 1  # with a stride, the rows read are bounded, not counted
    padding = draw(st.sampled_from([0, D * (k // 2)]))
    smallest = 1 if k > 2 * padding else 2
    E = draw(st.integers(max(smallest, 1 + 2 * padding // U), max(size, 14)))
    counts = [draw(st.integers(1, high)) for high in (images, channels, channels)]
    return shape(*counts, k=k, E=E, U=U, D=D, padding=padding)


def everything(s):
    """Return every legal mapping, with no thought for which can be good."""
    slots = chip.ROWS // s.R
    axes = [range(1, s.N + 1), range(1, s.E + 1), range(1, min(s.M, chip.PSUM_SPAD) + 1)]
    axes += [range(1, min(s.C, chip.IFMAP_SPAD // s.S) + 1), range(1, slots + 1), range(1, slots * chip.COLUMNS + 1)]
    rows = []
    for n, e, p, q, r, t in product(*axes):
        if t <= s.M and r <= s.C:
            steps = range(p * t, s.M + p * t, p * t)
            rows += [Mapping(m=m, n=n, e=e, p=p, q=q, r=r, t=t) for m in steps]
    x = Mappings.of(rows)
    return x.where(fits(s, x))


def walk(s, x):
    """Run through the passes in the order of JSSC 2017, figure 7, and count words and passes one pass at a time."""
    seen = {"buffer": 0, "fmaps": 0, "filters": 0, "array": 0, "passes": 0}

    def parts(total, step):
        return [(begin, min(step, total - begin)) for begin in range(0, total, step)]

    for (_, n), (_, m), (row, e) in product(parts(s.N, x.n), parts(s.M, x.m), parts(s.E, x.e)):
        needed = {y * s.U + i * s.D for y in range(row, row + e) for i in range(s.R)}
        held = [y for y in needed if 0 <= y - s.padding < s.height]
        for _, c in parts(s.C, x.q * x.r):
            seen["fmaps"] += n * c * len(held) * s.width
            for _, f in parts(m, x.p * x.t):
                seen["passes"] += 1
                seen["filters"] += f * c * s.R * s.S
                seen["buffer"] += n * c * len(needed) * s.row_words + 2 * n * f * e * s.F
                sets, stacked = len(parts(f, x.p)), len(parts(c, x.q))
                to_pes = n * c * e * s.R * s.row_words * sets + f * c * s.R * s.S * e
                seen["array"] += to_pes + n * f * e * s.F * (stacked * s.R - 1)
        seen["fmaps"] += n * m * e * s.F
    return seen


@settings(max_examples=60, deadline=None)
@given(s=shapes(channels=20, size=16), data=st.data())
def test_closed_forms_count_what_a_walk_through_the_passes_counts(s, data):
    """A word too many or too few at some level, for sizes that do not divide, strides that skip, or padding."""
    x = candidates(s)
    index = data.draw(st.integers(0, len(x.p) - 1))
    one = Mappings.of([x[index]])
    words, seen = cost.traffic(s, one), walk(s, x[index])
    for level in ("buffer", "fmaps", "filters", "array"):
        assert getattr(words, level)[0] == seen[level], level
    assert cost.passes(s, one)[0] == seen["passes"]


@pytest.mark.parametrize(
    "s",
    [
        shape(M=5, C=7, k=3, E=4),
        shape(N=2, M=6, C=3, k=5, E=7, U=2, padding=2),
        shape(M=9, C=5, k=5, E=16),
        shape(M=4, C=4, k=1, E=3, U=2),
        shape(N=3, M=3, C=2, k=12, E=6),
    ],
)
def test_the_search_misses_nothing(s):
    """The candidates leave out a mapping that is better than all of them."""
    x = everything(s)
    words = cost.traffic(s, x)
    energy, cycles = cost.energy(s, words), cost.total_cycles(s, x, words, LINK_WORDS)
    assert best(s, "energy", LINK_WORDS).energy == energy.min()
    assert best(s, "latency", LINK_WORDS).cycles == cycles.min()
    assert best(s, "latency", 0).cycles == cost.processing_cycles(s, x).min()
    found = best(s, "energy-delay", LINK_WORDS)
    assert found.energy * found.cycles == (energy * cycles).min()


@settings(max_examples=60, deadline=None)
@given(s=shapes())
def test_candidates_fit_the_chip(s):
    """A mapping that exceeds a scratch pad, the array, the banks or the filter buffer is priced as if it could run."""
    x = candidates(s)
    assert len(x.p) > 0
    assert (x.q * s.S <= 12).all()
    assert (x.p * x.q * s.S <= 224).all()
    assert (x.p <= 24).all()
    assert (x.r * x.t * x.e * s.R <= 168).all()
    assert (x.r * s.R <= 12).all()
    rows = np.minimum((x.e - 1) * s.U + s.R, x.e * s.R)
    kb = 2 * (x.n * x.q * x.r * rows * s.row_words + x.n * x.m * x.e * s.F) / 1024
    assert (kb <= 100).all()
    assert (2 * x.p * x.t * x.q * x.r * s.R * s.S <= 8192).all()
    assert (x.m >= x.p * x.t).all()
    assert fits(s, x).all()


@settings(max_examples=60, deadline=None)
@given(s=shapes(), goal=st.sampled_from(["energy-delay", "energy", "latency"]))
def test_no_layer_beats_what_the_chip_can_do(s, goal):
    """More than one MAC a PE and cycle, a MAC without its energy, or less DRAM than every word once."""
    for link in (LINK_WORDS, 0):
        found = best(s, goal, link)
        assert found.cycles * 168 >= s.macs
        assert found.energy >= 5 * s.macs + 200 * (s.psums + s.M * s.C * s.R * s.S)
    assert best(s, "latency", LINK_WORDS).cycles >= best(s, "latency", 0).cycles


@settings(max_examples=60, deadline=None)
@given(s=shapes(channels=30), what=st.sampled_from(["M", "C"]), more=st.integers(1, 10))
def test_more_channels_or_filters_never_cost_less(s, what, more):
    """A search would be drawn to wider layers that seem cheaper than narrower ones."""
    wider = attrs.evolve(s, **{what: getattr(s, what) + more})
    assert best(wider, "energy", LINK_WORDS).energy > best(s, "energy", LINK_WORDS).energy
    assert best(wider, "latency", LINK_WORDS).cycles >= best(s, "latency", LINK_WORDS).cycles
    assert best(wider, "latency", 0).cycles >= best(s, "latency", 0).cycles


def test_the_goals_are_kept():
    """An option that changes nothing: each goal must be best at its own."""
    s = shape(M=64, C=64, k=3, E=56, padding=1)
    by = {goal: best(s, goal, LINK_WORDS) for goal in ("energy-delay", "energy", "latency")}
    assert by["energy"].energy < by["latency"].energy
    assert by["latency"].cycles < by["energy"].cycles
    assert by["energy-delay"].energy * by["energy-delay"].cycles <= min(
        by["energy"].energy * by["energy"].cycles, by["latency"].energy * by["latency"].cycles
    )
