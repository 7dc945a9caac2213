"""Small meta-learning problems in float64, and a network written from the paper's description to compare with."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hnas import Architecture, Episodes, Progress
from hnas.learner import State
from hnas.supernet import Params
from hnas_plugins.engine import blocks as engine
from hnas_plugins.engine.native import library
from hnas_plugins.meta_learners.alfa import alfa
from hnas_plugins.meta_learners.anil import anil
from hnas_plugins.meta_learners.maml import MAML
from hnas_plugins.meta_learners.meta_sgd import meta_sgd
from hnas_plugins.meta_learners.options import (
    ALFAOptions,
    ANILOptions,
    L2FOptions,
    MAMLOptions,
    MAMLPlusPlusOptions,
    MetaSGDOptions,
)
from hnas_plugins.spaces.vgg9 import VGG9, VGG9Options

ACTIVATIONS = {
    "relu": F.relu,
    "elu": F.elu,
    "selu": F.selu,
    "sigmoid": torch.sigmoid,
    "relu6": F.relu6,
    "leakyrelu": F.leaky_relu,
}
EPOCH_ITERATIONS = 10
LEARNERS = {
    "maml++": (MAML, MAMLPlusPlusOptions),
    "maml": (MAML, MAMLOptions),
    "meta-sgd": (meta_sgd, MetaSGDOptions),
    "alfa": (alfa, ALFAOptions),
    "l2f": (alfa, L2FOptions),
    "anil": (anil, ANILOptions),
}


@attrs.define(kw_only=True, slots=False)
class Problem:
    """An architecture, a state and tasks. Everything that tests vary is an attribute."""

    space: VGG9
    arch: Architecture
    options: MAMLPlusPlusOptions
    episodes: Episodes
    state: State
    epoch: int = 1

    def __attrs_post_init__(self) -> None:
        self.supernet = self.space.supernet((1, 7, 6), 3)
        self.learner = next(make for make, options in LEARNERS.values() if options is type(self.options))(self.options)
        self.progress = Progress(
            iteration=self.epoch * EPOCH_ITERATIONS, iterations_per_epoch=EPOCH_ITERATIONS, epochs=10
        )

    def gradient(self, episodes: Episodes | None = None):
        """Return what the learner says: gradient and scores."""
        return self.learner.gradient(self.supernet, self.state, episodes or self.episodes, self.arch, self.progress)

    def weights(self, state: State) -> Params:
        """Return the weights that the inner loop starts from."""
        return {k: v for k, v in self._shared(state).items() if not k.startswith("norm")}

    def norms(self, state: State, step: int) -> Params:
        """Return gamma and beta of an inner step."""
        norms = {k: v for k, v in self._shared(state).items() if k.startswith("norm")}
        return {k: v[step] for k, v in norms.items()} if self.options.per_step_norm else norms

    def _shared(self, state: State) -> Params:
        return self.supernet.share({k: state[f"params/{k}"] for k in self.supernet.roles}, self.arch)

    def forward(
        self, params: Params, x: Tensor, record: list[Tensor] | None = None, given: list[list[Tensor]] | None = None
    ) -> Tensor:
        """Return the logits of the plain network of Table 7.

        ``record`` receives the maps before each normalisation; ``given`` are each layer's mean and variance to use.
        """
        options = self.space.settings
        for i, block in enumerate(self.space.blocks(self.arch), 1):
            stride = 2 if options.downsample == "stride" else 1
            x = F.conv2d(x, params[f"conv{i}.weight"], stride=stride, padding=block.kernel // 2)
            if record is not None:
                record.append(x.detach())
            gamma, beta = params[f"norm{i}.weight"].contiguous(), params[f"norm{i}.bias"].contiguous()
            how = (None, None, gamma, beta, True) if given is None else (*given[i - 1], gamma, beta, False)
            x = ACTIVATIONS[block.activation](F.batch_norm(x, *how, eps=1e-5))
            x = x if stride == 2 else F.max_pool2d(x, 2, ceil_mode=True)
        x = F.adaptive_avg_pool2d(x, options.pool)
        return F.linear(x.flatten(1), params["fc.weight"].flatten(1), params["fc.bias"])


@pytest.fixture
def make_problem() -> Callable[..., Problem]:
    """Return a function that makes a problem: a smooth or a piecewise linear network, and options of the learner."""

    def make(
        kind: str = "smooth",
        *,
        tasks: int = 2,
        plain: bool = False,
        epoch: int = 1,
        classifier: str = "own",
        learner: str = "maml++",
        **options,
    ) -> Problem:
        if kind == "smooth":
            space = VGG9(VGG9Options(base_width=3, pool=2, classifier=classifier))
            picked = {
                "activation1": "elu",
                "activation2": "sigmoid",
                "activation3": "selu",
                "scale1": 0.75,
                "scale2": 1.5,
            }
        else:
            space = VGG9(VGG9Options(base_width=4, downsample="pool", classifier=classifier))
            picked = {
                "activation1": "relu",
                "activation2": "leakyrelu",
                "activation3": "relu6",
                "scale1": 0.75,
                "scale2": 0.25,
            }
        arch = space.architecture(depth=3, kernel1=3, kernel2=1, kernel3=5, scale3=1.0, **picked)
        make_learner, kinds = LEARNERS["maml" if plain else learner]
        chosen = {"inner_steps": 3, "msl_epochs": 4, "first_order_epochs": 1, "batch_below_gflop": 0.0, **options}
        generator = torch.Generator().manual_seed(1)

        def drawn(*shape):
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        supernet = space.supernet((1, 7, 6), 3)
        state = make_learner(kinds(**chosen)).init(supernet, generator)
        state = {k: v.double() for k, v in state.items()}
        for name in state:  # away from ones and zeros, so that an exchanged or a forgotten one shows
            if name.startswith(("params/norm", "params/fc.bias")):
                state[name] += 0.3 * drawn(*state[name].shape)
            elif name.startswith(("lslr/", "rates/", "decay/")):
                state[name] *= 1 + 0.3 * drawn(*state[name].shape)
            elif name.startswith(("alfa/", "l2f/")):
                state[name] += 0.3 * drawn(*state[name].shape)
        labels = torch.arange(3).repeat_interleave(2).expand(tasks, -1).contiguous()
        episodes = Episodes(
            support_x=drawn(tasks, 6, 1, 7, 6), support_y=labels, query_x=drawn(tasks, 6, 1, 7, 6), query_y=labels
        )
        return Problem(space=space, arch=arch, options=kinds(**chosen), episodes=episodes, state=state, epoch=epoch)

    return make


@pytest.fixture(params=["engine", "plain"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, hnas_home: object) -> str:
    """Both ways to compute a network: the engine's kernels, and plain torch."""
    if request.param == "plain":
        monkeypatch.setattr(engine, "usable", lambda x, stats: False)
    elif library(torch.float64) is None:
        pytest.skip("no C compiler, or HNAS_ENGINE=plain")
    return request.param


@pytest.fixture(params=[0.0, 1e9], ids=["looped", "batched"])
def way(request: pytest.FixtureRequest) -> dict[str, float]:
    """Both ways to adapt: one task after the other, and all tasks as one batch. Options of the learner."""
    return {"batch_below_gflop": request.param}
