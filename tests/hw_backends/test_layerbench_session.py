"""A session with a program that works, dies, hangs or is busy: each a real process."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from hnas import DeviceError, Layer
from hnas_backends.layerbench.lines import Hello, RunnerBusy, spec
from hnas_backends.layerbench.oracle import verify
from hnas_backends.layerbench.program import PROTOCOL, host_binary
from hnas_backends.layerbench.session import RunnerDied, RunnerSilent, Session

LAYERS = [Layer(op="relu", in_shape=(1, n, n), out_shape=(1, n, n)) for n in range(1, 12)]
QUICK = ("--samples", "3", "--min-us", "0", "--warm-ms", "0")
ROW = (
    '{"id":"%s","out":[1,1,1],"sum":0,"abs":0,"mix":0,"first":0,"last":0,"inner":1,"nivcsw":0,"majflt":0,'
    '"cpu":null,"khz":null,"temp_mc":null,"throttled":null,"ns":[5]}'
)


def program(body: str) -> list[str]:
    """A program in Python that speaks as the C program does: ``answer()`` reads a line and writes its row."""
    text = f"""
import sys, time
def answer(row={ROW!r}):
    line = sys.stdin.readline()
    if not line: sys.exit(0)
    print(row % line.split()[0] if "%" in row else row, flush=True)
{body}
"""
    return [sys.executable, "-c", text]


def test_rows_come_in_order_and_over_several_runs():
    with Session([str(host_binary()), *QUICK]) as session:
        for _ in range(2):
            for layer, row in zip(LAYERS, session.run([spec(la) for la in LAYERS]), strict=True):
                verify(row, [layer])
                assert len(row.samples_ms) == 3


def test_no_more_than_two_layers_are_sent_ahead(tmp_path):
    """What a device with a cut link goes on to measure for nothing, while the reconnected client waits."""
    seen = tmp_path / "seen"
    body = f"""
import threading, queue
lines = queue.Queue()
threading.Thread(target=lambda: [lines.put(l) for l in sys.stdin] + [lines.put(None)], daemon=True).start()
while True:
    time.sleep(0.05)  # long enough for whatever would be sent too early
    waiting = lines.qsize()
    line = lines.get()
    if line is None: break
    open({str(seen)!r}, "a").write(f"{{waiting}}\\n")
    print({ROW!r} % line.split()[0], flush=True)
