"""Score every network of a small space with the weights of a really trained super-net: what searches are judged by.

    python experiments/search_quality/exhaustive.py            # minutes on one core

Trains VGG9's super-net (base width 8) on glyphs 5-way 1-shot, on architectures of `SmallSpace` only; then scores all
1,332 of them on the 16 validation tasks of a search with ``search.slice=fixed``. Writes ``exhaustive.json`` (each
network's loss, accuracy and multiply-accumulates, with where they come from) and ``weights.safetensors``, the super-net
that they were scored with, from which ``tests/search_strategies/test_search_quality.py`` scores some of them again.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from measuring import settle_environment

if __name__ == "__main__":
    settle_environment()

from small_space import BASE_WIDTH, IMAGE, N_WAY, SmallSpace

from hnas import Architecture, Cost, Seeds
from hnas.events import Event
from hnas.learner import Progress, State
from hnas.strategy import Scored
from hnas.toolkit.files import write_bytes
from hnas_app.config.schema import SearchConfig
from hnas_app.executors.in_process import InProcess
from hnas_app.runs.environment import environment
from hnas_app.search.evaluator import Evaluator
from hnas_app.search.score_store import ScoreStore
from hnas_app.training.outer_loop import TrainPlan, train
from hnas_app.training.setup.setup import Setup
from hnas_plugins.meta_learners.maml import MAML
from hnas_plugins.meta_learners.options import MAMLPlusPlusOptions
from hnas_plugins.tasks.glyphs.source import Glyphs

FOLDER = Path(__file__).parent
SEED = 0
K_SHOT = 1
LEARNER = {"meta_lr": 4e-3, "second_order": False, "multi_step_loss": False, "rate_scaling": "linear"}
PLAN = {"epochs": 10, "iterations": 120, "tasks": 16, "n_query": 5, "validate_every": 10}
ARCHITECTURES = 2
SEARCH = SearchConfig(slice="fixed", tasks=16, pool=200, n_query=5)


def setup_of(space: SmallSpace) -> Setup:
    """Return the setting that the super-net is trained and scored in."""
    return Setup(
        space=space.vgg9,
        learner=MAML(MAMLPlusPlusOptions(**LEARNER)),  # type: ignore[arg-type]
        tasks=Glyphs(),
        n_way=N_WAY,
        k_shot=K_SHOT,
        seeds=Seeds(SEED),
    )


def trained(space: SmallSpace, setup: Setup, plan: TrainPlan) -> State:
    """Meta-train the super-net on random architectures of the small space."""

    def draw(progress: Progress) -> list[Architecture]:
        generator = setup.seeds.numpy("small-space", progress.iteration)
        return [space.whole(space.sample(generator)) for _ in range(ARCHITECTURES)]

    def tell(event: Event) -> None:
        if event.kind == "step":
            print(f"{event.done}/{event.total} {dict(event.values)}", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as folder, InProcess() as here:
        return train(
            setup, plan, draw, here, phase="meta-train", folder=Path(folder), emit=tell,
            start=lambda: setup.learner.init(setup.supernet, setup.seeds.torch("meta-train-init")),
        )  # fmt: skip


def scored(space: SmallSpace, setup: Setup, state: State, architectures: Sequence[Architecture]) -> list[Scored]:
    """Score architectures of the small space as a search with fixed tasks does."""
    with InProcess() as here:
        store = ScoreStore(setup=setup, executor=here, config=SEARCH)
        evaluator = Evaluator(scores=store, cost=lambda a: cost_of(space, a))
        store.start(state)
        return store.run(evaluator.score([space.whole(a) for a in architectures], evaluator.slice(0)))


def cost_of(space: SmallSpace, arch: Architecture) -> Cost:
    """Return parameters and multiply-accumulates of an architecture, VGG9's or the small space's."""
    layers = (space.vgg9 if arch.space == space.vgg9.name else space).layers(arch, IMAGE, N_WAY)
    return Cost(values={"params": sum(x.params for x in layers), "macs": sum(x.macs for x in layers)})


def in_use(state: State) -> State:
    """Leave out what networks of two layers do not have, and what only training needs."""
    unused = ("conv3", "conv4", "norm3", "norm4")
    return {k: v for k, v in state.items() if not k.startswith("outer/") and not any(u in k for u in unused)}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Score every network of a small space.")
    parser.add_argument("--iterations", type=int, default=PLAN["iterations"], help="in each of the epochs")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the results are written")
    options = parser.parse_args(arguments)
    from safetensors.torch import save

    space = SmallSpace()
    setup = setup_of(space)
    plan = PLAN | {"iterations": options.iterations}
    began = time.perf_counter()
    state = trained(space, setup, TrainPlan(**plan))
    training_s = time.perf_counter() - began
    everything = list(space.everything())
    found = scored(space, setup, state, everything)
    content: dict[str, Any] = {
        "what": "mean query loss (nats) of every network of the small space on 16 fixed tasks, with super-net weights",
        "command": "python experiments/search_quality/exhaustive.py",
        "setting": {
            "space": f"vgg9, base width {BASE_WIDTH}, norms=activation, pool=5",
            "part": "depth 1 and 2, kernels 3 and 5, scales 0.5, 1 and 2, all activations",
            "tasks": f"glyphs, {N_WAY}-way {K_SHOT}-shot",
            "learner": f"maml++, {LEARNER}",
            "plan": {**plan, "architectures": ARCHITECTURES},
            "search": {"tasks": SEARCH.tasks, "pool": SEARCH.pool, "n_query": SEARCH.n_query},
            "seed": SEED,
        },
        "seconds": {"training": round(training_s), "scoring": round(time.perf_counter() - began - training_s)},
        "environment": environment(),
        "genes": ["".join(map(str, a.genes)) for a in everything],
        "loss": [round(s.loss, 6) for s in found],
        "accuracy": [round(s.accuracy, 4) for s in found],
        "macs": [int(s.cost["macs"]) for s in found],
    }
    lines = ",\n".join(f" {json.dumps(k)}: {json.dumps(v)}" for k, v in content.items())
    (options.folder / "exhaustive.json").write_text(f"{{\n{lines}\n}}\n")
    write_bytes(options.folder / "weights.safetensors", save({k: v.contiguous() for k, v in in_use(state).items()}))


if __name__ == "__main__":
    main()
