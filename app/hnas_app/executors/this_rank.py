"""This process as one of several ranks that torchrun started, for meta-training on several GPUs or machines."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import NoReturn

from hnas.errors import ConfigError


def under_torchrun() -> bool:
    """Return whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def leads() -> bool:
    """Return whether this process is the one of its group that writes and prints: rank 0."""
    return not under_torchrun() or os.environ.get("RANK", "0") == "0"


def own_accelerator(accelerator: str) -> str:
    """Return the accelerator of this rank: with ``cuda``, each rank of a machine has a GPU of its own.

    Raises `ConfigError` for a GPU by number, which all ranks would share.
    """
    if accelerator == "cpu" or not under_torchrun():
        return accelerator
    if accelerator != "cuda":
        raise ConfigError(
            f"accelerator is {accelerator!r} under torchrun, where every rank has a GPU of its own",
            hint="--accelerator cuda, and `torchrun --nproc-per-node` with as many ranks as there are GPUs",
        )
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"


def end(code: int) -> NoReturn:
    """End this process at once: gloo sometimes aborts while Python shuts down, and a thread may be waited for."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError):  # there is none, or its reader is gone
            stream.flush()
    os._exit(code)
