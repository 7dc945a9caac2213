"""A device that is not available here: its costs come from a file that ``hnas profile export`` wrote elsewhere.

Nothing is measured. A layer that the file lacks is an error, so the file has to be of the same space and image size as
the search. The device's calibration in the file is not used: import the file for that.
"""

from hnas_backends.table.backend import Table, TableOptions

__all__ = ["Table", "TableOptions"]
