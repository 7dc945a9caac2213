"""``hnas runs``: the runs in a folder, with what each is for, what it found, and the state of its phases."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from attrs import asdict

from hnas.errors import DataError, quoted
from hnas_app.cli.help_text import PlainGroup
from hnas_app.cli.options import JsonOption, RunsArgument, YesOption
from hnas_app.cli.output import confirm, print_json, print_table, say_next

if TYPE_CHECKING:
    from hnas_app.runs.run_list import RunSummary

_NAMED_BY_US = re.compile(r"[0-9]{8}-[0-9]{6}-.*-([0-9a-f]{6})")


class _ListsByDefault(PlainGroup):
    """``hnas runs DIR`` lists: whatever is no sub-command is an argument of ``list``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or args[0] not in (*self.commands, *self.get_help_option_names(ctx)):
            args = ["list", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(help="List the runs, what each found and its state; or remove some.", cls=_ListsByDefault)


@app.command("list")
def list_command(
    root: Annotated[Path, typer.Argument(metavar="DIR", help="The folder that holds the run directories.")] = Path(
        "runs"
    ),
    as_json: JsonOption = False,
) -> None:
    """List the runs: date, limits, what was found, and the state of the phases. `hnas runs` does the same.

    On a terminal, a run whose folder hnas has named is shown by the id at the end; commands take that for RUN.
    """
    from hnas_app.runs.run_list import list_runs

    found = list_runs(root)
    if as_json:
        return print_json([asdict(r) for r in found])
    if not found:
        print(f"no runs in {root}/")
        return say_next("hnas run --space vgg9 --backend eyeriss --preset quick")
    head = ("RUN", "DATE", "SPACE", "BACKEND", "LIMITS", "COST", "ACCURACY", "STATE", "PICTURES")
    with_pictures = any(r.pictures for r in found)
    print_table(head[: 8 + with_pictures], [_row(r, root)[: 8 + with_pictures] for r in found], fit=True)
    if (command := _next(found)) is not None:
        say_next(command)


@app.command("rm")
def remove(runs: RunsArgument, yes: YesOption = False) -> None:
    """Remove runs with all their files; a sweep's folder is removed with its runs."""
    from hnas_app.runs.run_list import check_removable, remove_run

    for run in runs:
        check_removable(run)
    if not confirm(yes)(f"Remove {', '.join(map(str, runs))}?"):
        raise DataError("nothing was removed")
    for run in runs:
        remove_run(run)
        print(f"removed {run}")
    say_next("hnas runs")


def _row(r: RunSummary, root: Path) -> tuple[str, ...]:
    from hnas_app.costs.amounts import amount
    from hnas_app.runs.run_dir import PHASES

    name, date = _name(r.path, root), r.created[5:16].replace("T", " ")
    if r.problem:
        return (name, "", "", "", "", "", "", f"damaged: {r.problem}", "")
    done = [p for p in PHASES if r.phases.get(p) == "done"]
    others = [f"{p} {state}" for p, state in r.phases.items() if state != "done"]
    state = ", ".join(others) or (f"{done[-1]} done" if done else "new")
    if len(done) == len(PHASES):
        state = "done"
    accuracy = "" if r.accuracy is None else f"{100 * r.accuracy:.2f} %"
    metric, _, unit = r.metric.rpartition("_")
    cost = "" if r.cost is None else amount(r.cost, unit if metric else "")
    limits = ",".join(r.limits) or "default"
    return (name, date, r.space, r.backend, limits, cost, accuracy, f"{state} {len(done)}/{len(PHASES)}", r.pictures)


def _name(path: Path, root: Path) -> str:
    """Return what stands for a run: its path, on a terminal only the part that commands need."""
    if not sys.stdout.isatty() or root != Path("runs"):
        return str(path)
    named = _NAMED_BY_US.fullmatch(path.name)
    return named[1] if named else str(path.relative_to(root)) if path.parent == root else str(path)


def _next(found: list[RunSummary]) -> str | None:
    """Return the command that goes on with the newest run that can, else shows the newest result, if there is one."""
    from hnas_app.runs.run_dir import PHASES, is_sweep

    whole = [r for r in found if not r.problem and "running" not in r.phases.values()]
    for run in reversed(whole):
        if any(run.phases.get(p) != "done" for p in PHASES) and not run.pictures and not is_sweep(run.path.parent):
            return f"hnas run --run-dir {quoted(run.path)}"
    return f"hnas evaluate {quoted(whole[-1].path)}" if whole and not whole[-1].pictures else None
