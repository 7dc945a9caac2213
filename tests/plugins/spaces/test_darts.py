"""The space of DARTS cells: its published sizes, its genotypes, and what they may not be."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from darts_modules import Network
from supernet_checks import count_macs, random_params

from hnas import ConfigError
from hnas.toolkit.dataflow import dataflow
from hnas_app.costs.checked_layers import whole
from hnas_app.search.sizes import printed_size, true_size
from hnas_plugins.spaces.darts import Darts, DartsOptions
from hnas_plugins.spaces.darts.genotype import NODES, OPERATIONS, Genotype
from hnas_plugins.spaces.darts.space import REFERENCES

CIFAR, IMAGENET = ((3, 32, 32), 10), ((3, 224, 224), 1000)
V2 = REFERENCES["darts-v2"]


def published(name: str, image: tuple[int, int, int], n_way: int) -> Darts:
    return Darts(DartsOptions(**Darts().reference_options(name, image, n_way)))


def modules(space: Darts, name: str, image: tuple[int, int, int], n_way: int) -> Network:
    o, genotype = space.settings, space.genotype(space.reference(name))
    cells = list(genotype.normal), list(genotype.reduce)
    return Network(*cells, image[0], n_way, o.channels, o.cells, o.stem == "imagenet")


def test_the_space_has_as_many_networks_as_the_paper_counts():
    """Section 3.1.1: for a kind of cell, the product of (k + 1) k / 2 x 7^2 over k = 1 to 4; about 10^18 for both."""
    of_a_kind = np.prod([(k + 1) * k // 2 * 7**2 for k in range(1, 5)], dtype=object)
    assert printed_size(Darts()) == true_size(Darts()) == of_a_kind**2 == 1_076_746_950_455_072_400


@pytest.mark.parametrize(
    ("task", "params", "macs"),
    [
        (CIFAR, 3_349_342, 528_359_040),  # 3.3 M in table 1
        (IMAGENET, 4_718_752, 529_911_552),  # 4.7 M in table 2; there its MACs are 574 M, see docs/darts.md
    ],
)
def test_the_second_order_cells_have_their_published_parameters(task, params, macs):
    """Golden: the training log of the authors' code has 3.349342 M, and imgclsmob lists 4,718,752 for ImageNet."""
    layers = published("darts-v2", *task).layers(Darts().reference("darts-v2"), *task)
    assert sum(layer.params for layer in layers) == params
    assert sum(layer.macs for layer in layers) == macs


@pytest.mark.parametrize(("name", "task"), [("darts-v2", CIFAR), ("darts-v1", IMAGENET)])
def test_sizes_are_those_of_independent_modules(name, task):
    space = published(name, *task)
    layers = space.layers(space.reference(name), *task)
    with torch.device("meta"):
        net = modules(space, name, *task)
        macs, _ = count_macs(net, torch.zeros(2, *task[0]))
    assert sum(layer.params for layer in layers) == sum(p.numel() for p in net.parameters())
    assert sum(layer.macs for layer in layers) == macs


