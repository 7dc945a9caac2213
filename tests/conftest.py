"""What several tests share: a home of their own, the real data sets, a small space, environments to install into."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import attrs
import pytest

from hnas.testing import TinySpace

# A suite started in the background inherits an ignored SIGINT, and so would the commands that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def make_tiny_space() -> Callable[..., TinySpace]:
    """The class, for tests that need other sizes."""
    return TinySpace


@pytest.fixture(scope="session")
def tiny_space() -> TinySpace:
    """The space at its default size: 6,174 architectures."""
    return TinySpace()


@pytest.fixture(scope="session", autouse=True)
def hnas_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep the user's cache out of the tests, and share one among them: glyphs are rendered once a session."""
    folder = tmp_path_factory.mktemp("hnas-home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HNAS_HOME", str(folder))
        yield folder


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """Find a real data set by name, as in ``real_data("omniglot")``, below ``HNAS_DATA``.

    A test that asks for one which is missing is skipped, or fails where ``HNAS_REQUIRE_DATA=1`` says that it must run.
    """

    def find(name: str) -> Path:
        data = os.environ.get("HNAS_DATA")
        if data and (Path(data) / name).is_dir():
            return Path(data) / name
        reason = f"real {name} not found: " + (f"{data} has no folder {name}" if data else "HNAS_DATA is not set")
        if os.environ.get("HNAS_REQUIRE_DATA") == "1":
            pytest.fail(f"{reason}, and HNAS_REQUIRE_DATA=1", pytrace=False)
        pytest.skip(reason)

    return find


@pytest.fixture(scope="session")
def required_module() -> Callable[[str], ModuleType]:
    """Import an optional package by name, as in ``required_module("pymoo")``.

    A test that asks for one which is missing is skipped, or fails where ``HNAS_REQUIRE_TOOLS=1`` says that it must run.
    """

    def load(name: str) -> ModuleType:
        try:
            return import_module(name)
        except ImportError as cause:
            if os.environ.get("HNAS_REQUIRE_TOOLS") == "1":
                pytest.fail(f"{cause}, and HNAS_REQUIRE_TOOLS=1", pytrace=False)
            pytest.skip(str(cause))

    return load


@attrs.frozen
class Venv:
    """A virtual environment of its own that sees, after its own packages, those of the environment of this run."""

    python: Path

    @classmethod
    def make(cls, folder: Path) -> Venv:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        own = folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
        shared = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
        # Adds the .pth files in there, too, and so a hnas that is installed editable.
        (own / "shared.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in shared))
        return cls(folder / "bin" / "python")

    def install(self, *projects: Path) -> None:
        """Build and install source folders, from this machine alone."""
        options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet"]
        command = [sys.executable, "-m", "pip", "--python", str(self.python), "install", *options]
        done = subprocess.run([*command, *map(str, projects)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def hnas(self, *words: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
        """Run the command line with what is installed here."""
        command = [str(self.python), "-c", "from hnas.cli import main; main()", *words]
        return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env={**os.environ, **env})


@pytest.fixture(scope="session")
def make_venv(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Venv]:
    """Return a function that makes a virtual environment with some projects installed by pip."""

    def make(*projects: Path) -> Venv:
        venv = Venv.make(tmp_path_factory.mktemp("venv"))
        venv.install(*projects)
        return venv

    return make
