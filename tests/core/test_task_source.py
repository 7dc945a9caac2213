"""What every task source inherits, and what is told to one that was written for an older interface."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import pytest

from hnas import PluginError, Registry
from hnas.testing import TinyTasks


class Opened(TinyTasks):
    @cached_property
    def data(self) -> object:
        return object()


class Old(TinyTasks):
    def sample(self, split: Any, n_tasks: int, spec: Any, generator: Any) -> Any:
        raise AssertionError


def test_what_was_opened_is_not_sent_to_workers() -> None:
    source = Opened()
    assert source.data
    assert source.__getstate__() == {"noise": 0.7, "scale": 1.0}


def test_check_draws_a_task_of_every_split() -> None:
    drawn: list[Any] = []

    class Watched(TinyTasks):
        def sample(self, *given: Any) -> Any:
            drawn.append(given[0])
            return super().sample(*given)

    assert Watched().check() == "10 train, 10 validation, 10 test classes of 1x8x8 images"
    assert drawn == ["train", "validation", "test"]


def test_a_source_of_the_old_signature_is_refused_with_the_new_one() -> None:
    registry = Registry()
    registry.add("tasks", Old())
    told = (
        r"its sample\(split, n_tasks, spec, generator\) cannot be called as hnas\.TaskSource\.sample\(split, spec, gen"
    )
    with pytest.raises(PluginError, match=told):
        registry.create("tasks", "object:Old")
