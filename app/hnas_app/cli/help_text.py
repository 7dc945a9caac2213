"""What ``--help`` prints, as plain text: importing a library that draws boxes takes longer than all else."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from typer.core import TyperCommand, TyperGroup

from hnas.discovery import KINDS
from hnas_app.cli.examples import EXAMPLES

_TYPE = re.compile(r"\s?<([^<>]*)>")
_PLACEHOLDERS = {"str": "TEXT", "path": "PATH", "int": "INTEGER", "int range": "INTEGER", "float": "NUMBER"}


HELP_FLAGS = ["-h", "--help"]


class _Plain:
    """What the help of a command and of a group have in common."""

    def get_help_option_names(self, ctx: Any) -> list[str]:
        return HELP_FLAGS  # a context's own would be kept with the command, whoever looked at it first

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        _write_examples(ctx, formatter)


class PlainCommand(_Plain, TyperCommand):
    """A command with its options, their defaults and known values, and examples."""

    def invoke(self, ctx: Any) -> Any:
        """Call the command; a ``~`` that a shell left in a path, as in ``--out=~/x``, is the user's folder."""
        ctx.params = {name: _expanded(value) for name, value in ctx.params.items()}
        return super().invoke(ctx)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        _write_parameters(self, ctx, formatter)


def _expanded(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(map(_expanded, value))
    return type(value)(os.path.expanduser(value)) if isinstance(value, str | Path) else value


class PlainGroup(_Plain, TyperGroup):
    """A command that has sub-commands, whose help says in full what each does."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        _write_parameters(self, ctx, formatter)
        self.format_commands(ctx, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        rows = [(n, (c.help or "").partition("\n\n")[0].replace("\n", " ")) for n, c in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _write_parameters(command: Any, ctx: Any, formatter: Any) -> None:
    params = command.get_params(ctx)
    for title, kind in (("Arguments", "argument"), ("Options", "option")):
        if rows := [row for p in params if p.param_type_name == kind and (row := record(p, ctx))]:
            with formatter.section(title):
                formatter.write_dl(rows)


def record(parameter: Any, ctx: Any) -> tuple[str, str] | None:
    """Return the names and the meaning of an option or argument for the help; ``None`` for a hidden one."""
    found = parameter.get_help_record(ctx)
    if found is None:
        return None
    names, told = found
    if parameter.param_type_name == "argument":
        names = _TYPE.sub("", names).upper()
    else:
        names = _TYPE.sub(lambda kind: " " + _PLACEHOLDERS.get(kind[1], kind[1]), names)
    return names, "  ".join(part for part in (told, known(parameter.name, ctx)) if part)


def known(name: str, ctx: Any) -> str:
    """Return the values that a shared option takes by name, and its default, in brackets; empty for other options."""
    from hnas_app.cli.completion import values

    parts = [", ".join(values(name, ctx)[:12])]
    if {p.name for p in ctx.command.params} & {"run_dir"}:  # a new run: elsewhere the run's own values hold
        parts.append(_default(name))
    text = "; ".join(part for part in parts if part)
    return f"[{text}]" if text else ""


def _default(name: str) -> str:
    from hnas_app.config.schema import Config

    if name in KINDS:
        return f"default: {getattr(Config(), name).name}"
    if name in ("preset", "seed", "workers", "executor", "accelerator"):
        return f"default: {getattr(Config(), name)}"
    return "default: 0.6 of the reference network's cost in the device's first metric" if name == "constraint" else ""


def _write_examples(ctx: Any, formatter: Any) -> None:
    """Write the examples of a command, a line each: to copy them, none is wrapped."""
    if found := EXAMPLES.get(ctx.command_path.partition(" ")[2]):
        with formatter.section("Examples"):
            for example in found:
                formatter.write(f"{'':>{formatter.current_indent}}{example}\n")
