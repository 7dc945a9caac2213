"""Settings, limits and names of all kinds, by flags, `--set`, files and the environment."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.campaign.attacks.kills import metrics
from tests.campaign.bed import Bed, report_often
from tests.campaign.commands import Outcome
from tests.campaign.mutate import WORDS, word
from tests.campaign.verdict import faults, last

SMALL = (
    "0",
    "1",
    "2",
    "3",
    "5",
    "7",
    "9",
    "0.5",
    "-1",
    "1e-9",
    "true",
    "false",
    "shared",
    "running",
    "pool",
    "uniform",
    "fixed",
)
"""Values that some setting takes, and others do not."""
VALUES = (
    "[[[]]]", "{a = 1}", "{a = {a = {}}}", "['a', 1]", "[[1], [2]]", "1979-05-27", "07:32:00", "1979-05-27T07:32:00Z",
    '"a\\u0000b"', '["a\\u0000b"]', '"\\u001b[31m"', "0x" + "f" * 5000, "9" * 5000, "-9223372036854775809", "1e999",
    "-nan", '""', "[]", "{}", '"""\n\n"""', '["a", "a"]', "[1, 1.5]",
)  # fmt: skip
"""Values of TOML, each right or wrong for some setting."""
FLAGS = (
    "--space",
    "--learner",
    "--backend",
    "--strategy",
    "--tasks",
    "--preset",
    "--seed",
    "--workers",
    "--executor",
    "--accelerator",
    "--device",
    "--constraint",
    "--data-root",
)
LIMITS = ("latency<=0.05ms", "latency<=0.6ref", "params<=70K,macs<=2M", "cycles<=100", "latency<=1e3us")


def attempt(bed: Bed, rng: random.Random, folder: Path) -> Iterator[str]:
    """Give a command one to three wrong or unusual settings."""
    given, env = _given(bed, rng, folder)
    command = rng.choice(("show", "show", "check", "profile", "spaces", "run"))
    if command == "run":
        yield from _run(bed, given, env, folder)
        return
    commands = {
        "show": ["config", "show"],
        "check": ["config", "check", str(folder / "given.toml")],
        "profile": ["profile", "--dry-run"],
        "spaces": ["spaces", "show", rng.choice(("vgg9", "resnet12", word(rng)))],
    }
    if not (folder / "given.toml").exists():
        (folder / "given.toml").write_bytes(_toml(bed, rng))
    words = commands[command]
    taken = given if command in ("show", "profile") else []
    done = bed.call(as_argv([*words, *taken]), home=bed.warm_home, cwd=folder, env=env)
    yield from (f"{_told(words, taken, env)}: {fault}" for fault in faults(done))


def _run(bed: Bed, given: list[str], env: dict[str, str], folder: Path) -> Iterator[str]:
    """Let a run begin; whoever gets as far as three steps of training is let off."""
    run = folder / "run"
    words = bed.run_words(run)
    child = bed.start(as_argv([*words, *given]), home=bed.warm_home, cwd=folder, env=env, before=report_often)
    end, done = time.monotonic() + 60, child.poll()
    while done is None and time.monotonic() < end:
        if sum(event["phase"] == "meta-train" and event["kind"] == "step" for event in metrics(run)) >= 3:
            break
        time.sleep(0.02)
        done = child.poll()
    if done is None:
        started = (run / "metrics.jsonl").exists()
        child.kill()
        done = child.wait()
        done = Outcome(0, done.out, done.err, 0, done.peak_mb, "" if started else "a minute without any progress")
    told = _told(["run"], given, env)
    yield from (f"{told}: {fault}" for fault in faults(done))
    if done.code in (2, 3, 4, 5) and run.exists():
        yield f"{told}: exit code {done.code}, and a folder stays: {last(done.err)}"


def _given(bed: Bed, rng: random.Random, folder: Path) -> tuple[list[str], dict[str, str]]:
    """Return words of a command line and an environment; ``given.toml`` may be among the words."""
    words: list[str] = []
    env: dict[str, str] = {}
    for _ in range(rng.choice((1, 1, 2, 3))):
        key, value = rng.choice(_keys(bed)), rng.choice((word(rng), rng.choice(SMALL)))
        if rng.random() < 0.05:
            key = word(rng)
        way = rng.choice(("set", "set", "env", "flag", "flag", "toml"))
        if way == "set":
            words += ["--set", f"{key}={value}"]
        elif way == "env" and "\0" not in key + value and "=" not in key:
            env[as_variable("HNAS_" + key.replace(".", "__").upper())] = as_variable(value)
        elif way == "flag":
            flag = rng.choice(FLAGS)
            words += [flag, _limit(rng) if flag == "--constraint" else value]
        else:
            (folder / "given.toml").write_bytes(_toml(bed, rng))
            words += ["--config", str(folder / "given.toml")]
    return words, env


def _limit(rng: random.Random) -> str:
    """Return a limit with some characters exchanged."""
    text = list(rng.choice(LIMITS))
    for _ in range(rng.randrange(4)):
        at = rng.randrange(len(text))
        text[at : at + rng.randrange(2)] = rng.choice(
            ("", "<", "=", ",", "٣", "1", "9" * 30, "e", "nan", "inf", "-", "µ", word(rng))
        )
    return "".join(text)


def _toml(bed: Bed, rng: random.Random) -> bytes:
    """Return a configuration file with something wrong in it."""
    lines = []
    for _ in range(rng.randint(1, 4)):
        section, _, name = rng.choice(_keys(bed)).rpartition(".")
        text = rng.choice(WORDS)
        value = rng.choice((*SMALL, *VALUES, json.dumps(text), text, "'" + text + "'"))
        table = rng.choice((f"[{section}]",) * 8 + (f"[[{section}]]", f"[{section}.{name}]", f"{section} = 1\n[x]"))
        lines.append(f"{table}\n{name} = {value}\n" if section else f"{name} = {value}\n")
    content = "".join(lines).encode("utf-8", "surrogatepass")
    return rng.choice((b"", b"", b"", b"\xef\xbb\xbf", b"\xff\xfe", b"\0")) + content


@cache
def _keys(bed: Bed) -> list[str]:
    done = bed.call(["config", "show", "--json"], home=bed.warm_home, cwd=bed.root)
    # What starts on other machines, or for ever, is not tried.
    return sorted(set(json.loads(done.out)) - {"executor", "accelerator", "workers"})


def as_argv(words: list[str]) -> list[bytes]:
    """Return words as an operating system passes them: no zeros, at most 128 KiB each."""
    return [w.encode("utf-8", "surrogatepass").replace(b"\0", b"")[: 2**17 - 1] for w in words]


def as_variable(text: str) -> str:
    """Return a text as an environment holds it: bytes, none of them zero."""
    return os.fsdecode(as_argv([text])[0])


def _told(words: list[str], given: list[str], env: dict[str, str]) -> str:
    shown = " ".join(w if w.isascii() and w.isprintable() and len(w) < 60 else repr(w[:60]) for w in [*words, *given])
    return " ".join([*(f"{k[:40]}={v[:40]!r}" for k, v in env.items()), shown])
