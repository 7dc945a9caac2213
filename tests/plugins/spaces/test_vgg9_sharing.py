"""What sub-networks of VGG9 share and what they have for themselves, under each option of the super-net."""

import pytest
import torch

from hnas_plugins.spaces.blocks.conv_layers import ACTIVATIONS, KERNELS
from hnas_plugins.spaces.vgg9 import VGG9, VGG9Options
from hnas_plugins.spaces.vgg9.geometry import SCALES

LEAD = (2,)
"""A leading dimension, as of the inner steps, which sharing must leave alone."""


def shared_of(**options):
    """Return a space's random parameters, and what the network below takes of them."""
    space = VGG9(VGG9Options(base_width=4, **options))
    supernet = space.supernet((2, 9, 9), 3)
    generator = torch.Generator().manual_seed(0)
    params = {
        k: torch.randn(*LEAD, *v.shape, generator=generator, dtype=torch.float64)
        for k, v in supernet.init(generator).items()
    }
    arch = space.architecture(
        depth=2, kernel1=3, scale1=0.5, activation1="selu", kernel2=1, scale2=1.5, activation2="relu6"
    )
    return supernet, arch, params, supernet.share(params, arch)


def test_a_classifier_for_each_depth():
    _, _, params, shared = shared_of(heads="depth")
    assert params["fc.weight"].shape == (2, 4, 3, 9, 1)
    assert torch.equal(shared["fc.weight"], params["fc.weight"][:, 1, :, :6])
    assert torch.equal(shared["fc.bias"], params["fc.bias"][:, 1])


@pytest.mark.parametrize(
    ("norms", "options", "picked"),
    [
        ("kernel", KERNELS, (3, 1)),
        ("width", SCALES, (0.5, 1.5)),
        ("activation", ACTIVATIONS, ("selu", "relu6")),
    ],
)
def test_gamma_and_beta_for_each_option(norms, options, picked):
    _, _, params, shared = shared_of(norms=norms)
    for i, (option, width) in enumerate(zip(picked, (2, 6), strict=True), 1):
        for part in ("weight", "bias"):
            full = params[f"norm{i}.{part}"]
            assert full.shape == (2, len(options), 9)
            assert torch.equal(shared[f"norm{i}.{part}"], full[:, options.index(option), :width])


def test_gamma_and_beta_as_a_sum():
    supernet, _, params, shared = shared_of(norms="sum")
    rows = [KERNELS.index(3), 3 + SCALES.index(0.5), 3 + 7 + ACTIVATIONS.index("selu")]
    torch.testing.assert_close(shared["norm1.bias"], params["norm1.bias"][:, rows, :2].sum(1))
    initial = supernet.init(torch.Generator().manual_seed(0))
    arch = supernet.largest
    assert supernet.share(initial, arch)["norm1.weight"].sub(1).abs().max() < 1e-6


def test_kernels_of_their_own():
    _, _, params, shared = shared_of(kernels="own")
    assert torch.equal(shared["conv1.weight"], params["conv1.k3"][:, :2, :2])
    assert torch.equal(shared["conv2.weight"], params["conv2.k1"][:, :6, :2])


def test_kernels_through_a_matrix():
    """As in OFA: the centre of the larger kernel, flattened, times a matrix; that of all filters of a layer."""
    supernet, _, params, shared = shared_of(kernels="transform")
    centre = params["conv1.weight"][:, :2, :2, 1:4, 1:4].flatten(-2)
    expected = torch.einsum("loci,lij->locj", centre, params["conv1.to3"]).view(2, 2, 2, 3, 3)
    torch.testing.assert_close(shared["conv1.weight"], expected)
    small = torch.einsum("loci,lij->locj", params["conv2.weight"][:, :6, :2, 1:4, 1:4].flatten(-2), params["conv2.to3"])
    torch.testing.assert_close(shared["conv2.weight"], small[..., 4].view(2, 6, 2, 1, 1))
    initial = supernet.init(torch.Generator().manual_seed(0))
    assert torch.equal(initial["conv1.to3"], torch.eye(9))  # at first, the centre itself
    assert supernet.roles["conv1.to3"] == "meta"  # not adapted in the inner loop


@pytest.mark.parametrize(
    "options",
    [{"heads": "depth"}, {"norms": "sum"}, {"norms": "activation"}, {"kernels": "own"}, {"kernels": "transform"}],
    ids=str,
)
def test_what_is_shared_learns(options):
    """Gradients reach all that the network's two layers use; the shapes are those of the network alone."""
    supernet, arch, params, _ = shared_of(**options)
    params = {k: v[0].requires_grad_() for k, v in params.items()}
    shared = supernet.share(params, arch)
    plain = shared_of()[3]
    assert {k: v.shape for k, v in shared.items()} == {k: v.shape[1:] for k, v in plain.items()}
    x = torch.randn(5, 2, 9, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    supernet.forward(shared, x, arch).square().sum().backward()
    learnt = {k for k, v in params.items() if v.grad is not None and v.grad.any()}
    convolutions = ["conv1.k3", "conv2.k1"] if options == {"kernels": "own"} else ["conv1.weight", "conv2.weight"]
    matrices = ["conv1.to3", "conv2.to3"] if options == {"kernels": "transform"} else []
    norms = [f"norm{i}.{part}" for i in (1, 2) for part in ("weight", "bias")]
    assert learnt == {*convolutions, *matrices, *norms, "fc.weight", "fc.bias"}
