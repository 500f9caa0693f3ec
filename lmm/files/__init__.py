"""Tables in files: what the command line reads and writes."""

from lmm.files.reading import one_error, read_table
from lmm.files.scanning import open_files, read_dataset
from lmm.files.text import Reading, almost_numbers
from lmm.files.writing import check_output, check_place, write_table, write_whole

__all__ = [
    "Reading",
    "almost_numbers",
    "check_output",
    "check_place",
    "one_error",
    "open_files",
    "read_dataset",
    "read_table",
    "write_table",
    "write_whole",
]
