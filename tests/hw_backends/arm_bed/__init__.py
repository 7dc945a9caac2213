"""Stand-in ARM boards on 127.0.0.1: measuring over SSH is tested with a real server, real keys and real ARM code.

`FakePi` (bed a, in every run) is OpenSSH's sshd; its commands run as ARM code by qemu-user in a root that has nothing
else, in namespaces of their own: no root user, no daemon, nothing registered for the machine. `Emulated` (beds b1 and
b2, slow) is a whole machine with its own kernel. `CuttableProxy` is a network that fails when told to.
"""

from arm_bed.emulated import Emulated
from arm_bed.fake_pi import FakePi
from arm_bed.host_sshd import Client, HostSshd
from arm_bed.proxy import CuttableProxy

__all__ = ["Client", "CuttableProxy", "Emulated", "FakePi", "HostSshd"]
