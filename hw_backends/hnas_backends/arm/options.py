"""The options of the ARM backend."""

from __future__ import annotations

from typing import Literal

from attrs import frozen, validators

from hnas.settings import at_least_0, one_of, positive, setting

Arch = Literal["armv6", "armv7", "aarch64"]
ARCHS: tuple[Arch, ...] = ("armv6", "armv7", "aarch64")


@frozen(kw_only=True)
class ArmOptions:
    """The board, how to reach it, and how long each layer is measured."""

    device: str = setting("", "a name of `hnas devices list`, or user@host with a host key that your ssh knows")
    ssh_config: str = setting("", "ssh configuration to use in place of ~/.ssh/config; a named device has its own")
    build: Literal["auto", "armv6", "armv7", "aarch64"] = setting(
        "auto", "which program to measure with; auto: the one for the device's processor and word size",
        one_of("auto", *ARCHS),
    )  # fmt: skip
    samples: int = setting(10, "samples of a layer in each round", positive, most=10_000)
    sample_ms: float = setting(
        2.0, "shortest time of a sample, ms: the layer is repeated to fill it", positive, most=10_000
    )
    max_ms: float = setting(
        5000.0, "no more samples of a layer after this time, ms, but at least three", positive, most=1e6
    )
    warmup_ms: float = setting(500.0, "warm-up at the start and after a pause, ms", at_least_0, most=1e6)
    flush_mb: int = setting(0, "MB written before each sample, so that caches are cold; 0: warm", at_least_0, most=1024)
    cpu: int = setting(-1, "the core to measure on; -1: the last one", validators.ge(-1), most=4095)
    idle_s: int = setting(
        60, "the program on the device exits after this many seconds without work", positive, most=1e6
    )
    timeout_s: float = setting(
        300.0, "how long one layer may take before the device counts as hung, s", positive, most=1e6
    )
    force: bool = setting(False, "measure although the device is busy with other work", validators.instance_of(bool))
