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
    run_dir: options.RunDirOption = None,
) -> None:
    """Meta-train a super-net; the run directory then serves any device and limit."""
    from hnas.cli.phases import open_run, pipeline

    call = invocation(ctx)
    loaded = options.load(
        call,
        preset=preset,
        config=config,
        sets=set_,
        data_root=data_root,
        run_dir=run_dir,
        space=space,
        tasks=tasks,
        learner=learner,
        seed=seed,
        workers=workers,
    )
    opened = open_run(loaded, run_dir)
    with pipeline(call, loaded, opened, resume=f"hnas meta-train --run-dir {opened.path}") as phases:
        phases.meta_train()
    print(f"super-net: {opened.path / 'checkpoints' / 'meta-train'}")
    say_next(f"hnas adapt {opened.path}")
