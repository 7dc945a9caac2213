"""Two minutes of the campaign with a fixed seed; an hour of it is run by hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_campaign_finds_nothing() -> None:
    """The report is the message; it has the command that does a failed try again."""
    command = [sys.executable, "-m", "tests.campaign", "--minutes", "2", "--seed", "0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stdout + done.stderr
