"""Load checked descriptors from entry points and construct plugins from them; errors name the plugin at fault."""

from __future__ import annotations

import importlib
import inspect
import re
import shlex
from collections.abc import Mapping
from functools import reduce
from typing import TYPE_CHECKING, Any

import attrs
import pluggy

from hnas._version import __version__
from hnas.discovery.descriptors import API, HOOK, Hooks, Plugin, PretrainedSuperNet, Registered, interface
from hnas.errors import ConfigError, HnasError, PluginError, close_matches

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "hnas"
BUILT_IN = "hnas"
"""The distribution whose plugins are built in."""

FAULTS = (Exception, SystemExit, GeneratorExit)
"""What a plugin may raise: one that tries to end the program is treated like one that fails."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


def origin(point: EntryPoint) -> tuple[str, str]:
    """Return the distribution of an entry point and its version."""
    return (point.dist.name, point.dist.version) if point.dist else ("unknown", "0")


def normalised(name: str) -> str:
    """Return the normal form of a distribution's name: case and the kind of separator make no difference (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def read(point: EntryPoint) -> list[Registered]:
    """Import an entry point and return its descriptors. Exceptions of its code pass unchanged."""
    distribution, version = origin(point)
    module = point.load()
    manager = pluggy.PluginManager("hnas")
    manager.add_hookspecs(Hooks)
    manager.register(module, name=point.name)
    implemented = [hook.name for hook in manager.get_hookcallers(module) or ()]
    hooks = list(HOOK.values())
    for name in implemented:
        if name not in hooks:
            raise PluginError(f"unknown hook {name!r}.{close_matches(name, hooks)} Hooks: {', '.join(hooks)}")
    if not implemented:
        raise PluginError(f"{point.value} has no function marked with @hnas.hookimpl.{_unmarked(module)}")
    found: list[Registered] = []
    for kind in HOOK:
        descriptor = PretrainedSuperNet if kind == "supernet" else Plugin
        caller = getattr(manager.hook, HOOK[kind])
        answers = caller()
        if len(answers) < len(caller.get_hookimpls()):  # pluggy drops None
            raise TypeError(f"{HOOK[kind]} returned None, expected a list of hnas.{descriptor.__name__} descriptors")
        for answer in answers:
            if not isinstance(answer, list | tuple):
                raise TypeError(
                    f"{HOOK[kind]} returned {answer!r}, expected a list of hnas.{descriptor.__name__} descriptors"
                )
            for plugin in answer:
                if not isinstance(plugin, descriptor) or isinstance(plugin, PretrainedSuperNet) != (kind == "supernet"):
                    raise TypeError(
                        f"{HOOK[kind]} returned {plugin!r}, expected hnas.{descriptor.__name__} descriptors"
                    )
                if not _NAME.fullmatch(plugin.name):
                    raise ValueError(f"{kind} {plugin.name!r}: a name has letters, digits and . _ + - only")
                if any(r.kind == kind and r.plugin.name == plugin.name for r in found):
                    raise ValueError(f"{HOOK[kind]} returned {plugin.name!r} twice")
                found.append(
                    Registered(
                        kind=kind, plugin=plugin, distribution=distribution, version=version, module=point.module
                    )
                )
    return found


def _unmarked(module: Any) -> str:
    """Return a sentence that names functions which look like hooks without the mark."""
    names = [n for n, f in vars(module).items() if n.startswith("hnas_") and inspect.isfunction(f)]
    return f" It has {', '.join(names)} without it." if names else ""


def refusal(registered: Registered) -> str | None:
    """Return why a plugin cannot be used with this version of hnas, or ``None``."""
    if registered.plugin.api <= API:
        return None
    return f"{registered.title} needs plugin api {registered.plugin.api}; hnas {__version__} offers {API}"


def cause_text(cause: BaseException) -> str:
    """Return in one line what went wrong; errors that were raised on purpose need no class name."""
    if isinstance(cause, HnasError):
        return str(cause)
    return f"{type(cause).__name__}: {' '.join(str(cause).split())}".removesuffix(": ")


def resolve(target: Any, registered: Registered) -> Any:
    """Import ``"package.module:Name"``, or ``:Name.Inner``; return anything else as it is.

    Raises `PluginError`; its hint names the packages to install.
    """
    if not isinstance(target, str):
        return target
    module, _, name = target.partition(":")
    try:
        return reduce(getattr, name.split("."), importlib.import_module(module))
    except HnasError:
        raise
    except FAULTS as cause:
        needs = shlex.join(registered.plugin.requires)
        raise PluginError(
            f"{registered.title}: cannot import {target!r}: {cause_text(cause)}",
            hint=f"pip install {needs}" if needs and isinstance(cause, ImportError) else None,
        ) from cause


def options_of(registered: Registered) -> type:
    """Return the attrs class of a plugin's options. Raises `PluginError`."""
    options = resolve(registered.plugin.options, registered)
    if not (isinstance(options, type) and attrs.has(options)):
        raise PluginError(f"{registered.title}: its options are {options!r}, expected an attrs class")
    return options


def _by_name(registered: Registered, cls: Any, values: Mapping[str, Any]) -> Any:
    """Make options of values by name. Raises `ConfigError`."""
    from hnas.toolkit.codec import converter, mistakes

    known = [f.name for f in attrs.fields(cls) if f.init]
    for name in values:
        if name not in known:
            raise ConfigError(
                f"{registered.title} has no option {name!r}.{close_matches(str(name), known)} It has {', '.join(known)}"
            )
    try:
        return converter().structure(values, cls)
    except Exception as cause:
        raise ConfigError(f"options of {registered.title}: {mistakes(cause)}") from cause


def construct(registered: Registered, options: Any = None) -> Any:
    """Construct a plugin with an instance of its options class, or with some by name (its defaults if ``None``).

    Raises `PluginError`, and `ConfigError` for options that it does not have, or of another type.
    """
    factory, cls = resolve(registered.plugin.factory, registered), options_of(registered)
    options = _by_name(registered, cls, options) if isinstance(options, Mapping) else options
    try:
        made = factory(cls() if options is None else options)
    except HnasError:
        raise
    except FAULTS as cause:
        raise PluginError(f"{registered.title} cannot be constructed: {cause_text(cause)}") from cause
    expected = interface(registered.kind)
    if not isinstance(made, expected):
        raise PluginError(f"{registered.title}: its factory made {made!r}, expected a hnas.{expected.__name__}")
    if fault := mismatch(made, expected):
        raise PluginError(f"{registered.title}: {fault}", hint="it was written for another version of hnas: upgrade it")
    return made


def mismatch(made: object, expected: type) -> str:
    """Describe the first method that does not accept the arguments of the interface ``expected``; empty if none."""
    for name in sorted(getattr(expected, "__abstractmethods__", ())):
        if inspect.isfunction(method := getattr(expected, name)):
            _, *given = inspect.signature(method).parameters.values()
            found = inspect.signature(getattr(made, name))
            try:
                found.bind(
                    *(p.name for p in given if p.kind != p.KEYWORD_ONLY),
                    **{p.name: "" for p in given if p.kind == p.KEYWORD_ONLY},
                )
            except TypeError:
                wanted = f"hnas.{expected.__name__}.{name}({', '.join(p.name for p in given)})"
                return f"its {name}({', '.join(found.parameters)}) cannot be called as {wanted}"
    return ""
