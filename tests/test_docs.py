"""The site's reference is complete: every public name, every command and every option stands in it."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pydoc
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import typer.main

import hnas
import hnas.testing
from hnas_app.cli import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs" / "reference").glob("*.md"))
NAMES = [name for page in PAGES for name in re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.M)]


def hook(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / "hooks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def commands(command: Any, name: str) -> list[tuple[str, Any]]:
    found = [(name, command)]
    for sub, inner in getattr(command, "commands", {}).items():
        found += commands(inner, f"{name} {sub}")
    return found


COMMANDS = commands(typer.main.get_command(app), "hnas")


def test_every_public_name_has_its_place():
    assert len(NAMES) == len(set(NAMES))
    told = {name.removeprefix("hnas.") for name in NAMES}
    assert set(hnas.__all__) - told == {"__version__"}
    classes = {n for n in hnas.testing.__all__ if not n.isupper()}
    assert {f"testing.{n}" for n in classes} - told == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_a_page_of_the_reference_lists_its_names_in_a_checkout(page):
    """After a change of the code, `python docs/hooks/reference_tables.py` writes the tables anew."""
    text, tables = page.read_text(encoding="utf-8"), hook("reference_tables")
    assert text.count(tables.BEGIN) == text.count(tables.END) == 1
    assert text == tables.with_table(text)
    rows = [line for line in text.splitlines() if line.startswith("| `hnas")]
    assert len(rows) >= max(5, text.count("\n::: "))
    assert [row for row in rows if row.endswith("|  |")] == []


@pytest.mark.parametrize("module", ["hnas", "hnas.testing"])
def test_pydoc_explains_every_public_name(module):
    """The lazy names as well: `python -m pydoc hnas.Run`."""
    public = importlib.import_module(module)
    whole = pydoc.render_doc(module, renderer=pydoc.plaintext)
    for name in (n for n in public.__all__ if not n.startswith("_") and not n.isupper()):
        first = (inspect.getdoc(getattr(public, name)) or "").partition("\n")[0]
        assert first
        assert first in pydoc.render_doc(f"{module}.{name}", renderer=pydoc.plaintext)
        assert name in whole


@pytest.mark.parametrize("name", NAMES)
def test_a_name_in_the_reference_exists_and_says_what_it_is(name):
    module, _, last = name.rpartition(".")
    whole = name in ("hnas.settings", "hnas.toolkit.learning")
    found = importlib.import_module(name) if whole else getattr(importlib.import_module(module), last)
    assert found.__doc__


def test_every_command_and_option_is_in_the_reference():
    page = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    shown = hook("cli_reference").on_page_markdown(page)
    assert len(COMMANDS) > 20
    for name, command in COMMANDS:
        assert f"\n## `{name}`\n" in shown
        part = shown.partition(f"\n## `{name}`\n")[2].partition("\n## ")[0]
        assert " ".join((command.help or "").split())[:40].replace("<", "&lt;") in part
        for parameter in command.params:
            if "--help" not in parameter.opts:
                assert parameter.opts[-1].lower() in part.lower() or str(parameter.metavar).lower() in part.lower()


def test_links_out_of_the_site_become_names_and_broken_ones_stay():
    """What stays is an error of the build."""
    replaced = hook("repository_links").on_page_markdown
    site = {"config": SimpleNamespace(docs_dir=str(ROOT / "docs")), "page": SimpleNamespace(file=SimpleNamespace())}
    site["page"].file.src_uri = "engine.md"
    assert replaced("see [the readme](../README.md#limits).", **site) == "see `README.md`."
    assert replaced("[gone](../gone.md)", **site) == "[gone](../gone.md)"
    assert replaced("[tasks](tasks.md)", **site) == "[tasks](tasks.md)"
    site["page"].file.src_uri = "plugins/tasks.md"
    assert replaced("[tasks](../tasks.md)", **site) == "[tasks](../tasks.md)"
    assert replaced("[make](../../Makefile)", **site) == "`Makefile`"


def test_a_class_of_attrs_shows_what_it_is_made_with(required_module):
    """Else the reference of a value says what it is, and not how to make one."""
    griffe = required_module("griffe")
    extensions = griffe.load_extensions(hook("attrs_signatures").AttrsSignatures)
    cost = griffe.load("hnas", extensions=extensions, search_paths=[ROOT / "core"])["cost"]
    _, *parameters = cost["Measurement"].parameters
    shown = [(p.name, str(p.annotation), p.default, p.kind.value) for p in parameters]
    assert shown[:2] == [("median", "float", None, "keyword-only"), ("mad", "float", "0.0", "keyword-only")]
    assert {p.name: p.default for p in cost["DeviceInfo"].parameters}["settings"] == "..."


PATHS = re.compile(r"`((?:core|plugins|hw_backends|search_strategies|app|tests|docs)/[\w./-]*)`")


def test_every_path_in_the_architecture_exists():
    """A reader who looks for something follows them."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    paths = PATHS.findall(page)
    assert len(paths) > 15
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_question_in_the_architecture_has_one_answer():
    """Twelve questions, each answered by one path, none twice."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").partition("## Where would I look for")[2]
    questions = [line for line in page.splitlines() if line.startswith("| Where ")]
    answers = [PATHS.findall(line) for line in questions]
    assert len(questions) == 12
    assert {len(answer) for answer in answers} == {1}
    assert len({answer[0] for answer in answers}) == 12


@pytest.mark.parametrize("package", ["core/hnas", "app/hnas_app"])
def test_the_architecture_names_every_room(package):
    """A folder that is missing from the picture would not be found."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = {path.parent.name for path in (ROOT / package).glob("*/*.py")}
    assert {room for room in rooms if not re.search(rf"\b{room}\b", page)} == set()


TOWNCRIER = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["towncrier"]
FRAGMENTS = sorted(
    p for p in (ROOT / "changelog.d").iterdir() if p.name not in {"README.md", Path(TOWNCRIER["template"]).name}
)


def test_every_fragment_of_the_changelog_can_be_read():
    """A fragment with another name would be left out of the next release, silently."""
    kinds = {kind["directory"] for kind in TOWNCRIER["type"]}
    assert kinds == {"added", "changed", "removed", "fixed"}
    names = re.compile(rf"(?:\d+|\+)[\w.-]*\.(?:{'|'.join(kinds)})\.md")
    assert [p.name for p in FRAGMENTS if not names.fullmatch(p.name)] == []
    assert [p.name for p in FRAGMENTS if not p.read_text(encoding="utf-8").strip()] == []


def test_the_next_release_has_every_fragment(required_module):
    """`towncrier build` puts each below its kind, behind the mark in CHANGELOG.md."""
    required_module("towncrier")
    command = [sys.executable, "-m", "towncrier", "build", "--draft", "--version", "0"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    for fragment in FRAGMENTS:
        first = fragment.read_text(encoding="utf-8").split()[:3]
        assert " ".join(first) in " ".join(done.stdout.split()), fragment.name
    assert TOWNCRIER["start_string"] in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
