"""A minute of the campaign with a fixed seed, attack by attack; an hour of it is run by hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    "attack", ["kills", "writers", "damage", "settings", "names", "data_files", "tables", "boards", "user_code"]
)
def test_an_attack_finds_nothing(attack: str) -> None:
    """The report, with the command that does a failed try again, is the message."""
    command = [sys.executable, "-m", "tests.campaign", attack, "--minutes", "0.15", "--seed", "0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
