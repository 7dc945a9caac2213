"""What several tests share: a home of their own, the real data sets, a small space, environments to install into."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

import attrs
import pytest

from hnas.discovery import GROUP, Registry
from hnas.testing import TinySpace
from hnas_app.executors.interruption import SIGNALS
from hnas_plugins.tasks.glyphs import rendering as glyph_rendering

sys.path.insert(0, str(Path(__file__).parent / "app" / "in_workers"))  # what worker processes import

# A suite started in the background inherits an ignored SIGINT, and so would the commands that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def signals_are_heard() -> Iterator[None]:
    """A test that leaves a signal ignored makes later ones fail, in this process and in those that they start."""
    before = [signal.getsignal(number) for number in SIGNALS]
    yield
    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.fixture(scope="session")
def make_tiny_space() -> Callable[..., TinySpace]:
    """The class, for tests that need other sizes."""
    return TinySpace


@pytest.fixture(scope="session")
def tiny_space() -> TinySpace:
    """The space at its default size: 6,174 architectures, which many tests enumerate and price."""
    space = TinySpace()
    space.everything, space.cost = cache(space.everything), cache(space.cost)  # type: ignore[method-assign]
    return space


@pytest.fixture(scope="session", autouse=True)
def hnas_home(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Path]:
    """Keep the user's cache out of the tests, and share one among them.

    Pytest's own cache keeps compiled programs and rendered glyphs from one session to the next, for all processes of
    pytest-xdist. The names of the programs hold all that they depend on; the glyphs also depend on `glyph_rendering`.
    """
    folder = tmp_path_factory.mktemp("hnas-home")
    renderer = hashlib.sha256(Path(glyph_rendering.__file__).read_bytes()).hexdigest()[:12]
    if (cache := getattr(pytestconfig, "cache", None)) is not None:  # there is none with `-p no:cacheprovider`
        for name, kept in {"engine": "engine", "layerbench": "layerbench", "glyphs": f"glyphs-{renderer}"}.items():
            (folder / name).symlink_to(cache.mkdir(kept))
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
        command = [str(self.python), "-c", "from hnas_app.cli import main; main()", *words]
        return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env={**os.environ, **env})


@pytest.fixture(scope="session")
def make_venv(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Venv]:
    """Return a function that makes a virtual environment with some projects installed by pip."""

    def make(*projects: Path) -> Venv:
        venv = Venv.make(tmp_path_factory.mktemp("venv"))
        venv.install(*projects)
        return venv

    return make


MakeDistribution = Callable[..., None]
MakeRegistry = Callable[..., Registry]

TOY = """
from typing import Literal
from attrs import frozen
from hnas import Plugin, hookimpl
from hnas.settings import at_least_0, one_of, positive, setting


@frozen(kw_only=True)
class Wide:
    base_width: int = setting(64, "channels", positive)
    downsample: Literal["stride", "pool"] = setting("stride", "what halves the maps", one_of("stride", "pool"))
    scales: tuple[float, ...] = setting((0.5, 1.0), "channel scales")
    root: str = setting("", "a folder")


@frozen(kw_only=True)
class Deep:
    depth: int = setting(3, "layers", positive)


def plugin(name, options):
    return [Plugin(name=name, summary="a toy", factory=lambda o: o, options=options)]


@hookimpl
def hnas_search_spaces():
    return plugin("vgg9", Wide) + plugin("deep", Deep)


@hookimpl
def hnas_meta_learners():
    return plugin("maml++", Deep)


@hookimpl
def hnas_backends():
    return plugin("eyeriss", Deep)


@hookimpl
def hnas_search_strategies():
    return plugin("genetic", Deep)


@hookimpl
def hnas_task_sources():
    return plugin("glyphs", Wide)
"""
"""One plugin of each kind, under the names that a configuration has by default."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Path]:
    """A folder on ``sys.path`` for distributions; what was imported from it is forgotten afterwards."""
    folder = tmp_path / "site"
    folder.mkdir()
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def make_distribution(site: Path) -> MakeDistribution:
    """Return a function that installs a distribution with one module, by writing its dist-info."""

    def make(distribution: str, source: str, version: str = "1.0") -> None:
        module = distribution.replace("-", "_") + "_module"
        (site / f"{module}.py").write_text(source)
        info = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[{GROUP}]\n{distribution} = {module}\n")

    return make


@pytest.fixture
def make_registry(site: Path) -> MakeRegistry:
    """Return a function that makes a registry of the distributions in the folder, and of nothing else."""

    def make(**options: object) -> Registry:
        found = importlib.metadata.distributions(path=[str(site)])
        return Registry([p for d in found for p in d.entry_points], **options)  # type: ignore[arg-type]

    return make


@pytest.fixture
def toy_registry(make_distribution: MakeDistribution, make_registry: MakeRegistry) -> Registry:
    """A registry with one toy plugin of each kind, under the default names, and a space ``deep``."""
    make_distribution("hnas-toy", TOY)
    return make_registry()