"""
    with Session(program(body)) as session:
        assert len(list(session.run(["x"] * 8))) == 8
    assert max(map(int, seen.read_text().split())) == 2


def test_rows_of_an_abandoned_run_are_not_taken_for_those_of_the_next():
    """A block that is voided half-way leaves two layers in flight."""
    with Session([str(host_binary()), *QUICK]) as session:
        for row in session.run([spec(la) for la in LAYERS]):
            verify(row, [LAYERS[0]])
            break
        with pytest.raises(DeviceError, match="unknown operation"):
            list(session.run(["nothing-1", *[spec(la) for la in LAYERS]]))
        (row,) = session.run([spec(LAYERS[7])])
        verify(row, [LAYERS[7]])


def test_a_program_that_dies_is_told_with_its_status_and_last_words():
    """What the ARM backend needs to tell a cut link (255) from a crash, and to go on from the rows it has."""
    body = 'answer(); answer(); print("no route to host", file=sys.stderr); sys.exit(255)'
    with Session(program(body)) as session:
        rows = session.run(["a", "b", "c", "d"])
        assert [next(rows).id, next(rows).id] == ["r0", "r1"]
        with pytest.raises(RunnerDied, match=r"ended with status 255.*no route to host") as caught:
            next(rows)
        assert (caught.value.status, caught.value.said) == (255, "no route to host")
        with pytest.raises(RunnerDied, match="no route to host"):
            list(session.run(["a"]))
        assert not session.alive


def test_a_program_that_is_killed_is_told_with_its_signal():
    with Session(program("import os; answer(); os.kill(os.getpid(), 9)")) as session:
        with pytest.raises(RunnerDied, match="killed by signal 9") as caught:
            list(session.run(["a", "b", "c"]))
        assert caught.value.status == -9


def test_a_program_that_hangs_is_told_after_the_time_allowed_and_can_be_closed():
    """A frozen link gives no error by itself."""
    with Session(program("answer(); time.sleep(60)"), timeout_s=0.3) as session:
        begun = time.monotonic()
        with pytest.raises(RunnerSilent, match=r"no row for 0.3 s"):
            list(session.run(["a", "b"]))
        assert time.monotonic() - begun < 20
        begun = time.monotonic()
    assert time.monotonic() - begun < 20
    assert not session.alive


@pytest.mark.parametrize("row", ['{"id":"r7"', "Welcome to Raspbian", ROW.replace("%s", "other")])
def test_a_row_that_is_not_the_one_due_ends_the_run(row):
    with Session(program(f"answer({row!r})")) as session, pytest.raises(DeviceError, match=r"no answer|was due"):
        list(session.run(["a"]))


def test_a_program_that_is_not_there_is_told():
    with pytest.raises(DeviceError, match="cannot be started"):
        Session(["/no/such/program"])


def test_the_lock_keeps_a_second_client_out_and_lets_the_same_one_take_over(tmp_path):
    """Two profiles at once would measure each other; an orphan of a frozen link must not lock its owner out."""
    lock = str(tmp_path / "lock")
    with Session([str(host_binary()), *QUICK, "--lock", lock, "me"]) as first:
        assert len(list(first.run([spec(LAYERS[0])]))) == 1
        second = Session([str(host_binary()), *QUICK, "--lock", lock, "you"])
        with second, pytest.raises(RunnerBusy, match="busy: another profile"):
            list(second.run([spec(la) for la in LAYERS]))
        assert first.alive
        with Session([str(host_binary()), *QUICK, "--lock", lock, "me"]) as again:
            assert len(list(again.run([spec(LAYERS[0])]))) == 1
            with pytest.raises(RunnerDied, match="signal 15"):
                list(first.run([spec(LAYERS[0])]))


def test_a_program_without_work_ends_by_itself():
    """So does what an abandoned ssh leaves behind on a board."""
    begun = time.monotonic()
    command = [host_binary(), "--idle", "1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.wait(20) == 6
        assert time.monotonic() - begun > 0.9
        assert b"--idle" in running.stderr.read()


@pytest.mark.parametrize("options", [["--nonsense"], ["--samples", "0"], ["--samples", "many"], ["--cpu", "99999"]])
def test_a_wrong_option_is_refused(options):
    done = subprocess.run([host_binary(), *options], input="", capture_output=True, text=True, timeout=20)
    assert done.returncode == 2
    assert "option" in done.stderr or "core 99999" in done.stderr


def test_hello_tells_what_was_built_and_where_it_runs():
    done = subprocess.run([host_binary(), "--hello"], capture_output=True, text=True, check=True, timeout=20)
    hello = Hello.parse(done.stdout)
    assert hello.protocol == PROTOCOL
    assert hello.cpus >= 1
    assert 0 < hello.clock_step_ns < 1_000_000
    assert json.loads(done.stdout)["compiler"] == hello.compiler


def test_samples_last_as_long_as_asked_and_are_as_many():
    """A short sample is noise of the clock; the plan of a row must be what the options say."""
    options = ("--samples", "5", "--min-us", "3000", "--warm-ms", "0")
    with Session([str(host_binary()), *options]) as session:
        for _ in range(10):  # the loop is sized by a try, which another process may have slowed down
            (row,) = session.run([spec(LAYERS[-1])])
            assert len(row.ns) == 5
            if min(row.ns) > 2_500_000:
                break
        else:
            pytest.fail(f"samples of {row.ns} ns where 3 ms were asked for")
    with Session([str(host_binary()), "--samples", "50", "--min-us", "20000", "--max-ms", "50"]) as session:
        (row,) = session.run([spec(LAYERS[-1])])
        assert 3 <= len(row.ns) < 50
    with Session([str(host_binary()), "--samples", "4", "--flush", "1"]) as session:
        (row,) = session.run([spec(LAYERS[-1])])
        assert (len(row.ns), row.inner) == (4, 1)
