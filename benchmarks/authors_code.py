"""Measure whole meta-training iterations against the MAML++ authors' own code.

    git clone https://github.com/AntreasAntoniou/HowToTrainYourMAMLPytorch ~/mamlpp
    python benchmarks/authors_code.py ~/mamlpp --reps 5

Their code stays where it is: it is imported, not copied. One iteration is a meta-batch, second order, without the
multi-step loss, and the outer step: theirs on one and on two threads, ours with two workers. Their data loading is left
out, ours is not. The outputs of both networks have the same size but where their 2×2 pooling rounds down and ours up.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from measuring import interleave, record, settle_environment

if __name__ == "__main__":
    settle_environment()

import torch
from configs import CONFIGS, INNER_STEPS, Config
from meta_batch import PHASE, PROGRESS, setup_of
from meta_step import learner_of

from hnas_app.executors.local_processes import LocalProcesses
from hnas_app.training.meta_batch import cut, meta_gradient

WORKERS = 2
LATE_EPOCH = 50
"""After the epochs of multi-step loss."""


class Theirs:
    """The authors' `MAMLFewShotClassifier` in one of our settings, on a fixed batch of tasks."""

    def __init__(self, module: Any, config: Config) -> None:
        channels, height, width = config.image
        arguments = Namespace(
            batch_size=config.tasks,
            seed=0,
            use_cuda=False,
            num_classes_per_set=config.n_way,
            task_learning_rate=config.inner_lr,
            number_of_training_steps_per_iter=INNER_STEPS,
            learnable_per_layer_per_step_inner_loop_learning_rate=True,
            enable_inner_loop_optimizable_bn_params=False,
            meta_learning_rate=1e-3,
            min_learning_rate=1e-5,
            total_epochs=100,
            multi_step_loss_num_epochs=10,
            use_multi_step_loss_optimization=False,
            second_order=True,
            first_order_to_second_order_epoch=-1,
            dataset_name="omniglot_dataset" if channels == 1 else "mini_imagenet_full_size",
            cnn_num_filters=config.space.blocks(config.networks("reference")[0])[0].width,
            num_stages=4,
            conv_padding=True,
            max_pooling=config.downsample == "pool",
            norm_layer="batch_norm",
            per_step_bn_statistics=True,
            learnable_bn_gamma=True,
            learnable_bn_beta=True,
        )
        with contextlib.redirect_stdout(io.StringIO()):  # it prints every parameter
            self._model = module.MAMLFewShotClassifier((2, channels, height, width), torch.device("cpu"), arguments)
        e = config.episodes(config.tasks)
        support, query = (config.n_way, config.k_shot), (config.n_way, config.n_query)
        self._batch = (
            e.support_x.unflatten(1, support),
            e.query_x.unflatten(1, query),
            e.support_y.unflatten(1, support),
            e.query_y.unflatten(1, query),
        )

    def iterate(self, threads: int) -> None:
        torch.set_num_threads(threads)
        losses, _ = self._model.train_forward_prop(data_batch=self._batch, epoch=LATE_EPOCH)
        self._model.meta_update(loss=losses["loss"])
        torch.set_num_threads(1)


def measure(config: Config, module: Any, reps: int) -> list[dict[str, Any]]:
    theirs, learner = Theirs(module, config), learner_of(config, "second")
    setup = setup_of(config, learner)
    state = learner.init(setup.supernet, torch.Generator().manual_seed(0))
    arch = config.networks("reference")[0]
    with LocalProcesses(WORKERS) as pool:
        pool.put(setup=setup)

        def ours() -> None:
            parts = cut([arch], config.tasks, pool.size, lambda _: 1.0)
            gradient, _ = meta_gradient(pool, state, parts, config.n_query, PROGRESS, PHASE)
            learner.update(state, gradient, config.tasks, PROGRESS)

        calls: dict[str, Callable[[], object]] = {f"authors {n}": partial(theirs.iterate, n) for n in (1, 2)}
        calls[f"hnas {WORKERS}"] = ours
        wall = {name: timing.wall_s for name, timing in interleave(calls, reps, twice=True).items()}
    best = min(wall["authors 1"], wall["authors 2"])
    return [
        {
            "config": config.name,
            "variant": name.split()[0],
            "threads" if name.startswith("authors") else "workers": int(name.split()[1]),
            "order": "second",
            "wall_ms": round(1e3 * seconds, 2),
            "ratio_over_authors": round(best / seconds, 3),
        }
        for name, seconds in wall.items()
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure iterations against the MAML++ authors' code.")
    parser.add_argument("folder", type=Path, help="a clone of HowToTrainYourMAMLPytorch")
    parser.add_argument("--configs", default="omni20_s2,mini5_s2,mini5_mp", help=f"of {', '.join(CONFIGS)}")
    parser.add_argument("--reps", type=int, default=5, help="rounds")
    options = parser.parse_args(arguments)
    if not (options.folder / "few_shot_learning_system.py").is_file():
        sys.exit(f"{options.folder} holds no few_shot_learning_system.py, expected a clone of the authors' code")
    sys.path.insert(0, str(options.folder))
    module = importlib.import_module("few_shot_learning_system")
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for name in options.configs.split(","):
        rows += measure(CONFIGS[name], module, options.reps)
        print(json.dumps(rows[-3:], indent=1), flush=True)
    record("authors_code", rows)


if __name__ == "__main__":
    main()
