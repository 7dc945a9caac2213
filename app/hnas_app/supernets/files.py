"""The files of a super-net: where each lies on this machine, and its content once its checksum holds."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from hnas.discovery import PretrainedSuperNet, Registered, SuperNetFile
from hnas.errors import DataError, PluginError, quoted
from hnas.toolkit.files import read_bytes
from hnas.toolkit.home import home
from hnas.toolkit.remote_file import RemoteFile

Part = Literal["weights", "config", "card"]
PARTS: dict[Part, str] = {"config": "configuration", "card": "model card", "weights": "weights"}
"""The files of a super-net, each with its name in messages."""
MORE = 1 << 20
"""Bytes that a file may have more than described, and is still read: the error then names its checksum."""


def titled(registered: Registered) -> str:
    """How messages name a super-net: ``super-net 'leaves' of hnas-supernet-leaves 1.0``."""
    return f"super-net {registered.plugin.name!r} of {registered.distribution} {registered.version}".rstrip()


def descriptor_of(registered: Registered) -> PretrainedSuperNet:
    """Return the descriptor of a registered super-net."""
    assert isinstance(registered.plugin, PretrainedSuperNet)
    return registered.plugin


def folder() -> Path:
    """Return the folder of super-nets in the user's cache: files that were fetched, and unpacked run directories."""
    return home() / "supernets"


def is_remote(file: SuperNetFile) -> bool:
    """Return whether a file lies at an address, and not inside a distribution."""
    return file.place.startswith(("http://", "https://"))


def path_of(file: SuperNetFile) -> Path:
    """Return where a file is on this machine, or belongs. Raises `PluginError` for a package that is not there."""
    if is_remote(file):
        name = Path(urlsplit(file.place).path).name or "file"
        return folder() / "fetched" / file.sha256[:16] / name
    package, _, path = file.place.partition(":")
    try:
        spec = importlib.util.find_spec(package)
    except ImportError:
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise PluginError(f"a super-net's file is {file.place!r}, and there is no package {package!r}")
    return Path(next(iter(spec.submodule_search_locations))) / path


def remote_files(registered: Registered) -> list[RemoteFile]:
    """Return the files of a super-net that are to be fetched, or were."""
    found = descriptor_of(registered)
    return [
        RemoteFile(url=f.place, path=path_of(f), sha256=f.sha256, licence=found.licence, max_bytes=f.size)
        for f in (getattr(found, part) for part in PARTS)
        if is_remote(f)
    ]


def missing(registered: Registered) -> list[Part]:
    """Return the files of a super-net that are not on this machine; their content is not looked at."""
    found = descriptor_of(registered)
    return [part for part in PARTS if not path_of(getattr(found, part)).is_file()]


def content(registered: Registered, part: Part) -> bytes:
    """Return the content of a file. Raises `DataError` if it is missing, or not the one that the descriptor names."""
    file: SuperNetFile = getattr(descriptor_of(registered), part)
    path, what = path_of(file), f"the {PARTS[part]} of {titled(registered)}"
    mend = f"install it again: pip install --force-reinstall {registered.distribution}"
    if is_remote(file):
        mend = f"hnas supernets fetch {quoted(f'{registered.plugin.name}@{registered.distribution}')}"
    try:
        found = read_bytes(path, file.size + MORE)
    except FileNotFoundError as cause:
        lost = "not here yet" if is_remote(file) else f"missing: there is no {path}"
        raise DataError(f"{what}: {lost}", hint=mend) from cause
    except OSError as cause:
        raise DataError(f"{what}, {path}: cannot be read: {cause.strerror or cause}", hint=mend) from cause
    seen = hashlib.sha256(found).hexdigest()
    if (len(found), seen) != (file.size, file.sha256):
        raise DataError(
            f"{what}, {path}: damaged, or another file: it has {len(found)} bytes and sha256 {seen}, expected "
            f"{file.size} and {file.sha256}",
            hint=mend,
        )
    return found
