"""The built-in super-nets that are trained already: ``NAME/{weights.safetensors,config.toml,card.md}`` beside this.

`hnas plugins new supernet NAME --from RUN` writes the files and a descriptor of them, whose places are then
``"hnas_plugins.supernets:NAME/weights.safetensors"`` and the like. The runs are those of ``zoo/NAME.toml``.
"""

from hnas import PretrainedSuperNet, SuperNetFile, hookimpl


@hookimpl
def hnas_supernets() -> list[PretrainedSuperNet]:
    return [
        PretrainedSuperNet(
            name="glyphs",
            summary="drawn characters and other simple drawings, 28x28, grey",
            licence="Apache-2.0",
            image_shape=(1, 28, 28),
            n_way=(2, 50),
            weights=SuperNetFile(
                place="hnas_plugins.supernets:glyphs/weights.safetensors",
                sha256="b788db99be2b3f99917fdc36ba683efd8bf3857fb31baace003a617b3adb0d02",
                size=1_648_116,
            ),
            config=SuperNetFile(
                place="hnas_plugins.supernets:glyphs/config.toml",
                sha256="0915efcd3a431cb922a158be802ff4d19aa07010a021787f9696ac568b574d77",
                size=1_909,
            ),
            card=SuperNetFile(
                place="hnas_plugins.supernets:glyphs/card.md",
                sha256="76b393dffd81c630a31f011af9713db83e810e93d1bd32fcda75c5db08bb135a",
                size=2_409,
            ),
        )
    ]
