"""``hnas run`` and its single phases except the search: ``meta-train``, ``retrain`` and ``evaluate``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import attrs
import typer

from hnas.errors import quoted
from hnas_app.cli import options
from hnas_app.cli.invocation import invocation
from hnas_app.cli.output import print_in_parts, print_json, print_text, say_next
from hnas_app.cli.terminal import IN_ORDER, at_terminal
from hnas_app.usecases.arguments import SAME_RESULTS, Given

if TYPE_CHECKING:
    from hnas_app.usecases.phases import Evaluated

SuperNetOption = Annotated[
    str | None,
    typer.Option(
        "--supernet", metavar="NAME", help="Start from a super-net that is trained already: see `hnas supernets list`."
    ),
]


@options.takes(
    "space", "backend", "device", "preset", "constraint", "tasks", "data_root", "strategy", "learner", "config", "set",
    "seed", "workers", "executor", "accelerator",
)  # fmt: skip
def run(
    ctx: typer.Context,
    given: Given,
    run_dir: options.RunDirOption = None,
    supernet: SuperNetOption = None,
    name: options.NameOption = None,
    arch: options.ArchOption = None,
    log: options.LogOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Meta-train a super-net, measure the device, search under the limits, re-train and test the found network.

    With the --run-dir or --name of an earlier run it goes on where that run stopped. With --supernet it starts from a
    super-net that is trained already, and from the settings of that. With --arch a network of your own is priced,
    trained and tested instead of a search; by default it is compared with networks that cost no more.
    """
    from hnas_app.supernets.unpacking import unpacked
    from hnas_app.usecases.phases import whole_run

    call = invocation(ctx)
    if arch is not None:
        given = attrs.evolve(given, sets=(*given.sets, ("search.architecture", arch)))
    trained = supernet and unpacked(call.registry.get("supernet", supernet), call.registry)
    run_dir = options.folder_of(run_dir, name)
    with at_terminal(call, "hnas run --run-dir {}", IN_ORDER, log) as caller:
        done = whole_run(caller, given, run_dir=run_dir, supernet=trained or None)
    _show(done, as_json=as_json)


@options.takes(
    "space", "preset", "tasks", "data_root", "learner", "config", "set", "seed", "workers", "executor", "accelerator"
)
def meta_train(
    ctx: typer.Context,
    given: Given,
    run_dir: options.RunDirOption = None,
    name: options.NameOption = None,
    log: options.LogOption = None,
) -> None:
    """Meta-train a super-net; the run directory then serves any device and limit.

    Several ranks train it together under torchrun: `torchrun --nproc-per-node 2 -m hnas meta-train --run-dir DIR`.
    """
    from hnas_app.executors.this_rank import leads
    from hnas_app.usecases.phases import meta_train as train
    from hnas_app.usecases.ranks import follow

    call, run_dir = invocation(ctx), options.folder_of(run_dir, name)
    if not leads():
        return follow(call.registry, given, run_dir)
    with at_terminal(call, "hnas meta-train --run-dir {}", log=log) as caller:
        path = train(caller, given, run_dir=run_dir)
    print(f"super-net: {path / 'checkpoints' / 'meta-train'}")
    say_next(f"hnas adapt {quoted(path)}")


@options.takes(*SAME_RESULTS)
def retrain(
    ctx: typer.Context,
    run: options.RunArgument,
    given: Given,
    pick: options.PickOption = None,
    arch: options.ArchOption = None,
    log: options.LogOption = None,
) -> None:
    """Train the network that was found, and those to compare with, alone; earlier phases are done first.

    With --pick or --arch another network takes its place, in a new run beside it. In a sweep's folder, --pick is the
    number of a pair.
    """
    from hnas_app.usecases.phases import Wanted
    from hnas_app.usecases.phases import retrain as train

    with at_terminal(invocation(ctx), "hnas retrain {}", IN_ORDER[:4], log) as caller:
        made, trained = train(caller, run, given, wanted=Wanted(pick, arch))
    for name, folder in trained.items():
        print(f"{name}: {folder}")
    say_next(f"hnas evaluate {quoted(made)}")


@options.takes("set", *SAME_RESULTS)
def evaluate(
    ctx: typer.Context,
    run: options.RunArgument,
    given: Given,
    log: options.LogOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Test the run's networks on the test tasks and print the result; earlier phases are done first.

    For other settings, such as --set evaluate.architecture=per-task, a new run beside it starts from its super-net.
    """
    from hnas_app.usecases.phases import evaluate as test

    with at_terminal(invocation(ctx), "hnas evaluate {}", IN_ORDER, log) as caller:
        done = test(caller, run, given)
    _show(done, as_json=as_json)


def _show(done: Evaluated, *, as_json: bool) -> None:
    """Print the networks with their costs and accuracies."""
    from hnas.toolkit.codec import to_json
    from hnas_app.report import networks as report

    results, metric = done.results, done.results.metrics[0]
    if as_json:
        return print_json(to_json(results))
    print()
    for network in results.networks:
        print_text(f"{network.name}: {report.describe(network.options)}")
    print()
    print_in_parts(*report.table(results))
    if results.unsteady:
        print_text(f"{report.UNSTEADY} measured while the device was unsteady; `hnas profile --fresh` measures again")
    for missing in results.missing:
        print_text(missing)
    if results.per_task is not None:
        print_text(f"\n{report.describe_per_task(results.per_task, results.metrics)}")
    if done.adaption is not None and done.adaption.place is not None:
        chosen = "found" if results.race is None else report.CHOICE
        print_text(f"\n{chosen}: {done.adaption.place}, by loss {done.adaption.weights}")
    for doubt in done.adaption.doubts if done.adaption else ():
        print_text(doubt)
    if results.race is not None and results.race.heats:
        print()
        print_in_parts(*report.race_table(results.race))
        print_text(report.race_won(results.race))
    print_text(f"\nlimits: {', '.join(map(str, done.limits))}\n{results.protocol}")
    if done.picture is not None:
        print(f"picture: {done.picture}")
    found = results.per_task.cost if results.per_task else results.networks[0].cost
    tighter = f"{metric.name}:{0.8 * found[metric.name]:.2g}{metric.unit}"
    say_next(f"hnas adapt {quoted(done.run)} --constraint {quoted(tighter)}")
