"""CUDA graphs: a function whose shapes repeat is recorded once and replayed, without a kernel launch from Python.

The fourth network in a row with the same key is recorded, since recording takes as long as several runs. Re-training
has one architecture for hours; meta-training a super-net draws another in every iteration.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

import torch
from torch import Tensor

Tensors = dict[str, Tensor]
WARM_UP = 3
"""Runs before recording: libraries choose their algorithms and make their one-time allocations."""


class Replay:
    """Runs functions of named tensors; keeps the recording of the last one."""

    def __init__(self) -> None:
        self._key: Hashable = None
        self._runs = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: Tensors = {}
        self._outputs: Tensors = {}

    def __call__(self, key: Hashable, function: Callable[[Tensors], Tensors], inputs: Tensors) -> Tensors:
        """Return ``function(inputs)``. Calls with the same key must do the same on tensors of the same shapes."""
        if key != self._key:
            self._key, self._runs, self._graph = key, 0, None
        self._runs += 1
        if self._runs <= WARM_UP:
            return function(inputs)
        if self._graph is None:
            self._record(function, inputs)
        assert self._graph is not None
        for name, value in inputs.items():
            self._inputs[name].copy_(value)
        self._graph.replay()
        return {k: v.clone() for k, v in self._outputs.items()}

    def _record(self, function: Callable[[Tensors], Tensors], inputs: Tensors) -> None:
        self._inputs = {k: v.detach().clone() for k, v in inputs.items()}
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # one-time work of a stream is done before recording
            function(self._inputs)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._outputs = function(self._inputs)
        self._graph = graph
