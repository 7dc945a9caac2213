"""Where networks are computed: this machine's CPU, or a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hnas.errors import ConfigError, HnasError


def check_accelerator(name: str) -> None:
    """Raise `ConfigError` unless torch can compute on ``name``: ``cpu``, ``cuda`` or ``cuda:N``."""
    if name == "cpu":
        return
    import torch

    number = name.partition(":")[2]
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(number or 0) >= count:
        built = "" if torch.version.cuda else "; this torch was built without CUDA"
        raise ConfigError(
            f"accelerator is {name!r}, but torch sees {count} CUDA devices{built}",
            hint="use --accelerator cpu, or install a torch build for CUDA and check `nvidia-smi`",
        )


@contextmanager
def memory_explained(what: str, lower: str) -> Iterator[None]:
    """Turn an allocation that fails into an `HnasError` that names ``what`` did not fit and what to ``lower``."""
    try:
        yield
    except (MemoryError, RuntimeError) as cause:
        if not _is_out_of_memory(cause):
            raise
        first = str(cause).strip().splitlines()
        raise HnasError(
            f"out of memory: {what} do not fit ({first[0] if first else 'MemoryError'})", hint=f"lower {lower}"
        ) from cause


def _is_out_of_memory(error: Exception) -> bool:
    """Recognise torch's errors: on CUDA a class of their own, on CPUs a sentence."""
    import torch

    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
