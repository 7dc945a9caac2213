"""``hnas meta-train``: phase 1 alone."""

from __future__ import annotations

from typing import Any

import typer

from hnas_app.cli import options
from hnas_app.cli.invocation import invocation
from hnas_app.cli.output import say_next


def meta_train(
    ctx: typer.Context,
    space: options.SpaceOption = None,
    preset: options.PresetOption = None,
    tasks: options.TasksOption = None,
    data_root: options.DataRootOption = None,
    learner: options.LearnerOption = None,
    config: options.ConfigOption = None,
    set_: options.SetOption = None,
    seed: options.SeedOption = None,
    workers: options.WorkersOption = None,
    executor: options.ExecutorOption = None,
    accelerator: options.AcceleratorOption = None,
    run_dir: options.RunDirOption = None,
) -> None:
    """Meta-train a super-net; the run directory then serves any device and limit.

    Several ranks train it together under torchrun: `torchrun --nproc-per-node 2 -m hnas meta-train --run-dir DIR`.
    """
    from hnas_app.cli.phases import started
    from hnas_app.usecases.ranks import follow
    from hnas_app.executors.this_rank import leads

    call = invocation(ctx)
    flags: dict[str, Any] = {
        "preset": preset, "config": config, "sets": set_, "data_root": data_root, "space": space, "tasks": tasks,
        "learner": learner, "seed": seed, "workers": workers, "executor": executor, "accelerator": accelerator,
    }  # fmt: skip
    if not leads():
        return follow(call, run_dir, **flags)
    with started(call, "meta-train", run_dir, **flags) as phases:
        phases.meta_train()
    print(f"super-net: {phases.run.checkpoints / 'meta-train'}")
    say_next(f"hnas adapt {phases.run.path}")
