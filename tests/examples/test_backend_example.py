"""The example distribution installs with pip as it is: found by its name, checked, searched on under its limits."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parents[2] / "examples" / "hnas-backend-example"


@pytest.mark.slow
def test_its_own_tests_pass():
    """The conformance suite of backends among them."""
    code = "import sys, pytest; sys.path.insert(0, 'src'); sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider']))"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def installed(make_venv: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A fresh environment into which pip has installed a copy of the project."""
    copy = tmp_path_factory.mktemp("example") / "project"
    shutil.copytree(PROJECT, copy, ignore=shutil.ignore_patterns("__pycache__", ".*", "dist"))
    return make_venv(copy)


def call(installed: Any, *words: str, cwd: Path) -> Any:
    done = installed.hnas(*words, "--json", cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_it_is_found_by_its_name_and_passes_the_check(installed, tmp_path):
    listed = json.dumps(call(installed, "plugins", "list", cwd=tmp_path))
    assert "hnas-backend-example" in listed
    levels = re.findall(r'"level": "(\w+)"', json.dumps(call(installed, "plugins", "check", "cortex-m7", cwd=tmp_path)))
    assert set(levels) == {"ok"}


@pytest.mark.slow
def test_a_run_keeps_its_limits(installed, tmp_path):
    """Memory by the largest layer and flash by the sum, both from one constraint that a comma joins."""
    tiny = {
        "space.base_width": 32,
        "learner.inner_steps": 1,
        "meta_train.epochs": 1,
        "meta_train.iterations": 1,
        "meta_train.tasks": 1,
        "meta_train.validate_tasks": 2,
        "search.tasks": 1,
        "search.pool": 2,
        "search.final_tasks": 2,
        "strategy.population": 4,
        "strategy.iterations": 2,
        "retrain.epochs": 1,
        "retrain.iterations": 1,
        "retrain.tasks": 1,
        "evaluate.tasks": 2,
    }
    sets = [word for key, value in tiny.items() for word in ("--set", f"{key}={value}")]
    limits = "memory<=10KiB,flash<=24KiB"
    result = call(
        installed, "run", "--backend", "cortex-m7", "--constraint", limits, *sets, "--workers", "1", cwd=tmp_path
    )
    cost = result["networks"][0]["cost"]["values"]
    assert 0 < cost["memory"] <= 10 * 1024
    assert 0 < cost["flash"] <= 24 * 1024
