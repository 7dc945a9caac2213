"""The built-in search spaces, and the super-nets of these that are trained already."""

from hnas import Plugin, hookimpl
from hnas_plugins.supernets import hnas_supernets

__all__ = ["hnas_search_spaces", "hnas_supernets"]


@hookimpl
def hnas_search_spaces() -> list[Plugin]:
    return [
        Plugin(
            name="vgg9",
            summary="4 convolutions: kernel, channel scale and activation of each, and depth (Table 7)",
            factory="hnas_plugins.spaces.vgg9.space:VGG9",
            options="hnas_plugins.spaces.vgg9.options:VGG9Options",
        ),
        Plugin(
            name="resnet12",
            summary="4 residual blocks: kernel, channel scale and activation of 12 convolutions (Table 8)",
            factory="hnas_plugins.spaces.resnet12.space:ResNet12",
            options="hnas_plugins.spaces.resnet12.options:ResNet12Options",
            presets="hnas_plugins.spaces.presets:RESNET12",
        ),
        Plugin(
            name="darts",
            summary="stacked cells of DARTS: operations and connections of a normal and a reduction cell",
            factory="hnas_plugins.spaces.darts.space:Darts",
            options="hnas_plugins.spaces.darts.options:DartsOptions",
            presets="hnas_plugins.spaces.presets:DARTS",
        ),
    ]
