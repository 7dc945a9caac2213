"""Plugins: the hooks a distribution implements, the descriptors it returns, and the registry that finds them."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal, get_args

import attrs
import pluggy

from hnas.errors import PluginError, close_matches

API = 1
GROUP = "hnas"
BUILT_IN = "hnas"
"""The distribution whose plugins are built in."""

Kind = Literal["space", "learner", "backend", "strategy", "tasks"]
KINDS: tuple[Kind, ...] = get_args(Kind)
hookimpl = pluggy.HookimplMarker("hnas")
_hookspec = pluggy.HookspecMarker("hnas")


@attrs.frozen(kw_only=True)
class Plugin:
    """Describes one implementation of an interface. Returned by a hook; nothing is constructed or imported by it.

    ``factory`` is called with an instance of ``options`` and returns the implementation. Both may be given as
    ``"package.module:Name"`` and are then imported when used. ``options`` is an attrs class; its fields' ``metadata``
    may hold ``help``. ``devices`` makes the `hnas.devices.DeviceKind` of a backend whose devices have names.
    """

    name: str
    summary: str
    factory: Callable[[Any], Any] | str
    options: type | str
    api: int = API
    requires: tuple[str, ...] = ()
    devices: Callable[[], Any] | str = ""


class Hooks:
    """The hook specifications. Each returns a list of descriptors and takes no argument."""

    @_hookspec
    def hnas_search_spaces(self) -> list[Plugin]:
        """Return the search spaces; a factory makes a `SearchSpace`."""
        raise NotImplementedError

    @_hookspec
    def hnas_meta_learners(self) -> list[Plugin]:
        """Return the meta-learners; a factory makes a `MetaLearner`."""
        raise NotImplementedError

    @_hookspec
    def hnas_backends(self) -> list[Plugin]:
        """Return the hardware backends; a factory makes a `HardwareBackend`."""
        raise NotImplementedError

    @_hookspec
    def hnas_search_strategies(self) -> list[Plugin]:
        """Return the search strategies; a factory makes a `SearchStrategy`."""
        raise NotImplementedError

    @_hookspec
    def hnas_task_sources(self) -> list[Plugin]:
        """Return the task sources; a factory makes a `TaskSource`."""
        raise NotImplementedError


HOOK: dict[Kind, str] = {
    "space": "hnas_search_spaces",
    "learner": "hnas_meta_learners",
    "backend": "hnas_backends",
    "strategy": "hnas_search_strategies",
    "tasks": "hnas_task_sources",
}


@attrs.frozen(kw_only=True)
class Registered:
    """A descriptor and where it came from."""

    kind: Kind
    plugin: Plugin
    distribution: str
    version: str


@attrs.frozen(kw_only=True)
class Failure:
    """An entry point that could not be used, and why."""

    entry_point: str
    distribution: str
    version: str
    cause: str


class Registry:
    """The plugins of this Python environment, or of the entry points given.

    Loading is lazy and isolated: built-in entry points first, third-party ones only where a name is not built in or
    everything is listed; one that fails is recorded in `failures`, told once, and the rest works.
    """

    def __init__(
        self,
        points: Iterable[EntryPoint] | None = None,
        *,
        third_party: bool = True,
        strict: bool | None = None,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        disabled = {n.strip() for n in os.environ.get("HNAS_DISABLE_PLUGINS", "").split(",")}
        found = entry_points(group=GROUP) if points is None else points
        self._waiting = sorted(
            (p for p in found if p.name not in disabled and _distribution(p)[0] not in disabled),
            key=lambda p: (_distribution(p)[0] != BUILT_IN, _distribution(p)[0], p.name),
        )
        if not third_party:
            self._waiting = [p for p in self._waiting if _distribution(p)[0] == BUILT_IN]
        self._strict = os.environ.get("HNAS_STRICT_PLUGINS") == "1" if strict is None else strict
        self._warn = warn or (lambda text: print(text, file=sys.stderr))
        self._registered: list[Registered] = []
        self.failures: list[Failure] = []

    def list(self, kind: Kind | None = None) -> list[Registered]:
        """Return every plugin, or those of one kind, built-in ones first. Loads all entry points."""
        self._load(built_in_only=False)
        return [r for r in self._registered if kind in (None, r.kind)]

    def get(self, kind: Kind, name: str) -> Registered:
        """Return the plugin ``name`` (or ``name@distribution``) of a kind. Raises `PluginError`.

        ``./file.py:Class`` and ``package.module:Class`` name a class in user code, unless what stands before the colon
        is the name of a registered plugin.
        """
        wanted, _, distribution = name.partition("@")
        for built_in_only in (True, False):
            self._load(built_in_only)
            matches = [
                r
                for r in self._registered
                if r.kind == kind and r.plugin.name == wanted and distribution in ("", r.distribution)
            ]
            if matches:
                break
        if not matches and self._is_user_code(kind, name):
            from hnas.user_code import USER_CODE, user_plugin

            return Registered(kind=kind, plugin=user_plugin(kind, name), distribution=USER_CODE, version="")
        if not matches:
            names = sorted({r.plugin.name for r in self._registered if r.kind == kind})
            failed = "".join(f" ({f.distribution} {f.version} failed to load: {f.cause})" for f in self.failures)
            raise PluginError(
                f"unknown {kind} {name!r}.{close_matches(name, names)} Known: {', '.join(names) or 'none'}.{failed}",
                hint="`hnas plugins list` shows what is installed",
            )
        if len(matches) > 1:
            owners = " and ".join(r.distribution for r in matches)
            raise PluginError(
                f"{kind} {name!r} is provided by {owners}",
                hint=f"pick one, as in '{name}@{matches[0].distribution}', or uninstall the other",
            )
        if matches[0].plugin.api > API:
            raise PluginError(
                f"{kind} {name!r} of {matches[0].distribution} {matches[0].version} needs plugin api "
                f"{matches[0].plugin.api}; this hnas offers {API}",
                hint="upgrade it: pip install --upgrade hnas",
            )
        return matches[0]

    def split_device(self, name: str) -> tuple[str, str | None]:
        """Split ``backend:device``, as in ``arm:pi4``, where ``backend`` is registered; else all of it is the name."""
        first, colon, device = name.partition(":")
        wanted = first.partition("@")[0]
        for built_in_only in (True, False) if colon else ():
            self._load(built_in_only)
            if any(r.kind == "backend" and r.plugin.name == wanted for r in self._registered):
                return first, device
        return name, None

    def options_class(self, kind: Kind, name: str) -> type:
        """Return the attrs class of a plugin's options."""
        registered = self.get(kind, name)
        return resolve(registered.plugin.options, registered)  # type: ignore[no-any-return]

    def create(self, kind: Kind, name: str, options: Any = None) -> Any:
        """Construct a plugin with an instance of its options class (its defaults where ``None``)."""
        registered = self.get(kind, name)
        if options is None:
            options = resolve(registered.plugin.options, registered)()
        return resolve(registered.plugin.factory, registered)(options)

    def _is_user_code(self, kind: Kind, name: str) -> bool:
        where = name.rpartition(":")[0]
        return bool(where) and all(r.kind != kind or r.plugin.name != where for r in self._registered)

    def _load(self, built_in_only: bool) -> None:
        keep = []
        for point in self._waiting:
            if built_in_only and _distribution(point)[0] != BUILT_IN:
                keep.append(point)
                continue
            distribution, version = _distribution(point)
            try:
                self._registered += _read(point, distribution, version)
            except Exception as cause:
                text = f"{type(cause).__name__}: {cause}"
                if self._strict:
                    raise PluginError(
                        f"plugin {point.name!r} of {distribution} {version} failed to load: {text}",
                        hint="unset HNAS_STRICT_PLUGINS to go on without it",
                    ) from cause
                self.failures.append(
                    Failure(entry_point=point.name, distribution=distribution, version=version, cause=text)
                )
                self._warn(f"hnas: plugin {point.name!r} of {distribution} {version} was left out: {text}")
        self._waiting = keep


