"""A super-net whose weights serve any number of classes: other numbers in training than in tests, and alone."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import torch
from tiny_tasks import tiny_setup
from whole_classes import PROTOTYPICAL, WholeClasses

from hnas import ConfigError, Progress, Registry
from hnas.learner import State
from hnas_app.config.load import load_config
from hnas_app.executors.in_process import InProcess
from hnas_app.runs.learner_check import check_learner
from hnas_app.training.meta_batch import Part, meta_gradient
from hnas_app.training.setup.fewer_classes import with_classes
from hnas_app.training.setup.setup import Setup
from hnas_app.training.setup.subnet import warm_start

HEAD = ("params/fc.weight", "params/fc.bias")


def trained(setup: Setup) -> State:
    """Return a state in which every tensor differs from a fresh one."""
    generator = torch.Generator().manual_seed(5)
    state = setup.learner.init(setup.supernet, generator)
    for name, value in state.items():
        if not name.startswith("outer/"):
            state[name] = value + 0.1 * torch.rand(value.shape, generator=generator)
    return state


def of(n_way: int, setup: Setup) -> Setup:
    return attrs.evolve(setup, n_way=n_way)


def score(setup: Setup, state: State) -> torch.Tensor:
    arch = setup.space.largest()
    return setup.learner.score(setup.supernet, state, setup.episodes("test", "t", range(4), 3), arch).loss


@pytest.mark.parametrize("n_way", [2, 3, 7])
def test_all_of_the_state_serves_any_number(n_way: int) -> None:
    setup = tiny_setup(classifier="shared")
    state = trained(setup)
    other, same = with_classes(setup, state, n_way)
    assert same is state
    assert (other.n_way, other.misfit(state)) == (n_way, "")
    assert score(other, state).isfinite().all()


@pytest.mark.parametrize("n_way", [2, 6])
def test_a_network_alone_keeps_the_one_vector(n_way: int) -> None:
    """It begins as it is in the super-net, trains as it does there, and serves any number of classes as well."""
    setup = tiny_setup(classifier="shared")
    state, arch = trained(setup), setup.space.largest()
    alone = attrs.evolve(setup, alone=arch)
    own = warm_start(setup.learner, setup.supernet, state, arch, alone.fresh_state("alone"))
    assert all(torch.equal(own[name], state[name]) for name in HEAD)
    for iteration in range(3):
        torch.testing.assert_close(score(of(n_way, alone), own), score(of(n_way, setup), state), rtol=1e-4, atol=1e-4)
        progress = Progress(iteration=iteration, iterations_per_epoch=2, epochs=2)
        episodes = setup.episodes("train", "t", range(2), 2)
        for each, its in ((setup, state), (alone, own)):
            its |= {k: torch.zeros_like(v) for k, v in its.items() if k.startswith("outer/")}
            gradient, _ = setup.learner.gradient(each.training_supernet, its, episodes, arch, progress)
            setup.learner.update(its, gradient, 2, progress)


def test_training_tasks_may_have_another_number() -> None:
    """They are trained by a super-net that is made for them; weights, validation and test are as with any number."""
    setup = attrs.evolve(tiny_setup(classifier="shared"), train_n_way=5)
    assert setup.training_supernet is not setup.supernet
    state, arch = trained(setup), setup.space.largest()
    progress = Progress(iteration=0, iterations_per_epoch=2, epochs=2)
    with InProcess() as here:
        setup.send(here)
        gradient, ((loss, _),) = meta_gradient(here, state, [Part(arch=arch, tasks=range(2))], 2, progress, "train")
    assert all(gradient[k].shape == state[k].shape for k in gradient.keys() & state.keys())
    fives = of(5, setup)
    episodes = fives.episodes("train", "train-tasks", range(2), 2, 0)
    assert len(episodes.support_y[0].unique()) == 5
    expected = setup.learner.gradient(fives.supernet, state, episodes, arch, progress)[1].loss.mean().item()
    assert loss / 2 == pytest.approx(expected)  # a sum over two tasks
    same = tiny_setup()
    assert same.training_supernet is same.supernet


LEARNERS: dict[str, dict[str, Any]] = {
    **{name: {"inner_steps": 2} for name in ("maml", "meta-sgd", "alfa", "l2f", "anil", "reptile")},
    **{name: {} for name in ("prototypical", "matching", "relation", "siamese")},
    "deepemd": {"solver": "sinkhorn"},
}


@pytest.mark.parametrize("name", LEARNERS)
def test_every_learner_serves_any_number_in_any_order(name: str) -> None:
    """Its state has one shape, nothing moves the common vector, and the order of the classes changes no loss."""
    learner = Registry().create("learner", name, LEARNERS[name])
    setup = attrs.evolve(tiny_setup(classifier="shared"), learner=learner)
    state, arch = trained(setup), setup.space.largest()
    progress = Progress(iteration=0, iterations_per_epoch=2, epochs=2)
    for n_way in (2, 5):
        other, same = with_classes(setup, state, n_way)
        assert same is state
        tasks = other.episodes("train", "t", range(2), 3)
        turned = attrs.evolve(tasks, support_x=tasks.support_x.roll(1, 1), query_x=tasks.query_x.roll(3, 1))
        (one, first), (two, second) = (
            learner.gradient(other.supernet, state, e, arch, progress) for e in (tasks, turned)
        )
        torch.testing.assert_close(second.loss, first.loss, rtol=1e-4, atol=1e-5)
        assert one.keys() == two.keys()
        assert one.keys().isdisjoint(HEAD)
        assert all(one[k].shape == state[k].shape for k in one.keys() & state.keys())
        scored = [learner.score(other.supernet, state, e, arch).loss for e in (tasks, turned)]
        torch.testing.assert_close(scored[1], scored[0], rtol=1e-4, atol=1e-5)


def test_what_it_cannot_serve_is_refused_by_name() -> None:
    config = load_config(Registry(), env={}, sets=[("meta_train.n_way", "5"), ("task.n_way", "3")]).config
    other = attrs.evolve(tiny_setup(), train_n_way=5)
    with pytest.raises(ConfigError, match=r"meta_train\.n_way=5, task\.n_way=3: learner 'maml\+\+' classifies") as told:
        check_learner(other, config, ["meta-train"])
    assert "space.classifier=shared" in str(told.value.hint)
    check_learner(attrs.evolve(other, space=tiny_setup(classifier="shared").space), config, ["meta-train"])
    for learner in (WholeClasses(PROTOTYPICAL.Options()), Registry().create("learner", "meta-baseline")):
        whole = attrs.evolve(tiny_setup(classifier="shared"), learner=learner)
        with pytest.raises(ConfigError, match="trains an output for each class of the training split") as told:
            check_learner(whole, config, ["meta-train"])
        assert "space.classifier=own" in str(told.value.hint)
        check_learner(attrs.evolve(whole, space=tiny_setup().space), config, ["meta-train"])
