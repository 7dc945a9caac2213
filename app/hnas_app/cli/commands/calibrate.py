"""``hnas devices calibrate``: bring sums over layers closer to whole networks, where that can be done."""

from __future__ import annotations

from typing import Annotated

import attrs
import typer

from hnas_app.cli import options
from hnas_app.cli.invocation import invocation
from hnas_app.cli.output import note, print_json, say_next
from hnas_app.cli.terminal import at_terminal
from hnas_app.usecases.arguments import Given


@options.takes("space", "input_", "networks", "tasks", "data_root", "config", "set", "seed")
def calibrate(
    ctx: typer.Context,
    backend: Annotated[str, typer.Argument(metavar="BACKEND[:DEVICE]", help="What to calibrate, such as arm:pi4.")],
    given: Given,
    input_: options.InputOption = None,
    networks: Annotated[int, typer.Option("--networks", min=4, help="Random networks to measure whole.")] = 40,
    as_json: options.JsonOption = False,
) -> None:
    """Measure whole networks, and correct sums over layers by them where that helps.

    A line is fitted to half of the networks, and kept where it predicts the other half better than the sums do.
    """
    from hnas_app.usecases.profile import calibrate as fit
    from hnas_app.usecases.profile import subject

    given = attrs.evolve(given, preset="none", backend=backend)
    with at_terminal(invocation(ctx)) as caller:
        what = subject(caller, given, options.input_shape(input_))
        info, line = fit(caller, what, networks=networks)
    metric = info.metrics[0]
    if as_json:
        return print_json({"metric": metric.column, "kept": line.helps, **attrs.asdict(line)})
    print(f"{line.slope:.4f} · sum + {line.offset:.4g} {metric.unit}, fitted to {line.networks} networks")
    print(f"mean error on the others: {line.mape_before:.1f} % before, {line.mape_after:.1f} % after")
    if not line.helps:
        note("it does not help, so it is not applied")
    say_next(f"hnas run --space {what.loaded.config.space.name} --backend {backend} --preset quick")
