"""The documents speak the truth: commands and snippets in them run, flags and targets that they name exist.

Lines that start with ``$ `` in a ``console`` block are commands. They run one after the other in one folder, which has
`examples/`; those that would take long (``run``, ``fetch`` and the like, and every block below a comment
``<!-- test: parse only -->``) are parsed as the command line parses them, and their settings are resolved. Python runs
too, or is compiled where it is marked so; a file that a page includes is an example, which has its own test.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import attrs
import pytest
import typer.main
from attrs import frozen

from hnas.discovery import Registry
from hnas_app.cli import app, run
from hnas_app.cli.invocation import Invocation
from hnas_app.config.schema import Config
from hnas_app.costs.limits import Constraint, split_limits

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
INCLUDED = re.compile(r'^--8<-- "(?P<file>[^"]+)"$', re.M)
LONG = {"run", "meta-train", "adapt", "retrain", "evaluate", "fetch"}
PARSE_ONLY = "<!-- test: parse only -->\n"
BLOCK = re.compile(rf"(?P<mark>{re.escape(PARSE_ONLY)})?^```(?P<kind>console|python)\n(?P<text>.*?)^```$", re.M | re.S)


@frozen
class Snippet:
    """A command, or a block of Python."""

    page: str
    kind: str
    text: str
    parse_only: bool

    def __str__(self) -> str:
        return f"{self.page}: {self.text.splitlines()[0]}"


def snippets(kind: str) -> list[Snippet]:
    found = []
    for page in PAGES:
        for block in BLOCK.finditer(page.read_text(encoding="utf-8")):
            if block["kind"] != kind:
                continue
            lines = [x[2:] for x in block["text"].splitlines() if x.startswith("$ ")]
            for text in lines if kind == "console" else [block["text"]]:
                long = block["mark"] is not None or (kind == "console" and bool(LONG & set(shlex.split(text))))
                found.append(Snippet(str(page.relative_to(ROOT)), kind, text, long))
    return found


COMMANDS = snippets("console")
HNAS_COMMANDS = [c for c in COMMANDS if c.text.startswith("hnas ")]


def test_the_documents_have_commands_to_hold():
    """A change of the blocks' form would silently leave nothing to test."""
    pages = [c for c in HNAS_COMMANDS if c.page in {"README.md", "docs/commands.md", "docs/configuration.md"}]
    assert len([c for c in pages if not c.parse_only]) > 10
    assert len([c for c in pages if c.parse_only]) > 5


def test_the_readme_is_short():
    """Reference belongs into docs/."""
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 160


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("reader")
    (made / "examples").symlink_to(ROOT / "examples")  # a copy would be other modules of the same names
    return made


@pytest.mark.parametrize("command", [c for c in HNAS_COMMANDS if not c.parse_only], ids=str)
def test_a_command_runs(command, folder, monkeypatch, capsys):
    """In the order of the page, since one may read what another wrote."""
    monkeypatch.chdir(folder)
    assert run(shlex.split(command.text)[1:]) == 0, capsys.readouterr().err
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("command", [c for c in HNAS_COMMANDS if c.parse_only], ids=str)
def test_a_long_command_would_be_understood(command, monkeypatch, capsys):
    """Its sub-command and flags exist, its limits can be read, its plugins and settings resolve."""
    monkeypatch.chdir(ROOT)
    words = shlex.split(command.text)[1:]
    found = typer.main.get_command(app)
    while words and words[0] in getattr(found, "commands", {}):
        found = found.commands[words.pop(0)]
    with found.make_context("hnas", list(words), obj=Invocation()) as context:
        limits = [limit for text in context.params.get("constraint") or () for limit in split_limits(text)]
    for limit in limits:
        Constraint.parse(limit)
    settings = [] if found.name in ("fetch", "check") else _settings(found, words)  # their tasks are an argument
    if settings:
        joined = ["--constraint", ",".join(limits)] if limits else []
        assert run(["config", "show", *settings, *joined]) == 0, capsys.readouterr().err


def _settings(command, words: list[str]) -> list[str]:
    """Return the options that are part of a configuration, with their values, other than limits."""
    options = {name: option for option in command.params for name in (*option.opts, *option.secondary_opts)}
    shown = typer.main.get_command(app).commands["config"].commands["show"]
    wanted = {name for option in shown.params for name in option.opts if name.startswith("--")} - {"--json"}
    kept: list[str] = []
    for i, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name in wanted & options.keys() and name != "--constraint":
            kept += [name, value if equals else words[i + 1]]
    return kept


@pytest.mark.parametrize("command", [c for c in COMMANDS if not c.text.startswith("hnas ")], ids=str)
def test_any_other_command_is_a_target_of_make_or_a_tool_that_is_there(command):
    program, *words = [w for w in shlex.split(command.text) if "=" not in w]
    if program == "make":
        makefile = (ROOT / "Makefile").read_text()
        assert [w for w in words if not re.search(rf"^{re.escape(w)}:", makefile, re.M)] == []
    else:
        assert shutil.which(program) or (ROOT / program).exists() or program.startswith(".venv/bin/"), program


EXAMPLES = sorted({name for page in PAGES for name in INCLUDED.findall(page.read_text(encoding="utf-8"))})


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_included_file_is_an_example_with_a_test(name):
    """What pages show of it is what is tested; a file that is missing would stop the site's build."""
    assert (ROOT / name).is_file()
    tests = (test for part in ("tests/examples", "examples") for test in (ROOT / part).rglob("test_*.py"))
    assert [t.name for t in tests if Path(name).stem in t.read_text(encoding="utf-8")] != []


@pytest.mark.parametrize("snippet", [s for s in snippets("python") if not INCLUDED.search(s.text)], ids=str)
def test_python_runs(snippet, folder):
    compile(snippet.text, snippet.page, "exec")
    if snippet.parse_only:
        return
    done = subprocess.run([sys.executable, "-c", snippet.text], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr


def test_links_lead_somewhere():
    """Relative links of all pages name files that exist."""
    broken = []
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.name}: {target}")
    assert broken == []


def test_options_that_the_documents_set_exist(monkeypatch, capsys):
    """``--set KEY=VALUE`` in prose is as binding as in a block."""
    monkeypatch.chdir(ROOT)
    settings = {
        (page.name, setting)
        for page in PAGES
        for setting in re.findall(r"--set ([a-z_]+\.[a-z_0-9]+=[^\s`'\"]+)", page.read_text(encoding="utf-8"))
    }
    assert settings
    wrong = []
    for page, setting in sorted(settings):
        section, _, key = setting.partition("=")[0].partition(".")
        plugin = _with(section, key) if section in ("backend", "tasks", "space", "learner", "strategy") else []
        code, told = run(["config", "show", "--set", setting, *plugin]), capsys.readouterr().err
        if code or "note:" in told:
            wrong.append(f"{page}: --set {setting}: {told.strip()}")
    assert wrong == []


OWN_BACKEND = "./examples/custom_backend.py:MyBoard"


def _with(kind: str, option: str) -> list[str]:
    """Name a plugin that has the option, the usual one first; the reader knows from the page which one is meant."""
    names = [getattr(Config(), kind).name, *(r.plugin.name for r in Registry(third_party=False).list(kind))]
    for name in [*names, *([OWN_BACKEND] if kind == "backend" else [])]:
        if option in attrs.fields_dict(Registry().options_class(kind, name)):
            return [f"--{kind}", name]
    raise AssertionError(f"no {kind} has the option {option!r}")
