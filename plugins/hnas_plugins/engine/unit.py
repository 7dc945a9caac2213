"""A layer of a network as the fast path and the plain blocks run it."""

from __future__ import annotations

from attrs import frozen


@frozen(kw_only=True)
class Unit:
    """A convolution without a bias, normalisation, activation and, perhaps, a 2×2 max-pool.

    It reads the output of the unit before, or of the ``source``-th one, or the images (-1). A residual block's shortcut
    is its last unit: the result of unit number ``joins`` is added, and ``after`` activates the sum.
    """

    kernel: int
    stride: int
    activation: str | None
    max_pool: bool = False
    source: int | None = None
    joins: int = -1
    after: str | None = None
