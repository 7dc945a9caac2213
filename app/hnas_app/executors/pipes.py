"""Values that cross a pipe between two processes of one program: large arrays go as they lie in memory."""

from __future__ import annotations

import io
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any

from hnas_app.executors.plugin_exit import ended_by_plugin

OUT_OF_BAND_BYTES = 1 << 16


def pack(value: Any) -> list[memoryview]:
    """Pickle ``value``: first the pickle, then the large arrays in it, as they lie in memory.

    This saves three more copies of them: states and gradients are megabytes.
    """
    arrays: list[memoryview] = []

    def in_band(buffer: Any) -> bool:  # a pickle.PickleBuffer
        raw: memoryview = buffer.raw()
        if raw.nbytes >= OUT_OF_BAND_BYTES:
            arrays.append(raw)
        return raw.nbytes < OUT_OF_BAND_BYTES

    stream = io.BytesIO()
    ForkingPickler(stream, 5, True, in_band).dump(value)
    return [stream.getbuffer(), *arrays]


def send(pipe: Connection, parts: Sequence[memoryview]) -> None:
    """Send the packed message."""
    pipe.send([len(part) for part in parts])
    for part in parts:
        pipe.send_bytes(part)


def receive(pipe: Connection) -> Any:
    """Return what the other side packed. Raises `EOFError` if that side has ended."""
    return unpack(receive_parts(pipe))


def receive_parts(pipe: Connection) -> list[bytearray]:
    """Return the message, for `unpack`. Raises `EOFError` if the other side has ended."""
    parts = [bytearray(size) for size in pipe.recv()]
    for part in parts:
        pipe.recv_bytes_into(part)
    return parts


def unpack(parts: Sequence[bytearray]) -> Any:
    """Return the packed value. What its classes raise passes: their modules are imported now."""
    return ForkingPickler.loads(parts[0], buffers=parts[1:])


def portable(error: BaseException) -> Exception:
    """Return the error with this process's traceback as a note; if it cannot cross the pipe, its text."""
    if not isinstance(error, Exception):
        error = ended_by_plugin(error)
    try:
        found: Exception = ForkingPickler.loads(ForkingPickler.dumps(error))
    except Exception:
        found = RuntimeError(f"{type(error).__name__}: {error}")
    found.add_note("in a worker process:\n" + traceback.format_exc())
    return found
