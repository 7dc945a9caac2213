"""The estimate of what a network takes: grows with the network, and each network is looked at once."""

from __future__ import annotations

import pytest
from tiny_tasks import tiny_setup

from hnas_app.training.setup.work import NETWORK, VALUE


def test_it_counts_multiplying_and_what_layers_put_out() -> None:
    setup = tiny_setup()
    arch = setup.space.largest()
    layers = list(setup.space.layers(arch, (1, 8, 8), 3))
    assert setup.work.macs(arch) == sum(layer.macs for layer in layers)
    values = sum(layer.out_shape[0] * layer.out_shape[1] * layer.out_shape[2] for layer in layers)
    assert setup.work(arch) == NETWORK + setup.work.macs(arch) + VALUE * values
    assert setup.work(setup.space.smallest()) < setup.work(arch)


def test_a_network_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A training asks for the same networks' work again and again, and their layers take longer than a look-up."""
    setup, asked = tiny_setup(), []
    layers = type(setup.space).layers
    monkeypatch.setattr(
        type(setup.space), "layers", lambda self, arch, *a: asked.append(arch) or layers(self, arch, *a)
    )
    arch = setup.space.largest()
    assert setup.work(arch) == setup.work(arch) > setup.work.macs(arch)
    assert len(asked) == 1
