"""Which program a board gets, by its processor and its word size."""

from __future__ import annotations

import pytest

from hnas import DeviceError, UnsteadyError
from hnas_backends.arm.preflight import Throttling, parse
from hnas_backends.arm.probe import Probe, choose


def seen(machine: str, bits: int, neon: bool = True) -> Probe:
    return Probe(machine=machine, bits=bits, cpus=4, neon=neon, throttled=None)


@pytest.mark.parametrize(
    ("machine", "bits", "neon", "build", "expected"),
    [
        ("armv6l", 32, False, "auto", "armv6"),
        ("armv7l", 32, True, "auto", "armv7"),
        ("armv7l", 32, False, "auto", "armv6"),  # a Tegra 2
        ("armv8l", 32, True, "auto", "armv7"),
        ("aarch64", 64, True, "auto", "aarch64"),
        ("arm64", 64, True, "auto", "aarch64"),
        ("aarch64", 32, True, "auto", "armv7"),  # a Pi 4 with a 32-bit system under a 64-bit kernel
        ("aarch64", 32, True, "aarch64", "aarch64"),
        ("aarch64", 64, True, "armv7", "armv7"),
        ("armv7l", 64, True, "armv7", "armv7"),
    ],
)
def test_the_program_is_that_of_kernel_and_word_size(machine, bits, neon, build, expected):
    """`uname -m` alone gives 64-bit times for a system whose programs are 32-bit."""
    assert choose("pi", seen(machine, bits, neon), build) == expected


@pytest.mark.parametrize(
    ("machine", "bits", "build", "told"),
    [
        ("x86_64", 64, "auto", "pi is not an ARM device: `uname -m` says 'x86_64'"),
        ("riscv64", 64, "armv7", "not an ARM device"),
        ("armv5tel", 32, "auto", "too old an ARM"),
        ("armv7l", 64, "auto", "contradicts itself on its word size"),
        ("armv7l", 32, "aarch64", "wrong word size"),
        ("armv6l", 32, "armv7", "cannot run the program"),
    ],
)
def test_what_cannot_be_measured_is_told(machine, bits, build, told):
    with pytest.raises(DeviceError, match=told) as error:
        choose("pi", seen(machine, bits), build)
    assert error.value.hint


def test_bits_that_were_set_before_are_no_news():
    """A board that was ever short of power since its start could never be measured."""
    watch = Throttling("pi", before=0x50000)
    watch.check(None)
    watch.check(0x50000)
    with pytest.raises(UnsteadyError, match="a moment ago: it is at its soft temperature limit"):
        watch.check(0xD0000)
    watch.check(0xD0000)
    for bit in range(4):
        with pytest.raises(UnsteadyError, match="slowed down now"):
            watch.check(0xD0000 | 1 << bit)
    assert parse("throttled=0x50005\n") == 0x50005
    assert parse("vcgencmd: not found") is None
