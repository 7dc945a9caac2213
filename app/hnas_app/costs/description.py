"""What a backend says of its device, and what the core adds: by both are rows of the cost store known."""

from __future__ import annotations

import attrs

from hnas.backend import HardwareBackend
from hnas.cost import DeviceInfo
from hnas.discovery.loading import faults_of
from hnas.errors import PluginError
from hnas_app.costs.source_digest import source_digest

SOURCE = "source code"
"""The setting that holds the digest of user code."""


def described(backend: HardwareBackend) -> DeviceInfo:
    """Ask a backend what its device is; for a class in user code, add a digest of its source to the settings.

    An edited model must not be given the rows of the model that it was. An installed plugin is known by what it says
    of itself alone, so that a release of it does not void what a board measured in hours.

    Raises what `HardwareBackend.describe` may raise, and `PluginError` for anything else that it raises or returns.
    """
    cls = type(backend)
    with faults_of(f"the backend {cls.__name__} failed in describe()"):
        info = backend.describe()
    if not isinstance(info, DeviceInfo):
        raise PluginError(f"describe() of the backend {cls.__name__} returned {info!r}, expected a hnas.DeviceInfo")
    digest = source_digest(cls)
    return attrs.evolve(info, settings={**info.settings, SOURCE: digest}) if digest else info
