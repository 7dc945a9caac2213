"""Exact sums by the kernel are those of torch, however the numbers lie in memory; and each task's maps are its own."""

from __future__ import annotations

import pytest
import torch

from hnas.toolkit.learning import exact_sum
from hnas_plugins.engine.blocks import each_task
from hnas_plugins.engine.sums import task_sum

pytestmark = pytest.mark.usefixtures("kernels")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(1, 3), (7,), (5, 4, 3, 2), (3, 40, 40), (2, 1, 5, 1, 3), (4, 0)])
def test_the_kernel_is_the_formula(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype) * 1e-3
    views = [values, values.flip(0), values.expand(2, *shape)]
    if len(shape) > 2:
        views += [values.movedim(-1, 1), values.movedim(1, -1), values.transpose(0, 1), values[:, ::2]]
    for view in views:
        found = task_sum(view)
        assert found.dtype == torch.float64
        assert torch.equal(found, exact_sum(view))


@pytest.mark.parametrize("name", ["sigmoid", "elu", "selu"])
def test_no_map_depends_on_how_many_tasks_there_are(name: str) -> None:
    """Nor do its first and second derivatives. Seven numbers fill no vector."""
    activation = getattr(torch.nn.functional, name)
    x = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))

    def results(x: torch.Tensor) -> list[torch.Tensor]:
        x = x.clone().requires_grad_()
        y = each_task(activation, x)
        (g,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        return [y.detach(), g.detach(), *torch.autograd.grad(g.square().sum(), x)]

    for together, alone in zip(results(x), results(x[3:4]), strict=True):
        assert torch.equal(together[3:4], alone)
    plain = torch.cat([activation(task[None]) for task in x])
    torch.testing.assert_close(each_task(activation, x), plain)
