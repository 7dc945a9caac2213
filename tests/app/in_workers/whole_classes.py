"""A learner that pre-trains by classifying all training classes, as Meta-Baseline does, for workers to import."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from hnas import Registry, Scores
from hnas.task_source import Split
from hnas.testing import TinyTasks

EXAMPLE = f"{Path(__file__).resolve().parents[3] / 'examples' / 'prototypical_learner.py'}:Prototypical"
PROTOTYPICAL: Any = type(Registry().create("learner", EXAMPLE))


class WholeClasses(PROTOTYPICAL):
    """The super-net's classifier, which only the training uses, has an output for each training class."""

    needs_classes = True

    def gradient(self, supernet: Any, state: Any, episodes: Any, arch: Any, progress: Any) -> Any:
        leaves = {n: state[f"params/{n}"].detach().requires_grad_() for n in supernet.roles}
        shared = {n: v.expand(len(episodes), *v.shape) for n, v in supernet.share(leaves, arch).items()}
        logits = supernet.forward_tasks(shared, episodes.query_x, arch)
        ids = episodes.classes.gather(1, episodes.query_y)
        losses = cross_entropy(logits.flatten(0, 1), ids.flatten(), reduction="none").view(ids.shape).mean(1)
        found = torch.autograd.grad(losses.sum(), list(leaves.values()), allow_unused=True)
        gradient = {f"params/{n}": g for n, g in zip(leaves, found, strict=True) if g is not None}
        return gradient, Scores(loss=losses.detach(), accuracy=(logits.argmax(-1) == ids).float().mean(1))


class ElevenClasses(TinyTasks):
    """One class more to train on than usual."""

    def n_classes(self, split: Split) -> int:
        return 11 if split == "train" else 10
