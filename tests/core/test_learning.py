"""The helpers that learners and super-nets of third parties would copy from the built-in ones."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from hnas import NormStats
from hnas.toolkit.learning import adam_state, adam_step, exact_sum, normalise, task_scores


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_scores_of_each_task_are_those_of_the_task_alone():
    logits, y = drawn(3, 8, 5), torch.arange(24).view(3, 8) % 5
    scores = task_scores(logits, y)
    for task in range(3):
        torch.testing.assert_close(scores.loss[task], F.cross_entropy(logits[task], y[task]))
        assert scores.accuracy[task] == (logits[task].argmax(1) == y[task]).sum() / 8
    alone = task_scores(logits[0], y[0])
    torch.testing.assert_close(alone.loss, scores.loss[0])


def test_an_overflow_is_an_infinite_loss_of_its_task_only():
    logits = drawn(2, 4, 3)
    logits[1, 0, 0] = torch.inf
    scores = task_scores(logits, torch.zeros(2, 4, dtype=torch.long))
    assert scores.loss[0].isfinite()
    assert scores.loss[1] == torch.inf


def test_scores_can_be_differentiated_and_are_not_bfloat16():
    logits = drawn(2, 4, 3).bfloat16().requires_grad_()
    loss = task_scores(logits, torch.ones(2, 4, dtype=torch.long)).loss
    assert loss.dtype is torch.float32
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert float(gradient.abs().sum()) > 0


def test_adam_changes_the_tensors_named_only():
    state = {"params/a": torch.ones(2), "params/b": torch.ones(3)}
    state |= adam_state(state, ["params/a"])
    adam_step(state, {"params/a": torch.tensor([4.0, -4.0])}, ["params/a"], lr=0.1, n_tasks=2)
    torch.testing.assert_close(state["params/a"], torch.tensor([0.9, 1.1]))
    torch.testing.assert_close(
        state["outer/mean/params/a"], torch.tensor([0.2, -0.2])
    )  # a tenth of the mean over tasks
    assert torch.equal(state["params/b"], torch.ones(3))
    assert all(name.startswith(("params/", "outer/")) for name in state)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_exact_sums_do_not_depend_on_the_order(dtype: torch.dtype):
    """Of numbers from 1e-20 to 1e3; ordinary sums of the same differ. What is added up stays as it was."""
    values = (drawn(16, 1000) * 10 ** (10 * drawn(16, 1000, seed=1)).clamp(-20, 3)).to(dtype)
    before, whole = values.clone(), exact_sum(values)
    for order in (range(15, -1, -1), [*range(1, 16, 2), *range(0, 16, 2)]):
        mixed = values[list(order)]
        assert torch.equal(exact_sum(mixed[:5]) + exact_sum(mixed[5:]), whole)
        assert not torch.equal(mixed[:5].sum(0) + mixed[5:].sum(0), values.sum(0))
    assert whole.dtype == torch.float64
    assert torch.equal(values, before)
    torch.testing.assert_close(whole, values.double().sum(0), rtol=0, atol=1e-11)


def test_an_overflow_stays_one_in_exact_sums():
    assert exact_sum(torch.tensor([[1.0, torch.inf], [2.0, 1.0]])).tolist() == [3.0, torch.inf]
    assert exact_sum(torch.tensor([[torch.nan], [1.0]])).isnan().all()


def test_adam_takes_exact_sums_as_others():
    steps = []
    for dtype in (torch.float32, torch.float64):
        state = {"params/a": torch.ones(3)}
        state |= adam_state(state, ["params/a"])
        adam_step(state, {"params/a": torch.tensor([3.0, -0.1, 0.0]).to(dtype)}, ["params/a"], lr=0.1, n_tasks=3)
        steps.append(state)
    assert all(torch.equal(value, steps[1][name]) for name, value in steps[0].items())
    assert steps[1]["params/a"].dtype == torch.float32


@pytest.fixture
def norm() -> dict[str, torch.Tensor]:
    return {"n.weight": drawn(4, seed=1), "n.bias": drawn(4, seed=2)}


def test_a_batch_is_normalised_by_itself_and_by_its_collected_statistics_alike(norm):
    x, seen = 3 + 2 * drawn(6, 4, 5, 5), NormStats("collect")
    here = normalise(x, norm, "n", seen)
    torch.testing.assert_close(seen.mean["n"], x.mean((0, 2, 3)))
    torch.testing.assert_close(seen.var["n"], x.var((0, 2, 3), unbiased=False))
    torch.testing.assert_close(here.mean((0, 2, 3)), norm["n.bias"], rtol=0, atol=1e-5)
    again = normalise(x[:1], norm, "n", NormStats("apply", seen.mean, seen.var))
    torch.testing.assert_close(again, here[:1])
    torch.testing.assert_close(normalise(x, norm, "n"), here)


def test_tasks_side_by_side_are_each_normalised_alone(norm):
    x, seen = drawn(6, 4, 5, 5), NormStats("collect")
    other = {name: value + 1 for name, value in norm.items()}
    both = {name: torch.stack([value, other[name]]) for name, value in norm.items()}
    found = normalise(torch.cat([x, 2 * x], 1), both, "n", seen)
    torch.testing.assert_close(found[:, :4], normalise(x, norm, "n"))
    torch.testing.assert_close(found[:, 4:], normalise(2 * x, other, "n"))
    assert seen.mean["n"].shape == (2, 4)
