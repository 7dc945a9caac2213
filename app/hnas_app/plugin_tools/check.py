"""Checks of a plugin before it is relied on: names, requirements, options, the factory, and its object."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, get_type_hints

import attrs

from hnas.discovery.descriptors import HOOK, Kind, Registered, interface
from hnas.discovery.loading import BUILT_IN, FAULTS, cause_text, construct, normalised, options_of
from hnas.errors import HnasError, PluginError
from hnas_app.plugin_tools.finding import Finding, Level
from hnas_app.plugin_tools.import_cost import SLOW_S, import_cost
from hnas_app.plugin_tools.interface_checks import CHECKS
from hnas_app.plugin_tools.supernet_check import check_supernet

PREFIX: dict[Kind, str] = {kind: f"hnas-{kind}-" for kind in HOOK}
"""The prefix of the names of each kind's distributions."""


def check(registered: Registered, others: Sequence[Registered] = ()) -> list[Finding]:
    """Check a plugin, and go on after a failure if that makes sense. Never raises for a fault of the plugin.

    ``others`` are the plugins installed beside it. The object that it makes is tried cheaply: no data are fetched, and
    a device is only asked for its description. `hnas.testing` has the thorough checks.
    """
    options: list[Any] = []
    made: list[Any] = []
    found = [
        *_guarded("import", _import(registered)),
        *_guarded("name", _name(registered, others)),
        *_guarded("requires", _requires(registered)),
        *_guarded("options", _options(registered, options)),
        *_guarded("presets", _presets(registered)),
    ]
    if options:
        found += _guarded("factory", _factory(registered, options[0], made))
    if made:
        found += _guarded("interface", _interface(registered, made[0]))
    return found


def _guarded(name: str, checks: Iterator[tuple[Level, str]]) -> list[Finding]:
    """Collect the findings of a check; an exception is its last finding."""
    found = []
    try:
        for level, told in checks:
            found.append(Finding(level, name, told))
    except FAULTS as cause:
        hint = getattr(cause, "hint", None)
        found.append(Finding("failed", name, cause_text(cause) + (f" ({hint})" if hint else "")))
    return found


_import_cost = cache(import_cost)


def _import(registered: Registered) -> Iterator[tuple[Level, str]]:
    if not registered.module:
        return
    cost = _import_cost(registered.module)
    if cost.heavy:
        yield (
            "warning",
            f"{registered.module} imports {', '.join(cost.heavy)} at the top, and so does every command that looks for "
            "a plugin: name the implementation as 'package.module:Class', in a module of its own",
        )
    elif cost.seconds > SLOW_S:
        yield "warning", f"{registered.module} takes {cost.seconds:.1f} s to import, more than {SLOW_S} s"
    if cost.printed:
        yield "warning", f"{registered.module} prints when it is imported, which breaks --json: {cost.printed!r}"
    yield "ok", f"{registered.module} is imported in {cost.seconds:.2f} s"


def _name(registered: Registered, others: Sequence[Registered]) -> Iterator[tuple[Level, str]]:
    plugin, kind = registered.plugin, registered.kind
    for other in others:
        if other != registered and (other.kind, other.plugin.name) == (kind, plugin.name):
            use = f"it is found as {plugin.name}@{registered.distribution} only"
            yield "warning", f"{other.distribution} {other.version} has a {kind} of that name, too: {use}"
    wanted = PREFIX[kind]
    if registered.module and registered.distribution != BUILT_IN:
        if not normalised(registered.distribution).startswith(wanted):
            yield "hint", f"distributions of this kind are called {wanted}*, so that they are found"
        if not plugin.summary:
            yield "hint", "it has no summary, which `hnas plugins list` shows"


def _requires(registered: Registered) -> Iterator[tuple[Level, str]]:
    from packaging.requirements import InvalidRequirement, Requirement

    for text in registered.plugin.requires:
        try:
            requirement = Requirement(text)
        except InvalidRequirement as cause:
            raise PluginError(f"requires {text!r}, which is no requirement such as 'onnx>=1.16'") from cause
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            yield "failed", f"{text} is not installed: pip install '{text}'"
            continue
        if requirement.specifier.contains(installed, prereleases=True):
            yield "ok", f"{text} is there: {installed}"
        else:
            yield "failed", f"{text} is required, {installed} is installed: pip install '{text}'"


def _options(registered: Registered, made: list[Any]) -> Iterator[tuple[Level, str]]:
    from hnas_app.config.dump import toml_value
    from hnas_app.config.values import read

    cls = options_of(registered)
    hints = get_type_hints(cls)
    required = [f.name for f in attrs.fields(cls) if f.init and f.default is attrs.NOTHING]
    if required:
        yield "warning", f"{', '.join(required)} has no default, so the plugin cannot be tried here"
        return
    options = cls()
    for f in attrs.fields(cls):
        value = getattr(options, f.name)
        if value is not None:
            toml_value(value, f.name)  # a run writes its settings down, and reads them back
            try:
                read(value, hints[f.name])
            except ValueError as cause:
                yield "failed", f"the default of {f.name} does not agree with its type: {cause}"
        if not f.metadata.get("help"):
            yield "hint", f"{f.name} has no help; hnas.settings.setting gives it one"
    made.append(options)
    yield "ok", f"{len(attrs.fields(cls))} options, each with a default"


def _presets(registered: Registered) -> Iterator[tuple[Level, str]]:
    from hnas_app.config.plugin_presets import presets_of

    if presets := presets_of(registered):
        yield "ok", f"has a table for {', '.join(presets)}"


def _factory(registered: Registered, options: Any, made: list[Any]) -> Iterator[tuple[Level, str]]:
    try:
        made.append(construct(registered, options))
    except PluginError:
        raise
    except HnasError as cause:
        yield "warning", f"cannot be made with its default options, so what it makes was not tried: {cause}"
        return
    yield "ok", f"makes a {type(made[0]).__qualname__}"


def _interface(registered: Registered, made: Any) -> Iterator[tuple[Level, str]]:
    try:
        check = CHECKS.get(registered.kind)
        if registered.kind == "supernet":
            yield from check_supernet(registered)
        elif check is None:
            yield "ok", f"it is a hnas.{interface(registered.kind).__name__}; `hnas.testing` has the tests"
        else:
            yield from check(made)
        if registered.kind == "space" and registered.module and made.name != registered.plugin.name:
            yield "warning", f"its space calls itself {made.name!r}, not {registered.plugin.name!r}"
    except PluginError:
        raise
    except HnasError as cause:
        yield "warning", f"could not be tried further: {cause}"
