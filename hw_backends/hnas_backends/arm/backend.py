"""The backend: one board, the program on it, and rows that survive a lost connection."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Sequence

from attrs import evolve, frozen

from hnas import DeviceError, DeviceInfo, HardwareBackend, Layer, Measurement, Metric, Rounds
from hnas.cost import LayerCosts
from hnas.toolkit.dataflow import connects
from hnas.toolkit.devices import DeviceBook
from hnas_backends.arm.binaries import binary, sha256
from hnas_backends.arm.link_error import FINAL, LinkError
from hnas_backends.arm.options import ArmOptions
from hnas_backends.arm.preflight import SINCE, VCGENCMD, Throttling, conditions, parse, refuse_busy
from hnas_backends.arm.probe import choose, probe
from hnas_backends.arm.ssh import FAILED, Ssh, Target, check_address
from hnas_backends.arm.upload import Installed, install
from hnas_backends.layerbench.lines import OPS, Row, network_spec
from hnas_backends.layerbench.oracle import verify
from hnas_backends.layerbench.program import digest
from hnas_backends.layerbench.session import RunnerDied, RunnerSilent, Session

METRICS = (Metric(name="latency", unit="ms", help="one image on one core, by the C program on the device"),)
WAITS_S = (1, 2, 4, 8, 16)
"""Pauses before each attempt to reconnect."""
FRUITLESS = 5
"""Times that the program may be lost without a row in between."""
IDLE = 6
"""The program's exit status when no layer came for a while."""
GONE = (126, 127)
"""A shell's exit status if the program cannot be started: the board was restarted, and its /tmp is empty."""


def target(options: ArmOptions, book: DeviceBook | None = None) -> Target:
    """Return the ssh target of the device in the options. Raises `DeviceError` for an unknown name."""
    book = book or DeviceBook()
    if not options.device:
        names = ", ".join(d.name for d in book.all() if d.backend == "arm") or "none yet"
        raise DeviceError(
            f"which device? Backend arm measures one at a time; known: {names}",
            hint="name it, as in --backend arm:NAME; add one: hnas devices add NAME USER@HOST",
        )
    if "@" in options.device:
        address = check_address(options.device)
        return Target(name=address, address=address, known=False, ssh_config=options.ssh_config)
    device = book.get(options.device)
    if device.backend != "arm":
        raise DeviceError(
            f"{device.name} is a device of backend {device.backend}, not of arm",
            hint=f"--backend {device.backend}:{device.name}",
        )
    return Target.of(device)


@frozen
class _Board:
    """The parts that are set up once: the connection, the program to use (``None``: compiled there) and where it is."""

    ssh: Ssh
    binary: bytes | None
    program: Installed
    throttling: Throttling
    asks_firmware: bool
    """Whether `vcgencmd` reports throttling, but rows do not."""


