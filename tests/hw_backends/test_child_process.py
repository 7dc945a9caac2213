"""A program that writes or runs without end is ended; nothing that it does makes the caller hang or grow."""

from __future__ import annotations

import subprocess
import time

import pytest

from hnas_backends.child_process import MOST_BYTES, TooMuchOutput, run


def sh(script: str, **options):
    return run(["sh", "-c", script], **{"timeout_s": 20, **options})


def test_status_output_and_input():
    given = b"x" * 300_000  # more than a pipe holds
    done = sh("cat; echo words >&2; exit 7", stdin=given)
    assert (done.returncode, done.stdout, done.stderr) == (7, given, b"words\n")
    assert sh("read line || echo nothing").stdout == b"nothing\n"
    assert sh("exec head -c 5 /dev/zero", stdin=given).stdout == bytes(5)
    assert sh('echo "$A"; pwd', env={"A": "b"}, cwd="/").stdout == b"b\n/\n"


@pytest.mark.parametrize("where", ["", ">&2"])
@pytest.mark.parametrize("flood", ["cat /dev/zero", "yes"])
def test_output_without_end_is_ended(flood, where):
    begun = time.monotonic()
    with pytest.raises(TooMuchOutput, match=r"more than 1 MiB, beginning with b'(\\x00|y\\n)"):
        sh(f"exec {flood} {where}")
    assert time.monotonic() - begun < 15
    assert len(sh(f"head -c {MOST_BYTES} /dev/zero").stdout) == MOST_BYTES


@pytest.mark.parametrize("script", ["exec sleep 60", "exec >&- 2>&-; exec sleep 60", "sleep 60; true"])
def test_time_without_end_is_ended_with_all_that_was_started(script):
    begun = time.monotonic()
    with pytest.raises(subprocess.TimeoutExpired, match=r"timed out after 0\.2"):
        sh(script, timeout_s=0.2)
    assert time.monotonic() - begun < 15


def test_a_process_left_behind_does_not_hold_the_caller():
    """As the shared connection of ssh, which keeps standard error open."""
    begun = time.monotonic()
    assert sh("sleep 60 >/dev/null & echo $!; echo words >&2").stderr == b"words\n"
    assert time.monotonic() - begun < 15
