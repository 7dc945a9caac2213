"""``hnas adapt``: a network for a device and limits, for several pairs of them, or for the user's own pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import attrs
import typer

from hnas.errors import quoted, shown
from hnas_app.cli import options
from hnas_app.cli.invocation import Invocation, invocation
from hnas_app.cli.output import print_json, print_table, print_text, say_next
from hnas_app.cli.terminal import at_terminal
from hnas_app.usecases.arguments import SAME_RESULTS, Given

if TYPE_CHECKING:
    from hnas_app.report.pictures import PictureResult
    from hnas_app.usecases.own_task import OwnTask
    from hnas_app.usecases.sweep import Pairs, Sweep

RESUME = "hnas adapt {}"
SHOWN = 10
"""Finalists that are printed; ``--json`` has all."""

PicturesOption = Annotated[
    Path | None,
    typer.Option("--pictures", metavar="DIR", help="Adapt to your own task: DIR/CLASS/* are its labelled pictures."),
]
ExportOption = Annotated[
    Path | None,
    typer.Option("--export", metavar="FILE", help="Write the adapted network as an ONNX model; hnas[onnx]."),
]
RetrainOption = Annotated[
    bool, typer.Option("--retrain", help="Train the chosen network alone before adapting it, as the paper does.")
]


@options.takes("backend", "device", "constraint", "strategy", "set", *SAME_RESULTS)
def adapt(
    ctx: typer.Context,
    supernet: options.SuperNetArgument,
    given: Given,
    backend: options.BackendsOption = None,
    constraint: options.ConstraintsOption = None,
    pictures: PicturesOption = None,
    invert: options.InvertOption = None,
    retrain: RetrainOption = False,
    export: ExportOption = None,
    name: options.NameOption = None,
    log: options.LogOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Search the architecture for a device and limits with a super-net: a run's, or one trained already.

    Settings that differ from the run's own make a new run beside it, which starts from a copy of the super-net. With
    --pictures the network is chosen for, and adapted to, a task of your own. With several --backend or --constraint
    it searches for every pair of them, in a sweep's folder; with such a folder as RUN it goes on there. A super-net is
    named as `hnas supernets list` does; the new run is made in runs/. With --name a new run is made in any case.
    """
    from hnas_app.supernets.naming import run_or_supernet
    from hnas_app.usecases.own_task import OwnTask
    from hnas_app.usecases.ranks import refuse_ranks
    from hnas_app.usecases.sweep import Pairs

    call = invocation(ctx)
    refuse_ranks("adapt")
    folder = options.new_folder_of(name)
    run = run_or_supernet(supernet, call.registry)
    own_task = OwnTask(pictures=pictures, invert=invert, retrain=retrain, model=export)
    pairs = Pairs(backends=tuple(backend or ()), constraints=tuple(constraint or ()))
    meant = _is_meant(own_task, run)
    if pairs.are_several(run):
        if meant:
            raise typer.BadParameter("takes one --backend and one --constraint", param_hint="--pictures")
        return _sweep(call, run, pairs, given, folder, log, as_json=as_json)
    given = attrs.evolve(given, backend=next(iter(pairs.backends), None), constraints=options.limits(constraint))
    if meant:
        return _own_task(call, run, own_task, given, folder, log, as_json=as_json)
    _plain(call, run, given, folder, log, as_json=as_json)


def _is_meant(task: OwnTask, run: Path) -> bool:
    """Return whether to adapt to pictures: by a flag, or in a run that was made for some.

    Raises a usage error if the other flags make no sense without ``--pictures``.
    """
    from hnas_app.usecases.own_task import recorded_pictures

    if task.pictures is not None or recorded_pictures(run):
        return True
    others = {"--invert": task.invert is not None, "--retrain": task.retrain, "--export": task.model is not None}
    if lonely := [flag for flag, given in others.items() if given]:
        raise typer.BadParameter("needs --pictures DIR", param_hint=lonely[0])
    return False


