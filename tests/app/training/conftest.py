"""What several tests of trainings need."""

from __future__ import annotations

import pytest


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save and report after every iteration, so that a stop falls between any two."""
    monkeypatch.setattr("hnas_app.training.outer_loop.CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr("hnas_app.training.outer_loop.REPORT_SECONDS", 0.0)
