"""A meta-gradient in float64 by the ranks of torchrun; run as a program, rank 0 saves it into the file that it names.

The test that runs it imports from here what one process is to compute the same from.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import attrs
import numpy as np
import torch
from safetensors.torch import save_file
from tiny_tasks import TinyTasks, tiny_setup

from hnas import Episodes, EpisodeSpec, Progress
from hnas.learner import Gradient
from hnas.task_source import Split
from hnas_app.executors import this_rank as ranks
from hnas_app.executors.in_process import InProcess
from hnas_app.executors.interface import Executor
from hnas_app.executors.rank_group import RankGroup
from hnas_app.training.meta_batch import cut, meta_gradient
from hnas_app.training.setup.setup import Setup

PROGRESS = Progress(iteration=3, iterations_per_epoch=4, epochs=1)


class DoubleTasks(TinyTasks):
    """The same tasks in float64."""

    def sample(self, split: Split, spec: EpisodeSpec, generators: Sequence[np.random.Generator]) -> Episodes:
        drawn = super().sample(split, spec, generators)
        return attrs.evolve(drawn, support_x=drawn.support_x.double(), query_x=drawn.query_x.double())


def double_setup() -> Setup:
    return attrs.evolve(tiny_setup(), tasks=DoubleTasks())


def gradient(executor: Executor, pieces: int) -> tuple[Gradient, list[tuple[float, float]]]:
    """Return the meta-gradient over 5 tasks of two architectures, cut for so many workers, and the parts' scores."""
    setup = double_setup()
    fresh = setup.learner.init(setup.supernet, setup.seeds.torch("init"))
    state = {name: value.double() for name, value in fresh.items()}
    largest, smallest = setup.space.largest(), setup.space.smallest()
    parts = cut([largest, smallest], 5, pieces, lambda arch: 3.0 if arch == largest else 1.0)
    setup.send(executor)
    return meta_gradient(executor, state, parts, 2, PROGRESS, "train")


def main() -> None:
    with RankGroup(InProcess()) as group:
        found, scores = gradient(group, group.size)
        told, noted = group.from_leader({"x": torch.full((2,), float(group.rank))}, {"rank": group.rank})
        assert (told["x"].tolist(), noted) == ([0.0, 0.0], {"rank": 0})
        assert group.agree("same")
        assert not group.agree(f"{group.rank}")
        found["scores"] = torch.tensor(scores, dtype=torch.float64)
        save_file(found, Path(sys.argv[1]) / f"rank{group.rank}.safetensors")
        print(f"rank {group.rank} of {group.ranks} in {os.getpid()}")
    ranks.end(0)


if __name__ == "__main__":
    main()
