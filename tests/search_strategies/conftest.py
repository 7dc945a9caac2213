"""Makes `driving` importable for the tests of strategies."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hnas_strategies import surrogate

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def quick_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train surrogates for a moment: what a test holds does not depend on how well they predict."""
    monkeypatch.setattr(surrogate, "STEPS", 5)
    monkeypatch.setattr(surrogate, "EPOCHS", 0)
