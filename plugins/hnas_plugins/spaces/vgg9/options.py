"""Options of the VGG9 space."""

from __future__ import annotations

from typing import ClassVar, Literal

from attrs import frozen, validators

from hnas.settings import one_of, positive, setting
from hnas_plugins.spaces.blocks.conv_layers import classifier_setting


@frozen(kw_only=True)
class VGG9Options:
    """Options of the space. Each changes its networks, so results are compared under equal options only."""

    REMOVED: ClassVar = {"heads": ("depth",), "norms": ("kernel", "width", "sum"), "kernels": ("own",)}

    base_width: int = setting(64, "channels of a layer at scale 1", positive)
    ge: bool = setting(True, "global expansion: search the layers' widths", validators.instance_of(bool))
    anl: bool = setting(True, "adaptive number of layers: search the depth, 1 to 4", validators.instance_of(bool))
    pool: int = setting(1, "n of the n×n average pooling before the classifier; the paper's is 5 for 84×84", positive)
    downsample: Literal["stride", "pool"] = setting(
        "stride",
        "how maps are halved: by convolutions of stride 2, or by 2×2 max-pooling as in MAML++",
        one_of("stride", "pool"),
    )
    norms: Literal["shared", "activation"] = setting(
        "shared",
        "scale and shift of the super-net's normalisations: one for each layer, or one for each activation",
        one_of("shared", "activation"),
    )
    kernels: Literal["crop", "transform"] = setting(
        "crop",
        "small kernels of the super-net: the centre of the large ones, as it is or through a learned matrix",
        one_of("crop", "transform"),
    )
    classifier: Literal["own", "shared"] = classifier_setting()
