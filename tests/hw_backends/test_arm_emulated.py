"""A profile on whole emulated machines: their own kernels and SSH servers, a Pi Zero among them. Slow."""

from __future__ import annotations

import pytest
from arm_bed import Emulated

from hnas import Layer
from hnas_backends.arm import Arm, ArmOptions

LAYERS = [
    Layer(op="conv2d", in_shape=(3, 12, 12), out_shape=(16, 6, 6), kernel=3, stride=2, padding=1, bias=True),
    Layer(op="norm", in_shape=(16, 6, 6), out_shape=(16, 6, 6)),
    Layer(op="elu", in_shape=(16, 6, 6), out_shape=(16, 6, 6)),
    Layer(op="avg_pool", in_shape=(16, 6, 6), out_shape=(16, 1, 1)),
    Layer(op="linear", in_shape=(16, 1, 1), out_shape=(5, 1, 1), bias=True),
]


@pytest.mark.ssh
@pytest.mark.slow
@pytest.mark.parametrize(
    ("machine", "runtime", "model", "part"),
    [("virt64", "aarch64", "linux,dummy-virt", "0xd08"), ("zero", "armv6", "Raspberry Pi Zero", "0xb76")],
)
def test_a_profile_on_a_machine_with_its_own_kernel(machine, runtime, model, part, tmp_path, name_device):
    """What user-mode emulation hides: a kernel that knows the processor, dropbear, no sftp, real /proc and /sys."""
    with Emulated(machine, tmp_path / "machine") as board:
        options = ArmOptions(device=name_device(board.client()), samples=3, sample_ms=0.5, warmup_ms=10.0, force=True)
        backend = Arm(options)
        try:
            info = backend.describe()
            assert info.device.startswith(model)
            assert info.runtime.endswith(runtime)
            assert info.settings["cpu_part"] == part
            assert info.conditions["cpus"] == 1
            assert "Linux 6." in info.conditions["system"]
            assert len(list(backend.measure(LAYERS))) == len(LAYERS)  # each checked against numpy
            assert backend.measure_network(LAYERS) is not None
        finally:
            backend.close()
