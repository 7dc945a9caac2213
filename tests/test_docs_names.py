"""Settings, commands, flags and modules that the prose of the documents names exist: as binding as those in blocks."""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import attrs
import pytest
import typer.main

from hnas.discovery import KINDS, Registry, options_of
from hnas_app.cli import app
from hnas_app.config.schema import SECTIONS

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
CODE = re.compile(r"`([^`\n]+)`")
SETTING = re.compile(rf"(?<![\w./])({'|'.join([*KINDS, *SECTIONS])})\.([a-z_][a-z_0-9]*)(?![\w(./])")
COMMAND = re.compile(r"^\$? ?hnas ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?(?= |$)")
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
MODULE = re.compile(r"^(?:hnas|hnas_app|hnas_plugins|hnas_backends|hnas_strategies)(?:\.[a-z_0-9]+)+$")
OF_OTHERS = {
    *("--durations", "--filter", "--max-restarts", "--nproc-per-node", "--ntasks-per-node", "--num-cpus"),
    *("--node-ip-address", "--signal", "--lock-gpu-clocks", "--generate", "--logdir"),
}
"""Flags of other programs that pages name in prose."""
SCRIPTS = [*(ROOT / "benchmarks").glob("*.py"), *(ROOT / "experiments").rglob("*.py")]
ONNX_KEYS = {f"hnas.{key}" for key in ("classes", "origin", "preparation", "schema")}
"""Entries of a model's file, which look like modules."""


def told(page: Path) -> Iterator[str]:
    """Yield the code in the prose of a page, outside blocks."""
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    yield from CODE.findall(prose)


@cache
def options(kind: str) -> frozenset[str]:
    """Return the options of all built-in plugins of a kind, and of the examples."""
    registry = Registry(third_party=False)
    found = {f.name for p in registry.list(kind) for f in attrs.fields(options_of(p))} | {"name"}
    own = "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "examples").glob("*.py"))
    return frozenset(found | set(re.findall(r"^    (\w+): .* = setting\(", own, re.M)))


@cache
def commands() -> dict[str, Any]:
    def walk(command: Any, name: str) -> Iterator[tuple[str, Any]]:
        yield name, command
        for sub, inner in getattr(command, "commands", {}).items():
            yield from walk(inner, f"{name} {sub}".strip())

    return dict(walk(typer.main.get_command(app), ""))


def test_there_is_something_to_hold():
    assert sum(len(SETTING.findall(code)) for page in PAGES for code in told(page)) > 100
    assert sum(bool(COMMAND.match(code)) for page in PAGES for code in told(page)) > 50


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_what_a_page_names_exists(page):
    flags = {name for command in commands().values() for p in command.params for name in (*p.opts, *p.secondary_opts)}
    flags |= {"--help", "--version"} | set(FLAG.findall("\n".join(p.read_text(encoding="utf-8") for p in SCRIPTS)))
    wrong = set()
    for code in told(page):
        for section, key in SETTING.findall(code):
            known = options(section) if section in KINDS else attrs.fields_dict(SECTIONS[section])
            if key not in known and key not in ("json", "jsonl", "py"):
                wrong.add(f"{section}.{key}")
        if (found := COMMAND.match(code)) and found[1] not in commands():
            wrong.add(code)
        elif found and found[2] and hasattr(commands()[found[1]], "commands"):
            wrong |= {code} - {code for name in commands() if name == f"{found[1]} {found[2]}"}
        wrong |= {f for f in FLAG.findall(code) if f not in flags and f not in OF_OTHERS}
        if MODULE.match(code) and code not in ONNX_KEYS and not _exists(code):
            wrong.add(code)
    assert wrong == set()


def _exists(name: str) -> bool:
    """Whether a module, or a name in one, is there."""
    module, _, last = name.rpartition(".")
    try:
        return hasattr(importlib.import_module(module), last) or importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False
