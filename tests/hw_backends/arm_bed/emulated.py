"""Beds b1 and b2: whole machines with kernels and SSH servers of their own, emulated; tens of seconds to start."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from arm_bed.host_sshd import Client, free_port, make_key
from arm_bed.roots import fetched
from arm_bed.tools import HERE, need, run

SERVER = (
    "busybox-static", "dropbear-bin", "libc-bin", "libc6", "libcrypt1", "libgcc-s1", "libgmp10", "libtomcrypt1",
    "libtommath1", "zlib1g",
)  # fmt: skip
MACHINES = {
    # name: Debian's architecture, kernel package, script that boots it, modules for its network
    "virt64": ("arm64", "+linux-image-cloud-arm64", "boot64.sh", ("virtio_pci", "virtio_net")),
    "zero": ("armel", "+linux-image-rpi", "bootzero.sh", ("dwc2", "usbnet", "cdc_ether", "rndis_host", "cdc_subset")),
}


class Emulated:
    """A machine of `MACHINES`, reached by ssh on 127.0.0.1. Its network goes nowhere else. A context manager."""

    def __init__(self, machine: str, work: Path) -> None:
        need("qemu-system-aarch64", "qemu-system-arm", "dropbearkey", "cpio", "modinfo", "ssh", "apt-get", "dpkg-deb")
        work.mkdir(parents=True)
        self.alias, self.work, self.port = machine, work, free_port()
        debian, kernel, self._boot, modules = MACHINES[machine]
        root = fetched(f"server-{debian}", debian, *SERVER)
        self._kernel = fetched(f"kernel-{debian}", debian, kernel)
        make_key(work / "client_key")
        told = run("dropbearkey", "-t", "ed25519", "-f", work / "host_key")
        public = next(line for line in told.splitlines() if line.startswith("ssh-ed25519 "))
        (work / "host_key.pub").write_text(public + "\n")
        self.fingerprint = run("ssh-keygen", "-lf", work / "host_key.pub").split()[1]
        self._initrd = work / "initrd.gz"
        keys = (work / "client_key.pub", work / "host_key")
        run(HERE / "mk_initrd.sh", root, self._kernel, self._initrd, *keys, *modules)

    def __enter__(self) -> Emulated:
        kernel = next((self._kernel / "boot").glob("vmlinuz-*")) if self._boot == "boot64.sh" else self._kernel
        with open(self.work / "qemu.log", "wb") as log:
            self._process = subprocess.Popen(
                [HERE / self._boot, kernel, self._initrd, str(self.port), self.work / "serial.log"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        end, client = time.monotonic() + 240, self.client()
        # Only a real login tells that it is up: the port is open from the start.
        trusting = ("-o", "StrictHostKeyChecking=no", "-o", "ConnectTimeout=5")
        login = ["ssh", "-F", client.config, *trusting, self.alias, "true"]
        while subprocess.run(login, capture_output=True, stdin=subprocess.DEVNULL).returncode:
            if self._process.poll() is not None or time.monotonic() > end:
                self.__exit__()
                told = "".join(p.read_text(errors="replace") for p in self.work.glob("*.log"))
                raise RuntimeError(f"{self.alias} did not start: {told[-2000:]}")
            time.sleep(0.5)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait(10)

    def client(self) -> Client:
        """Write the client's configuration."""
        config = self.work / "ssh_config"
        config.write_text(
            f"""\
Host {self.alias}
  HostName 127.0.0.1
  Port {self.port}
  User root
  IdentityFile {self.work}/client_key
  IdentitiesOnly yes
  BatchMode yes
  UserKnownHostsFile /dev/null
"""
        )
        return Client(
            alias=self.alias, config=config, port=self.port, user="root", identity=self.work / "client_key",
            fingerprint=self.fingerprint,
        )  # fmt: skip
