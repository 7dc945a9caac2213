"""The engine's tests need its kernels, so a C compiler; without one they are skipped, and the plain path is tested."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hnas_plugins.engine.native import library


@pytest.fixture
def kernels(hnas_home: Path) -> None:
    """Skip where the kernels cannot be had. They are compiled once a session, into the tests' own home."""
    if library(torch.float32) is None or library(torch.float64) is None:
        pytest.skip("no C compiler, or HNAS_ENGINE=plain")
