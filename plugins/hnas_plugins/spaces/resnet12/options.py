"""Options of the ResNet12 space."""

from __future__ import annotations

from typing import Literal

from attrs import frozen, validators

from hnas.settings import one_of, positive, setting
from hnas_plugins.spaces.blocks.conv_layers import classifier_setting


@frozen(kw_only=True)
class ResNet12Options:
    """Options of the space. Each changes its networks, so results are compared under equal options only."""

    base_width: int = setting(
        32, "channels of the first block at scale 1; the others have 2, 4 and 8 times as many", positive
    )
    ge: bool = setting(True, "global expansion: search the widths between blocks, too", validators.instance_of(bool))
    anl: bool = setting(
        False, "adaptive number of layers: search the number of blocks, 1 to 4", validators.instance_of(bool)
    )
    pool: int = setting(1, "n of the n×n average pooling before the classifier; the paper's is 5 for 84×84", positive)
    norms: Literal["shared", "activation"] = setting(
        "shared",
        "scale and shift of the super-net's normalisations: one for each layer, or one for each activation",
        one_of("shared", "activation"),
    )
    classifier: Literal["own", "shared"] = classifier_setting()
