"""The built-in hardware backends."""

from hnas import Plugin, hookimpl


@hookimpl
def hnas_backends() -> list[Plugin]:
    return [
        Plugin(
            name="eyeriss",
            summary="ScaleSim's weight-stationary 12x14 'Eyeriss' preset: closed form or simulator",
            factory="hnas_backends.eyeriss:Eyeriss",
            options="hnas_backends.eyeriss:EyerissOptions",
            requires=("scalesim",),
        )
    ]
