"""The built-in super-nets that are trained already: ``NAME/{weights.safetensors,config.toml,card.md}`` beside this.

`hnas plugins new supernet NAME --from RUN` writes the files, with their checksums and sizes in a descriptor. The runs
are those of ``zoo/NAME.toml``.
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
            weights=_file(
                "glyphs/weights.safetensors",
                "b788db99be2b3f99917fdc36ba683efd8bf3857fb31baace003a617b3adb0d02",
                1_648_116,
            ),
            config=_file(
                "glyphs/config.toml", "0915efcd3a431cb922a158be802ff4d19aa07010a021787f9696ac568b574d77", 1_909
            ),
            card=_file("glyphs/card.md", "0c7149b9cea3e55cc573085f23b30292f97034579dbea88e958df77670fac72f", 2_488),
        ),
        PretrainedSuperNet(
            name="omniglot",
            summary="handwritten characters and other drawings of thin strokes, 28x28, grey",
            licence="Apache-2.0",
            image_shape=(1, 28, 28),
            n_way=(2, 50),
            weights=_file(
                "omniglot/weights.safetensors",
                "078d0721838a9cced7d18f27e06129e695f94724bdad635295f6ec10773dd807",
                1_749_324,
            ),
            config=_file(
                "omniglot/config.toml", "418dfc91aaffc66b439526064c0b392c4d88f9a5887d41236a53459b171ab881", 1_900
            ),
            card=_file("omniglot/card.md", "5d8a41f444abccb5fa3a29228cdbb5f2e066cfa01c08cf26a2e4bc6d91991f3f", 2_881),
        ),
    ]


def _file(name: str, sha256: str, size: int) -> SuperNetFile:
    return SuperNetFile(place=f"hnas_plugins.supernets:{name}", sha256=sha256, size=size)
