"""The codec on the core's own values; tests/app/runs/test_records.py has those of a run."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import attrs
import pytest

from hnas import Architecture, DataError, DeviceInfo, Layer, Measurement, Metric, Rounds
from hnas.toolkit.codec import from_json, load, save, to_json
from hnas.toolkit.pictures import Preparation

INFO = DeviceInfo(
    backend="toy",
    device="one",
    runtime="toy 1",
    metrics=(Metric(name="latency", unit="ms"),),
    settings={"clock": 2},
    ops=frozenset({"linear", "add", "conv2d"}),
    rounds=Rounds(count=2),
)
VALUES = [
    INFO,
    attrs.evolve(INFO, ops=None, rounds=None),
    Architecture("vgg9", (0, 3)),
    Layer(op="add", in_shape=(1, 2, 3), out_shape=(1, 2, 3)),
    Measurement(median=1 / 3, unit="ms"),
    Measurement.of([1.0, 2.5], "ms"),
    Preparation(channels=3, height=8, width=8, invert=True),
]


@pytest.mark.parametrize("value", VALUES)
def test_values_survive_a_file(value: Any, tmp_path: Any) -> None:
    save(tmp_path / "value.json", value)
    assert load(tmp_path / "value.json", type(value)) == value
    assert json.loads(json.dumps(to_json(value))) == to_json(value)  # lists, texts and numbers only


def test_what_files_hold() -> None:
    """Other programs read them: a fingerprint, sorted operations, no empty list of samples."""
    described = to_json(INFO)
    assert list(described)[3:6] == ["settings", "fingerprint", "metrics"]
    assert (described["fingerprint"], described["ops"]) == (INFO.fingerprint, ["add", "conv2d", "linear"])
    assert to_json(VALUES[4]) == {"median": 1 / 3, "mad": 0.0, "n": 1, "unit": "ms"}


@pytest.mark.parametrize(
    ("value", "kind", "told"),
    [
        ({"median": "fast", "mad": 0, "n": 1, "unit": "ms"}, Measurement, "expected a number, got 'fast' @ $.median"),
        ({"median": True, "mad": 0, "n": 1, "unit": "ms"}, Measurement, "expected a number, got True"),
        ({"median": 1, "mad": 0, "n": 1.5, "unit": "ms"}, Measurement, "expected a whole number, got 1.5"),
        ({"median": 1, "mad": 0, "n": 1, "unit": 3}, Measurement, "expected text, got 3"),
        ({"median": 1, "mad": 0, "n": 1}, Measurement, "required field missing"),
        ({k: v for k, v in to_json(INFO).items() if k != "ops"}, DeviceInfo, "required field missing"),
        ({"name": "latency", "unit": "MS"}, Metric, "there is no such unit"),
        ({"name": "latency", "colour": "red"}, Metric, "colour"),
        ({"space": "vgg9", "genes": [True]}, Architecture, "not an architecture"),
        ({"channels": 3, "height": 8, "width": 8, "invert": 1}, Preparation, "not how hnas prepares pictures"),
    ],
)
def test_a_wrong_value_is_named_with_its_file(value: Any, kind: type, told: str) -> None:
    with pytest.raises(DataError, match=r"^a\.json is damaged or was edited: ") as error:
        from_json(value, kind, "a.json")
    assert told in str(error.value)


def test_importing_the_codec_does_not_import_cattrs() -> None:
    """It takes longer to import than all of hnas's interfaces."""
    told = "import hnas.toolkit.codec, sys; print('cattrs' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True).stdout == "False\n"
