"""What all unit-level models read: units of a frame or survey, their areas, both matched by name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, name_some
from sae.specs import parse_terms
from sae.survey import Survey
from sae.tables import join_by_name, labels, pandas_frame, read_columns, require

__all__ = [
    "RowNames",
    "UnitRows",
    "coded_labels",
    "constant_columns",
    "formula_words",
    "match_areas",
    "read_areas",
    "read_units",
    "refuse_missing",
    "refuse_missing_covariates",
]


@dataclass(frozen=True, eq=False)
class UnitRows:
    """The areas of a result.

    Attributes
    ----------
    columns : mapping
        Columns of the estimate table known before the fit.
    covariates : DataFrame
        All that is known of the areas, on the same rows.
    provenance : mapping
        Where the data come from: the number of units.
    groups : tuple of str
    """

    columns: Mapping[str, Any]
    covariates: pd.DataFrame
    provenance: Mapping[str, Any]
    groups: tuple[str, ...] = ()


class RowNames(Sequence[str]):
    """Names of units for messages: each is made when it is read.

    Examples
    --------
    >>> list(RowNames(2))
    ['row 1', 'row 2']
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, row: Any) -> Any:
        if isinstance(row, slice):
            return [f"row {k + 1}" for k in range(*row.indices(self.size))]
        if not 0 <= row < self.size:
            raise IndexError(row)
        return f"row {row + 1}"


def read_units(data: pd.DataFrame | Survey) -> pd.DataFrame:
    """Return the records of a frame, or of a survey inside its subset.

    Raises
    ------
    SaeInputError
        If it is neither, or has no rows.
    """
    if isinstance(data, Survey):
        data = data.frame if data.mask is None else data.frame[data.mask]
    data = pandas_frame(data, "The units")
    if not len(data):
        raise SaeInputError("The data have no rows.")
    return data.reset_index(drop=True)


def read_areas(
    areas: pd.DataFrame | str | Path | None,
    covariates: str,
    domain: str,
    population: str | None = None,
) -> pd.DataFrame | None:
    """Return the rows of the population.

    Parameters
    ----------
    areas : DataFrame, str, Path or None
        Of a Parquet file, or a folder of them, only the columns that the model can use are read.
    covariates : str
        The formula's right-hand side.
    domain : str
        Column of the labels of the areas.
    population : str, optional
        Column of the population sizes.

    Raises
    ------
    SaeInputError
        If it cannot be read, or lacks the columns of labels or sizes.
    """

    def chosen(names: Sequence[str]) -> list[str]:
        check(pd.DataFrame(columns=list(names)))
        wanted = formula_words(covariates)
        return [name for name in names if name in (domain, population) or wanted & formula_words(name)]

    def check(frame: pd.DataFrame) -> None:
        require(frame, [domain], "The areas have", "with the labels of the areas")
        if population is not None:
            require(
                frame, [population], "The areas have", "with population sizes", hint="population= names it."
            )

    if areas is None:
        return None
    if isinstance(areas, (str, Path)):
        areas = read_columns(areas, chosen)
    areas = pandas_frame(areas, "The areas")
    check(areas)
    refuse_missing(areas, domain, "rows of the areas")
    return areas.reset_index(drop=True)


def match_areas(units: pd.Series, areas: pd.Series, domain: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Match units and rows of the population by the label of their area.

    Parameters
    ----------
    units, areas : Series
        Labels, of each unit and of each row of the population.
    domain : str
        What the column is called.

    Returns
    -------
    names : ndarray of str, shape (D,)
        The areas in the order in which the population names them.
    unit : ndarray of int, shape (n,)
        Area of each unit.
    row : ndarray of int, shape (C,)
        Area of each row of the population.

    Raises
    ------
    SaeInputError
        If a label is missing, or the population lacks an area of the units.
    """
    unit, ours, units_plain = coded_labels(units.rename(domain))
    row, theirs, areas_plain = coded_labels(areas.rename(domain))
    names = pd.Index(theirs)
    place = names.get_indexer(ours)
    alike = "" not in (units_plain, areas_plain) and units_plain == areas_plain
    if not alike or (place < 0).any():  # named by the join, if they are at fault
        left, right = (side.rename(domain).drop_duplicates().to_frame() for side in (units, areas))
        join_by_name(left, right, domain, names=("the units", "the areas"))
    return names.to_numpy(dtype=object), place[unit], row


def coded_labels(column: pd.Series) -> tuple[np.ndarray, np.ndarray, str]:
    """Return the code of every row's label, the labels, and "text" or "number" where all rows are that.

    Each distinct value is spelt once. Where values are of several kinds or spelt alike, the kind is "".
    """
    kind = "number" if pd.api.types.is_numeric_dtype(column.dtype) else ""
    if isinstance(column.dtype, pd.StringDtype) or pd.api.types.infer_dtype(column) == "string":
        kind = "text"
    if not kind:
        codes, names = pd.factorize(labels(column).to_numpy(dtype=object))
        return codes, names, ""
    codes, levels = pd.factorize(column)
    if len(codes) and codes.min() < 0:
        labels(column)  # names the rows without one
    spelt, names = pd.factorize(labels(pd.Series(levels, name=column.name)).to_numpy(dtype=object))
    return spelt[codes], names, kind if len(names) == len(levels) else ""


def constant_columns(frame: pd.DataFrame, row: np.ndarray) -> pd.DataFrame:
    """Return the columns that are the same in all rows of every area, one row per area.

    Parameters
    ----------
    frame : DataFrame
    row : ndarray of int, shape (len(frame),)
        Area of each row; areas are numbered as they appear.

    Examples
    --------
    >>> frame = pd.DataFrame({"area": list("AAB"), "north": [1, 1, 0], "age": [3, 5, 4]})
    >>> constant_columns(frame, np.array([0, 0, 1])).to_dict("list")
    {'area': ['A', 'B'], 'north': [1, 0]}
    """
    _, first = np.unique(row, return_index=True)
    one = frame.iloc[first].reset_index(drop=True)
    if len(one) == len(frame):
        return one
    codes = [pd.factorize(frame.iloc[:, k])[0] for k in range(frame.shape[1])]
    return one.loc[:, [bool((code == code[first][row]).all()) for code in codes]]


def refuse_missing(frame: pd.DataFrame, column: str, what: str = "units") -> None:
    """Refuse missing values of a column, counting them."""
    values = frame[column]
    if pd.api.types.is_numeric_dtype(values.dtype):
        empty = values.isna().to_numpy()
    else:
        try:
            codes, levels = pd.factorize(values)
        except TypeError:
            labels(values, keep_missing=True)  # names what is no label, such as a list
            raise
        blank = [isinstance(level, str) and not level.strip() for level in levels]
        empty = np.array([*blank, True])[codes]  # the code -1, missing, takes the last
    rows = np.flatnonzero(empty)
    if len(rows):
        raise SaeInputError(
            f"{column} is missing in {len(rows)} of {len(frame)} {what}: row {name_some(rows + 1)}.",
            hint=f"Take these {what} out, or fill the values in.",
            column=column,
        )


def refuse_missing_covariates(units: pd.DataFrame, covariates: str) -> None:
    """Refuse missing values of the columns that a formula names."""
    for name in parse_terms(covariates).variables:
        if name in units:
            refuse_missing(units, name)


def formula_words(text: str) -> set[str]:
    """Return all words of a formula or of a column's name, those that are names of columns among them."""
    return set(re.findall(r"\w+", text))
