"""The inner loop in one call: the steps of autograd through the plain network, and the same in whatever company."""

import pytest
import torch

from hnas import NormStats, SuperNet
from hnas_plugins.engine.descent import descend
from hnas_plugins.engine.unit import Unit
from hnas_plugins.spaces.blocks.conv_layers import ACTIVATIONS
from hnas_plugins.spaces.resnet12 import ResNet12, ResNet12Options
from hnas_plugins.spaces.vgg9 import VGG9, VGG9Options

pytestmark = pytest.mark.usefixtures("kernels")
STEPS = 3


def problem(downsample, activation, pool, tasks, dtype=torch.float64):
    """Return a VGG9 super-net, an architecture, and what `SuperNet.descend` takes."""
    space = VGG9(VGG9Options(base_width=4, downsample=downsample, pool=pool))
    picked = {f"activation{i}": activation for i in range(1, 4)}
    arch = space.architecture(depth=3, kernel1=5, kernel2=1, kernel3=3, scale1=0.75, scale3=1.5, **picked)
    return drawn_for(space, arch, tasks, dtype)


def residual_problem(activation, blocks, tasks, dtype=torch.float64):
    """Return the same for ResNet12: kernels and widths differ within a block and between blocks."""
    space = ResNet12(ResNet12Options(base_width=4, anl=True))
    picked = {f"activation{b}_{i}": activation for b in range(1, blocks + 1) for i in (1, 2, 3)}
    picked |= {"kernel1_1": 5, "kernel1_3": 3, "scale1_1": 0.5, "scale1_2": 1.5, "scale1_3": 1.0, "kernel2_2": 3}
    picked |= {"scale2_3": 0.5, "kernel3_1": 3, "scale3_2": 0.25}
    return drawn_for(space, space.architecture(blocks=blocks, **picked), tasks, dtype)


def drawn_for(space, arch, tasks, dtype):
    """Draw parameters of which none is 0 or 1, images and labels."""
    supernet = space.supernet((2, 11, 7), 3)
    generator = torch.Generator().manual_seed(3)

    def drawn(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    def parameters():
        full = {k: 0.5 * drawn(*v.shape) + k.startswith("norm") for k, v in supernet.init(generator).items()}
        return supernet.share(full, arch)

    weights = {k: v for k, v in parameters().items() if supernet.roles[k] == "weight"}
    norms = [{k: v for k, v in parameters().items() if supernet.roles[k] == "norm"} for _ in range(STEPS)]
    rates = {k: 0.1 + 0.05 * drawn(STEPS) for k in weights}
    labels = torch.tensor([[0, 0, 1, 1, 2, 2]] * tasks)
    return supernet, arch, (weights, norms, rates, drawn(tasks, 6, 2, 11, 7), labels)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("blocks", "tasks"), [(1, 2), (2, 1), (3, 3)])
def test_steps_through_residual_blocks_are_those_of_autograd(monkeypatch, activation, blocks, tasks):
    """Weights, each step's gradients, and statistics: a block's input has two gradients, which must be added."""
    supernet, arch, inputs = residual_problem(activation, blocks, tasks)
    results = []
    for plain in (False, True):
        if plain:
            monkeypatch.setattr("hnas_plugins.engine.blocks.usable", lambda x, stats: False)
        gradients, stats = {}, [NormStats("collect") for _ in range(STEPS)]
        call = SuperNet.descend if plain else type(supernet).descend
        adapted = call(supernet, *inputs, arch, stats=stats, gradients=gradients)
        results.append((adapted, gradients, stats))
    (adapted, gradients, stats), (expected, expected_gradients, expected_stats) = results
    assert adapted.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(adapted[name], value)
        torch.testing.assert_close(gradients[name], expected_gradients[name])
        assert expected_gradients[name].abs().amax((*range(2, value.dim() + 1),)).min() > 0, name
    for one, other in zip(stats, expected_stats, strict=True):
        assert one.mean.keys() == other.mean.keys()
        for name, value in other.var.items():
            torch.testing.assert_close(one.var[name], value)
            torch.testing.assert_close(one.mean[name], other.mean[name])


@pytest.mark.parametrize("downsample", ["stride", "pool"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("pool", "tasks"), [(1, 1), (1, 3), (2, 2), (3, 1)])
def test_steps_are_those_of_autograd(monkeypatch, downsample, activation, pool, tasks):
    """Pools that divide the last map, that do not, and that are larger than it; one task, and several that share."""
    supernet, arch, inputs = problem(downsample, activation, pool, tasks)
    before = {k: v.clone() for k, v in inputs[0].items()}
    found = supernet.descend(*inputs, arch)
    monkeypatch.setattr("hnas_plugins.engine.blocks.usable", lambda x, stats: False)
    expected = SuperNet.descend(supernet, *inputs, arch)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)
        assert not found[name].requires_grad
        assert torch.equal(inputs[0][name], before[name])


