"""The plugins that a configuration chooses, constructed with its options: the one place where that is done."""

from __future__ import annotations

from typing import Any

import attrs

from hnas.discovery import Kind, Registry
from hnas_app.config.schema import Config


def chosen(kind: Kind, config: Config, registry: Registry, **overrides: Any) -> Any:
    """Construct the chosen plugin of a kind; ``overrides`` replace some of its options.

    Raises `PluginError` if that fails.
    """
    choice = getattr(config, kind)
    options = attrs.evolve(choice.options, **overrides) if overrides else choice.options
    return registry.create(kind, choice.name, options)
