"""The descriptors of super-nets that are trained already: valid ones only, from their own hook."""

from __future__ import annotations

from typing import Any

import pytest

from hnas import PluginError, PretrainedSuperNet, SuperNetFile
from hnas.discovery import HOOK, KINDS

FILE = SuperNetFile(place="package:leaves/weights.safetensors", sha256="0" * 64, size=3)
GOOD: dict[str, Any] = {
    "name": "leaves",
    "summary": "",
    "licence": "MIT",
    "image_shape": (1, 28, 28),
    "n_way": (2, 50),
    "weights": FILE,
    "config": FILE,
    "card": FILE,
}
MODULE = """
from hnas import Plugin, PretrainedSuperNet, SuperNetFile, hookimpl

FILE = SuperNetFile(place="package:weights.safetensors", sha256="0" * 64, size=3)
LEAVES = PretrainedSuperNet(name="leaves", summary="", licence="MIT", image_shape=(1, 28, 28), n_way=(2, 5),
                            weights=FILE, config=FILE, card=FILE)
PLUGIN = Plugin(name="leaves", summary="", factory="a:B", options="a:C")


@hookimpl
def {hook}():
    return [{what}]
"""


def test_every_kind_has_a_hook_and_a_run_has_one_of_each_but_super_nets_and_trackers():
    assert set(HOOK) - set(KINDS) == {"supernet", "tracker"}


@pytest.mark.parametrize("place", ["https://example.org/a.safetensors", "http://x/a", "a.b:c", "a:sub/c d.toml"])
def test_a_file_lies_at_an_address_or_in_a_package(place):
    assert SuperNetFile(place=place, sha256="0" * 64, size=1).place == place


@pytest.mark.parametrize(
    "wrong",
    [
        {"place": "weights.safetensors"},
        {"place": "/etc/passwd"},
        {"place": "a:/etc/passwd"},
        {"place": "a:../b"},
        {"place": "ftp://a/b"},
        {"place": "file:///etc/passwd"},
        {"place": ""},
        {"sha256": "0" * 63},
        {"sha256": "X" * 64},
        {"size": 0},
        {"size": 1.5},
    ],
)
def test_a_file_that_cannot_be_found_or_checked_is_refused(wrong):
    with pytest.raises((TypeError, ValueError)):
        SuperNetFile(**{"place": "a:b", "sha256": "0" * 64, "size": 1} | wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"licence": ""},
        {"image_shape": (28, 28)},
        {"image_shape": (1, 0, 28)},
        {"image_shape": (1, 28.0, 28)},
        {"image_shape": "1x28x28"},
        {"n_way": (1, 5)},
        {"n_way": (6, 5)},
        {"n_way": 5},
        {"weights": "weights.safetensors"},
        {"name": ""},
    ],
)
def test_a_descriptor_says_what_it_serves(wrong):
    with pytest.raises((TypeError, ValueError)):
        PretrainedSuperNet(**GOOD | wrong)


def test_descriptors_are_values():
    assert PretrainedSuperNet(**GOOD) == PretrainedSuperNet(**GOOD)
    assert len({PretrainedSuperNet(**GOOD), PretrainedSuperNet(**GOOD)}) == 1


def test_it_is_found_by_its_hook_and_created_as_it_is(make_distribution, make_registry):
    make_distribution("hnas-supernet-leaves", MODULE.format(hook="hnas_supernets", what="LEAVES"))
    registry = make_registry()
    assert [r.kind for r in registry.list()] == ["supernet"]
    assert registry.create("supernet", "leaves") is registry.get("supernet", "leaves").plugin
    with pytest.raises(PluginError, match=r"unknown supernet 'leafs'\. Did you mean 'leaves'"):
        registry.get("supernet", "leafs")


@pytest.mark.parametrize(
    ("hook", "what", "wanted"),
    [("hnas_supernets", "PLUGIN", "PretrainedSuperNet"), ("hnas_search_spaces", "LEAVES", "Plugin")],
)
def test_a_descriptor_of_another_kind_is_left_out(hook, what, wanted, make_distribution, make_registry):
    make_distribution("hnas-supernet-leaves", MODULE.format(hook=hook, what=what))
    registry = make_registry(warn=lambda text: None)
    assert registry.list() == []
    assert f"expected hnas.{wanted} descriptors" in registry.failures[0].cause


def test_a_name_with_a_colon_is_not_imported(make_registry):
    """No super-net is a class in user code."""
    with pytest.raises(PluginError, match="unknown supernet 'antigravity:x'"):
        make_registry().get("supernet", "antigravity:x")
