"""Options of the space of DARTS cells."""

from __future__ import annotations

from typing import Any, Literal

from attrs import Attribute, frozen, validators

from hnas.settings import one_of, setting
from hnas_plugins.spaces.blocks.conv_layers import classifier_setting
from hnas_plugins.spaces.darts.genotype import Genotype


def _even(instance: Any, attribute: Attribute[int], value: int) -> None:
    if value % 2:
        raise ValueError(f"'{attribute.name}' must be even, since halves of them are joined: {value!r}")


def _parses(instance: Any, attribute: Attribute[str], value: str) -> None:
    if value:
        Genotype.parse(value)


@frozen(kw_only=True)
class DartsOptions:
    """Options of the space. Each but ``genotype`` changes its networks. The defaults are DARTS's while it searches."""

    channels: int = setting(
        16, "channels of a node in the first cell; each reduction doubles them", validators.ge(2), _even
    )
    cells: int = setting(
        8, "cells, of which those after a third and two thirds are reductions", validators.ge(3), most=1000
    )
    stem: Literal["cifar", "imagenet"] = setting(
        "cifar",
        "before the first cell: one convolution, or three of stride 2 for large images",
        one_of("cifar", "imagenet"),
    )
    genotype: str = setting(
        "", "a genotype as the code of DARTS prints it: the reference network, called genotype", _parses
    )
    mixed: bool = setting(
        False, "add weights of the mixture of all operations, for learners that search by architecture weights (t-nas)"
    )
    classifier: Literal["own", "shared"] = classifier_setting()