def _plain(
    call: Invocation, run: Path, given: Given, folder: Path | None, log: list[str] | None, *, as_json: bool
) -> None:
    """Search once, and print the finalists."""
    from hnas.toolkit.codec import to_json
    from hnas_app.report.networks import cost_columns, describe
    from hnas_app.usecases.phases import adapt

    with at_terminal(call, RESUME, log=log) as caller:
        done = adapt(caller, run, given, run_dir=folder)
    found, metrics = done.adaption, done.metrics
    if as_json:
        return print_json(to_json(found))
    heads, costs = cost_columns([s.cost for s in found.finalists], metrics)
    rows = [
        [number, f"{s.loss:.4f}", f"{100 * s.accuracy:.1f} %", *each, describe(done.space.options(s.arch))]
        for number, (s, each) in enumerate(zip(found.finalists, costs, strict=True), 1)
    ]
    print_table(["#", "loss", "accuracy", *heads, "architecture"], rows[:SHOWN], fit=True)
    if more := len(rows[SHOWN:]):
        print(f"and {more} more finalists: --json")
    print_text(f"\nthe first: {rows[0][-1]}")
    if found.standing is not None:
        print_text(f"it has {found.standing}; these tasks chose nothing")
    if found.place is not None:
        print_text(f"it is chosen: {found.place}")
    for doubt in found.doubts:
        print_text(doubt)
    print_text(f"limits: {', '.join(map(str, done.limits))}")
    say_next(f"hnas retrain {quoted(done.run)}, with --pick NUMBER for another row")


def _sweep(
    call: Invocation,
    run: Path,
    pairs: Pairs,
    given: Given,
    folder: Path | None,
    log: list[str] | None,
    *,
    as_json: bool,
) -> None:
    """Search for all pairs, and print a line for each."""
    from hnas.toolkit.codec import to_json
    from hnas_app.usecases.sweep import sweep

    with at_terminal(call, RESUME, log=log) as caller:
        done = sweep(caller, run, pairs, given, folder=folder)
    if as_json:
        return print_json(to_json(done.record))
    _show_pairs(done)


def _show_pairs(done: Sweep) -> None:
    """Print a line for each pair, with its first metric, and the evaluations of all together."""
    from hnas_app.costs.amounts import column, count

    rows = []
    for pair in done.record.pairs:
        found = pair.found
        assert found is not None
        metric, value = next(iter(found.cost.items()))
        named, (cost,) = column(metric, [value])
        rows.append(
            (
                pair.name, pair.backend, ",".join(pair.constraints) or "default", f"{found.loss:.4f}",
                f"{100 * found.accuracy:.1f} %", f"{named} {cost}", count(found.cost["params"]),
                count(found.cost["macs"]), f"{found.evaluations:,}",
            )
        )  # fmt: skip
    head = ("pair", "backend", "limits", "loss", "accuracy", "cost", "params", "macs", "evaluations")
    print_table(head, rows)
    total, folder = done.record.evaluations, done.path
    assert total is not None
    print_text(
        f"\n{total:,} evaluations (an architecture adapted to a task) for {len(rows)} pairs, "
        f"{total / len(rows):,.0f} each; each pair is a run directory in {folder}"
    )
    say_next(f"hnas retrain {quoted(folder)} --pick NUMBER; `hnas runs {quoted(folder)}` lists the pairs")


def _own_task(
    call: Invocation,
    run: Path,
    task: OwnTask,
    given: Given,
    folder: Path | None,
    log: list[str] | None,
    *,
    as_json: bool,
) -> None:
    """Adapt to pictures, and print the result and where the network is."""
    from hnas.toolkit.codec import to_json
    from hnas_app.usecases.own_task import adapt_to

    with at_terminal(call, RESUME, log=log) as caller:
        done = adapt_to(caller, run, task, given, run_dir=folder)
    model = done.model
    if as_json:
        return print_json({"run": str(done.run), "model": model and to_json(model), **to_json(done.result)})
    _show_result(done.result)
    print_text(f"architecture: {done.architecture}")
    if model is None:
        return say_next(f"pip install 'hnas[onnx]', then hnas export {quoted(done.run)}")
    print_text(f"model: {done.model_path} (ONNX opset {model.opset}, within {model.difference:.1g} of torch)")
    say_next(f"hnas predict {quoted(done.model_path)} IMAGE")


def _show_result(result: PictureResult) -> None:
    """Print the chosen network and how well it does."""
    from hnas_app.report.networks import costs_text, describe
    from hnas_app.report.pictures import confusion_table, remarks, rivals_table

    print_text(f"found: {describe(result.options)}")
    print_text(f"costs: {costs_text(result.cost, result.metrics)}; limits: {', '.join(result.limits)}")
    print_text(f"chosen by: {result.fitness}, {result.loss:.4f} nats")
    if result.steps is not None:
        print_text(f"adapted by {result.steps} steps: their number was chosen by the held-out pictures, too")
    if result.rivals:
        print()
        print_table(*rivals_table(result))
    for remark in remarks(result):
        print_text(remark)
    if result.confusion:
        title, table = confusion_table(result)
        print_text(f"\n{shown(title)}")
        print_table(*table)
