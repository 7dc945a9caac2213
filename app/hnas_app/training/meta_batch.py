"""One iteration's meta-gradient: a meta-batch cut into parts for the workers, and their gradients added up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

import attrs
from attrs import frozen

from hnas.architecture import Architecture
from hnas.learner import Gradient, Progress, State
from hnas_app.executors.interface import Executor
from hnas_app.training.accelerator import memory_explained
from hnas_app.training.setup.returned import gradient_and_scores
from hnas_app.training.setup.setup import Setup, from_driver, to_workers


@frozen(kw_only=True)
class Part:
    """Tasks of a meta-batch, by their index in it, on which one architecture is trained."""

    arch: Architecture
    tasks: range


def cut(
    architectures: Sequence[Architecture], tasks: int, workers: int, work: Callable[[Architecture], float]
) -> list[Part]:
    """Share ``tasks`` out among the architectures evenly, and cut them into parts of an even load; the longest first.

    ``work`` returns the work of one task of an architecture, in any unit. All tasks are laid in a line, which is cut
    where a worker's share ends (McNaughton's rule). So an architecture's tasks, which are computed together, stay
    together as far as an even load allows. With fewer tasks than architectures the last architectures get none.
    """
    n = min(len(architectures), tasks)
    firsts = [tasks * i // n for i in range(n + 1)]
    line = [arch for arch, (a, b) in zip(architectures, pairwise(firsts), strict=False) for _ in range(a, b)]
    each = [work(arch) for arch in line]
    ends = list(accumulate(each))
    shares = [int((end - one / 2) / ends[-1] * workers) for one, end in zip(each, ends, strict=True)]
    edges = [i for i in range(1, tasks) if i in firsts or shares[i] != shares[i - 1]]
    parts = [Part(arch=line[a], tasks=range(a, b)) for a, b in pairwise([0, *edges, tasks])]
    return sorted(parts, key=lambda part: -sum(each[i] for i in part.tasks))


def meta_gradient(
    executor: Executor, state: State, parts: Sequence[Part], n_query: int, progress: Progress, stream: str
) -> tuple[Gradient, list[tuple[float, float]]]:
    """Return the sum of the meta-gradient over all tasks, and the sums of each part's query losses and accuracies.

    The gradient is rounded to the state's types. It does not depend on the parts if the learner's own sums are exact,
    see `hnas.toolkit.learning.exact_sum`.
    """
    import torch

    executor.put(state=to_workers(state))
    items = [GradientItem(part, progress, n_query, f"{stream}-tasks") for part in parts]
    sums, scores = executor.map_sum(gradient_part, items)
    gradient = {k: torch.from_numpy(v) for k, v in sums.items()}
    rounded = {k: v.to(state[k].dtype) if k in state else v for k, v in gradient.items()}
    return rounded, [(losses, accuracies) for losses, accuracies in scores]


@frozen
class GradientItem:
    """The item of a worker: a part of an iteration's meta-batch, with the tasks of the stream ``purpose``."""

    part: Part
    progress: Progress
    n_query: int
    purpose: str

    @property
    def place(self) -> int:
        """Keeps a worker to about the same tasks, which it then draws ahead, see `Setup.prepare`."""
        return self.part.tasks.start


def gradient_part(values: Mapping[str, Any], item: GradientItem) -> tuple[dict[str, Any], tuple[float, float]]:
    """Run in a worker: the meta-gradient over a part of the meta-batch, and the sums of query losses and accuracies.

    Sums of so few float32 numbers are exact in float64: those over a meta-batch do not depend on its parts.
    """
    setup: Setup = values["setup"]
    part, progress, n_query, purpose = item.part, item.progress, item.n_query, item.purpose
    episodes = setup.episodes("train", purpose, part.tasks, n_query, progress.iteration)
    state = from_driver(values["state"], setup)
    first = int(setup.seeds.numpy(f"{purpose}-noise", progress.iteration).integers(1 << 62))
    progress = attrs.evolve(progress, noise=tuple(first + i for i in part.tasks))
    n_way, k_shot = setup.size("train")
    with memory_explained(
        f"the networks of {len(part.tasks)} tasks, {n_way} x ({k_shot} + {n_query}) images each",
        "the phase's tasks or n_query, or learner.batch_below_gflop",
    ):
        found = setup.learner.gradient(setup.training_supernet, state, episodes, part.arch, progress)
        gradient, scores = gradient_and_scores(setup.learner, found, len(episodes), state)
        arrays = {k: v.detach().cpu().numpy() for k, v in gradient.items()}
    return arrays, (scores.loss.double().sum().item(), scores.accuracy.double().sum().item())
