"""The adapter to ScaleSim: silent, without files, and with errors that name the layer."""

import pytest

from hnas import DeviceError, Layer
from hnas_backends.eyeriss import EyerissOptions, scalesim_engine
from hnas_backends.eyeriss.scalesim_engine import VERSION, compute_model_cycles, simulate

LAYER = Layer(op="conv2d", in_shape=(4, 4, 4), out_shape=(8, 2, 2), kernel=3, stride=2, padding=1, bias=True)


def test_prints_nothing_and_writes_no_file(tmp_path, monkeypatch, capfd):
    """ScaleSim's prints would end up in the middle of ``--json`` output, its traces in the user's folder."""
    monkeypatch.chdir(tmp_path)
    assert simulate(LAYER, EyerissOptions()) == compute_model_cycles(LAYER, EyerissOptions())
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_bandwidth_is_met_whatever_the_sram():
    """The simulator ran with a user's bandwidth, so that small memories stall it: not the paper's assumption."""
    tiny = EyerissOptions(ifmap_sram_kb=1, filter_sram_kb=1, ofmap_sram_kb=1)
    assert simulate(LAYER, tiny) == simulate(LAYER, EyerissOptions())


@pytest.mark.parametrize("engine", [simulate, compute_model_cycles])
def test_a_failure_names_the_layer(engine, monkeypatch):
    """A traceback from inside ScaleSim, with no word of which layer of hundreds it was."""
    monkeypatch.setattr(scalesim_engine, "topologies", lambda: 1 // 0)
    with pytest.raises(DeviceError) as error:
        engine(LAYER, EyerissOptions())
    assert f"ScaleSim {VERSION} failed on {LAYER.key}" in str(error.value)
    assert "closed-form" in error.value.hint
