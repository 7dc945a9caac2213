"""``hnas runs``: the runs in a folder, with the state of each phase."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from attrs import asdict

from hnas.errors import quoted
from hnas_app.cli.options import JsonOption
from hnas_app.cli.output import print_json, print_table, say_next


def runs(
    root: Annotated[Path, typer.Argument(help="The folder that holds the run directories.")] = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """List the runs: state of each phase, and accuracy once evaluated."""
    from hnas_app.runs.run_dir import PHASES
    from hnas_app.runs.run_list import list_runs

    found = list_runs(root)
    if as_json:
        return print_json([asdict(r) for r in found])
    if not found:
        print(f"no runs in {root}/")
        return say_next("hnas run --space vgg9 --backend eyeriss --preset quick")
    rows = []
    for r in found:
        if r.problem:
            rows.append((str(r.path), "", "", "damaged", "", r.problem))
            continue
        done = [p for p in PHASES if r.phases.get(p) == "done"]
        others = [f"{p} {state}" for p, state in r.phases.items() if state != "done"]
        state = ", ".join(others) or (f"{done[-1]} done" if done else "new")
        accuracy = "" if r.accuracy is None else f"{100 * r.accuracy:.2f} %"
        rows.append((str(r.path), r.space, r.backend, state, f"{len(done)}/{len(PHASES)}", accuracy))
    print_table(("RUN", "SPACE", "BACKEND", "STATE", "PHASES", "ACCURACY"), rows)
    say_next(f"hnas run --run-dir {quoted(found[-1].path)}")
