"""Each rule by hand, on features of few numbers, and what all learners share that compare features."""

from __future__ import annotations

import sys
from math import exp, log, log1p, sqrt
from typing import Any

import numpy as np
import pytest
import torch
from attrs import evolve
from pixels import ARCH, PROGRESS, Pixels, probabilities, task
from torch.nn import functional as F

from hnas import ConfigError, DataError, EpisodeSpec, Progress, Registry
from hnas.testing import TinyTasks
from hnas_plugins.metric_learners.comparing import Comparing
from hnas_plugins.metric_learners.deepemd import Transport
from hnas_plugins.metric_learners.relation import RelationOptions, Relations
from hnas_plugins.spaces.vgg9 import VGG9, VGG9Options

REGISTRY = Registry()
NAMES = ["prototypical", "matching", "relation", "siamese", "meta-baseline", "deepemd"]
TWO = task([[(0, 0), (2, 0)], [(0, 4), (2, 4)]], [[(1, 1)], [(1, 3)]])
"""Two classes with means (1, 0) and (1, 4)."""


@pytest.fixture(autouse=True)
def _pot(request: pytest.FixtureRequest, required_module: Any) -> None:
    if "deepemd" in request.node.name and "without_pot" not in request.node.name:
        required_module("ot")


def learner(name: str, **options: Any) -> Any:
    return REGISTRY.create("learner", name, options)


def test_prototypical_by_hand() -> None:
    """The first image is at the squared distances 1 and 9 from the means, the second at 9 and 1."""
    near = 1 / (1 + exp(-8))
    expected = torch.tensor([[near, 1 - near], [1 - near, near]])
    torch.testing.assert_close(probabilities(learner("prototypical"), TWO), expected)


def test_matching_by_hand() -> None:
    """Cosines of (1, 1) with the support images, by class: 1/√2 twice, and 1/√2 and 3/√10."""
    episodes = task([[(1, 0), (0, 2)], [(0, 3), (1, 2)]], [[(1, 1)], [(0, 5)]])
    with_scale = learner("matching", scale=2.0)
    first = [2 * exp(2 / sqrt(2)), exp(2 / sqrt(2)) + exp(2 * 3 / sqrt(10))]
    second = [1 + exp(2), exp(2) + exp(2 * 2 / sqrt(5))]
    expected = torch.tensor([[a / sum(row) for a in row] for row in (first, second)])
    torch.testing.assert_close(probabilities(with_scale, episodes), expected)


def test_siamese_by_hand() -> None:
    """Weights begin at -2 for each of two numbers, the bias at 2. The best match of (1, 1) is at distance 1 or 2."""
    episodes = task([[(1, 0), (9, 9)], [(0, 2), (9, 9)]], [[(1, 1)], [(0, 2)]])
    made, supernet = learner("siamese"), Pixels()
    state = made.init(supernet, torch.Generator())
    adapted = made.adapt(supernet, state, episodes, ARCH)
    logits = made.logits(supernet, adapted, episodes.query_x, ARCH)
    torch.testing.assert_close(logits, torch.tensor([[[0.0, -2.0], [-4.0, 2.0]]]))
    _, scores = made.gradient(supernet, state, episodes, ARCH, PROGRESS)
    far = [[-30.0, -30.0], [-30.0, -30.0]]  # of (1, 1): 16 away from (9, 9); of (0, 2) as well
    pairs = [[[0.0, far[0][0]], [-2.0, far[0][1]]], [[-4.0, far[1][0]], [2.0, far[1][1]]]]
    losses = [
        sum((log1p(exp(-z)) if label == a else log1p(exp(z))) / 4 for a, row in enumerate(image) for z in row)
        for label, image in enumerate(pairs)
    ]
    assert float(scores.loss) == pytest.approx(sum(losses) / 2, rel=1e-5)


