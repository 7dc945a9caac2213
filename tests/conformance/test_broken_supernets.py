"""The suite catches a broken super-net of a distribution: one test fails, the one that is meant for it."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import safetensors.torch

from hnas import Registry
from hnas.testing import PretrainedSuperNetConformance
from hnas_app.plugin_tools.check import check
from hnas_app.supernets.packing import Packed

LICENCE = "not stated"


def failed(failures: Any) -> Any:
    return failures(PretrainedSuperNetConformance, lambda: Registry().get("supernet", "leaves"))


def replaced(packed: Packed, before: str, after: str) -> Packed:
    return attrs.evolve(packed, config=packed.config.decode().replace(before, after).encode())


def overflowing(packed: Packed) -> Packed:
    state = {k: v * float("nan") for k, v in safetensors.torch.load(packed.weights).items()}
    return attrs.evolve(packed, weights=safetensors.torch.save(state))


def test_a_packed_run_passes(site: Any, tiny: Packed, failures: Any) -> None:
    site.publish(tiny, licence=LICENCE)
    assert failed(failures) == {}


BROKEN = {
    "test_files_are_those_of_the_descriptor": lambda tiny: (tiny, {"card": {"sha256": "0" * 64}}),
    "test_the_card_says_under_which_licence": lambda tiny: (attrs.evolve(tiny, card=b"\n"), {}),
    "test_its_weights_fit_its_space": lambda tiny: (tiny, {"image_shape": (3, 28, 28)}),
    "test_it_serves_the_classes_it_declares": lambda tiny: (tiny, {"n_way": (4, 50)}),
    "test_it_adapts_to_a_task": lambda tiny: (overflowing(tiny), {}),
    "test_its_configuration_is_known_here": lambda tiny: (replaced(tiny, "inner_lr", "inner_rate"), {}),
}


@pytest.mark.parametrize("test", BROKEN)
def test_a_broken_one_fails_its_test(test: str, site: Any, tiny: Packed, failures: Any) -> None:
    packed, changes = BROKEN[test](tiny)
    site.publish(packed, **{"licence": LICENCE} | changes)
    found = failed(failures)
    assert test in found
    told = found[test]
    assert told.startswith("AssertionError: expected "), told
    assert "\nwhat to do: " in told
    if test not in ("test_files_are_those_of_the_descriptor", "test_its_configuration_is_known_here"):
        assert set(found) == {test}  # the others need each file, or the super-net


def test_more_classes_than_outputs_are_caught(site: Any, tiny: Packed, failures: Any) -> None:
    own = replaced(tiny, 'classifier = "shared"', 'classifier = "own"')
    site.publish(own, licence=LICENCE)
    assert "at most the 3 classes of its outputs" in failed(failures)["test_it_serves_the_classes_it_declares"]


def test_the_quick_check_names_a_damaged_file_and_a_missing_licence(site: Any, tiny: Packed) -> None:
    (site.publish(tiny, licence=LICENCE) / "weights.safetensors").write_bytes(b"cut")
    found = check(Registry().get("supernet", "leaves"))
    assert [f.level for f in found if "the weights of super-net 'leaves'" in f.told] == ["failed"]
    assert [f.told for f in found if f.level == "warning"] == ["its licence is 'not stated'"]


def test_the_quick_check_passes_over_what_is_to_be_fetched(site: Any, tiny: Packed) -> None:
    site.publish(tiny, weights={"place": "http://127.0.0.1:9/leaves.safetensors"})
    found = check(Registry().get("supernet", "leaves"))
    assert [f.level for f in found if f.level not in ("ok", "hint")] == ["warning"]
    assert any("hnas supernets fetch leaves" in f.told for f in found)
