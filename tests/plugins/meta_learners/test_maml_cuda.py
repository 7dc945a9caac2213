"""On a GPU: the CPU's gradients, replayed graphs that equal the eager run, and no waiting inside the inner loop."""

import attrs
import pytest
import torch

from hnas_plugins.meta_learners.cuda_graphs import WARM_UP

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def on_gpu(problem, **options):
    """Return the same problem on the GPU, with other options."""
    return attrs.evolve(
        problem,
        options=attrs.evolve(problem.options, **options),
        episodes=problem.episodes.to("cuda"),
        state={k: v.cuda() for k, v in problem.state.items()},
    )


@pytest.mark.parametrize("kind", ["smooth", "linear"])
@pytest.mark.parametrize("order", [0, 1], ids=["first", "second"])
def test_gradients_and_scores_are_those_of_the_cpu(make_problem, kind, order):
    problem = make_problem(kind, tasks=3, epoch=order, batch_below_gflop=1e9)
    there = on_gpu(problem)
    (truth, scores), (found, cuda_scores) = problem.gradient(), there.gradient()
    assert found.keys() == truth.keys()
    for name, value in truth.items():
        assert found[name].is_cuda
        torch.testing.assert_close(found[name].cpu(), value, rtol=1e-7, atol=1e-9, equal_nan=True)
    torch.testing.assert_close(cuda_scores.loss.cpu(), scores.loss)
    again = there.learner.score(there.supernet, there.state, there.episodes, there.arch)
    torch.testing.assert_close(again.loss.cpu(), scores.loss)


def test_a_replayed_graph_is_the_eager_run(make_problem):
    """With another state and other tasks than it was recorded with."""
    problem = make_problem(tasks=3)
    eager, replayed = on_gpu(problem), on_gpu(problem, cuda_graphs=True)
    for i in range(WARM_UP + 3):
        for side in (eager, replayed):
            side.state = {k: v + 0.01 * i if k.startswith("params/") else v for k, v in on_gpu(problem).state.items()}
            side.episodes = attrs.evolve(on_gpu(problem).episodes, query_x=eager.episodes.query_x)
        (truth, scores), (found, others) = eager.gradient(), replayed.gradient()
        for name, value in truth.items():
            torch.testing.assert_close(found[name], value, equal_nan=True)
        torch.testing.assert_close(others.loss, scores.loss)


def test_the_host_never_waits(make_problem):
    """A wait for each inner step would leave the GPU idle between its kernels."""
    problem = on_gpu(make_problem(tasks=3))
    problem.gradient()
    torch.cuda.set_sync_debug_mode("error")
    try:
        problem.gradient()
        problem.learner.adapt(problem.supernet, problem.state, problem.episodes, problem.arch)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_bfloat16_runs(make_problem):
    """From float32: normalisations on a GPU take float64 parameters for float64 maps only."""
    problem = make_problem(tasks=3)
    problem.state = {k: v.float() for k, v in problem.state.items()}
    e = problem.episodes
    problem.episodes = attrs.evolve(e, support_x=e.support_x.float(), query_x=e.query_x.float())
    exact, rough = on_gpu(problem), on_gpu(problem, precision="bfloat16")
    torch.testing.assert_close(rough.gradient()[1].loss, exact.gradient()[1].loss, rtol=0.1, atol=0.05)
