"""Import torchmeta 1.8.0, released in 2021, with a current PyTorch."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from hnas.errors import DataError, PluginError

INSTALL = (
    "pip install h5py tqdm requests ordered-set",
    "pip install --no-deps torchmeta==1.8.0 torchvision==0.16.2",
)
"""Commands that make it importable beside hnas. They ignore its own pins, such as torch below 1.10. This torchvision
works without its C library if that does not fit torch; one that is made for another torch does not."""
PYTHON = (3, 11)
"""The newest Python that this torchvision has wheels for."""
_GONE = ("_get_confirm_token", "_save_response_content")
"""Names that torchmeta imports from `torchvision.datasets.utils` and that are no longer there."""


def import_torchmeta() -> Any:
    """Import torchmeta, mend its incompatibilities, and return the package. Raises `PluginError`.

    Call it before any ``import torchmeta``. Afterwards torchvision is as it was, and torchmeta's modules can be
    imported as usual.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Failed to load image Python extension")
            with _lent_names():
                torchmeta = importlib.import_module("torchmeta")
    except Exception as cause:  # also RuntimeError, of a torchvision that was built for another torch
        here = "" if sys.version_info[:2] == PYTHON else f" (this is {sys.version_info[0]}.{sys.version_info[1]})"
        raise PluginError(
            f"cannot import torchmeta: {type(cause).__name__}: {cause}",
            hint=f"on Python {PYTHON[0]}.{PYTHON[1]}{here}: {' && '.join(INSTALL)}",
        ) from cause
    _mend(torchmeta.utils.data.SubsetTask)
    return torchmeta


@contextmanager
def _lent_names() -> Iterator[None]:
    """Give `torchvision.datasets.utils` the names that it lacks, and take them away again."""
    utils = importlib.import_module("torchvision.datasets.utils")
    lent = [name for name in _GONE if not hasattr(utils, name)]
    for name in lent:
        setattr(utils, name, _google_drive)
    try:
        yield
    finally:
        for name in lent:
            delattr(utils, name)


def _google_drive(*_: object) -> NoReturn:
    """Stand for the lent names: only torchmeta's downloads from Google Drive call them."""
    raise DataError(
        "torchmeta's downloads from Google Drive date from 2021 and no longer work",
        hint="get the data by other means, in torchmeta's layout, and name their folder with --data-root",
    )


def _mend(subset_task: Any) -> None:
    """Add the method that the `Subset` of torch 2.11 and newer requires of torchmeta's sub-class."""
    if "__getitems__" not in vars(subset_task):
        subset_task.__getitems__ = lambda self, indices: [self[i] for i in indices]