def _read(point: EntryPoint, distribution: str, version: str) -> Iterator[Registered]:
    """Return the descriptors of one entry point, checked by pluggy against the hook specifications."""
    manager = pluggy.PluginManager("hnas")
    manager.add_hookspecs(Hooks)
    manager.register(point.load(), name=point.name)
    manager.check_pending()
    found = []
    for kind in KINDS:
        for plugins in getattr(manager.hook, HOOK[kind])():
            for plugin in plugins:
                if not isinstance(plugin, Plugin):
                    raise TypeError(f"{HOOK[kind]} returned {plugin!r}, expected hnas.Plugin descriptors")
                found.append(Registered(kind=kind, plugin=plugin, distribution=distribution, version=version))
    return iter(found)


def resolve(target: Any, registered: Registered) -> Any:
    """Import ``"package.module:Name"``; return anything else as it is. Raises `PluginError`, with what to install."""
    if not isinstance(target, str):
        return target
    module, _, name = target.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as cause:
        needs = " ".join(registered.plugin.requires)
        raise PluginError(
            f"{registered.kind} {registered.plugin.name!r} of {registered.distribution} {registered.version}: "
            f"cannot import {target!r}: {cause}",
            hint=f"pip install {needs}" if needs else None,
        ) from cause


def _distribution(point: EntryPoint) -> tuple[str, str]:
    return (point.dist.name, point.dist.version) if point.dist else ("unknown", "0")
