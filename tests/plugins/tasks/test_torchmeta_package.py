"""The torchmeta adapter against the real package, in a virtual environment that is made for it and kept.

The environment sees what is installed where the suite runs (torch, hnas and pytest too) and has torchmeta besides. It
lies in ``~/.cache/hnas-torchmeta``, or in ``HNAS_TORCHMETA``. Its tests are those of `in_torchmeta_venv`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest
from attrs import frozen

from hnas_plugins.tasks.torchmeta.importing import INSTALL, PYTHON

ROOT = Path(__file__).resolve().parents[3]
TESTS = Path(__file__).with_name("in_torchmeta_venv") / "real_torchmeta.py"
MISMATCHED = "torchvision==0.20.1"
"""It is built for torch 2.5 alone."""
PIP = ("-m", "pip", "--disable-pip-version-check", "--quiet")


@frozen
class Environment:
    """Python with torchmeta, and the variables that it needs."""

    python: Path
    variables: dict[str, str]
    mismatched: Path

    def run(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        command = [str(self.python), *map(str, words)]
        return subprocess.run(command, env=self.variables, cwd=ROOT, capture_output=True, text=True)


def missing(reason: str) -> NoReturn:
    """Skip, or fail where ``HNAS_REQUIRE_TOOLS=1`` says that the tests must run."""
    if os.environ.get("HNAS_REQUIRE_TOOLS") == "1":
        pytest.fail(f"{reason}, and HNAS_REQUIRE_TOOLS=1", pytrace=False)
    pytest.skip(reason)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let one suite at a time install."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def install(folder: Path, variables: dict[str, str]) -> None:
    """Make the environment with the commands that users are told."""
    shutil.rmtree(folder, ignore_errors=True)
    python = folder / "bin" / "python"
    commands = [[sys.executable, "-m", "venv", str(folder)]]
    for told in (*INSTALL, f"pip install --no-deps --target {shlex.quote(str(folder / 'mismatched'))} {MISMATCHED}"):
        commands.append([str(python), *PIP, *shlex.split(told)[1:]])
    for command in commands:
        done = subprocess.run(command, env=variables, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode:
            missing(f"torchmeta cannot be had: {shlex.join(command)}: {done.stderr[-800:]}")
    (folder / ".done").touch()


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    here = sys.version_info[:2]
    if here != PYTHON:
        pytest.skip(f"torchmeta's torchvision needs Python {PYTHON[0]}.{PYTHON[1]}, this is {here[0]}.{here[1]}")
    own = os.environ.get("HNAS_TORCHMETA")
    cache = Path(own).expanduser() if own else Path("~/.cache/hnas-torchmeta").expanduser()
    folder = cache / hashlib.sha256(repr((sys.version, INSTALL, MISMATCHED)).encode()).hexdigest()[:16]
    shared = tmp_path_factory.mktemp("shared")
    (shared / "sitecustomize.py").write_text(f"import site\n\nsite.addsitedir({sysconfig.get_path('purelib')!r})\n")
    path = os.pathsep.join([str(shared), *filter(None, [os.environ.get("PYTHONPATH")])])
    variables = {**os.environ, "PYTHONPATH": path, "PIP_CONSTRAINT": str(ROOT / "constraints.txt")}
    with locked(cache):
        if not (folder / ".done").exists():
            install(folder, variables)
    return Environment(folder / "bin" / "python", variables, folder / "mismatched")


@pytest.mark.slow
def test_it_works_with_the_real_torchmeta(environment: Environment):
    """Runs all of `in_torchmeta_venv`; a failure shows what pytest said there."""
    done = environment.run("-m", "pytest", "-p", "no:cacheprovider", TESTS)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_a_real_torchvision_of_another_torch_is_told(environment: Environment):
    code = "from hnas_plugins.tasks.torchmeta.importing import import_torchmeta; import_torchmeta()"
    done = environment.run("-c", f"import sys; sys.path.insert(0, {str(environment.mismatched)!r})\n{code}")
    assert "PluginError: cannot import torchmeta: RuntimeError: operator torchvision::nms does not" in done.stderr
