"""Plugins: the hooks a distribution implements, the descriptors it returns, and the registry that finds them."""

from hnas.discovery.descriptors import (
    API,
    HOOK,
    INTERFACE,
    KINDS,
    Failure,
    Hooks,
    Kind,
    Plugin,
    PretrainedSuperNet,
    Registered,
    SuperNetFile,
    hookimpl,
    interface,
)
from hnas.discovery.loading import BUILT_IN, GROUP, construct, options_of, resolve
from hnas.discovery.registry import Registry

__all__ = [
    "API",
    "BUILT_IN",
    "GROUP",
    "HOOK",
    "INTERFACE",
    "KINDS",
    "Failure",
    "Hooks",
    "Kind",
    "Plugin",
    "PretrainedSuperNet",
    "Registered",
    "Registry",
    "SuperNetFile",
    "construct",
    "hookimpl",
    "interface",
    "options_of",
    "resolve",
]