@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_super_net_computes_what_independent_modules_do(stem, seed):
    """Weights are copied in the order of the layers; maps of 13x9 are odd at each reduction."""
    image, n_way = (2, 13, 9), 3
    space = Darts(DartsOptions(channels=4, cells=4, stem=stem))
    arch = space.sample(np.random.default_rng(seed))
    space = Darts(DartsOptions(channels=4, cells=4, stem=stem, genotype=str(space.genotype(arch))))
    assert space.reference() == arch
    net, supernet = modules(space, "genotype", image, n_way).double(), space.supernet(image, n_way)
    shared = supernet.share(random_params(supernet, seed), arch)
    parameters = dict(net.named_parameters())
    names = [
        f"{prefix}{name}.{part}"
        for prefix, part_of in space.parts(arch, image, n_way)
        for name in filter(None, part_of.names)
        for part in ("weight", "bias")
        if f"{prefix}{name}.{part}" in shared
    ]
    assert len(names) == len(shared) == len(parameters)
    with torch.no_grad():
        for (name, parameter), mine in zip(parameters.items(), names, strict=True):
            assert parameter.shape == shared[mine].shape, (name, mine)
            parameter.copy_(shared[mine])
    x = torch.randn(5, *image, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    torch.testing.assert_close(supernet.forward(shared, x, arch), net(x), rtol=1e-9, atol=1e-9)


def test_a_network_s_layers_are_all_read_and_among_the_distinct_ones():
    space, generator = Darts(DartsOptions(channels=2, cells=5)), np.random.default_rng(0)
    known = set(space.distinct_layers((1, 28, 28), 5))
    for _ in range(50):
        layers = space.layers(space.sample(generator), (1, 28, 28), 5)
        dataflow(whole(space, layers))
        assert set(layers) <= known
    covered = {la for arch in space.covering() for la in space.layers(arch, (1, 28, 28), 5)}
    assert known == covered, "a layer that no network has would be measured for nothing"


def test_every_operation_is_on_every_edge_of_the_super_net():
    supernet = Darts(DartsOptions(channels=2, cells=3)).supernet((1, 8, 8), 2)
    held = {name.split(".")[1] + "." + name.split(".")[2] for name in supernet.roles if ".edge" in name}
    weighted = [op for op in OPERATIONS if "conv" in op]
    edges = [f"edge{read}_{node}" for node in NODES for read in range(node)]
    assert {h for h in held if "conv" in h} == {f"{edge}.{op}" for edge in edges for op in weighted}
    assert {h.split(".")[0] for h in held if "skip" in h} == {e for e in edges if e[4] in "01"}, "of a reduction"


@pytest.mark.parametrize(("cells", "reductions"), [(3, [1, 2]), (4, [1, 2]), (8, [2, 5]), (14, [4, 9]), (20, [6, 13])])
def test_reductions_follow_after_a_third_and_two_thirds(cells, reductions):
    space = Darts(DartsOptions(cells=cells))
    assert [k for k, reduces in enumerate(space.reductions) if reduces] == reductions


# -------------------------------------------------------------------- genotypes


@pytest.mark.parametrize("text", [V2, V2.replace("_concat=[2, 3, 4, 5]", "_concat=range(2, 6)"), f"\n {V2} "])
def test_a_genotype_is_read_as_darts_prints_it(text):
    space = Darts(DartsOptions(genotype=text))
    assert next(iter(space.references())) == "genotype"
    assert space.reference() == space.reference("darts-v2")


def test_genotypes_survive_their_written_form():
    space, generator = Darts(), np.random.default_rng(0)
    for _ in range(100):
        arch = space.sample(generator)
        assert space.of_genotype(Genotype.parse(str(space.genotype(arch)))) == arch


def changed(edge: str, to: str, count: int = 1) -> str:
    assert edge in V2
    return V2.replace(edge, to, count)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Genotype(normal=[", r"genotype 'Genotype\(normal=\[' does not parse"),
        ("sep_conv_3x3", "does not parse: it is no call of Genotype"),
        ("Genotype(normal=[])", "does not parse: its parts are normal$"),
        ("__import__('os').system('true')", "does not parse"),
        (
            changed("('sep_conv_3x3', 0)", "open('x')"),
            "does not parse: its parts are not lists of operations and numbers",
        ),
        ("(" * 5000, "does not parse"),
        (changed("('dil_conv_3x3', 2)", "('dil_conv_3x3', 5)"), r"normal cell .*edge 8.*: node 5 reads itself"),
        (changed("('dil_conv_3x3', 2)", "('dil_conv_3x3', 6)"), "normal cell .*node 5 reads 6, which is not before it"),
        (changed("('max_pool_3x3', 0)", "('max_pool_3x3', -1)"), "reduce cell .*node 2 reads -1"),
        (changed(", ('dil_conv_3x3', 2)", ""), "normal cell .*7 edges, so that node 5 is without an input"),
        (changed("normal=[('sep_conv_3x3', 0), ", "normal=[('none', 0), "), "edge 1, .*leaves node 2 without this inp"),
        (changed("('dil_conv_3x3', 2)]", "('dil_conv_3x3', 2), ('skip_connect', 0)]"), "normal cell .*9 edges$"),
        (changed("dil_conv_3x3", "dil_conv_3x"), r"edge 8, .*unknown operation. Did you mean 'dil_conv_3x3'"),
        (changed("('dil_conv_3x3', 2)", "('dil_conv_3x3', 0)"), "normal cell .*node 5 reads 0 twice"),
        (changed("('dil_conv_3x3', 2)", "('dil_conv_3x3', True)"), "edge 8 is "),
        (changed("('dil_conv_3x3', 2)", "7"), "edge 8 is 7"),
        (changed("normal_concat=[2, 3, 4, 5]", "normal_concat=[4, 5]"), r"normal cell joins \[4, 5\]"),
        (changed("reduce_concat=[2, 3, 4, 5]", "reduce_concat=range('x')"), "does not parse: its parts are not lists"),
        (changed("reduce_concat=[2, 3, 4, 5]", "reduce_concat=range(2, 1000000000000)"), "reduce cell joins"),
    ],
)
def test_a_genotype_that_cannot_be_is_refused_by_name(text: str, said: str):
    with pytest.raises(ConfigError, match=said) as caught:
        DartsOptions(genotype=text)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"cells": 2}, "cells"),
        ({"channels": 0}, "channels"),
        ({"channels": 5}, "must be even"),
        ({"stem": "x"}, "stem"),
    ],
)
def test_wrong_options_are_refused(wrong: dict[str, Any], said: str):
    with pytest.raises(ValueError, match=re.escape(said)):
        DartsOptions(**wrong)


def test_images_of_no_size_are_refused():
    with pytest.raises(ConfigError, match=r"darts: images of 1x0x28 in 5 classes"):
        Darts().layers(Darts().reference(), (1, 0, 28), 5)
