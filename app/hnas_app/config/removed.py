"""Options, and values of options, that plugins no longer have: earlier runs recorded them in their ``config.toml``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from hnas_app.config.schema import Config, PluginChoice


def removed_of(options: Any) -> Mapping[str, tuple[Any, ...]]:
    """Return the ``REMOVED`` of an options class or instance: the removed values of each option, by name.

    An option that is gone altogether stands there, too. Its values that do not are those that do what is done now.
    """
    found: Mapping[str, tuple[Any, ...]] = getattr(options, "REMOVED", {})
    return found


def removed_in(config: Config) -> dict[str, tuple[Any, ...]]:
    """Return the same of all chosen plugins, by dotted key: ``{"space.heads": ("depth",)}``."""
    choices = {f.name: getattr(config, f.name) for f in attrs.fields(Config)}
    return {
        f"{kind}.{name}": values
        for kind, choice in choices.items()
        if isinstance(choice, PluginChoice)
        for name, values in removed_of(choice.options).items()
    }
