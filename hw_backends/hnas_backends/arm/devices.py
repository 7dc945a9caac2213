"""`hnas devices` for boards over ssh: the host key first, then a look at the board."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hnas import ConfigError, DeviceError
from hnas.toolkit.devices import Device, DeviceKind, Plain
from hnas_backends.arm import host_keys
from hnas_backends.arm.options import ArmOptions
from hnas_backends.arm.ssh import Target, check_address

FLAGS = ("host_key", "identity", "port", "ssh_config")


class ArmDevices(DeviceKind):
    """Boards that are reached by ssh."""

    def add(
        self, name: str, address: str, settings: Mapping[str, Plain], confirm: Callable[[str], bool]
    ) -> Mapping[str, Plain]:
        if unknown := sorted(set(settings) - set(FLAGS)):
            raise ConfigError(f"a device over ssh has no setting {unknown[0]!r}. Known: {', '.join(FLAGS)}")
        wanted = str(settings.get("host_key", ""))
        if wanted and not wanted.startswith("SHA256:"):
            raise ConfigError(
                f"--host-key {wanted!r} is no fingerprint: expected SHA256:…",
                hint="on the device: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
            )
        found = {"address": check_address(address), **{k: v for k, v in settings.items() if k != "host_key"}}
        target = Target.of(Device(name=name, backend="arm", settings=found))
        key = host_keys.learn(target)
        if wanted and not key.has(wanted):
            raise DeviceError(
                f"{name}: the host key of {address} is {key.fingerprint} ({key.kind}), not {wanted}: it was not added",
                hint="this is another machine, or the fingerprint is of its key of another type",
            )
        question = f"The host key of {address} is {key.fingerprint} ({key.kind}). Is that {name}?"
        if not wanted and not confirm(question):
            raise DeviceError(
                f"{name} was not added",
                hint="on the device, ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub shows the right fingerprint",
            )
        host_keys.keep(target, key)
        return found

    def check(self, device: Device) -> Mapping[str, Any]:
        from hnas_backends.arm.backend import Arm

        backend = Arm(ArmOptions(device=device.name, force=True))
        try:
            info = backend.describe()
        finally:
            backend.close()
        return {"device": info.device, "runtime": info.runtime, **info.settings, **info.conditions}

    def remove(self, device: Device) -> None:
        host_keys.forget(Target.of(device))
