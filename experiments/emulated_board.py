"""Run a command beside an emulated ARM board, which it finds as the device ``board``.

    python experiments/emulated_board.py pi4 --home runs/emulated -- \\
        hnas profile --space vgg9 --backend arm:board --input 1x28x28 --verify 40 --set backend.force=true

The board is the tests' bed a: OpenSSH's server, whose commands run as ARM code by qemu-user. So the way over SSH, the
programs and the rules are the real ones; times are the emulator's, not a board's. Kinds: pizero, pi4-32, pi4.
``--home`` is where the command's tables are kept, to go on with later.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "hw_backends"))

from arm_bed import FakePi, roots

from hnas.toolkit.devices import Device, DeviceBook
from hnas_backends.arm import ArmDevices


def main() -> int:
    parser = argparse.ArgumentParser(description="Run a command beside an emulated ARM board.")
    parser.add_argument("kind", choices=sorted(roots.KINDS))
    parser.add_argument("--home", type=Path, help="HNAS_HOME of the command; a folder that is thrown away if not given")
    parser.add_argument("command", nargs="+", help="with its arguments, after --")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["HNAS_HOME"] = str((options.home or Path(scratch) / "home").absolute())
        with FakePi(options.kind, Path(scratch) / "board") as board:
            client = board.client()
            settings = ArmDevices().add("board", client.alias, client.flags, lambda question: True)
            DeviceBook().add(Device(name="board", backend="arm", settings=settings), replace=True)
            return subprocess.run(options.command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
