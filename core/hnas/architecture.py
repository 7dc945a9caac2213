"""An architecture: one option picked for each choice of a search space."""

from __future__ import annotations

from attrs import frozen

Option = int | float | str
"""An option of a choice: a kernel size, a channel scale, the name of an activation."""


@frozen(kw_only=True)
class Choice:
    """One decision of a search space and its options.

    ``needs`` makes the choice conditional: ``("depth", (2, 3, 4))`` means that it matters only if the choice named
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


@frozen(kw_only=True)
class Proposal:
    """An architecture for a task, and how well each option suits it if all other choices stay: higher is better.

    ``weights[i]`` are of the options of the i-th choice, ``()`` if it must stay. A limit that ``arch`` breaks is kept
    by the changes that lose the least weight for the cost that they save.
    """

    arch: Architecture
    weights: tuple[tuple[float, ...], ...] = ()