class Arm(HardwareBackend):
    """An ARM board over SSH; see `hnas_backends.arm`. ``sleep`` takes seconds."""

    def __init__(self, options: ArmOptions, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._options = options
        self._sleep = sleep
        self._token = uuid.uuid4().hex  # distinguishes a lost program of this client from another client's
        self._ssh: Ssh | None = None
        self._board: _Board | None = None
        self._session: Session | None = None

    def slot(self) -> str:
        """Return the board: this machine only waits for it."""
        return f"arm {self._options.device}"

    def describe(self) -> DeviceInfo:
        o = self._options
        self._ssh = ssh = self._ssh or Ssh(target(o))
        found = probe(ssh)
        arch = choose(ssh.target.name, found, o.build)
        made = binary(arch)
        program = install(ssh, made)
        hello = program.hello
        if not o.force:
            refuse_busy(ssh.target.name, hello, found.cpus)
        throttled = found.throttled if hello.throttled is None else hello.throttled
        watch = Throttling(ssh.target.name, (throttled or 0) & SINCE)
        self._board = _Board(ssh, made, program, watch, hello.throttled is None and found.throttled is not None)
        return DeviceInfo(
            backend="arm",
            device=hello.model or ssh.target.name,
            runtime=f"layerbench {digest()[:8]} {arch}",
            metrics=METRICS,
            settings={
                "machine": found.machine,
                "word_bits": hello.word_bits,
                "cpu_part": hello.cpu_part,
                "khz_max": hello.khz_max,
                "core": o.cpu,
                "kernel": hello.kernel,
                "compiler": hello.compiler,
                "binary": sha256(made)[:16] if made is not None else f"compiled there from {digest()}",
                "flush_mb": o.flush_mb,
            },
            ops=frozenset(OPS),
            rounds=Rounds(layer_s=1.2e-3 * o.samples * o.sample_ms + 0.02),
            conditions={"address": ssh.target.address, **conditions(hello, found.cpus, throttled)},
        )

    def measure(self, layers: Sequence[Layer]) -> Iterator[LayerCosts]:
        for n, costs in enumerate(self._costs([[layer] for layer in layers]), start=1):
            if n == len(layers):
                self._ask_firmware()  # before the last row is yielded, since the caller may stop there
            yield costs

    def measure_network(self, layers: Sequence[Layer]) -> LayerCosts | None:
        if not connects(layers):
            return None
        (costs,) = self._costs([layers])
        self._ask_firmware()
        return costs

    def close(self) -> None:
        self._end_session()
        if self._ssh is not None:
            self._ssh.close()
            self._ssh = self._board = None

    def _costs(self, networks: Sequence[Sequence[Layer]]) -> Iterator[LayerCosts]:
        for layers, row in zip(networks, self._rows([network_spec(layers) for layers in networks]), strict=True):
            verify(row, layers)
            self._ready().throttling.check(row.throttled)
            yield {"latency": Measurement.of(row.samples_ms, "ms")}

    def _ask_firmware(self) -> None:
        board = self._ready()
        if board.asks_firmware:
            board.throttling.check(parse(board.ssh.script(VCGENCMD).out))

    def _rows(self, specs: Sequence[str]) -> Iterator[Row]:
        """Yield a row for each line. If the connection is lost, only missing lines are sent again."""
        done, fruitless = 0, 0
        while done < len(specs):
            session = self._open()
            try:
                for row in session.run(specs[done:]):
                    done, fruitless = done + 1, 0
                    yield row
            except (RunnerDied, RunnerSilent) as error:
                fruitless += 1
                self._recover(error, fruitless)
            except DeviceError as error:
                self._end_session()
                raise DeviceError(f"{self._name}: {error}", hint=error.hint) from error

    def _open(self) -> Session:
        """Return the running program; start it if there is none."""
        if self._session is None:
            board, o = self._ready(), self._options
            words = [
                board.program.path,
                *("--samples", str(o.samples), "--min-us", f"{o.sample_ms * 1000:g}", "--max-ms", f"{o.max_ms:g}"),
                *("--warm-ms", f"{o.warmup_ms:g}", "--flush", str(o.flush_mb), "--idle", str(o.idle_s)),
                *("--lock", board.program.lock, self._token),
            ]
            if o.cpu >= 0:
                words += ["--cpu", str(o.cpu)]
            self._session = Session(board.ssh.argv(words), timeout_s=o.timeout_s, name="the board")
        return self._session

    def _recover(self, error: RunnerDied | RunnerSilent, fruitless: int) -> None:
        """Prepare to resume after the program or the connection was lost, or raise `DeviceError`."""
        self._end_session()
        status = error.status if isinstance(error, RunnerDied) else FAILED
        if fruitless > FRUITLESS:
            raise DeviceError(
                f"{self._name}: the layer runner was lost {fruitless} times without a row in between: {error}",
                hint="the device may have too little memory for this layer, or a bad connection; what was measured "
                "before is kept, and the command goes on from there",
            ) from error
        if status == IDLE:
            return
        if status is None or status < 0 or status == FAILED:
            self._reconnect(error)
        elif status in GONE and fruitless == 1:
            self._install()
        else:
            raise DeviceError(
                f"{self._name}: the layer runner ended with status {status}"
                + (f": {error.said[-300:]}" if isinstance(error, RunnerDied) and error.said else ""),
                hint="what was measured before is kept, and the command goes on from there",
            ) from error

    def _reconnect(self, error: DeviceError) -> None:
        last: DeviceError = error
        for wait in WAITS_S:
            self._sleep(wait)
            self._ready().ssh.drop()
            try:
                return self._install()
            except DeviceError as cause:
                if isinstance(cause, LinkError) and cause.cause in FINAL:
                    raise
                last = cause
        raise DeviceError(
            f"{self._name}: the connection was lost, and {len(WAITS_S)} tries to connect again failed: {last}",
            hint="what was measured before is kept; once the device is back, the same command goes on from there",
        ) from last

    def _install(self) -> None:
        """Find the program on the board again; after a restart it may have to be copied once more."""
        board = self._ready()
        self._board = evolve(board, program=install(board.ssh, board.binary))

    def _ready(self) -> _Board:
        if self._board is None:
            self.describe()
        assert self._board is not None
        return self._board

    def _end_session(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None

    @property
    def _name(self) -> str:
        return self._ready().ssh.target.name
