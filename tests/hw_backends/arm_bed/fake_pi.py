"""Bed a: sshd whose commands run as ARM code, on a board whose sensors a test can set."""

from __future__ import annotations

import shutil
from pathlib import Path

from arm_bed import roots
from arm_bed.host_sshd import HostSshd
from arm_bed.tools import HERE, need_namespaces


class FakePi(HostSshd):
    """A board of one of `roots.KINDS`. A context manager."""

    def __init__(self, kind: str, work: Path) -> None:
        need_namespaces()
        board = roots.KINDS[kind]
        self.kind, self.root = kind, roots.make_root(kind, work / "root")
        super().__init__(
            work, alias=kind, force_command=f"{HERE}/armsh {self.root} {shutil.which(board.qemu)} {board.cpu}"
        )

    def __enter__(self) -> FakePi:
        super().__enter__()
        return self

    def write(self, path: str, text: str, *, program: bool = False) -> None:
        """Put a text, or a program of `sh`, onto the board."""
        roots.write(self.root, path, text)
        if program:
            (self.root / path).chmod(0o755)

    def throttle(self, bits: int) -> None:
        """Set the firmware's bits, as kernel and `vcgencmd` tell them."""
        self.write(roots.THROTTLED, f"{bits:x}\n")
        self.write("etc/throttled", f"throttled=0x{bits:x}\n")

    def mount(self, folders: dict[str, str]) -> None:
        """Have a tmpfs with these options at each folder while a command runs there."""
        lines = [f"{folder} {options}\n" for folder, options in folders.items()]
        Path(f"{self.root}.mounts").write_text("".join(lines))

    def files(self) -> list[str]:
        """Return what hnas put onto the board."""
        places = ("pi", "tmp", "var/tmp", "dev/shm")
        return sorted(str(p.relative_to(self.root)) for f in places for p in (self.root / f).rglob("*") if p.is_file())

    def reset(self) -> None:
        """Make it as it was at first."""
        Path(f"{self.root}.mounts").unlink(missing_ok=True)
        roots.reset(self.root)
