"""The kinds of plugins, the hook of each kind, and the descriptors that hooks return."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

import pluggy
from attrs import Factory, field, frozen, validators

API = 1
"""Increased when an interface changes so that older plugins break, or newer ones need what older versions lack."""

Kind = Literal["space", "learner", "backend", "strategy", "tasks", "supernet", "tracker"]
KINDS: tuple[Kind, ...] = ("space", "learner", "backend", "strategy", "tasks")
"""The kinds of which every run has one plugin; `HOOK` has the others, too."""
hookimpl = pluggy.HookimplMarker("hnas")
_hookspec = pluggy.HookspecMarker("hnas")


@frozen(kw_only=True)
class Plugin:
    """Describes one implementation of an interface. Returned by a hook; it neither constructs nor imports anything.

    ``factory`` is called with an instance of ``options`` and returns the implementation. Both may be given as
    ``"package.module:Name"`` and are then imported when used. ``options`` is an attrs class; its fields' ``metadata``
    may hold ``help`` and ``after_training`` (`hnas.settings.setting` explains them), and its constant ``REMOVED`` maps
    options of earlier versions to values that it no longer has.
    ``requires`` names the distributions that the implementation needs, such as ``"onnx>=1.16"``.
    ``devices`` makes the `hnas.toolkit.devices.DeviceKind` of a backend whose devices have names. ``presets`` gives the
    values of each preset when this plugin is chosen, as preset → section → key → value; it may also be given by name.

    Raises `TypeError` or `ValueError` for an invalid field.
    """

    name: str = field(validator=validators.and_(validators.instance_of(str), validators.min_len(1)))
    summary: str = field(validator=validators.instance_of(str))
    factory: Callable[[Any], Any] | str = field()
    options: type | str = field()
    api: int = field(default=API, validator=validators.and_(validators.instance_of(int), validators.ge(1)))
    requires: tuple[str, ...] = field(
        default=(),
        validator=validators.deep_iterable(validators.instance_of(str), validators.instance_of((tuple, list))),
    )
    devices: Callable[[], Any] | str = ""
    presets: Mapping[str, Mapping[str, Mapping[str, Any]]] | str = field(default="", hash=False)

    @factory.validator
    @options.validator
    def _can_be_resolved(self, attribute: Any, value: Any) -> None:
        if isinstance(value, str):
            module, _, name = value.partition(":")
            if not all(part.isidentifier() for part in (*module.split("."), *name.split("."))):
                raise ValueError(f"plugin {self.name!r}: {attribute.name}={value!r}, expected 'package.module:Name'")
        elif not callable(value):
            raise TypeError(
                f"plugin {self.name!r}: {attribute.name}={value!r}, expected a class or 'package.module:Name'"
            )


@frozen
class NoOptions:
    """The options of a plugin that has none."""


_PLACE = re.compile(r"https?://\S+|[A-Za-z_][\w.]*:(?!/)(?!.*\.\.)\S.*")


@frozen(kw_only=True)
class SuperNetFile:
    """A file of a `PretrainedSuperNet`: where it lies, and how it is recognised.

    ``place`` is an http or https address, or ``"package:path"`` for a file that is installed with a package. ``size``
    is in bytes; ``sha256`` are 64 hexadecimal digits. Raises `TypeError` or `ValueError` for an invalid field.
    """

    place: str = field(validator=validators.matches_re(_PLACE))
    sha256: str = field(validator=validators.matches_re("[0-9a-f]{64}"))
    size: int = field(validator=validators.and_(validators.instance_of(int), validators.ge(1)))


@frozen(kw_only=True)
class PretrainedSuperNet(Plugin):
    """Describes a super-net that is trained already, by its files. Returned by the hook ``hnas_supernets``.

    ``weights`` is a safetensors file, the learnt state; ``config`` the TOML of the settings it was trained with;
    ``card`` a Markdown text: data, licence, budget, accuracies, limits. ``image_shape`` is (channels, height, width).
    ``n_way`` holds the fewest and the most classes of the tasks that it serves. ``requires`` names the distributions of
    plugins that ``config`` needs. `hnas plugins new supernet` writes such a descriptor for a run.

    Raises `TypeError` or `ValueError` for an invalid field.
    """

    licence: str = field(validator=validators.and_(validators.instance_of(str), validators.min_len(1)))
    image_shape: tuple[int, int, int] = field()
    n_way: tuple[int, int] = field()
    weights: SuperNetFile = field(validator=validators.instance_of(SuperNetFile))
    config: SuperNetFile = field(validator=validators.instance_of(SuperNetFile))
    card: SuperNetFile = field(validator=validators.instance_of(SuperNetFile))
    factory: Callable[[Any], Any] = field(
        init=False, eq=False, repr=False, default=Factory(lambda self: lambda options: self, takes_self=True)
    )
    options: type = field(init=False, repr=False, default=NoOptions)

    @image_shape.validator
    @n_way.validator
    def _counts(self, attribute: Any, value: Any) -> None:
        length = 3 if attribute.name == "image_shape" else 2
        counts = value if isinstance(value, tuple) and all(type(n) is int for n in value) else ()
        if len(counts) != length or min(counts) < 1 or (length == 2 and not 2 <= counts[0] <= counts[1]):
            wanted = "(channels, height, width)" if length == 3 else "(fewest, most) classes, 2 at least"
            raise ValueError(f"super-net {self.name!r}: {attribute.name}={value!r}, expected {wanted}")


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

    @_hookspec
    def hnas_supernets(self) -> list[PretrainedSuperNet]:
        """Return the super-nets that are trained already."""
        raise NotImplementedError

    @_hookspec
    def hnas_trackers(self) -> list[Plugin]:
        """Return the trackers; a factory makes a `Tracker`."""
        raise NotImplementedError


HOOK: dict[Kind, str] = {
    "space": "hnas_search_spaces",
    "learner": "hnas_meta_learners",
    "backend": "hnas_backends",
    "strategy": "hnas_search_strategies",
    "tasks": "hnas_task_sources",
    "supernet": "hnas_supernets",
    "tracker": "hnas_trackers",
}

INTERFACE: dict[Kind, str] = {
    "space": "hnas.space:SearchSpace",
    "learner": "hnas.learner:MetaLearner",
    "backend": "hnas.backend:HardwareBackend",
    "strategy": "hnas.strategy:SearchStrategy",
    "tasks": "hnas.task_source:TaskSource",
    "supernet": "hnas.discovery.descriptors:PretrainedSuperNet",
    "tracker": "hnas.events:Tracker",
}


def interface(kind: Kind) -> type:
    """Return the abstract class that implementations of a kind derive from."""
    module, _, name = INTERFACE[kind].partition(":")
    return getattr(importlib.import_module(module), name)  # type: ignore[no-any-return]


@frozen(kw_only=True)
class Registered:
    """A descriptor and where it came from. ``module`` is that of its entry point; user code has none."""

    kind: Kind
    plugin: Plugin
    distribution: str
    version: str
    module: str = ""

    @property
    def title(self) -> str:
        """How messages name it: ``backend 'board' of hnas-backend-board 1.0``."""
        return f"{self.kind} {self.plugin.name!r} of {self.distribution} {self.version}".rstrip()


@frozen(kw_only=True)
class Failure:
    """An entry point, or a plugin of one, that was left out, and why."""

    entry_point: str
    distribution: str
    version: str
    cause: str
