"""Find the GPU that the user names, or raise an error that explains why it is missing."""

from __future__ import annotations

import os

import torch
from attrs import frozen

from hnas import DeviceError


@frozen(kw_only=True)
class Seen:
    """What PyTorch sees of this machine's GPUs."""

    torch: str
    cuda: str | None
    """The CUDA version that PyTorch is built for; ``None`` for a build without."""
    gpus: tuple[str, ...]
    """Names, by index."""
    visible: str | None
    """``CUDA_VISIBLE_DEVICES``, which hides GPUs."""


def seen() -> Seen:
    """Return what PyTorch sees: no GPUs if the driver is missing or too old."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return Seen(
        torch=torch.__version__,
        cuda=torch.version.cuda,
        gpus=tuple(torch.cuda.get_device_name(i) for i in range(count)),
        visible=os.environ.get("CUDA_VISIBLE_DEVICES"),
    )


def chosen(device: str, found: Seen) -> int:
    """Return the index of the GPU that ``device`` names. Raises `DeviceError` if there is none."""
    if found.cuda is None:
        raise DeviceError(
            f"cuda: this PyTorch ({found.torch}) is built without CUDA",
            hint="install a CUDA build of PyTorch, as the selector on its site shows for your system, or measure the "
            "processor: --backend x86",
        )
    hidden = "" if found.visible is None else f"; CUDA_VISIBLE_DEVICES is {found.visible!r}"
    if not found.gpus:
        raise DeviceError(
            f"cuda: PyTorch {found.torch} for CUDA {found.cuda} sees no GPU{hidden}",
            hint="`nvidia-smi` must list the GPU with a driver for that CUDA version or a newer one; in a container, "
            "start it with GPU access; without a GPU use --backend x86",
        )
    if int(device) >= len(found.gpus):
        there = ", ".join(f"{i} ({name})" for i, name in enumerate(found.gpus))
        raise DeviceError(
            f"cuda: there is no GPU {device}; PyTorch sees {there}{hidden}",
            hint="name one of these, as in --backend cuda:0",
        )
    return int(device)
