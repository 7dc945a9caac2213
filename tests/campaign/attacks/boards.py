"""Boards behind ssh that send without end, send nonsense, stall, dribble or die."""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.campaign.bed import Bed
from tests.campaign.verdict import faults

STAGES = ("probe", "hello", "rows")
TRICKS = ("zeros", "lines", "one line", "words", "noise", "nothing", "silence", "dribble", "dies", "killed", "escapes",
          "deep", "numbers", "closes", "255", "twice")  # fmt: skip
SLOW = {"silence", "dribble", "closes", "zeros", "lines", "dies", "killed", "255", "nothing"}
"""Tricks that end when hnas gives up: after minutes, if at all stages."""
SSH = r"""#!{python} -SE
import json, os, random, signal, sys, time
stage, trick, seed = {stage!r}, {trick!r}, {seed!r}
rng, out = random.Random(seed), sys.stdout.buffer
HELLO = {{"protocol": {protocol}, "kernel": "8x8", "compiler": "c",
         "model": "Pi", "system": "Linux", "cpu_part": "0xd08",
         "cpus": 4, "cpu": 3, "ram_kb": 4000000, "governor": "performance", "khz": 1500000, "khz_max": 1500000,
         "temp_mc": 40000, "throttled": 0, "load": 0.0, "clock_step_ns": 1, "word_bits": 64}}
ROW = {{"id": "r0", "inner": 10, "ns": [1000, 1001], "out": [1, 1, 1], "sum": 1.0, "abs": 1.0, "mix": 1.0, "first": 1.0,
       "last": 1.0, "cpu": 0, "khz": 1500000, "temp_mc": 40000, "throttled": 0, "nivcsw": 0, "majflt": 0}}
WRONG = [None, -1, 0, 1e308, 10**400, float("nan"), float("inf"), "\x1b[31m", [], {{}}, "x" * 100000, True, 2**63]


def send(data):
    out.write(data)
    out.flush()


def wrong(record):
    record = dict(record)
    for key in rng.sample(sorted(record), rng.randint(1, 3)):
        record[key] = rng.choice(WRONG)
    return record


def play(record):
    if trick == "zeros":
        while True:
            send(bytes(65536))
    if trick == "lines":
        while True:
            send(b"x=1\n" * 10000)
    if trick == "one line":
        for _ in range(300):
            send(b"y" * 65536)
    if trick == "words":
        for _ in range(3000):
            sys.stderr.write("z" * 65536)
    if trick == "noise":
        send(rng.randbytes(50000))
    if trick in ("silence", "closes"):
        if trick == "closes":
            os.close(1)
        time.sleep(1000)
    if trick == "dribble":
        while True:
            send(b"m")
            time.sleep(0.2)
    if trick == "dies":
        send(b'{{"id": "r0", "ns": [')
        sys.exit(rng.choice([1, 2, 3, 126, 127, 40, 41, 42, 43, 44, 45, 46]))
    if trick == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if trick == "255":
        sys.stderr.write("ssh: connect to host \x1b[31mh port 22: No route to host\n")
        sys.exit(255)
    if trick == "escapes":
        send(b"machine=\x1b]0;title\x07\x1b[31m\nbits=64\ncpus=\x1b[2J\nfeatures=\x9b\n")
        send(json.dumps({{**record, "model": "\x1b[31mPi", "compiler": "\x07", "error": "\x1b[2J"}}).encode() + b"\n")
    if trick == "deep":
        send(b"[" * 100000 + b"\n")
    if trick == "numbers":
        bits, cpus = (rng.choice([b"9" * 5000, b"-4", b"lots"]) for _ in range(2))
        flags = rng.choice([b"f" * 5000, b"-1", b"g"])
        send(b"machine=aarch64\nbits=%s\ncpus=%s\nfirmware=throttled=0x%s\n" % (bits, cpus, flags))
        send(b"/tmp/layerbench\n" + json.dumps(wrong(record)).encode() + b"\n")
    if trick == "twice":
        send((json.dumps(record).encode() + b"\n") * 3)
    sys.exit(0)


if "-O" in sys.argv:
    sys.exit(0)
words = sys.argv[-1]
if "uname -m" in words:
    if stage == "probe":
        play(HELLO)
    print("machine=aarch64\nbits=64\ncpus=4\nfeatures=neon\nfirmware=")
elif "wc -c" in words:
    if stage == "hello":
        play(HELLO)
    print("/tmp/layerbench")
    print(json.dumps(HELLO))
elif "--samples" in words:
    for line in sys.stdin:
        play({{**ROW, "id": line.split()[0]}})
"""


def attempt(bed: Bed, rng: random.Random, folder: Path) -> Iterator[str]:
    """Check or measure a hostile board."""
    from hnas_backends.layerbench.program import PROTOCOL

    stage, trick = rng.choice(STAGES), rng.choice(TRICKS)
    if trick in SLOW and rng.random() < 0.6:
        trick = rng.choice([t for t in TRICKS if t not in SLOW])
    ssh = folder / "bin" / "ssh"
    ssh.parent.mkdir()
    ssh.write_text(SSH.format(python=sys.executable, stage=stage, trick=trick, seed=rng.random(), protocol=PROTOCOL))
    ssh.chmod(0o755)
    home = folder / "home"
    home.mkdir()
    device = {"backend": "arm", "settings": {"address": "pi@10.0.0.9"}}
    (home / "devices.json").write_text(json.dumps({"schema": 1, "devices": {"pi": device}}))
    words = ["profile", "--space", "vgg9", "--input", "1x28x28", "--backend", "arm:pi", "--set", "backend.timeout_s=3"]
    if stage != "rows" and rng.random() < 0.5:
        words = ["devices", "check", "pi"]
    env = {"PATH": f"{ssh.parent}:{os.environ['PATH']}"}
    child = bed.start(words, home=home, cwd=folder, env=env)
    done = child.wait(400, memory_mb=1500)
    told = f"{words[0]}, at {stage} a board that plays {trick!r}"
    yield from (f"{told}: {fault}" for fault in faults(done, seconds=300))
    if done.code == 0 and not done.ended_by and trick not in ("twice", "escapes", "numbers"):
        yield f"{told}: exit 0: {done.out[-200:]}"
    if left := child.left_over():
        yield f"{told}: processes are left: {left}"