class Products(Relations):
    """The module is a dot product."""

    def logits(self, own: Any, kept: Any, x: Any) -> Any:
        return x.flatten(2) @ kept.flatten(2).transpose(1, 2)


def test_relation_by_hand_with_a_dot_product() -> None:
    """Class maps are sums over shots: (2, 0) and (2, 8). Scores are trained to 1 and 0 by the squared error."""
    made, supernet = Comparing(RelationOptions(), Products(4)), Pixels()
    state = made.init(supernet, torch.Generator().manual_seed(0))
    adapted = made.adapt(supernet, state, TWO, ARCH)
    logits = made.logits(supernet, adapted, TWO.query_x / 8, ARCH)
    torch.testing.assert_close(logits, torch.tensor([[[2.0, 10.0], [2.0, 26.0]]]) / 8)
    episodes = evolve(TWO, query_x=TWO.query_x / 8)
    _, scores = made.gradient(supernet, state, episodes, ARCH, PROGRESS)
    r = [[1 / (1 + exp(-z / 8)) for z in row] for row in ((2, 10), (2, 26))]
    expected = ((1 - r[0][0]) ** 2 + r[0][1] ** 2 + r[1][0] ** 2 + (1 - r[1][1]) ** 2) / 4
    assert float(scores.loss) == pytest.approx(expected)


@pytest.mark.parametrize("places", [1, 4, 9, 25])
def test_relation_convolves_concatenated_maps(places: int) -> None:
    """The halves are convolved apart; here they are concatenated, pair by pair, and the module is as in the paper."""
    side, rule, generator = round(sqrt(places)), Relations(6), torch.Generator().manual_seed(0)
    own = rule.init((3, places), generator)
    kept, x = torch.rand(2, 4, 3, places, generator=generator), torch.rand(2, 5, 3, places, generator=generator)
    found = rule.logits({k: v.expand(2, *v.shape) for k, v in own.items()}, kept, x)
    assert found.shape == (2, 5, 4)
    pair = torch.cat([kept[1, 2], x[1, 4]]).view(1, 6, side, side)
    for i in (1, 2):
        weight = own[f"conv{i}.weight"]
        pair = F.conv2d(pair, weight.flatten(1, 2) if i == 1 else weight, padding=1)
        pair = F.relu(F.layer_norm(pair, pair.shape[1:]) + own[f"conv{i}.bias"][:, None, None])
        pair = F.max_pool2d(pair, 2, ceil_mode=True) if pair.shape[-1] > 1 else pair
    hidden = F.relu(F.linear(pair.flatten(1), own["fc1.weight"], own["fc1.bias"]))
    torch.testing.assert_close(found[1, 4, 2], F.linear(hidden, own["fc2.weight"], own["fc2.bias"])[0, 0])


def test_relation_refuses_maps_that_are_not_square() -> None:
    with pytest.raises(ConfigError, match="features have 6 places"):
        learner("relation").init(Pixels(2, 6), torch.Generator())


def test_meta_baseline_by_hand() -> None:
    """Cosines with the means (1, 0) and (1, 4), times the temperature."""
    made = learner("meta-baseline", temperature=3.0)
    rows = [[exp(3 * c) for c in row] for row in ((1 / sqrt(2), 5 / sqrt(34)), (1 / sqrt(10), 13 / sqrt(170)))]
    expected = torch.tensor([[a / sum(row) for a in row] for row in rows])
    torch.testing.assert_close(probabilities(made, TWO), expected)


