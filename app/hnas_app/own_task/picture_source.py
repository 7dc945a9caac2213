"""The task source that reads a user's pictures, as the application uses it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from hnas.toolkit.pictures import PictureTask

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class PictureSource(Protocol):
    """The interface of a task source whose only task is a folder of the user's pictures.

    Made by the command line with the options ``root`` and those of a `Preparation`.
    """

    def task(self) -> PictureTask:
        """Return the task. Raises `DataError` with the expected and the found layout if the folder is none."""

    def read(self, path: Path) -> NDArray[np.float32]:
        """Return one picture as an image (C, H, W). Raises `DataError` if it cannot be read or decoded.

        Must not import torch: `hnas predict` starts in a moment.
        """
