"""An architecture: one option picked for each choice of a search space."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from hnas.errors import DataError

Option = int | float | str
"""What a choice offers: a kernel size, a channel scale, the name of an activation."""


@frozen(kw_only=True)
class Choice:
    """One decision of a search space and its options.

    ``needs`` makes the choice conditional: ``("depth", (2, 3, 4))`` says that it matters only where the choice named
    ``depth`` takes one of those options. An inactive choice does not change the network, so the core counts, compares
    and mutates active choices only.
    """

    name: str
    options: tuple[Option, ...]
    needs: tuple[str, tuple[Option, ...]] | None = None

    def __attrs_post_init__(self) -> None:
        if not self.options or len(set(self.options)) != len(self.options):
            raise ValueError(f"choice {self.name!r}: options must be distinct and at least one, got {self.options!r}")


@frozen(order=True)
class Architecture:
    """A point of a search space: ``genes[i]`` is an index into the options of the space's ``i``-th choice."""

    space: str
    genes: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """Return ``{"space": …, "genes": […]}``; `from_json` reads it back."""
        return {"space": self.space, "genes": list(self.genes)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any] | str) -> Architecture:
        """Read what `to_json` wrote, as a mapping or as JSON text. Raises `DataError` on anything else."""
        try:
            data = json.loads(value) if isinstance(value, str) else value
            space, genes = data["space"], data["genes"]
            if isinstance(space, str) and isinstance(genes, Sequence) and all(type(g) is int for g in genes):
                return cls(space, tuple(genes))
        except (ValueError, KeyError, TypeError):
            pass
        raise DataError(
            f"not an architecture: {value!r}; expected an object with 'space' (a name) and 'genes' (whole numbers)"
        )
