"""What commands that take ``--pictures`` share: read the folder for a run's super-net, or say why it does not fit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hnas.errors import ConfigError
from hnas.toolkit.codec import to_json
from hnas.toolkit.pictures import PictureSource, Preparation
from hnas_app.cli import options
from hnas_app.cli.invocation import Invocation
from hnas_app.cli.output import note
from hnas_app.runs.run_dir import RunDir

if TYPE_CHECKING:
    from hnas.discovery import Registry
    from hnas.toolkit.pictures import PictureTask
    from hnas_app.config.schema import LoadedConfig

SOURCE = "pictures"
"""The task source that reads them."""
HALF = 0.5
"""The mean of an image's edge that divides bright paper from dark."""


def picture_source(registry: Registry, preparation: Preparation, root: Path | None = None) -> PictureSource:
    """Return what reads pictures as ``preparation`` says."""
    make = registry.options_class("tasks", SOURCE)
    source: PictureSource = registry.create("tasks", SOURCE, make(root=str(root or ""), **to_json(preparation)))
    return source


def read_task(
    call: Invocation, loaded: LoadedConfig, run: RunDir, pictures: Path, invert: bool | None
) -> tuple[Preparation, PictureTask]:
    """Return a folder's task, its pictures made what the super-net of ``run`` was trained on.

    Raises `DataError` for a folder that is no task, and `ConfigError` for one that the super-net cannot serve.
    """
    trained_on = options.create(call, loaded, "tasks")
    channels, height, width = trained_on.image_shape
    if channels not in (1, 3):
        raise ConfigError(f"the super-net of {run.path} takes images of {channels} channels; pictures have 1 or 3")
    inverted = trained_on.inverted if invert is None else invert
    preparation = Preparation(channels=channels, height=height, width=width, invert=inverted)
    task = picture_source(call.registry, preparation, pictures).task()
    n_way = loaded.config.task.n_way
    if task.n_way > n_way:
        raise ConfigError(
            f"{pictures} has {task.n_way} classes; the super-net of {run.path} serves {n_way} at most",
            hint=f"take classes out, or train one for as many: hnas meta-train --config {run.config_path} "
            f"--set task.n_way={task.n_way}",
        )
    if trained_on.inverted and task.edge > HALF:
        note(
            "the super-net was trained on bright ink on dark, but most edges of the pictures came out bright: "
            f"{'--no-invert' if inverted else '--invert'} turns them round"
        )
    return preparation, task
