"""The built-in super-nets that are trained already: ``NAME/{weights.safetensors,config.toml,card.md}`` beside this."""

from hnas import PretrainedSuperNet, hookimpl


@hookimpl
def hnas_supernets() -> list[PretrainedSuperNet]:
    return []
