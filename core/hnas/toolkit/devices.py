"""Named devices: their settings, kept as configuration, and how a backend adds one."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import Attribute, Factory, field, frozen

from hnas.errors import ConfigError, DataError, DeviceError, close_matches
from hnas.toolkit.codec import load, save
from hnas.toolkit.home import config_home
from hnas.toolkit.lock import file_lock

NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
Plain = str | int | float | bool
"""The values that a device's settings may hold."""


def check_name(name: str) -> str:
    """Return ``name`` if it may name a device. Raises `ConfigError`."""
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} cannot name a device: a name begins with a letter or digit and goes on with those, '-' and '_'",
            hint="use lower-case letters, such as 'pi4' or 'kitchen-zero'",
        )
    return name


def _plain(instance: Any, attribute: Attribute[Any], value: Mapping[str, Any]) -> None:
    for key, held in value.items():
        if not isinstance(key, str) or not isinstance(held, Plain):
            raise ConfigError(f"setting {key!r} of device {instance.name!r} is {held!r}: expected text or a number")


@frozen(kw_only=True)
class Device:
    """A device by its name: which backend measures it, and that backend's settings for it."""

    name: str = field(validator=lambda _, __, name: check_name(name))
    backend: str
    settings: Mapping[str, Plain] = field(default=Factory(dict), validator=_plain)


class DeviceKind(ABC):
    """How the devices of one backend are added, checked and removed.

    `Plugin.devices` names it; it is made without arguments and called by `hnas devices`. The settings that `add`
    returns are kept, and passed to the other methods in a `Device`.
    """

    @abstractmethod
    def add(
        self, name: str, address: str, settings: Mapping[str, Plain], confirm: Callable[[str], bool]
    ) -> Mapping[str, Plain]:
        """Contact a new device and return the settings to keep.

        ``settings`` are the user's flags, without those not given. ``confirm`` shows a question and returns the user's
        answer. Raises `DeviceError` if the device cannot be reached or the user declined, and `ConfigError` for an
        invalid address or setting.
        """

    @abstractmethod
    def check(self, device: Device) -> Mapping[str, Any]:
        """Connect, and return the state of the device as JSON. Raises `DeviceError` if it cannot measure."""

    @abstractmethod
    def remove(self, device: Device) -> None:
        """Delete what `add` kept elsewhere. The device itself is not contacted; it may be gone."""


@frozen(kw_only=True)
class _Described:
    """A device in the file, below its name."""

    backend: str
    settings: Mapping[str, Plain]


@frozen(kw_only=True)
class _DeviceFile:
    schema: int = 1
    devices: Mapping[str, _Described]


@frozen
class DeviceBook:
    """The named devices: ``devices.json`` in `config_home`, or the file given."""

    path: Path = Factory(lambda: config_home() / "devices.json")

    def all(self) -> list[Device]:
        """Return every device, by name. Raises `DataError` if the file is damaged or of a newer hnas."""
        return [device for _, device in sorted(self._read().items())]

    def find(self, name: str) -> Device | None:
        """Return the device, or ``None``."""
        return self._read().get(name)

    def get(self, name: str) -> Device:
        """Return the device. Raises `DeviceError` with close matches."""
        devices = self._read()
        if name not in devices:
            known = ", ".join(sorted(devices)) or "none"
            raise DeviceError(
                f"unknown device {name!r}.{close_matches(name, devices)} Known: {known}.",
                hint="`hnas devices list` shows them; add one: "
                f"hnas devices add {name if NAME.fullmatch(name) else 'NAME'} USER@HOST",
            )
        return devices[name]

    def add(self, device: Device) -> None:
        """Keep a device. Raises `ConfigError` if the name is taken."""
        with self._locked():
            devices = self._read()
            if device.name in devices:
                raise taken(devices[device.name])
            self._write({**devices, device.name: device})

    def remove(self, name: str) -> None:
        """Forget a device; one that is not there is no error."""
        with self._locked():
            devices = self._read()
            if devices.pop(name, None) is not None:
                self._write(devices)

    def _read(self) -> dict[str, Device]:
        if not self.path.exists():
            return {}
        held = load(self.path, _DeviceFile, hint="mend it, or move it away and add the devices again").devices
        try:
            return {name: Device(name=name, backend=d.backend, settings=d.settings) for name, d in held.items()}
        except ConfigError as cause:
            raise DataError(f"{self.path} is damaged: {cause}", hint=cause.hint) from cause

    def _write(self, devices: Mapping[str, Device]) -> None:
        held = {n: _Described(backend=d.backend, settings=d.settings) for n, d in sorted(devices.items())}
        save(self.path, _DeviceFile(devices=held))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one process at a time read, change and write the file; the lock ends with the process that holds it."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with file_lock(self.path.with_name(f".{self.path.name}.lock"), mode=0o600):
                yield
        except OSError as cause:
            raise DataError(f"cannot write {self.path}: {cause.strerror}") from cause


def taken(device: Device) -> ConfigError:
    """Return the error for a name that another device has."""
    return ConfigError(
        f"device {device.name!r} exists already (backend {device.backend})",
        hint=f"take another name, or forget that one first: hnas devices remove {device.name}",
    )
