"""The quick-start script runs from end to end, as its first lines say, and goes on with its own run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import hnas

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "quick_start.py"


@pytest.mark.slow
def test_it_finds_a_network_and_another_for_a_smaller_limit(tmp_path):
    command = [sys.executable, str(SCRIPT), "--tiny", "--out", "runs/try"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^meta-train: 3 of 3; loss [\d.]+", done.stdout, re.M)
    run = hnas.load_run(tmp_path / "runs" / "try")
    assert run.found.cost["params"] <= 20_000
    smaller = re.search(r"below 10 thousand parameters: (\d+),", done.stdout)
    assert smaller is not None
    assert int(smaller[1]) <= 10_000
    again = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert str(run.found.retrained) in again.stdout
