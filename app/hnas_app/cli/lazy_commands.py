"""The commands by name: each is imported when it is used, so that ``hnas --help`` imports none of them."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Any

import typer
import typer.main
from typer.core import TyperGroup

COMMANDS = {
    "run": "Meta-train a super-net, measure the device, search under the limits, re-train and test the found network.",
    "meta-train": "Meta-train a super-net; the run directory then serves any device and limit.",
    "adapt": "Search the architecture for a device and limits with the run's super-net.",
    "retrain": "Train the network that was found, and those to compare with, alone; earlier phases are done first.",
    "evaluate": "Test the run's networks on the test tasks and print the result; earlier phases are done first.",
    "export": "Write the network that a run found as an ONNX model and as JSON.",
    "predict": "Classify pictures with an exported model: class and probability of each.",
    "front": "Compare networks of runs on common tasks: fronts by strategy, hypervolumes, the reference networks.",
    "report": "Write a page of runs: verdict, table, front, architecture, learning curves, search, what was run where.",
    "compare": "Compare runs: settings that differ, results beside each other, differences on the same test tasks.",
    "runs": "List the runs: state of each phase, and accuracy once evaluated.",
    "profile": "Measure every distinct layer of a space on a device, or take it from the cost store.",
    "devices": "Name the devices to measure, and check that they can be measured.",
    "spaces": "Show search spaces and the networks in them.",
    "plugins": "List, show, check and begin plugins.",
    "data": "List, fetch and check the data sets that tasks are drawn from.",
    "config": "Write, show and check configurations.",
}
"""Each command and what it does in a line, as ``hnas --help`` shows them: the first line of its own help."""
PLACES = {"meta-train": "run:meta_train", "retrain": "run:retrain", "evaluate": "run:evaluate"}
"""Where a command is, if not in the module of its name: as a function of that name, or as ``app``, its sub-commands."""


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


class LazyGroup(TyperGroup):
    """The command ``hnas``. Its help is plain text: importing a library that draws boxes takes longer than all else."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        lazy: Any = LazyCommands()
        self.commands = ChainMap(self.commands, lazy)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the names and what each does, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@cache
def _load(name: str) -> Any:
    """Import a command: a function of its module, or the module's own ``app`` of sub-commands."""
    module, _, function = PLACES.get(name, f"{name}:{name}").partition(":")
    found = import_module(f"hnas_app.cli.commands.{module}")
    outer = typer.Typer(add_completion=False, rich_markup_mode=None)  # its help is plain, as that of `hnas` is
    if hasattr(found, "app"):
        outer.add_typer(found.app, name=name)
    else:
        outer.command(name)(getattr(found, function))
    return typer.main.get_group(outer).commands[name]
