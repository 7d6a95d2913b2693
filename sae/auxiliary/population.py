"""Sizes of a population by area, group and period: every combination has its count."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from sae.auxiliary.areas import read_areas
from sae.calls import answered
from sae.errors import SaeInputError, name_some
from sae.tables import joined_labels, labels, pandas_frame, require, to_numbers

__all__ = ["read_population", "refuse_incomplete"]


@answered
def read_population(
    data: str | Path | pd.DataFrame,
    count: str,
    *,
    by: Sequence[str],
    encoding: str = "utf-8",
    separator: str | None = None,
    decimal: Literal[".", ","] = ".",
) -> pd.DataFrame:
    """Read the sizes of a population by area, group and period: one row for every combination, none missing.

    Parameters
    ----------
    data : str, Path or DataFrame
        A text file or Parquet, or a frame.
    count : str
        The column of the counts, such as "population_20_64".
    by : sequence of str
        The columns that name the areas, groups and periods.
    encoding, separator, decimal
        Of a text file: see `read_areas`.

    Returns
    -------
    DataFrame
        The columns of `by` as text, and `count`.

    Raises
    ------
    SaeInputError
        If a label or a count is missing or a count negative, a row stands twice, or a combination of the
        labels of `by` has no row: a cell without people is a row with the count 0.

    Examples
    --------
    >>> frame = pd.DataFrame({"city": ["01", "01", "02"], "birth": ["native", "foreign", "native"]})
    >>> frame["people"] = [90, 10, 50]
    >>> sae.auxiliary.read_population(frame, "people", by=["city", "birth"])
    Traceback (most recent call last):
    ...
    sae.errors.SaeInputError: The population has no row for 1 of 4 combinations of city × birth: 02 / foreign.
    A cell without people is a row with the count 0.
    """
    by = [by] if isinstance(by, str) else by
    if not isinstance(data, str | Path):
        frame, what = pandas_frame(data, "The population").reset_index(drop=True), "The population"
    else:
        frame = read_areas(data, codes=by, encoding=encoding, separator=separator, decimal=decimal)
        what = Path(data).name
    require(frame, [*by, count], f"{what} has")
    out = pd.DataFrame({column: labels(frame[column]) for column in by})
    out[count] = to_numbers(frame, count, names=joined_labels(out, by))
    refuse_incomplete(out, list(by), count, what)
    return out


def refuse_incomplete(frame: pd.DataFrame, by: list[str], count: str, what: str) -> None:
    """Refuse counts that are missing or negative, rows that stand twice, combinations without a row."""
    rows = joined_labels(frame, by)
    for bad, text in (
        (frame[count].isna(), "missing"),
        (frame[count] < 0, "negative"),
        (np.isinf(frame[count]), "infinite"),
    ):
        if bad.any():
            raise SaeInputError(
                f"{what}: {count} is {text} in {int(bad.sum())} of {len(rows)} rows: {name_some(rows[bad])}.",
                hint="Every cell needs its count; one without people has the count 0.",
                areas=rows[bad],
                column=count,
            )
    if rows.duplicated().any():
        twice = rows[rows.duplicated()].unique()
        raise SaeInputError(
            f"{what} has more than one row for {len(twice)} cells of {' × '.join(by)}: {name_some(twice)}.",
            areas=twice,
            column=by[0],
        )
    cells = pd.MultiIndex.from_product([frame[column].unique() for column in by], names=by)
    if len(cells) > len(frame):
        absent = cells[~cells.isin(pd.MultiIndex.from_frame(frame[by]))]
        names = joined_labels(absent.to_frame(index=False), by)
        raise SaeInputError(
            f"{what} has no row for {len(absent)} of {len(cells)} combinations of {' × '.join(by)}: "
            f"{name_some(names)}.",
            hint="A cell without people is a row with the count 0.",
            areas=names,
            column=by[0],
        )
