"""Measure layers on an ARM board over SSH: Raspberry Pis of all ages, from the Zero (ARMv6) on, and their like.

Nothing is installed on the board. A static C program of some 90 kB (`hnas_backends.layerbench`) is copied there. It
reads one layer a line and answers with raw samples and checksums of its results. The host verifies these with numpy and
refuses a board that computes something else. The board needs a Linux kernel, ``sh`` and an SSH server.

`ssh` is the connection and `link_error` why it failed, `host_keys` whom it trusts, `probe` what the board is,
`binaries` which program fits it and who builds it, `upload` where that is kept there, `preflight` whether now is a
time to measure. `build` renews the prebuilt programs.
"""

from hnas_backends.arm.backend import Arm
from hnas_backends.arm.devices import ArmDevices
from hnas_backends.arm.options import ArmOptions

__all__ = ["Arm", "ArmDevices", "ArmOptions"]
