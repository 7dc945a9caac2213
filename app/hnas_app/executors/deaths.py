"""Items whose workers died: done again, until it is the item's fault."""

from __future__ import annotations

from typing import Any

from hnas.errors import HnasError

ATTEMPTS = 3
"""How often an item may kill its worker before it is given up."""

MEMORY_HINT = "it may need more memory than there is: lower the number of workers or of tasks"


def given_up(item: Any, how: str, hint: str) -> HnasError:
    """Return the error for an item that no worker survives; ``how`` they died stands in brackets."""
    return HnasError(f"a worker process died {ATTEMPTS} times ({how}) on the same item: {item!r}", hint=hint)
