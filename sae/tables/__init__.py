"""The tables that cross rooms: their columns, their checks, labels, joins by name, files."""

from sae.tables.allocation import ALLOCATION_COLUMNS, TARGET_COLUMNS, Allocation
from sae.tables.columns import DIRECT_COLUMNS, ESTIMATE_COLUMNS, cv_of, require, to_numbers
from sae.tables.combining import combine
from sae.tables.covariates import Covariates, Origin
from sae.tables.direct import DirectEstimates
from sae.tables.estimates import EstimateTable
from sae.tables.files import file_path, read_columns, read_table, whole_file, write_table
from sae.tables.frames import pandas_frame
from sae.tables.guard import CSV_GUARD
from sae.tables.joins import check_spelling, join_by_name, unmatched
from sae.tables.labels import joined_labels, label_text, labels

__all__ = [
    "ALLOCATION_COLUMNS",
    "CSV_GUARD",
    "DIRECT_COLUMNS",
    "ESTIMATE_COLUMNS",
    "TARGET_COLUMNS",
    "Allocation",
    "Covariates",
    "DirectEstimates",
    "EstimateTable",
    "Origin",
    "check_spelling",
    "combine",
    "cv_of",
    "file_path",
    "join_by_name",
    "joined_labels",
    "label_text",
    "labels",
    "pandas_frame",
    "read_columns",
    "read_table",
    "require",
    "to_numbers",
    "unmatched",
    "whole_file",
    "write_table",
]