@pytest.mark.parametrize("downsample", ["stride", "pool"])
@pytest.mark.parametrize("tasks", [1, 3])
def test_what_happens_on_the_way_is_what_autograd_says(monkeypatch, downsample, tasks):
    """Each step's gradients, for first-order training, and the statistics of its normalisations."""
    supernet, arch, inputs = problem(downsample, "elu", 2, tasks)
    found, expected = {}, {}
    stats, expected_stats = ([NormStats("collect") for _ in range(STEPS)] for _ in range(2))
    ends = supernet.descend(*inputs, arch, stats=stats, gradients=found)
    assert all(torch.equal(ends[k], v) for k, v in supernet.descend(*inputs, arch).items())
    monkeypatch.setattr("hnas_plugins.engine.blocks.usable", lambda x, stats: False)
    SuperNet.descend(supernet, *inputs, arch, stats=expected_stats, gradients=expected)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert value.shape[:2] == (STEPS, tasks)
        torch.testing.assert_close(found[name], value)
    for mine, other in zip(stats, expected_stats, strict=True):
        assert list(mine.mean) == list(other.mean) == ["norm1", "norm2", "norm3"]
        for name in other.mean:
            torch.testing.assert_close(mine.mean[name], other.mean[name])
            torch.testing.assert_close(mine.var[name], other.var[name])


@pytest.mark.parametrize("downsample", ["stride", "pool"])
def test_a_task_descends_alike_alone_and_in_company(downsample):
    """To the last bit: what was scored before is remembered, whatever it was scored with."""
    supernet, arch, inputs = problem(downsample, "elu", 2, 4, torch.float32)
    together = supernet.descend(*inputs, arch)
    weights, norms, rates, x, y = inputs
    for t in range(4):
        alone = supernet.descend(weights, norms, rates, x[t : t + 1], y[t : t + 1], arch)
        for name in together:
            assert torch.equal(together[name][t], alone[name][0]), (t, name)


def test_what_diverges_is_no_number():
    """An adaption that overflows must not look like one that went well."""
    supernet, arch, (weights, norms, rates, x, y) = problem("stride", "relu", 1, 2, torch.float32)
    x[1, 0] = torch.inf
    found = supernet.descend(weights, norms, rates, x, y, arch)
    assert not found["fc.weight"][1].isfinite().all()
    assert all(v[0].isfinite().all() for v in found.values())


def test_what_does_not_fit_together_is_refused():
    """The kernels read what they are told to."""
    block = Unit(kernel=3, stride=2, activation="relu")
    weights = [torch.zeros(4, 2, 3, 3), torch.zeros(3, 4, 1), torch.zeros(3)]
    norms = [[(torch.ones(4), torch.zeros(4))]]
    x, y = torch.zeros(1, 3, 8, 8, 2), torch.zeros(1, 3, dtype=torch.int64)
    descend([block], weights, norms, torch.zeros(3, 1), x, y, 1)
    for changed, match in [
        ({"weights": [torch.zeros(4, 1, 3, 3), *weights[1:]]}, "weights of a unit"),
        ({"weights": [weights[0], torch.zeros(3, 5, 1), weights[2]]}, "classifier"),
        ({"weights": [weights[0].double(), *weights[1:]]}, "float64"),
        ({"norms": [[(torch.ones(4).double(), torch.zeros(4))]]}, "float64"),
        ({"norms": [[(torch.ones(5), torch.zeros(4))]]}, "another size"),
        ({"norms": norms * 2}, "rates"),
        ({"y": y.int()}, "int32"),
        ({"y": y[:, :2]}, "labels"),
    ]:
        given = {"weights": weights, "norms": norms, "rates": torch.zeros(3, 1), "x": x, "y": y, "pool": 1, **changed}
        with pytest.raises(ValueError, match=match):
            descend([block], **given)
    for unit, match in [
        (Unit(kernel=3, stride=2, activation="relu", source=0), "expected earlier units"),
        (Unit(kernel=3, stride=2, activation=None, joins=0), "expected earlier units"),
    ]:
        with pytest.raises(ValueError, match=match):
            descend([unit], weights, norms, torch.zeros(3, 1), x, y, 1)
    other = Unit(kernel=3, stride=1, activation=None, source=-1, joins=0)
    two = [weights[0], weights[0], *weights[1:]]
    with pytest.raises(ValueError, match=r"unit 1 of \(8, 8, 4\) cannot join one of \(4, 4, 4\)"):
        descend([block, other], two, [norms[0] * 2], torch.zeros(4, 1), x, y, 1)
