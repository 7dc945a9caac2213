"""The site builds without a warning, and its pages load nothing from elsewhere: they open from the disk, offline."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hnas_app.cli.examples import EXAMPLES

ROOT = Path(__file__).resolve().parents[1]
LOADED = re.compile(
    r"<(?:script|link|img|iframe|source|object|embed)\b[^>]*?\b(?:src|href|data)=[\"']?(https?:)?//[^\s>]+"
)
IN_STYLE = re.compile(r"url\([\"']?(?:https?:)?//[^)]*\)|@import\s+[\"']http")


@pytest.fixture(scope="module")
def site(required_module, tmp_path_factory) -> Path:
    for name in ("mkdocs", "material", "mkdocstrings_handlers"):
        required_module(name)
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=quiet)
    assert done.returncode == 0, done.stderr
    return folder


def test_what_loads_from_elsewhere_is_seen():
    assert LOADED.search('<script defer src="https://unpkg.com/iframe-worker/shim"></script>')
    assert LOADED.search('<link rel="stylesheet" href="//fonts.example/css">')
    assert not LOADED.search('<a href="https://example.org">a link</a><img src="pictures/quick.png">')
    assert IN_STYLE.search("src: url('https://fonts.example/a.woff2')")


def test_pictures_of_the_documents_load_nothing():
    pictures = sorted((ROOT / "docs").rglob("*.svg"))
    assert len(pictures) >= 2
    for path in pictures:
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/", "")
        assert "http" not in text, path
        assert "<script" not in text, path


@pytest.mark.slow
def test_no_page_loads_anything_from_elsewhere(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 40
    assert {f"{p.name}: {m[0]}" for p in pages for m in LOADED.finditer(p.read_text(encoding="utf-8"))} == set()
    styles = sorted(site.rglob("*.css"))
    assert styles
    assert {f"{p.name}: {m[0]}" for p in styles for m in IN_STYLE.finditer(p.read_text(encoding="utf-8"))} == set()


@pytest.mark.slow
def test_the_search_needs_no_server(site):
    """The index is a script, and the worker a frame, in pages that are opened from the disk."""
    assert (site / "search" / "search_index.js").is_file()
    for page in ("index.html", "reference/cli.html"):
        found = re.search(r'<script src="([^"]*iframe-worker[^"]*)"', (site / page).read_text(encoding="utf-8"))
        assert found is not None
        assert ((site / page).parent / found[1]).is_file()


@pytest.mark.slow
def test_the_reference_has_examples_and_every_setting(site):
    commands = (site / "reference" / "cli.html").read_text(encoding="utf-8")
    text = re.sub(r"<[^>]+>", "", commands)
    for examples in EXAMPLES.values():
        assert all(example.partition(" ")[2][:20] in text for example in examples)
    settings = re.sub(r"<[^>]+>", "", (site / "settings.html").read_text(encoding="utf-8"))
    for key in ("meta_train.epochs", "learner.inner_lr", "backend.runtime", "strategy.population", "tasks.side"):
        assert key in settings
