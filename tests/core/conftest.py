"""Real plugin distributions, written into a folder as pip would install them."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hnas.plugins import GROUP, Registry

sys.path.insert(0, str(Path(__file__).parent / "in_workers"))  # what worker processes import

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
