"""``hnas adapt``, ``hnas retrain`` and ``hnas evaluate``: the phases after meta-training, on a run directory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hnas_app.cli import options
from hnas_app.cli.commands.pictures import (
    ExportOption,
    InvertOption,
    OwnTask,
    PicturesOption,
    RetrainOption,
    adapt_to_pictures,
)
from hnas_app.cli.commands.sweep import Pairs, adapt_pairs
from hnas_app.cli.invocation import invocation
from hnas_app.cli.output import print_json, print_table, say_next

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Run directory; `hnas runs` lists them.")]


def adapt(
    ctx: typer.Context,
    run: RunArgument,
    backend: options.BackendsOption = None,
    device: options.DeviceOption = None,
    constraint: options.ConstraintsOption = None,
    strategy: options.StrategyOption = None,
    set_: options.SetOption = None,
    workers: options.WorkersOption = None,
    executor: options.ExecutorOption = None,
    accelerator: options.AcceleratorOption = None,
    data_root: options.DataRootOption = None,
    pictures: PicturesOption = None,
    invert: InvertOption = None,
    retrain: RetrainOption = False,
    export: ExportOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Search the architecture for a device and limits with the run's super-net.

    Settings that differ from the run's own make a new run beside it, which starts from a copy of the super-net. With
    --pictures the network is chosen for, and adapted to, a task of your own. With several --backend or --constraint
    it searches for every pair of them, in a sweep's folder; with such a folder as RUN it goes on there.
    """
    own_task = OwnTask(pictures=pictures, invert=invert, retrain=retrain, export=export)
    same_results = {"workers": workers, "executor": executor, "accelerator": accelerator, "data_root": data_root}
    pairs = Pairs(backends=tuple(backend or ()), constraints=tuple(constraint or ()))
    if pairs.are_several(run):
        if own_task.is_meant(run):
            raise typer.BadParameter("takes one --backend and one --constraint", param_hint="--pictures")
        return adapt_pairs(
            invocation(ctx),
            run,
            pairs,
            as_json=as_json,
            same_results=same_results,
            device=device,
            strategy=strategy,
            sets=set_,
        )
    if own_task.is_meant(run):
        return adapt_to_pictures(
            invocation(ctx),
            run,
            own_task,
            as_json=as_json,
            same_results=same_results,
            sets=set_,
            backend=pairs.backend,
            device=device,
            constraint=constraint,
            strategy=strategy,
        )
    from hnas.toolkit.codec import to_json
    from hnas_app.cli.phases import continued
    from hnas_app.report import networks as report

    with continued(
        invocation(ctx),
        "adapt",
        run,
        backend=pairs.backend,
        device=device,
        constraint=constraint,
        strategy=strategy,
        sets=set_,
        **same_results,
    ) as phases:
        found = phases.adapt()
        space = phases.setup.space
    if as_json:
        return print_json(to_json(found))
    metrics = phases.profile().metrics
    head = ["loss", "accuracy", *(m.column for m in metrics), "architecture"]
    rows = [
        [
            f"{s.loss:.4f}",
            f"{100 * s.accuracy:.1f} %",
            *(f"{s.cost[m.name]:.5g}" for m in metrics),
            report.describe(space.options(s.arch)),
        ]
        for s in found.finalists
    ]
    print_table(head, rows)
    if found.place is not None:
        print(f"\nthe first is chosen: {found.place}")
    say_next(f"hnas retrain {phases.run.path}")


def retrain(
    ctx: typer.Context,
    run: RunArgument,
    workers: options.WorkersOption = None,
    executor: options.ExecutorOption = None,
    accelerator: options.AcceleratorOption = None,
    data_root: options.DataRootOption = None,
) -> None:
    """Train the network that was found, and the reference network, alone; does what is still to do before."""
    from hnas_app.cli.phases import continued

    with continued(
        invocation(ctx),
        "retrain",
        run,
        workers=workers,
        executor=executor,
        accelerator=accelerator,
        data_root=data_root,
    ) as phases:
        names = list(phases.retrain())
    for name in names:
        print(f"{name}: {phases.run.checkpoints / f'retrain-{name}'}")
    say_next(f"hnas evaluate {phases.run.path}")


def evaluate(
    ctx: typer.Context,
    run: RunArgument,
    workers: options.WorkersOption = None,
    executor: options.ExecutorOption = None,
    accelerator: options.AcceleratorOption = None,
    data_root: options.DataRootOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Test the run's networks on the test tasks and print the result; does what is still to do before."""
    from hnas_app.cli.commands.run import show_results
    from hnas_app.cli.phases import continued

    with continued(
        invocation(ctx),
        "evaluate",
        run,
        workers=workers,
        executor=executor,
        accelerator=accelerator,
        data_root=data_root,
    ) as phases:
        show_results(phases, as_json=as_json)
