"""``hnas export``: the network that a run found, as an ONNX model and as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hnas.errors import quoted
from hnas_app.cli import options
from hnas_app.cli.invocation import invocation
from hnas_app.cli.output import print_json, say_next
from hnas_app.cli.terminal import at_terminal
from hnas_app.usecases.arguments import Given


def export(
    ctx: typer.Context,
    run: options.RunArgument,
    pictures: Annotated[
        Path | None,
        typer.Option("--pictures", metavar="DIR", help="Adapt to your own task first: DIR/CLASS/* are its pictures."),
    ] = None,
    invert: options.InvertOption = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="Folder for the files; default: export/ in the run."),
    ] = None,
    pick: options.PickOption = None,
    arch: options.ArchOption = None,
    check: Annotated[
        bool, typer.Option("--check", help="Also measure the model's latency, and compare it with the cost table's.")
    ] = False,
    as_json: options.JsonOption = False,
) -> None:
    """Write the network that a run found as an ONNX model and as JSON.

    The network is adapted first: to --pictures, or to those that the run was made for, else to an example, the first
    validation task. It has the re-trained weights if there are some, else the super-net's. With --pick or --arch it is
    another network, with the super-net's weights.
    """
    from hnas.toolkit.codec import to_json
    from hnas_app.usecases.export import export as write
    from hnas_app.usecases.phases import Wanted

    given = Given(by_flags=True)
    with at_terminal(invocation(ctx), "hnas export {}") as caller:
        done = write(
            caller, run, given, pictures=pictures, invert=invert, folder=out, check=check, wanted=Wanted(pick, arch)
        )
    model, subject = done.model, done.subject
    if as_json:
        latencies = [{**to_json(c), "ratio": c.ratio} for c in done.latency]
        query = done.query and to_json(done.query)
        return print_json(
            {"architecture": str(done.architecture), "model": to_json(model), "latency": latencies, "query": query}
        )
    print(f"architecture: {done.architecture}")
    print(f"model: {model.path} (ONNX opset {model.opset}, within {model.difference:.1g} of torch)")
    print(f"adapted to {subject.task}, from the {subject.weights}'s weights; classes: {', '.join(subject.classes)}")
    if done.query is not None:
        print(f"query: {done.query}")
    for latency in done.latency:
        print(latency)
    if done.is_example:
        return say_next(f"hnas export {quoted(run)} --pictures DIR for a task of your own")
    say_next(f"hnas predict {quoted(model.path)} IMAGE")
