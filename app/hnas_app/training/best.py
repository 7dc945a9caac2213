"""The best state of a training by validation, in a checkpoint of its own, and when to stop for want of a better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import define

from hnas.architecture import Architecture
from hnas.learner import State
from hnas_app.training.checkpoint import load_checkpoint, load_latest, save_checkpoint
from hnas_app.training.setup.setup import Setup

SAMPLED = 3
"""Random architectures that speak for a super-net, besides the reference network."""


@define(kw_only=True)
class Best:
    """What the validations so far have found. Only validations change it, and the training's checkpoints hold it."""

    folder: Path
    patience: int
    """Validations in a row without a better accuracy that end the training; 0: none do."""
    archs: Sequence[Architecture]
    """Always the same, so that accuracies can be compared; see `judged`."""
    iteration: int = 0
    accuracy: float | None = None
    waited: int = 0
    """Validations since the best one."""

    @property
    def record(self) -> dict[str, Any]:
        """What a checkpoint holds of it, for `go_on`."""
        return {"iteration": self.iteration, "accuracy": self.accuracy, "waited": self.waited}

    @property
    def told(self) -> dict[str, float]:
        """The best accuracy so far, to be shown with the progress."""
        return {} if self.accuracy is None else {"best_validation_accuracy": self.accuracy}

    @property
    def is_over(self) -> bool:
        """Whether the training has waited long enough for a better state."""
        return 0 < self.patience <= self.waited

    def go_on(self, record: Mapping[str, Any]) -> None:
        """Go on from the `record` in a checkpoint."""
        self.iteration, self.accuracy, self.waited = record["iteration"], record["accuracy"], record["waited"]

    def judge(self, iteration: int, accuracy: float) -> bool:
        """Return whether this is the best validation so far; of equal ones the first is."""
        better = self.accuracy is None or accuracy > self.accuracy
        self.waited = 0 if better else self.waited + 1
        if better:
            self.iteration, self.accuracy = iteration, accuracy
        return better

    def save(self, state: State) -> None:
        """Keep the state of the validation that `judge` found the best."""
        save_checkpoint(self.folder, f"best-{self.iteration:08d}", state, self.record)

    def load(self) -> State:
        """Return the best state. Raises `DataError` if its checkpoint is gone or damaged."""
        return load_checkpoint(self.folder / f"best-{self.iteration:08d}.json")[0]


def judged(setup: Setup) -> tuple[Architecture, ...]:
    """Return what is validated: the network that is trained alone, or some that speak for the super-net.

    These are the space's reference network, or its largest one, and three random ones, the same in every validation.
    """
    if setup.alone is not None:
        return (setup.alone,)
    name = setup.space.default_reference(setup.image_shape)
    reference = setup.space.reference(name) if name else None
    generator = setup.seeds.numpy("keep-best")
    sampled = (setup.space.sample(generator) for _ in range(SAMPLED))
    return tuple(dict.fromkeys([reference or setup.space.largest(), *sampled]))


def kept(folder: Path) -> dict[str, Any] | None:
    """Return at which iteration a finished training ended, and which it kept, with its validation accuracy.

    ``None`` if it is not finished, or keeps its last state.
    """
    found = load_latest(folder, "state")
    told: dict[str, Any] | None = found[1].get("kept") if found else None
    return told
