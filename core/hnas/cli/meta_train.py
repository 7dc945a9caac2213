"""``hnas meta-train``: phase 1 alone."""

from __future__ import annotations

import typer

from hnas.cli import options
from hnas.cli.invocation import invocation
from hnas.cli.output import say_next


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
    accelerator: options.AcceleratorOption = None,
    run_dir: options.RunDirOption = None,
) -> None:
    """Meta-train a super-net; the run directory then serves any device and limit."""
    from hnas.cli.phases import started

    with started(
        invocation(ctx),
        "meta-train",
        run_dir,
        preset=preset,
        config=config,
        sets=set_,
        data_root=data_root,
        space=space,
        tasks=tasks,
        learner=learner,
        seed=seed,
        workers=workers,
        accelerator=accelerator,
    ) as phases:
        phases.meta_train()
    print(f"super-net: {phases.run.checkpoints / 'meta-train'}")
    say_next(f"hnas adapt {phases.run.path}")
