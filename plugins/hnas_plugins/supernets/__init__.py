"""The built-in super-nets that are trained already: ``NAME/{weights.safetensors,config.toml,card.md}`` beside this.

`hnas plugins new supernet NAME --from RUN` writes the files and a descriptor of them, whose places are then
``"hnas_plugins.supernets:NAME/weights.safetensors"`` and the like.
"""

from hnas import PretrainedSuperNet, hookimpl


@hookimpl
def hnas_supernets() -> list[PretrainedSuperNet]:
    return []
