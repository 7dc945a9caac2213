"""A device that is not at hand: its costs come from a file that ``hnas profile export`` wrote where it is.

Nothing is measured. A layer that the file lacks is an error, so the file has to be of the same space and image size as
the search. What the file says of the device's calibration is not taken over: import the file for that.
"""

from hnas_backends.table.backend import Table, TableOptions

__all__ = ["Table", "TableOptions"]
