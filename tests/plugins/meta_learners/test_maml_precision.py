"""Lower precision is an approximation that must be asked for: near the exact result, and back in float32 at the end."""

import attrs
import pytest
import torch

from hnas import Episodes
from hnas_plugins.engine import blocks as engine


def in_float32(problem, **options):
    """Return the same problem in single precision, with other options."""
    e = problem.episodes
    return attrs.evolve(
        problem,
        options=attrs.evolve(problem.options, **options),
        episodes=Episodes(
            support_x=e.support_x.float(), support_y=e.support_y, query_x=e.query_x.float(), query_y=e.query_y
        ),
        state={k: v.float() for k, v in problem.state.items()},
    )


@pytest.mark.parametrize("order", [0, 1], ids=["first", "second"])
def test_bfloat16_is_near_float32(make_problem, way, order):
    """Of both ways, the batched one being what a GPU runs."""
    problem = make_problem(tasks=3, epoch=order, **way)
    exact, rough = in_float32(problem), in_float32(problem, precision="bfloat16")
    (truth, scores), (found, rough_scores) = exact.gradient(), rough.gradient()
    assert found.keys() == truth.keys()
    assert {k: v.dtype for k, v in found.items()} == {k: v.dtype for k, v in truth.items()}
    assert rough_scores.loss.dtype is rough_scores.accuracy.dtype is torch.float32
    torch.testing.assert_close(rough_scores.loss, scores.loss, rtol=0.1, atol=0.05)
    trained = [k for k in truth if k.startswith("params/")]
    a, b = (torch.cat([g[k].flatten() for k in trained]) for g in (found, truth))
    assert 0 < (a - b).norm() < 0.5 * b.norm()
    again = rough.learner.score(rough.supernet, rough.state, rough.episodes, rough.arch)
    assert again.loss.dtype is torch.float32
    torch.testing.assert_close(again.loss, scores.loss, rtol=0.1, atol=0.05)


def test_the_engine_leaves_lower_precision_to_torch(hnas_home):
    """Its kernels know float32 and float64; used all the same, the option would do nothing on a CPU, without a word."""
    with torch.autocast("cpu", torch.bfloat16):
        assert not engine.usable(torch.zeros(1), None)
