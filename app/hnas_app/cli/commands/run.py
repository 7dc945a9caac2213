"""``hnas run``: all phases, from meta-training to the test of the network that was found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from hnas_app.cli import options
from hnas_app.cli.invocation import invocation
from hnas_app.cli.output import print_json, print_table, say_next

if TYPE_CHECKING:
    from hnas_app.runs.pipeline import Pipeline


def run(
    ctx: typer.Context,
    space: options.SpaceOption = None,
    backend: options.BackendOption = None,
    device: options.DeviceOption = None,
    preset: options.PresetOption = None,
    constraint: options.ConstraintOption = None,
    tasks: options.TasksOption = None,
    data_root: options.DataRootOption = None,
    strategy: options.StrategyOption = None,
    learner: options.LearnerOption = None,
    config: options.ConfigOption = None,
    set_: options.SetOption = None,
    seed: options.SeedOption = None,
    workers: options.WorkersOption = None,
    executor: options.ExecutorOption = None,
    accelerator: options.AcceleratorOption = None,
    run_dir: options.RunDirOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Meta-train a super-net, measure the device, search under the limits, re-train what was found and test it.

    With --run-dir of an earlier run it goes on where that stopped.
    """
    from hnas_app.cli.phases import started

    with started(
        invocation(ctx),
        "run",
        run_dir,
        preset=preset,
        config=config,
        sets=set_,
        constraint=constraint,
        data_root=data_root,
        space=space,
        backend=backend,
        device=device,
        tasks=tasks,
        strategy=strategy,
        learner=learner,
        seed=seed,
        workers=workers,
        executor=executor,
        accelerator=accelerator,
    ) as phases:
        show_results(phases, as_json=as_json)


def show_results(phases: Pipeline, *, as_json: bool) -> None:
    """Test the networks (doing what is still to do before) and print the result; draw the last population."""
    from hnas.toolkit.codec import to_json
    from hnas_app.report import networks as report

    results, adaption = phases.evaluate(), phases.adapt()
    metric = results.metrics[0]
    limit = next((limit.value for limit in phases.limits if limit.metric == metric), None)
    picture = phases.run.path / "pareto.png"
    report.plot_population(adaption, results, metric, limit, picture)
    if as_json:
        return print_json(to_json(results))
    print()
    for network in results.networks:
        print(f"{network.name}: {report.describe(network.options)}")
    print()
    print_table(*report.table(results))
    if adaption.place is not None:
        print(f"\nfound: {adaption.place}, by loss with the super-net's weights")
    print(f"\nlimits: {', '.join(map(str, phases.limits))}\n{results.protocol}\npicture: {picture}")
    say_next(f"hnas adapt {phases.run.path} --constraint '{metric.name}<=…' for another limit, or `hnas runs`")
