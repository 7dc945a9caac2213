"""The commands by name: each is imported when it is used, so that ``hnas --help`` imports none of them."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Any

import typer
import typer.main

from hnas_app.cli.help_text import PlainCommand, PlainGroup

COMMANDS = {
    "run": "Meta-train a super-net, measure the device, search under the limits, re-train and test the found network.",
    "meta-train": "Meta-train a super-net; the run directory then serves any device and limit.",
    "adapt": "Search the architecture for a device and limits with a super-net: a run's, or one trained already.",
    "retrain": "Train the network that was found, and those to compare with, alone; earlier phases are done first.",
    "evaluate": "Test the run's networks on the test tasks and print the result; earlier phases are done first.",
    "export": "Write the network that a run found as an ONNX model and as JSON.",
    "predict": "Classify pictures with an exported model: class and probability of each.",
    "front": "Compare networks of runs on common tasks: fronts by strategy, hypervolumes, the reference networks.",
    "report": "Write a page of runs: verdict, table, front, architecture, learning curves, search, what was run where.",
    "compare": "Compare runs: settings that differ, results beside each other, differences on the same test tasks.",
    "runs": "List the runs, what each found and its state; or remove some.",
    "profile": "Measure every distinct layer of a space on a device, or take it from the cost store.",
    "devices": "Name the devices to measure, and check that they can be measured.",
    "spaces": "Show search spaces and the networks in them.",
    "supernets": "List, show and fetch super-nets that are trained already.",
    "plugins": "List, show, check and begin plugins.",
    "data": "List, fetch and check the data sets that tasks are drawn from.",
    "config": "Write, show and check configurations.",
}
"""Each command and what it does in a line, as ``hnas --help`` shows them: the first line of its own help."""
PLACES = {
    "meta-train": "run:meta_train",
    "retrain": "run:retrain",
    "evaluate": "run:evaluate",
    "compare": "report:compare",
}
"""Where a command is, if not in the module of its name: as a function of that name, or as ``app``, its sub-commands."""


PANELS = {
    "Run": ("run", "meta-train", "adapt", "retrain", "evaluate", "export", "predict"),
    "Inspect": ("runs", "report", "compare", "front", "supernets"),
    "Devices and data": ("profile", "devices", "data"),
    "Extend": ("spaces", "plugins", "config"),
}
"""The commands in the order of the help, by what they are for."""


class LazyCommands(Mapping[str, Any]):
    """Commands by name, each imported when it is asked for."""

    def __getitem__(self, name: str) -> Any:
        if name not in COMMANDS:
            raise KeyError(name)
        return _load(name)

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class LazyGroup(PlainGroup):
    """The command ``hnas``. Its help is plain text: importing a library that draws boxes takes longer than all else."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        lazy: Any = LazyCommands()
        self.commands = ChainMap(self.commands, lazy)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the names and what each does, without importing any."""
        width = max(map(len, COMMANDS))
        for panel, names in PANELS.items():
            with formatter.section(panel):
                formatter.write_dl([(name.ljust(width), COMMANDS[name]) for name in names if name in COMMANDS])


@cache
def _load(name: str) -> Any:
    """Import a command: a function of its module, or the module's own ``app`` of sub-commands."""
    module, _, function = PLACES.get(name, f"{name}:{name}").partition(":")
    found = import_module(f"hnas_app.cli.commands.{module}")
    outer = typer.Typer(add_completion=False, rich_markup_mode=None)  # its help is plain, as that of `hnas` is
    if hasattr(found, "app"):
        for command in found.app.registered_commands:
            command.cls = PlainCommand
        own = found.app.info.cls
        outer.add_typer(found.app, name=name, cls=own if isinstance(own, type) else PlainGroup)
    else:
        outer.command(name, cls=PlainCommand)(getattr(found, function))
    return typer.main.get_group(outer).commands[name]
