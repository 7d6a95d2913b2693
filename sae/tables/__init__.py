"""The tables that cross rooms: their columns, their checks, joins by name, files."""

from sae.tables.allocation import ALLOCATION_COLUMNS, TARGET_COLUMNS, Allocation
from sae.tables.columns import DIRECT_COLUMNS, ESTIMATE_COLUMNS
from sae.tables.direct import DirectEstimates
from sae.tables.estimates import EstimateTable
from sae.tables.files import read_table, whole_file, write_table
from sae.tables.joins import join_by_name, unmatched

__all__ = [
    "ALLOCATION_COLUMNS",
    "DIRECT_COLUMNS",
    "ESTIMATE_COLUMNS",
    "TARGET_COLUMNS",
    "Allocation",
    "DirectEstimates",
    "EstimateTable",
    "join_by_name",
    "read_table",
    "unmatched",
    "whole_file",
    "write_table",
]
