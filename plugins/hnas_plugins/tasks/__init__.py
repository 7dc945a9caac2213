"""The built-in task sources."""

from hnas import Plugin, hookimpl


@hookimpl
def hnas_task_sources() -> list[Plugin]:
    return [
        Plugin(
            name="glyphs",
            summary="characters rendered from the fonts that matplotlib ships; no download",
            factory="hnas_plugins.tasks.glyphs:Glyphs",
            options="hnas_plugins.tasks.glyphs:GlyphsOptions",
        ),
        Plugin(
            name="omniglot",
            summary="Omniglot from its folder or its two official zips",
            factory="hnas_plugins.tasks.omniglot:Omniglot",
            options="hnas_plugins.tasks.omniglot:OmniglotOptions",
        ),
    ]
