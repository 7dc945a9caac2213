"""Options, and values of options, that plugins no longer have: earlier runs recorded them in their ``config.toml``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hnas.discovery import KINDS
from hnas_app.config.schema import Config


def removed_of(options: Any) -> Mapping[str, tuple[Any, ...]]:
    """Return the ``REMOVED`` of an options class or instance: the removed values of each option, by name.

    An option that was removed altogether is listed, too, with the values that differ from the present behaviour.
    """
    found: Mapping[str, tuple[Any, ...]] = getattr(options, "REMOVED", {})
    return found


def removed_in(config: Config) -> dict[str, tuple[Any, ...]]:
    """Return the removed values of all chosen plugins, by dotted key: ``{"space.heads": ("depth",)}``."""
    choices = {kind: getattr(config, kind) for kind in KINDS}
    return {f"{kind}.{k}": values for kind, c in choices.items() for k, values in removed_of(c.options).items()}
