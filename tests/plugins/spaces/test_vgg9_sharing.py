"""What sub-networks of VGG9 share and what they have for themselves, under each option of the super-net."""

import pytest
import torch

from hnas_plugins.spaces.blocks.conv_layers import ACTIVATIONS
from hnas_plugins.spaces.vgg9 import VGG9, VGG9Options

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


def test_gamma_and_beta_for_each_activation():
    _, _, params, shared = shared_of(norms="activation")
    for i, (activation, width) in enumerate((("selu", 2), ("relu6", 6)), 1):
        for part in ("weight", "bias"):
            full = params[f"norm{i}.{part}"]
            assert full.shape == (2, len(ACTIVATIONS), 9)
            assert torch.equal(shared[f"norm{i}.{part}"], full[:, ACTIVATIONS.index(activation), :width])


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


@pytest.mark.parametrize("options", [{"norms": "activation"}, {"kernels": "transform"}], ids=str)
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
    convolutions = ["conv1.weight", "conv2.weight"]
    matrices = ["conv1.to3", "conv2.to3"] if options == {"kernels": "transform"} else []
    norms = [f"norm{i}.{part}" for i in (1, 2) for part in ("weight", "bias")]
    assert learnt == {*convolutions, *matrices, *norms, "fc.weight", "fc.bias"}
