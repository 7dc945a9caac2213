"""Where networks are computed: mistakes are told before a run begins, and what does not fit says what to lower."""

from __future__ import annotations

import pytest
import torch

from hnas.errors import ConfigError, HnasError
from hnas_app.training.accelerator import check_accelerator, memory_explained


def test_the_cpu_is_always_there() -> None:
    check_accelerator("cpu")


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"accelerator is 'cuda:99', but torch sees \d+ CUDA devices") as refused:
        check_accelerator("cuda:99")
    assert "--accelerator cpu" in str(refused.value.hint)


def test_what_does_not_fit_is_told_with_what_to_lower() -> None:
    """By a real allocation that fails: more than any address space holds."""
    with (
        pytest.raises(HnasError, match="out of memory: the networks of 8 tasks do not fit") as told,
        memory_explained("the networks of 8 tasks", "meta_train.tasks"),
    ):
        torch.empty(1 << 60, dtype=torch.uint8)
    assert told.value.hint == "lower meta_train.tasks"


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="shapes"), memory_explained("tasks", "tasks"):
        raise RuntimeError("shapes do not fit")
