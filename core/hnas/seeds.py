"""Randomness: one root seed, and a generator for every named purpose and step."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    import numpy as np
    import torch


@frozen
class Seeds:
    """Make generators that depend on the root seed, a purpose and a counter, and on nothing that ran before.

    A resumed run asks for the same (purpose, counter) and gets the same stream, so no generator state has to be saved.
    Workers draw the same numbers, however many they are.
    """

    root: int

    def numpy(self, purpose: str, *counter: int) -> np.random.Generator:
        """Return a numpy generator for ``purpose`` at ``counter``."""
        import numpy as np

        return np.random.default_rng(self._sequence(purpose, counter))

    def torch(self, purpose: str, *counter: int) -> torch.Generator:
        """Return a torch CPU generator for ``purpose`` at ``counter``."""
        import numpy as np
        import torch

        seed = int(self._sequence(purpose, counter).generate_state(1, np.uint64)[0])
        return torch.Generator().manual_seed(seed & (2**63 - 1))

    def _sequence(self, purpose: str, counter: tuple[int, ...]) -> np.random.SeedSequence:
        import numpy as np

        return np.random.SeedSequence(self.root, spawn_key=(zlib.crc32(purpose.encode()), *counter))