def test_the_stages_of_meta_baseline_leave_two_sets_of_weights() -> None:
    """The first stage trains the classifier of all classes, and the second the temperature."""
    made, supernet = learner("meta-baseline", pretrain=0.5, meta_lr=0.1), Pixels(outputs=7)
    state = made.init(supernet, torch.Generator().manual_seed(0))
    episodes = evolve(TWO, classes=torch.tensor([[6, 2]]))
    left = {}
    for iteration in range(4):
        progress = Progress(iteration=iteration, iterations_per_epoch=2, epochs=2)
        gradient, scores = made.gradient(supernet, state, episodes, ARCH, progress)
        if iteration == 0:
            assert float(scores.loss) == pytest.approx(log(7))
            assert set(gradient["params/fc.bias"].nonzero().flatten().tolist()) == set(range(7))
        assert ("own/temperature" in gradient) == (iteration >= 2)
        made.update(state, gradient, 1, progress)
        first = {k: v.clone() for k, v in state.items() if k.startswith("outer/first/params/")}
        left = left if iteration > 1 else {k: state[k.removeprefix("outer/first/")].clone() for k in first}
        assert all(torch.equal(first[k], left[k]) for k in first)
    assert float(state["own/temperature"]) != 10
    assert not torch.equal(state["params/scale"], left["outer/first/params/scale"])


def test_the_first_stage_of_meta_baseline_takes_small_steps_of_small_gradients() -> None:
    """By Adam, classes that no batch held moved as fast as all others, and took the features with them."""
    made, supernet = learner("meta-baseline", pretrain_lr=0.25, gradient_clamp=0.5), Pixels(outputs=7)
    state = made.init(supernet, torch.Generator().manual_seed(0))
    before = state["params/fc.bias"].clone()
    gradient = {"params/fc.bias": torch.tensor([4.0, 1e-6, 0, 0, 0, 0, 0], dtype=torch.float64)}
    for iteration in range(2):  # the means of 4 tasks, of which the first is cut to 0.5; then 1.9 times that
        made.update(state, gradient, 4, Progress(iteration=iteration, iterations_per_epoch=2, epochs=2))
    moved = torch.tensor([0.5, 2.5e-7, 0, 0, 0, 0, 0])
    torch.testing.assert_close(before - state["params/fc.bias"], 0.25 * (1 + 1.9) * moved, rtol=1e-4, atol=1e-8)
    made.update(state, {}, 4, Progress(iteration=2, iterations_per_epoch=2, epochs=2))  # the second stage begins anew
    assert float(state["outer/mean/params/fc.bias"].abs().max()) == 0


