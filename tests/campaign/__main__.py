"""``python -m tests.campaign``: attack hnas from outside for some minutes, and print what broke.

A finding is printed with the command that does the same again: every try draws from a seed of its own. How a kill falls
between two instructions is the machine's choice, so such a try may have to be repeated.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

from attrs import define, field
from tests.campaign.bed import Bed

ATTACKS = ("kills", "writers", "damage", "settings", "names", "data_files", "tables", "boards", "user_code")
Attempt = Callable[[Bed, random.Random, Path], Iterator[str]]


@define
class Tally:
    """One attack: what it tries, and what it has found."""

    name: str
    attempt: Attempt
    tries: int = 0
    seconds: float = 0.0
    findings: list[str] = field(factory=list)


def main() -> int:
    """Run the campaign and return 1 if there are findings."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__.partition("\n")[0])
    parser.add_argument("attacks", nargs="*", metavar="ATTACK", help=f"of {', '.join(ATTACKS)}; all unless given")
    parser.add_argument("--minutes", type=float, default=1.0, help="shared out evenly among the attacks")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, metavar="N", help="the try of this number alone; its files are kept")
    parser.add_argument("--work", type=Path, help="folder for the runs; default: a temporary one")
    asked = parser.parse_args()
    if unknown := set(asked.attacks) - set(ATTACKS):
        parser.error(f"unknown attacks: {', '.join(sorted(unknown))}")
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # names may be no text
    work = Path(tempfile.mkdtemp(prefix="hnas-campaign-", dir=asked.work)).resolve()
    tallies = [Tally(n, import_module(f"tests.campaign.attacks.{n}").attempt) for n in asked.attacks or ATTACKS]
    try:
        bed = Bed(work)
        _ = bed.finished  # what is made once is not taken from the attacks' time
        if asked.only is not None:
            for tally in tallies:
                _try(bed, tally, asked.seed, asked.only)
        else:
            _attack(bed, tallies, asked.seed, 60 * asked.minutes)
    finally:
        if asked.only is None:
            shutil.rmtree(work, ignore_errors=True)
        else:
            print(f"files: {work}")
    return _report(tallies)


def _attack(bed: Bed, tallies: list[Tally], seed: int, seconds: float) -> None:
    """Give the next try to the attack that had the least time, until each has had its share of the seconds."""
    while (tally := min(tallies, key=lambda t: t.seconds)).seconds < seconds / len(tallies):
        _try(bed, tally, seed, tally.tries)


def _try(bed: Bed, tally: Tally, seed: int, number: int) -> None:
    folder = bed.root / f"{tally.name}-{number}"
    folder.mkdir()
    began, before = time.monotonic(), len(tally.findings)
    try:
        for finding in tally.attempt(bed, random.Random(f"{seed} {tally.name} {number}"), folder):
            tally.findings.append(finding)
            print(f"\n{tally.name}, try {number}: {finding}", flush=True)
    except Exception:  # an attack that a fault has surprised: the others go on
        tally.findings.append(traceback.format_exc(limit=-4))
        print(f"\n{tally.name}, try {number}: the attack itself failed:\n{tally.findings[-1]}", flush=True)
    finally:
        bed.end_all()
    if len(tally.findings) > before:
        print(f"  again: python -m tests.campaign {tally.name} --seed {seed} --only {number}", flush=True)
    tally.tries, tally.seconds = tally.tries + 1, tally.seconds + time.monotonic() - began
    if not sys.argv.count("--only"):
        shutil.rmtree(folder, ignore_errors=True)


def _report(tallies: list[Tally]) -> int:
    print(f"\n{'attack':<12}{'tries':>8}{'findings':>10}{'minutes':>9}")
    for t in tallies:
        print(f"{t.name:<12}{t.tries:>8}{len(t.findings):>10}{t.seconds / 60:>9.1f}")
    found = sum(len(t.findings) for t in tallies)
    print(f"{'all':<12}{sum(t.tries for t in tallies):>8}{found:>10}{sum(t.seconds for t in tallies) / 60:>9.1f}")
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main())
