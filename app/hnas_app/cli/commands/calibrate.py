"""``hnas devices calibrate``: bring sums over layers closer to whole networks, where that can be done."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from hnas_app.cli import options
from hnas_app.cli.commands.profile import opened
from hnas_app.cli.invocation import invocation
from hnas_app.cli.output import note, print_json, say_next


def calibrate(
    ctx: typer.Context,
    backend: Annotated[str, typer.Argument(metavar="BACKEND[:DEVICE]", help="What to calibrate, such as arm:pi4.")],
    space: options.SpaceOption = None,
    input_: options.InputOption = None,
    networks: Annotated[int, typer.Option("--networks", min=4, help="Random networks to measure whole.")] = 40,
    tasks: options.TasksOption = None,
    data_root: options.DataRootOption = None,
    config: options.ConfigOption = None,
    set_: options.SetOption = None,
    seed: options.SeedOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Measure whole networks, and correct sums over layers by them where that helps.

    A line is fitted to half of the networks, and kept where it predicts the other half better than the sums do.
    """
    import attrs

    from hnas.seeds import Seeds
    from hnas_app.costs.agreement import calibrate_table
    from hnas_app.costs.profile import profile
    from hnas_app.trackers.terminal import display

    call = invocation(ctx)
    flags: dict[str, Any] = {"space": space, "backend": backend, "tasks": tasks, "seed": seed}
    loaded = options.load(call, preset="none", config=config, sets=set_, data_root=data_root, **flags)
    searched, shape = options.space_and_images(call, loaded, input_)
    shown = display()
    try:
        with opened(options.create(call, loaded, "backend")) as (board, store):
            table = profile(
                board, searched, shape, loaded.config.task.n_way, store=store, emit=shown, verify=networks,
                seeds=Seeds(loaded.config.seed),
            )  # fmt: skip
            line = calibrate_table(store, table, searched, shape)
    finally:
        shown.close()
    if as_json:
        return print_json({"metric": table.info.metrics[0].column, "kept": line.helps, **attrs.asdict(line)})
    print(
        f"{line.slope:.4f} · sum + {line.offset:.4g} {table.info.metrics[0].unit}, fitted to {line.networks} networks"
    )
    print(f"mean error on the others: {line.mape_before:.1f} % before, {line.mape_after:.1f} % after")
    if not line.helps:
        note("it does not help, so it is not applied")
    say_next(f"hnas run --space {loaded.config.space.name} --backend {backend} --preset quick")
