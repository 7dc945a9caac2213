"""The registry: which plugins there are, found by kind and name."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from hnas.discovery.descriptors import Failure, Kind, NoOptions, Registered
from hnas.discovery.loading import BUILT_IN, GROUP, cause_text, construct, normalised, options_of, origin, read, refusal
from hnas.discovery.user_code import USER_CODE, is_object, object_plugin, user_plugin
from hnas.errors import PluginError, close_matches

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


class Registry:
    """The plugins of this Python environment, or of the entry points given.

    Loading is lazy and isolated: built-in entry points first, third-party ones only if a name is not built in or
    everything is listed. A failing one is recorded in `failures` and reported once; the rest works. A plugin that needs
    a newer hnas is left out likewise. ``strict`` (by default ``HNAS_STRICT_PLUGINS=1``) raises `PluginError` instead.

    ``HNAS_DISABLE_PLUGINS`` names what to leave out, separated by commas: a distribution or an entry point is not
    imported, a plugin is not registered. ``third_party=False`` leaves built-in plugins only.
    """

    def __init__(
        self,
        points: Iterable[EntryPoint] | None = None,
        *,
        third_party: bool = True,
        strict: bool | None = None,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        self._disabled = {normalised(n) for n in os.environ.get("HNAS_DISABLE_PLUGINS", "").split(",") if n.strip()}
        self._third_party = third_party
        self._strict = os.environ.get("HNAS_STRICT_PLUGINS") == "1" if strict is None else strict
        self._warn = warn or (lambda text: print(text, file=sys.stderr))
        if points is None:
            from importlib.metadata import entry_points  # it takes as long as all of hnas

            points = entry_points(group=GROUP)
        self._waiting = sorted(
            (p for p in points if (third_party or _built_in(p)) and not self._is_disabled(p.name, origin(p)[0])),
            key=lambda p: (not _built_in(p), origin(p)[0], p.name),
        )
        self._registered: list[Registered] = []
        self._refused: list[Registered] = []
        self._objects: dict[tuple[Kind, str], Registered] = {}
        self.failures: list[Failure] = []

    def add(self, kind: Kind, instance: Any, options: type = NoOptions) -> None:
        """Register an object that implements a kind's interface; `get` finds it by its `object_name`.

        ``options`` is the attrs class of what a run records of it. Raises `PluginError` for an object of another kind.
        """
        registered = object_plugin(kind, instance, options)
        self._objects[kind, registered.plugin.name] = registered

    def list(self, kind: Kind | None = None) -> list[Registered]:
        """Return every plugin, or those of one kind, built-in ones first. Loads all entry points."""
        self._load(built_in_only=False)
        return [r for r in self._registered if kind in (None, r.kind)]

    def get(self, kind: Kind, name: str) -> Registered:
        """Return the plugin ``name`` (or ``name@distribution``) of a kind. Raises `PluginError`.

        A built-in plugin takes precedence over others of its name, whatever was loaded before. ``./file.py:Class`` and
        ``package.module:Class`` name a class in user code, unless the part before the colon is the name of a registered
        plugin.
        """
        if is_object(name):
            return self._object(kind, name)
        self._load(built_in_only=True)
        matches = [r for r in _matching(self._registered, kind, name) if r.distribution == BUILT_IN]
        if not matches:
            self._load(built_in_only=False)
            matches = _matching(self._registered, kind, name)
        if not matches and self._is_user_code(kind, name):
            return Registered(kind=kind, plugin=user_plugin(kind, name), distribution=USER_CODE, version="")
        if not matches:
            raise self._unknown(kind, name)
        if len(matches) > 1:
            owners = list(dict.fromkeys(r.distribution for r in matches))
            if len(owners) == 1:
                raise PluginError(
                    f"{kind} {name!r} is provided twice by {owners[0]} {matches[0].version}",
                    hint="set HNAS_DISABLE_PLUGINS to one of its entry points, and report it to its authors",
                )
            raise PluginError(
                f"{kind} {name!r} is provided by {' and '.join(owners)}",
                hint=f"pick one, as in '{matches[0].plugin.name}@{owners[0]}', or uninstall the other",
            )
        return matches[0]

    def selector(self, registered: Registered) -> str:
        """Return the name by which `get` finds a plugin, with its distribution if another one takes precedence."""
        name = registered.plugin.name
        alone = len(_matching(self._registered, registered.kind, name)) < 2
        return name if alone or registered.distribution == BUILT_IN else f"{name}@{registered.distribution}"

    def split_device(self, name: str) -> tuple[str, str | None]:
        """Split ``backend:device``, as in ``arm:pi4``, if ``backend`` is registered; else all of it is the name."""
        if is_object(name):
            return name, None
        first, colon, device = name.partition(":")
        wanted = first.partition("@")[0]
        for built_in_only in (True, False) if colon else ():
            self._load(built_in_only)
            if any(r.kind == "backend" and r.plugin.name == wanted for r in self._registered):
                return first, device
        return name, None

    def options_class(self, kind: Kind, name: str) -> type:
        """Return the attrs class of a plugin's options. Raises `PluginError`."""
        return options_of(self.get(kind, name))

    def create(self, kind: Kind, name: str, options: Any = None) -> Any:
        """Construct a plugin with an instance of its options class, or with some by name (its defaults if ``None``).

        Raises `PluginError` for a plugin that cannot be imported or constructed, `ConfigError` for wrong options.
        """
        return construct(self.get(kind, name), options)

    # ---------------------------------------------------------------- loading

    def _load(self, built_in_only: bool) -> None:
        while self._waiting and not (built_in_only and not _built_in(self._waiting[0])):
            self._take(self._waiting.pop(0))

    def _take(self, point: EntryPoint) -> None:
        """Register the plugins of an entry point. One that calls ``exit`` is treated like one that raises."""
        try:
            found = read(point)
        except (Exception, SystemExit) as cause:
            self._leave_out(point, f"failed to load: {cause_text(cause)}", cause)
            return
        for registered in found:
            if self._is_disabled(registered.plugin.name):
                continue
            if why := refusal(registered):
                self._refused.append(registered)
                self._leave_out(point, f"{why} (pip install --upgrade hnas)")
            else:
                self._registered.append(registered)

    def _leave_out(self, point: EntryPoint, why: str, cause: BaseException | None = None) -> None:
        distribution, version = origin(point)
        what = f"plugin {point.name!r} of {distribution} {version}"
        if self._strict:
            hint = "unset HNAS_STRICT_PLUGINS to go on without it"
            raise PluginError(f"{what} {why}" if cause else why, hint=hint) from cause
        text = why.removeprefix("failed to load: ")
        self.failures.append(Failure(entry_point=point.name, distribution=distribution, version=version, cause=text))
        self._warn(f"hnas: {what} was left out: {text}")

    def _is_disabled(self, *names: str) -> bool:
        return not self._disabled.isdisjoint(normalised(n) for n in names)

    # ---------------------------------------------------------------- names

    def _unknown(self, kind: Kind, name: str) -> PluginError:
        """Return the error for a name that no usable plugin has."""
        wanted, at, distribution = name.partition("@")
        if refused := _matching(self._refused, kind, name):
            return PluginError(str(refusal(refused[0])), hint="upgrade it: pip install --upgrade hnas")
        if at and (owners := [r.distribution for r in _matching(self._registered, kind, wanted)]):
            return PluginError(
                f"{kind} {wanted!r} is not provided by {distribution!r}, but by {' and '.join(owners)}."
                f"{close_matches(distribution, owners)}"
            )
        names = sorted({r.plugin.name for r in self._registered if r.kind == kind})
        failed = "".join(f" ({f.distribution} {f.version} failed to load: {f.cause})" for f in self.failures)
        hidden = [] if self._third_party else ["--no-plugins leaves out all third-party plugins"]
        hidden += [f"HNAS_DISABLE_PLUGINS leaves out {', '.join(sorted(self._disabled))}"] if self._disabled else []
        return PluginError(
            f"unknown {kind} {name!r}.{close_matches(wanted, names)} Known: {', '.join(names) or 'none'}.{failed}",
            hint="; ".join([*hidden, "`hnas plugins list` shows what is installed"]),
        )

    def _object(self, kind: Kind, name: str) -> Registered:
        if (kind, name) in self._objects:
            return self._objects[kind, name]
        raise PluginError(
            f"{kind} {name!r} is an object that a Python program gave, and this program has none",
            hint=f"resume from Python with such an object: hnas.load_run(path, {kind}=…)",
        )

    def _is_user_code(self, kind: Kind, name: str) -> bool:
        where = name.rpartition(":")[0]
        return (
            kind != "supernet"
            and bool(where)
            and all(r.kind != kind or r.plugin.name != where for r in self._registered)
        )


def _matching(registered: Iterable[Registered], kind: Kind, name: str) -> list[Registered]:
    wanted, at, distribution = name.partition("@")
    return [
        r
        for r in registered
        if r.kind == kind
        and r.plugin.name == wanted
        and (not at or normalised(r.distribution) == normalised(distribution))
    ]


def _built_in(point: EntryPoint) -> bool:
    return origin(point)[0] == BUILT_IN
