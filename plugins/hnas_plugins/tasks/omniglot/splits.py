"""The characters of Omniglot, and those for training, validation and test."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from attrs import frozen

from hnas.task_source import Split

FOLDERS = ("images_background", "images_evaluation")
DRAWINGS = 20
"""Drawings of each character, by as many people."""
RANDOM_SHARES: dict[Split, int] = {"train": 1150, "validation": 50, "test": 423}
"""Characters of the random split: 1200 to learn from, of which MAML++ keeps 50 for validation, and the other 423."""
_LETTERS: dict[Split, str] = {"train": "t", "validation": "v", "test": "e"}


@frozen(order=True)
class Character:
    """One of the 1623 characters, by its place in the official layout."""

    folder: str
    alphabet: str
    number: int

    @property
    def path(self) -> str:
        """Its folder's path below the root."""
        return f"{self.folder}/{self.alphabet}/character{self.number:02d}"


@cache
def _listing() -> tuple[tuple[Character, str], ...]:
    """Read the characters, in order, with the letter of their split."""
    listing = json.loads(files("hnas_plugins.tasks.omniglot").joinpath("vinyals.json").read_text(encoding="utf-8"))
    return tuple(
        (Character(folder, alphabet, number), letter)
        for folder in FOLDERS
        for alphabet, letters in listing[folder].items()
        for number, letter in enumerate(letters, 1)
    )


def characters() -> tuple[Character, ...]:
    """Return all 1623 characters in the order in which decoded images stand: background set first."""
    return tuple(character for character, _ in _listing())


def vinyals_split(split: Split) -> Sequence[int]:
    """Return the indices into `characters` of a split of Vinyals et al., 1028/172/423 characters."""
    return [i for i, (_, letter) in enumerate(_listing()) if letter == _LETTERS[split]]
