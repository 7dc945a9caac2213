"""What is wrong with how a command ended: the promises that hold for every input."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from tests.campaign.commands import Outcome

COMMANDS = Path(__file__).parents[2] / "docs" / "commands.md"
DOCUMENTED = {int(code) for code in re.findall(r"^\| (\d+) \|", COMMANDS.read_text(), re.MULTILINE)} - {1}
"""The exit codes of the table there, but for "unexpected"."""
# A line end and a tab are text; a carriage return is, too, before a line end.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]|\r(?!\n)")
_UNEXPECTED = re.compile(r"error: unexpected \w+|Traceback \(most recent call last\)|Fatal Python error")


def faults(done: Outcome, *, seconds: float = 60.0) -> Iterator[str]:
    """Yield what is wrong with the end of a command, whatever it was given."""
    told = f"{done.out}\n{done.err}"
    if done.ended_by:
        yield f"{done.ended_by}; it was killed"
    elif done.code not in DOCUMENTED:
        yield f"exit code {done.code}: {last(done.err)}"
    elif found := _UNEXPECTED.search(told):
        yield f"it told {found[0]!r}: {last(done.err)}"
    if not done.ended_by and done.seconds > seconds:
        yield f"it took {done.seconds:.0f} s"
    if found := _CONTROL.search(told):
        around = told[max(0, found.start() - 40) : found.end() + 20]
        yield f"a raw control character in the output: {around!r}"
    if done.code not in (0, 130) and not done.ended_by and done.code >= 0 and not done.err.strip():
        yield f"exit code {done.code} without a word"


def read_json(done: Outcome) -> object:
    """Return what a command printed with ``--json``, or ``None`` if that is not JSON."""
    try:
        return json.loads(done.out)
    except ValueError:
        return None


def last(text: str, most: int = 300) -> str:
    """Return the last lines of a text, short."""
    errors = [line for line in text.splitlines() if line.startswith("error:")]
    return (errors[-1] if errors else " | ".join(text.splitlines()[-3:]))[:most]
