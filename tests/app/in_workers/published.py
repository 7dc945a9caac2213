"""A tiny super-net, packed once; and a folder in which any number of distributions of it are installed."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import tiny_runs

import hnas
from hnas.discovery import GROUP, Registry
from hnas_app.runs.run_dir import RunDir
from hnas_app.supernets.packing import Packed, packed

TINY: dict[str, Any] = {**tiny_runs.TINY, "space.classifier": "shared", "learner.inner_steps": 1}
HOOK = """
from hnas import PretrainedSuperNet, SuperNetFile, hookimpl


@hookimpl
def hnas_supernets():
    return [PretrainedSuperNet(
        name={name!r},
        summary="a tiny one",
        licence={licence!r},
        image_shape={image_shape!r},
        n_way={n_way!r},
        api={api},
        weights=SuperNetFile(**{weights!r}),
        config=SuperNetFile(**{config!r}),
        card=SuperNetFile(**{card!r}),
    )]
"""
FILES = {"weights": "weights.safetensors", "config": "config.toml", "card": "card.md"}


def train(path: Path, learner: str = "maml++", **settings: Any) -> RunDir:
    """Meta-train a tiny super-net on characters; a setting ``None`` leaves one of `TINY` out."""
    run = hnas.run(
        learner=learner,
        tasks="glyphs",
        backend="eyeriss",
        preset="none",
        settings={k: v for k, v in {**TINY, **settings}.items() if v is not None},
        run_dir=path,
        until="meta-train",
    )
    return RunDir(run.path)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run whose tiny super-net, with a shared classifier, is trained."""
    return train(tmp_path_factory.mktemp("trained") / "run")


@pytest.fixture(scope="session")
def tiny(trained: RunDir) -> Packed:
    """The super-net of `trained`, packed."""
    return packed(trained, "leaves", Registry(third_party=False))


@attrs.define
class Site:
    """A folder of installed distributions, which this process sees."""

    folder: Path

    def publish(
        self, packed: Packed, name: str = "leaves", distribution: str = "hnas-supernet-leaves", **changes: Any
    ) -> Path:
        """Install a distribution with one super-net, and return the folder of its files.

        ``changes`` replace arguments of the descriptor, or the content of a file by its name.
        """
        package = distribution.replace("-", "_")
        place = self.folder / package
        place.mkdir()
        values: dict[str, Any] = {"name": name, "licence": "CC0-1.0", "api": 1}
        values |= {"image_shape": packed.image_shape, "n_way": packed.n_way}
        for part, file in FILES.items():
            content: bytes = changes.pop(f"{part}_content", getattr(packed, part))
            (place / file).write_bytes(content)
            digest = hashlib.sha256(content).hexdigest()
            values[part] = {"place": f"{package}:{file}", "sha256": digest, "size": len(content)}
            values[part] |= changes.pop(part, {})
        (place / "__init__.py").write_text(HOOK.format(**values | changes))
        info = self.folder / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{GROUP}]\n{distribution} = {package}\n")
        return place


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A folder for distributions; the cache for what is unpacked, and the working folder, are the test's own."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", str(folder))  # for processes that are started
    monkeypatch.setattr("hnas_app.supernets.files.home", lambda: tmp_path / "home")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    before = set(sys.modules)
    yield Site(folder)
    for name in set(sys.modules) - before:  # the next test has packages of the same names
        if name.startswith("hnas_supernet_"):
            del sys.modules[name]
