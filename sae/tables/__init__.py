"""The tables that cross rooms: their columns, their checks, joins by name, files."""

from sae.tables.columns import DIRECT_COLUMNS, ESTIMATE_COLUMNS
from sae.tables.direct import DirectEstimates
from sae.tables.estimates import EstimateTable
from sae.tables.files import read_table, whole_file, write_table
from sae.tables.joins import join_by_name, unmatched

__all__ = [
    "DIRECT_COLUMNS",
    "ESTIMATE_COLUMNS",
    "DirectEstimates",
    "EstimateTable",
    "join_by_name",
    "read_table",
    "unmatched",
    "whole_file",
    "write_table",
]
