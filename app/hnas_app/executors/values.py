"""Values that were put, with versions: each worker is sent what has changed since it was last sent something."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define, field


@define(eq=False)
class Values:
    """What workers are to have by name; a value that is put again as the same object keeps its version."""

    _held: dict[str, tuple[int, Any]] = field(factory=dict)

    def put(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Take values, and return those of them that are new."""
        new = {k: v for k, v in values.items() if k not in self._held or self._held[k][1] is not v}
        versions = self.versions()
        # replaced as a whole: threads may be reading it
        self._held = {**self._held, **{name: (versions.get(name, 0) + 1, value) for name, value in new.items()}}
        return new

    def versions(self) -> dict[str, int]:
        """Return the version of every value."""
        return {name: version for name, (version, _) in self._held.items()}

    def fresh(self, has: Mapping[str, int]) -> dict[str, Any]:
        """Return the values that a worker lacks which has these versions."""
        return {name: value for name, (version, value) in self._held.items() if has.get(name) != version}
