"""The built-in task sources."""

from hnas import Plugin, hookimpl


@hookimpl
def hnas_task_sources() -> list[Plugin]:
    return [
        Plugin(
            name="glyphs",
            summary="characters rendered from the fonts that matplotlib ships; no download",
            factory="hnas_plugins.tasks.glyphs.source:Glyphs",
            options="hnas_plugins.tasks.glyphs.source:GlyphsOptions",
        ),
        Plugin(
            name="omniglot",
            summary="Omniglot from its folder or its two official zips",
            factory="hnas_plugins.tasks.omniglot.source:Omniglot",
            options="hnas_plugins.tasks.omniglot.source:OmniglotOptions",
        ),
        Plugin(
            name="mini-imagenet",
            summary="Mini-ImageNet from folders, tar.xz archives, cache pickles or torchmeta's HDF5",
            factory="hnas_plugins.tasks.mini_imagenet.source:MiniImageNet",
            options="hnas_plugins.tasks.mini_imagenet.source:MiniImageNetOptions",
            presets="hnas_plugins.tasks.presets:MINI_IMAGENET",
        ),
        Plugin(
            name="fc100",
            summary="FC100: CIFAR-100 divided by superclass, 60/20/20 classes",
            factory="hnas_plugins.tasks.cifar.source:fc100",
            options="hnas_plugins.tasks.cifar.source:CifarOptions",
            presets="hnas_plugins.tasks.presets:FC100",
        ),
        Plugin(
            name="cifar-fs",
            summary="CIFAR-FS: CIFAR-100 divided by class, 64/16/20 classes",
            factory="hnas_plugins.tasks.cifar.source:cifar_fs",
            options="hnas_plugins.tasks.cifar.source:CifarOptions",
        ),
        Plugin(
            name="folder",
            summary="a folder of your own pictures, a sub-folder for each class",
            factory="hnas_plugins.tasks.folder.source:Folder",
            options="hnas_plugins.tasks.folder.source:FolderOptions",
            presets="hnas_plugins.tasks.presets:FOLDER",
        ),
        Plugin(
            name="pictures",
            summary="one task, a few labelled pictures of your own: what `hnas adapt --pictures` reads",
            factory="hnas_plugins.tasks.pictures.source:Pictures",
            options="hnas_plugins.tasks.pictures.source:PicturesOptions",
        ),
        Plugin(
            name="torchmeta",
            summary="data sets of torchmeta 1.8.0, which is installed apart: see docs/torchmeta.md",
            factory="hnas_plugins.tasks.torchmeta.adapter:open_torchmeta",
            options="hnas_plugins.tasks.torchmeta.adapter:TorchmetaOptions",
        ),
    ]
