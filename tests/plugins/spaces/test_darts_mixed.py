"""The mixture of all operations of DARTS cells: what it computes, and what its architecture weights stand for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from hnas.testing import SpaceConformance
from hnas_plugins.spaces.darts import Darts, DartsOptions
from hnas_plugins.spaces.darts.cells import ARCH
from hnas_plugins.spaces.darts.genotype import MIXED, NODES, Genotype

ROWS = [(read, node) for node in NODES for read in range(node)]
"""The edges of a cell, in the order of the rows of its architecture weights."""
IMAGE, N_WAY = (2, 9, 7), 3


def mixed(**options: object) -> Darts:
    return Darts(DartsOptions(channels=2, cells=3, mixed=True, **options))  # type: ignore[arg-type]


def one_hot(genotype: Genotype) -> dict[str, Tensor]:
    """Return architecture weights of ±50: of the cell's operations, and of `none` on all other edges."""
    found = {}
    for name, edges in zip(ARCH, (genotype.normal, genotype.reduce), strict=True):
        theta = torch.full((len(ROWS), len(MIXED)), -50.0, dtype=torch.float64)
        chosen = {(read, NODES[n // 2]): op for n, (op, read) in enumerate(edges)}
        for row, edge in enumerate(ROWS):
            theta[row, MIXED.index(chosen.get(edge, "none"))] = 50
        found[name] = theta
    return found


def random_params(supernet, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    drawn = supernet.init(generator)
    return {k: v.double() + 0.1 * torch.randn(v.shape, generator=generator) for k, v in drawn.items()}


@pytest.mark.parametrize(("seed", "options"), [(0, {}), (1, {"stem": "imagenet", "classifier": "shared"})])
def test_one_hot_weights_give_the_discrete_network(seed, options):
    """To rounding, which is all that is left of the other operations: e^-100."""
    space = mixed(**options)
    supernet, arch = space.supernet(IMAGE, N_WAY), space.sample(np.random.default_rng(seed))
    params = random_params(supernet, seed) | one_hot(space.genotype(arch))
    x = torch.randn(3, *IMAGE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    shared = supernet.share(params, arch)
    assert not set(ARCH) & set(shared)
    expected = supernet.forward(shared, x, arch)
    found = supernet.forward(supernet.share(params, supernet.relaxed), x, supernet.relaxed)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    (proposal,) = supernet.decode({k: v[None] for k, v in params.items()})
    assert proposal.arch == arch


def test_without_the_option_all_stays_as_it_was():
    plain, both = (Darts(DartsOptions(channels=2, cells=3, mixed=m)).supernet(IMAGE, N_WAY) for m in (False, True))
    assert plain.relaxed is None
    assert set(both.roles) - set(plain.roles) == set(ARCH)
    assert {k: r for k, r in both.roles.items() if r != "arch"} == plain.roles


def test_two_edges_of_each_node_are_kept_by_their_strongest_operation():
    """Node 3's edges: the first is all but `none`, which does not count; the other two have the stronger operations."""
    supernet = mixed().supernet(IMAGE, N_WAY)
    theta = torch.zeros(2, len(ROWS), len(MIXED))
    at = {edge: i for i, edge in enumerate(ROWS)}
    theta[0, at[0, 3]] = torch.tensor([1.0, 0, 0, 0, 0, 0, 0, 9.0])
    theta[0, at[1, 3], MIXED.index("sep_conv_5x5")] = 1.0
    theta[0, at[2, 3], MIXED.index("skip_connect")] = 2.0
    theta[0, at[1, 2], MIXED.index("dil_conv_3x3")] = 0.5
    theta[0, at[4, 5], MIXED.index("avg_pool_3x3")] = 3.0
    theta[0, at[2, 5], MIXED.index("dil_conv_5x5")] = 0.1
    theta[1] = -theta[0]
    found = supernet.decode({ARCH[0]: theta, ARCH[1]: torch.zeros_like(theta)})
    of = [mixed().genotype(proposal.arch) for proposal in found]
    first = "max_pool_3x3"
    assert of[0].normal == (
        (first, 0), ("dil_conv_3x3", 1), ("sep_conv_5x5", 1), ("skip_connect", 2),
        (first, 0), (first, 1), ("dil_conv_5x5", 2), ("avg_pool_3x3", 4),
    )  # fmt: skip
    assert of[0].reduce == tuple((first, read) for _ in NODES for read in (0, 1))
    assert of[1].normal[2:4] == (("avg_pool_3x3", 0), (first, 2))  # -9, -1 and -2: the others share what these lose
    # The weights of the operations of kept edges: a softmax of eight, `none` among them.
    weights = found[0].weights
    assert [len(w) for w in weights] == [7, 7, 0, 7, 7, 0, 7, 7, 0, 7, 7] * 2
    share = float(np.exp(2)) / (float(np.exp(2)) + 7)
    assert weights[4][MIXED.index("skip_connect")] == pytest.approx(share)
    assert sum(weights[4]) == pytest.approx(1 - 1 / (float(np.exp(2)) + 7))


@pytest.mark.parametrize("options", [{}, {"stem": "imagenet", "cells": 5}])
def test_prices_are_what_two_networks_differ_by(options):
    """The rest is the same in all: of each layer 1, its parameters and its multiply-accumulates."""
    space = Darts(DartsOptions(**{"channels": 2, "cells": 3, "mixed": True} | options))
    found = space.supernet(IMAGE, N_WAY).prices(lambda layer: 1.0 + layer.params + layer.macs)
    assert all(bool((found[name][:, MIXED.index("none")] == 0).all()) for name in ARCH)
    assert bool((found["normal.arch"][:, MIXED.index("skip_connect")] == 0).all())
    expected, total = [], []
    for seed in range(4):
        arch = space.sample(np.random.default_rng(seed))
        shares = one_hot(space.genotype(arch))
        expected.append(sum(float((found[k] * shares[k].softmax(-1)).sum()) for k in ARCH))
        total.append(sum(1.0 + layer.params + layer.macs for layer in space.layers(arch, IMAGE, N_WAY)))
    assert [e - expected[0] for e in expected] == pytest.approx([t - total[0] for t in total], rel=1e-6)
    assert len(set(total)) > 1
    with pytest.raises(NotImplementedError, match="DartsSuperNet does not price"):
        Darts(DartsOptions(channels=2, cells=3)).supernet(IMAGE, N_WAY).prices(lambda layer: 1.0)


@pytest.mark.slow
class TestMixedDarts(SpaceConformance):
    options = DartsOptions
    samples = 0

    def make(self) -> Darts:
        return mixed()
