"""The example meta-learner conforms, and its gradient is Reptile's: the way that the inner loop went."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

import hnas
from hnas.testing import LearnerConformance, TinySpace, TinyTasks

REFERENCE = f"{Path(__file__).resolve().parents[2] / 'examples' / 'custom_learner.py'}:Reptile"
REGISTRY = hnas.Registry()


def reptile(**options: Any) -> hnas.MetaLearner:
    learner: hnas.MetaLearner = REGISTRY.create(
        "learner", REFERENCE, REGISTRY.options_class("learner", REFERENCE)(**options)
    )
    return learner


class TestReptile(LearnerConformance):
    def make(self) -> hnas.MetaLearner:
        return reptile()


def test_the_gradient_is_the_way_down_on_all_images():
    """Computed here with a network of its own weights and plain SGD."""
    space, tasks = TinySpace(depth=1, widths=(4,)), TinyTasks()
    supernet, arch = space.supernet(tasks.image_shape, 3), space.largest()
    seeds = hnas.Seeds(0)
    learner = reptile(inner_steps=3, inner_lr=0.2)
    state = learner.init(supernet, seeds.torch("init"))
    episodes = tasks.sample("train", hnas.EpisodeSpec(n_way=3, k_shot=1, n_query=2), [seeds.numpy("tasks")])
    progress = hnas.Progress(iteration=0, iterations_per_epoch=4, epochs=1)
    gradient, _ = learner.gradient(supernet, state, episodes, arch, progress)

    x = torch.cat([episodes.support_x[0], episodes.query_x[0]])
    y = torch.cat([episodes.support_y[0], episodes.query_y[0]])
    start = supernet.share({k: state[f"params/{k}"] for k in supernet.roles}, arch)
    weights = {k: v.clone() for k, v in start.items()}
    for _ in range(3):
        leaves = {k: v.detach().requires_grad_() for k, v in weights.items()}
        loss = F.cross_entropy(supernet.forward(leaves, x, arch), y)
        found = torch.autograd.grad(loss, list(leaves.values()))
        weights = {k: v.detach() - 0.2 * g for (k, v), g in zip(leaves.items(), found, strict=True)}
    moved = {k: start[k] - w for k, w in weights.items() if supernet.roles[k] == "weight"}
    assert sum(float(v.abs().sum()) for v in moved.values()) > 0.01
    own = supernet.share(
        {k: gradient.get(f"params/{k}", torch.zeros_like(state[f"params/{k}"])) for k in supernet.roles}, arch
    )
    for name, way in moved.items():
        torch.testing.assert_close(own[name], way, rtol=1e-4, atol=1e-6)

    before = {k: v.clone() for k, v in state.items()}
    halfway = hnas.Progress(iteration=2, iterations_per_epoch=4, epochs=1)
    learner.update(state, gradient, 1, halfway)
    for name, summed in gradient.items():
        torch.testing.assert_close(state[name], before[name] - 0.5 * summed)


@pytest.mark.slow
def test_a_run_meta_trains_with_it(tmp_path):
    """From the command line's reference to a network that was found; better than chance after a minute."""
    settings: dict[str, Any] = {
        "space.base_width": 8,
        "meta_train.epochs": 4,
        "meta_train.iterations": 40,
        "meta_train.tasks": 5,
        "meta_train.n_query": 5,
        "strategy.population": 6,
        "strategy.iterations": 2,
        "search.tasks": 4,
        "search.pool": 20,
        "search.final_tasks": 10,
        "retrain.epochs": 2,
        "retrain.iterations": 20,
        "retrain.tasks": 5,
        "retrain.n_query": 5,
        "retrain.start": "supernet",
        "evaluate.tasks": 100,
    }
    run = hnas.run(learner=REFERENCE, preset="none", settings=settings, run_dir=tmp_path / "run")
    lower = run.found.retrained.lower
    assert lower is not None
    assert lower > 0.25
