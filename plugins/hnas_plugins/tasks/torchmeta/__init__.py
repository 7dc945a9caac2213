"""Data sets of torchmeta 1.8.0 as task sources; see docs/torchmeta.md."""

from hnas_plugins.tasks.torchmeta.adapter import MetaDatasetTasks
from hnas_plugins.tasks.torchmeta.importing import import_torchmeta

__all__ = ["MetaDatasetTasks", "import_torchmeta"]