def _problem(seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    a, b = (torch.rand(4, generator=generator, dtype=torch.float64) + 0.1 for _ in range(2))
    return [a / a.sum(), b / b.sum(), torch.rand(4, 4, generator=generator, dtype=torch.float64)]


@pytest.mark.parametrize("seed", range(5))
def test_deepemd_solves_the_linear_programme(seed: int) -> None:
    linprog = pytest.importorskip("scipy.optimize").linprog
    a, b, costs = _problem(seed)
    places = torch.eye(4, dtype=torch.float64)
    rows, columns = places.repeat_interleave(4, 1), places.repeat(1, 4)
    wanted = linprog(costs.flatten().numpy(), A_eq=torch.cat([rows, columns]).numpy(), b_eq=torch.cat([a, b]).numpy())
    exact, smooth = (float(Transport(1.0, solver).distance(a, b, costs)) for solver in ("emd", "sinkhorn"))
    assert exact == pytest.approx(wanted.fun, abs=1e-9)
    assert smooth == pytest.approx(wanted.fun, abs=0.02)


def test_deepemd_costs_nothing_between_equal_images() -> None:
    """So the logit is the temperature; an image with the same places in another order costs nothing, either."""
    image, other = [1.0, 0.0, 0.5, 0.0, 1.0, 0.2], [0.0, 1.0, 0.1, 0.3, 0.9, 0.7]
    turned = [0.0, 0.5, 1.0, 1.0, 0.2, 0.0]  # channels first: the same three columns
    episodes = task([[image], [other]], [[image], [turned]], places=3)
    made, supernet = learner("deepemd"), Pixels(2, 3)
    state = made.init(supernet, torch.Generator())
    logits = made.logits(supernet, made.adapt(supernet, state, episodes, ARCH), episodes.query_x, ARCH)
    torch.testing.assert_close(logits[0, :, 0], torch.full((2,), 12.5))
    assert float(logits[0, :, 1].max()) < 12


def test_deepemd_gradients_are_those_of_the_envelope_theorem() -> None:
    given = _problem(0)

    def distance(a: torch.Tensor, b: torch.Tensor, costs: torch.Tensor) -> torch.Tensor:
        return Transport(1.0, "emd").distance(a / a.sum(), b / b.sum(), costs)

    assert torch.autograd.gradcheck(distance, [g.requires_grad_() for g in given])


def test_deepemd_without_pot_names_the_package(monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "ot", None)
    with pytest.raises(ConfigError, match="needs the package POT") as told:
        REGISTRY.create("learner", "deepemd")
    assert "hnas[deepemd]" in str(told.value.hint)
    REGISTRY.create("learner", "deepemd", {"solver": "sinkhorn"})


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    """By the one weight, which scales all features, and by the parameters of the rule; in float64."""
    made, supernet = learner(name, **({"pretrain": 0.0} if name == "meta-baseline" else {})), Pixels()
    drawn = made.init(supernet, torch.Generator().manual_seed(0))
    state = {k: v.double() for k, v in drawn.items()}
    episodes = evolve(TWO, support_x=TWO.support_x.double() / 4, query_x=TWO.query_x.double() / 4)

    def loss(changed: dict[str, Any]) -> float:
        return float(made.gradient(supernet, changed, episodes, ARCH, PROGRESS)[1].loss)

    found, _ = made.gradient(supernet, state, episodes, ARCH, PROGRESS)
    for name in [k for k in found if "params/fc" not in k]:
        step = torch.randn(state[name].shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        ends = [loss(state | {name: state[name] + sign * 1e-6 * step}) for sign in (1, -1)]
        assert float((found[name] * step).sum()) == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_sums_do_not_depend_on_the_parts(name: str) -> None:
    """So the same seed gives the same bits with any number of workers."""
    made, space = learner(name), VGG9(VGG9Options(base_width=4, pool=2))
    supernet = space.supernet((1, 8, 8), 10)
    state = made.init(supernet, torch.Generator().manual_seed(0))
    spec = EpisodeSpec(n_way=5, k_shot=2, n_query=4)
    for seed in range(3):
        arch = space.sample(np.random.default_rng(seed))
        generators = [np.random.default_rng((seed, i)) for i in range(4)]
        episodes = TinyTasks().sample("train", spec, generators)
        whole, scores = made.gradient(supernet, state, episodes, arch, PROGRESS)
        cuts = [
            made.gradient(supernet, state, episodes[part], arch, PROGRESS)
            for part in (slice(1), slice(1, 2), slice(2, 4))
        ]
        assert [k for k in whole if not torch.equal(whole[k], sum(gradient[k] for gradient, _ in cuts))] == []
        assert torch.equal(scores.loss, torch.cat([each.loss for _, each in cuts]))
        together = made.score(supernet, state, episodes, arch).loss
        alone = [made.score(supernet, state, episodes[t : t + 1], arch).loss for t in range(4)]
        assert torch.equal(together, torch.cat(alone))


@pytest.mark.parametrize("labels", [[], [0, 0, 0, 2], [0, 0, 0, 1]])
def test_a_class_without_images_is_refused_by_name(labels: list[int]) -> None:
    made, supernet = learner("prototypical"), Pixels()
    y = torch.tensor([labels], dtype=torch.int64)
    episodes = evolve(TWO, support_y=y, support_x=TWO.support_x[:, : len(labels)])
    state = made.init(supernet, torch.Generator())
    with pytest.raises(DataError, match=r"support images have labels \[.*each needs an image") as told:
        made.adapt(supernet, state, episodes, ARCH)
    assert "task.k_shot" in str(told.value.hint)
