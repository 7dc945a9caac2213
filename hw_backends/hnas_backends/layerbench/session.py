"""A running C program, here or at the other end of ssh: lines in, rows out."""

from __future__ import annotations

import contextlib
import queue
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import IO

from hnas import DeviceError
from hnas.errors import short
from hnas_backends.layerbench.lines import MAX_LINE, Row

AHEAD = 2
"""Layers sent at most before their rows are back: a program whose connection is lost measures only these in vain."""

MOST_WAITING = 8 * AHEAD
"""Lines that may wait to be read: a program that writes more was not asked for them."""


class RunnerDied(DeviceError):
    """The program, or the ssh that carries it, ended. The caller may start another session and resume from there.

    ``status`` is its exit status (negative: killed by that signal), ``said`` the last lines of its standard error.
    """

    def __init__(self, message: str, *, status: int | None, said: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.said = said


class RunnerSilent(DeviceError):
    """No row came within the time allowed: the link is frozen, or the device hangs."""


class Session:
    """Run ``argv`` and talk to it; a context manager.

    ``timeout_s`` is how long a row may take. Rows come in the order of the lines sent. If the program ends, its
    standard error is in the error's text. One that writes without end is killed: `DeviceError` begins with ``name``.
    """

    def __init__(self, argv: Sequence[str], *, timeout_s: float = 300.0, name: str = "the layer runner") -> None:
        self.argv, self._name = tuple(argv), name
        self._timeout_s = timeout_s
        self._next_id = 0
        self._in_flight: deque[str] = deque()
        try:
            self._process = process = subprocess.Popen(
                self.argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is for the caller, who closes the session
            )
        except OSError as cause:
            raise DeviceError(f"the layer runner {self.argv[0]!r} cannot be started: {cause}") from cause
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._stdin, self._streams = process.stdin, (process.stdout, process.stderr)
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        self._flood = b""
        self._stderr: deque[bytes] = deque(maxlen=20)
        readers = zip((self._read_rows, self._read_words), self._streams, strict=True)
        self._threads = [threading.Thread(target=read, args=(stream,), daemon=True) for read, stream in readers]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def alive(self) -> bool:
        """Whether the program still runs."""
        return self._process.poll() is None

    def run(self, specs: Sequence[str]) -> Iterator[Row]:
        """Yield the row of each line of `lines.spec` or `lines.network_spec`, in order, as soon as it is measured.

        Raises `RunnerDied`, `RunnerSilent`, `RunnerBusy`, and `DeviceError` for a row that is an error or not the one
        expected. Rows yielded before stay valid. Rows of an abandoned or failed run still in flight are dropped.
        """
        while self._in_flight:
            self._receive()
            self._in_flight.popleft()
        waiting = iter(specs)
        for text in islice(waiting, AHEAD):
            self._send(text)
        while self._in_flight:
            line = self._receive()
            due = self._in_flight.popleft()
            row = Row.parse(line)
            if row.id != due:
                raise DeviceError(
                    f"the layer runner answered line {row.id!r} when {due!r} was due: its rows cannot be told apart",
                    hint="start again; if this happens again, the program is of another version",
                )
            for text in islice(waiting, 1):
                self._send(text)
            yield row

    def close(self) -> None:
        """End the program; it gets two seconds to exit on its own. May be called twice."""
        with contextlib.suppress(OSError):
            self._stdin.close()
        for signal_number in (None, signal.SIGTERM, signal.SIGKILL):
            if signal_number is not None:
                self._process.send_signal(signal_number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(2)
                break
        for thread in self._threads:
            thread.join(2)
        for stream in self._streams:
            stream.close()

    def _send(self, spec: str) -> None:
        identity = f"r{self._next_id}"
        self._next_id += 1
        self._in_flight.append(identity)
        # If the program has ended, reading raises the error, after the rows that it still wrote.
        with contextlib.suppress(OSError, ValueError):
            self._stdin.write(f"{identity} {spec}\n".encode())
            self._stdin.flush()

    def _receive(self) -> str:
        try:
            line = self._lines.get(timeout=self._timeout_s)
        except queue.Empty:
            raise RunnerSilent(
                f"the layer runner {self.argv[0]!r} gave no row for {self._timeout_s:g} s",
                hint="check that the device is still reachable; a very slow device needs a longer timeout",
            ) from None
        if line is None:
            self._lines.put(None)  # for the next call
            raise self._ended()
        return line.decode(errors="replace")

    def _ended(self) -> DeviceError:
        """Return the error of a program that ended; wait a moment for its status and its last output."""
        if self._flood:
            return DeviceError(
                f"{self._name} writes without end, and was ended; it wrote {short(self._flood)}",
                hint="what runs there is not the layer runner, or something else writes to its output",
            )
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(2)
        self._threads[1].join(2)
        status = self._process.poll()
        said = b"".join(self._stderr).decode(errors="replace").strip()
        how = (
            "closed its output" if status is None
            else f"was killed by signal {-status}" if status < 0
            else f"ended with status {status}"
        )  # fmt: skip
        words = f"; it said: {said[-500:]}" if said else ""
        return RunnerDied(
            f"the layer runner {self.argv[0]!r} {how} before its work was done{words}", status=status, said=said
        )

    def _read_rows(self, stream: IO[bytes]) -> None:
        with contextlib.suppress(OSError, ValueError):
            while line := stream.readline(MAX_LINE):
                if len(line) == MAX_LINE or self._lines.qsize() > MOST_WAITING:
                    self._flood = line[:100]
                    self._process.kill()
                    break
                self._lines.put(line)
        self._lines.put(None)

    def _read_words(self, stream: IO[bytes]) -> None:
        with contextlib.suppress(OSError, ValueError):
            while line := stream.readline(4096):
                self._stderr.append(line)
