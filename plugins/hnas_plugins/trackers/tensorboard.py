"""The tracker `tensorboard`: event files in ``tensorboard/`` of the run directory, a folder for each phase."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from hnas import ConfigError, Event, Tracker
from hnas_plugins.trackers.numbers import numbers

FLUSH_S = 10
"""Seconds after which a kill loses nothing that was told of before."""


@frozen
class TensorBoardOptions:
    """TensorBoard has none."""


class TensorBoard(Tracker):
    """Writes a curve for each value of a phase; ``tensorboard --logdir runs`` shows those of all runs."""

    def __init__(self, options: TensorBoardOptions | None = None) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as cause:
            raise ConfigError(f"--log tensorboard: {cause}", hint="pip install 'hnas[tensorboard]'") from cause
        self._make: Any = SummaryWriter
        self._writers: dict[str, Any] = {}
        self._folder = Path()

    def start(self, run: Path, settings: Mapping[str, Any]) -> None:
        self._folder = run / "tensorboard"
        rows = "\n".join(f"    {key} = {value!r}" for key, value in settings.items())  # Markdown: as it is
        self._writer("run", 0).add_text("settings", rows)

    def event(self, event: Event) -> None:
        writer = self._writer(event.phase, event.done)
        if event.text:
            writer.add_text(event.kind, event.text, event.done)
        for name, value in numbers(event.values):
            writer.add_scalar(name, value, event.done)

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()

    def _writer(self, phase: str, step: int) -> Any:
        """Return the writer of a phase; of a resumed run, it replaces what was shown from this step on."""
        if phase not in self._writers:
            folder = self._folder / phase.replace(" ", "-").replace("/", "-")
            self._writers[phase] = self._make(str(folder), purge_step=step or None, flush_secs=FLUSH_S)
        return self._writers[phase]
