"""The ARM backend, on a stand-in board, held to what third parties' backends are held to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hnas.testing import BackendConformance
from hnas_backends.arm import Arm, ArmOptions


@pytest.mark.ssh
@pytest.mark.slow
class TestArm(BackendConformance):
    options = ArmOptions
    repeatability = 10.0  # the board is emulated, on a machine that does other things as well
    network_factor = 10.0

    @pytest.fixture(autouse=True)
    def _device(self, pi: Any, name_device: Callable[..., str]) -> None:
        self.device = name_device(pi.client())

    def make(self) -> Arm:
        return Arm(ArmOptions(device=self.device, samples=3, sample_ms=0.1, warmup_ms=1.0))
