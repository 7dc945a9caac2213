"""The values that shells complete, and that the help lists: plugins, presets, runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hnas.discovery import KINDS, Kind


def values(name: str, ctx: Any) -> list[str]:
    """Return the names that an option takes: of plugins, of presets; empty if it takes other things."""
    if name in KINDS:
        from hnas_app.cli.invocation import Invocation

        call = ctx.obj if isinstance(ctx.obj, Invocation) else Invocation()
        kind: Kind = next(k for k in KINDS if k == name)
        return [r.plugin.name for r in call.registry.list(kind)] if _is_shared(name, ctx) else []
    if name == "preset":
        from hnas_app.config.presets import PRESETS

        return [*PRESETS]
    return []


def _is_shared(name: str, ctx: Any) -> bool:
    """Return whether an option means a plugin: `hnas front --tasks` is a number, for one."""
    found = next((p for p in ctx.command.params if p.name == name), None)
    return found is not None and (found.metavar or "").startswith(("NAME", "BACKEND"))


def completes(name: str) -> Any:
    """Return the function by which typer completes an option of ``name``, or ``None``."""
    if name not in (*KINDS, "preset"):
        return None

    def complete(ctx: Any, incomplete: str) -> list[str]:
        return [value for value in values(name, ctx) if value.startswith(incomplete)]

    # typer looks at the types of the parameters.
    import typer

    complete.__annotations__ = {"ctx": typer.Context, "incomplete": str}
    return complete


def runs(incomplete: str) -> list[str]:
    """Return the paths and names of runs that begin with a text."""
    from hnas_app.runs.run_list import ROOT, list_runs

    found = list_runs(ROOT if not Path(incomplete).name or "/" not in incomplete else Path(incomplete).parent)
    named = [name for r in found for name in (r.path.name, str(r.path))]
    return [name for name in named if name.startswith(incomplete)]
