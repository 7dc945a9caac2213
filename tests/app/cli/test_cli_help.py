"""Help and completion: panels, short flags, defaults and known names, examples that work, no types in brackets."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer
import typer.main

from hnas_app.cli import app, run
from hnas_app.cli.examples import EXAMPLES
from hnas_app.cli.invocation import Invocation
from hnas_app.cli.lazy_commands import COMMANDS, PANELS


def commands(found: Any = None, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Yield each command by the words behind ``hnas``, those of groups too."""
    found = found or typer.main.get_command(app)
    yield " ".join(words), found
    for name, sub in getattr(found, "commands", {}).items():
        yield from commands(sub, (*words, name))


ALL = dict(commands())


def test_short_help_is_there_whoever_looked_at_the_command_first():
    """The names of the first context that a command was looked at with were kept: with a bare one `-h` was unknown."""
    from hnas_app.cli import lazy_commands

    command = lazy_commands._load.__wrapped__("adapt")
    assert command.get_help_option(typer.Context(command, info_name="adapt")).opts == ["-h", "--help"]


def help_of(words: str, capsys: pytest.CaptureFixture[str], flag: str = "--help") -> str:
    assert run([*words.split(), flag]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("words", ALL)
def test_help_fits_names_no_types_and_has_two_examples(words, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    told = help_of(words, capsys)
    assert help_of(words, capsys, "-h") == told
    assert not re.search(r"<(bool|str|path|Path|int|float|list|int range)\b", told)
    assert "[]" not in told
    assert not re.search(r"\w\.\.\.$", told, re.M)  # what a sub-command does is told in full
    at, examples = told.index("Examples:\n"), EXAMPLES[words]
    assert told[at:].splitlines()[1:] == [f"  {example}" for example in examples]
    assert len(examples) == 2
    assert max(map(len, told[:at].splitlines())) <= 80


@pytest.mark.parametrize("example", sorted({e for pair in EXAMPLES.values() for e in pair}))
def test_an_example_is_understood(example):
    words = shlex.split(example)[1:]
    found = typer.main.get_command(app)
    while words and words[0] in getattr(found, "commands", {}):
        found = found.commands[words.pop(0)]
    found.make_context("hnas", words, obj=Invocation()).close()


def test_every_command_has_examples_and_every_example_a_command():
    assert set(EXAMPLES) == set(ALL)


def test_every_command_stands_in_one_panel(capsys):
    placed = [name for names in PANELS.values() for name in names if name in COMMANDS]
    assert sorted(placed) == sorted(COMMANDS)
    told = help_of("", capsys)
    heads = [told.index(f"\n{panel}:\n") for panel in ("Run", "Inspect", "Devices and data", "Extend")]
    assert heads == sorted(heads)


def test_defaults_and_known_names_are_shown(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    told = " ".join(help_of("run", capsys).split())
    assert "-s, --space NAME" in told
    for part in (
        "[vgg9, resnet12, darts; default: vgg9]",
        "[none, quick, small, paper; default: quick]",
        "eyeriss, eyeriss-rs, x86, arm, cuda, table; default: eyeriss]",
        "[default: 0.6 of the reference network's cost in the device's first metric]",
    ):
        assert part in told
    assert "default" not in next(line for line in help_of("adapt", capsys).splitlines() if "--strategy" in line)
    assert "hnas[onnx]" in help_of("adapt", capsys)


def test_short_flags_are_the_long_ones(capsys):
    assert run(["config", "show", "-p", "quick", "-c", "params:70K", "-x", "search.tasks=7", "-w", "1"]) == 0
    short = capsys.readouterr().out
    long = ["--preset", "quick", "--constraint", "params:70K", "--set", "search.tasks=7", "--workers", "1"]
    assert run(["config", "show", *long]) == 0
    assert short == capsys.readouterr().out
    assert 'constraints = ["params:70K"]' in short


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("hnas ru", ["run", "runs"]),
        ("hnas run --backend e", ["eyeriss", "eyeriss-rs"]),
        ("hnas run -p q", ["quick"]),
        ("hnas evaluate runs/f", ["runs/first"]),
        ("hnas evaluate fi", ["first"]),
        ("hnas front --tasks g", []),
        ("hnas plugins ne", ["new"]),
    ],
)
def test_a_shell_completes_commands_plugins_presets_and_runs(typed, offered, capfd, monkeypatch, tmp_path):
    (tmp_path / "runs/first").mkdir(parents=True)
    (tmp_path / "runs/first/run.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(len(typed.split()) - 1))
    monkeypatch.setenv("_HNAS_COMPLETE", "complete_bash")
    assert run([]) == 0
    assert capfd.readouterr().out.split() == offered
