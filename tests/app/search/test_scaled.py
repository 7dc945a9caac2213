"""The reference network scaled in width: the widest that satisfies the limits, and no other change."""

from __future__ import annotations

from typing import Any

import pytest

from hnas import Architecture, PluginError, SearchSpace
from hnas.testing import TinySpace
from hnas_app.search.compared import scaled, widths_of
from hnas_plugins.spaces.resnet12.space import ResNet12
from hnas_plugins.spaces.vgg9 import VGG9, VGG9Options

SHAPE, N_WAY = (1, 28, 28), 5
VGG = VGG9()


def params(space: SearchSpace, arch: Architecture) -> int:
    return sum(layer.params for layer in space.layers(arch, SHAPE, N_WAY))


def under(space: SearchSpace, share: float) -> Architecture | None:
    """Scale a space's reference network to a share of its parameters."""
    reference = space.reference()
    assert reference is not None
    limit = share * params(space, reference)
    return scaled(space, reference, lambda arch: params(space, arch) <= limit)


@pytest.mark.parametrize("space", [VGG9(), ResNet12()], ids=["vgg9", "resnet12"])
@pytest.mark.parametrize("share", [0.2, 0.3, 0.6, 1.0, 1.5])
def test_nothing_but_widths_differs_and_no_layer_can_be_wider(space: SearchSpace, share: float) -> None:
    """A yardstick that is narrower than it has to be would make the search look good."""
    reference, found = space.reference(), under(space, share)
    assert reference is not None
    assert found is not None
    then, now = space.options(reference), space.options(found)
    assert {k for k in then if then[k] != now[k]} <= set(space.width_choices())
    assert params(space, found) <= share * params(space, reference)
    widths = [float(now[name]) for name in space.width_choices()]
    options = sorted(next(c.options for c in space.choices if c.name == space.width_choices()[0]), key=float)
    steps = [options.index(w) for w in widths]
    assert max(steps) - min(steps) <= 1
    if min(steps) + 1 < len(options):
        wider = space.architecture(**{**now, **dict.fromkeys(space.width_choices(), options[min(steps) + 1])})
        assert params(space, wider) > share * params(space, reference) or wider == found
    for name, step in zip(space.width_choices(), steps, strict=True):
        if step == min(steps) < len(options) - 1:
            one = space.architecture(**{**now, name: options[step + 1]})
            assert params(space, one) > share * params(space, reference)


def test_a_single_layer_is_widened_from_the_output_side() -> None:
    """The limit leaves room for one of the layers: the last one."""
    reference = VGG.architecture(**dict.fromkeys(VGG.width_choices(), 1.0), depth=4)
    half = VGG.architecture(**{**VGG.options(reference), **dict.fromkeys(VGG.width_choices(), 0.5)})
    wanted = VGG.architecture(**{**VGG.options(half), "scale4": 0.75})
    found = scaled(VGG, reference, lambda arch: params(VGG, arch) <= params(VGG, wanted))
    assert found == wanted


def test_layers_that_the_reference_lacks_are_left_alone() -> None:
    space = TinySpace()
    reference = space.architecture(depth=2, width1=4, width2=4)
    assert scaled(space, reference, lambda arch: True) == space.architecture(depth=2, width1=8, width2=8)


@pytest.mark.parametrize(
    ("named", "told"),
    [
        (["width1", "width9"], r"returned \['width9'\]; expected names of choices whose options are numbers"),
        (["act1"], r"returned \['act1'\]"),
        ("width1", "returned 'width1'"),  # not the names of one letter each
        (None, "returned None"),
    ],
)
def test_widths_that_are_none_are_refused_by_name(named: Any, told: str) -> None:
    """A yardstick that leaves some widths as they are would make the search look good."""

    class Named(TinySpace):
        def width_choices(self) -> Any:
            return named

    with pytest.raises(PluginError, match=f"test_scaled:.*Named, in width_choices\\(\\), {told}"):
        widths_of(Named())


def test_widths_are_scaled_in_the_order_that_the_space_names_them() -> None:
    """Input side first, whatever the order of its choices; the last one is widened first."""

    class Turned(TinySpace):
        def width_choices(self) -> list[str]:
            return ["width2", "width1"]

    space = Turned()
    reference = space.architecture(depth=2, width1=4, width2=4)
    wider = space.architecture(depth=2, width1=8, width2=4)
    found = scaled(space, reference, lambda arch: params(space, arch) <= params(space, wider))
    assert found == wider


def test_no_network_if_no_width_fits() -> None:
    assert under(VGG, 0.001) is None
    fixed = VGG9(VGG9Options(ge=False))  # without GE there are no widths to choose
    assert fixed.width_choices() == []
    assert under(fixed, 1.0) is None
