"""What a published table of direct estimates must be: its rows, its figures, and the column of its errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.special import ndtri

from sae.auxiliary.areas import code_texts
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.specs import one_of
from sae.tables import joined_labels, label_text, to_numbers

__all__ = ["ErrorColumn", "cells", "check_errors", "check_sizes", "check_unit", "chosen_rows", "error_column"]


@dataclass(frozen=True)
class ErrorColumn:
    """Which column tells the error, and how it becomes a standard error in the unit of the file."""

    kind: str
    column: str
    level: float
    step: float

    def standard(self, figures: np.ndarray, estimate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return standard errors, and which of them are floors of the rounding, taken at their upper end."""
        floors = figures <= self.step * 1.001 if self.step else np.zeros(len(figures), dtype=bool)
        figures = np.where(floors, figures + self.step / 2, figures)
        if self.kind == "vardir":
            return np.sqrt(figures), floors
        if self.kind == "cv":
            return figures * np.abs(estimate), floors
        if self.kind == "margin":
            return figures / ndtri(0.5 + self.level / 2), floors
        return figures, floors

    @property
    def text(self) -> str:
        """The column as the log names it."""
        what = {"vardir": "variances", "se": "standard errors", "cv": "coefficients of variation"}.get(
            self.kind, f"margins of error at {self.level:.0%}"
        )
        return f"{what} in {self.column}"


def error_column(
    given: Mapping[str, str | None], level: float | None, error: str | None, step: float
) -> ErrorColumn | None:
    """Return the one column that tells the error; None where the table is said to tell none."""
    named = {kind: column for kind, column in given.items() if column}
    if error is not None:
        one_of("error", error, Literal["unknown"])
        if named:
            raise SaeSpecError(
                f"The error is said to be unknown, but {name_some(named)} names its column.",
                hint="Leave one of the two out.",
            )
        return None
    if len(named) != 1:
        raise SaeSpecError(
            f"{name_some(named) if named else 'Nothing'} tells the error of the estimates; exactly one does.",
            hint="Name the column of one: vardir, se, cv or margin (with margin_level). If the table has "
            'none, say so: error="unknown".',
        )
    [(kind, column)] = named.items()
    if (kind == "margin") != (level is not None):
        raise SaeSpecError(
            "A margin of error is of a level, which is not given."
            if kind == "margin"
            else "margin_level belongs to margin.",
            hint="Give margin_level=0.90 or 0.95, as the table states it." if kind == "margin" else "",
        )
    if level is not None and not 0 < level < 1:
        raise SaeSpecError(f"margin_level={level!r} is no level.", hint="Give one such as 0.90.")
    if step < 0:
        raise SaeSpecError(f"step={step!r} is below 0.", hint="Give 0.1 for errors of one decimal.")
    return ErrorColumn(kind, column, level or 0.0, step)


def chosen_rows(frame: pd.DataFrame, only: Mapping[str, Any], file: str) -> pd.DataFrame:
    """Return the rows that hold one of the wanted values in every column of `only`."""
    for name, wanted in only.items():
        texts = code_texts(frame[name])
        values = list(map(label_text, wanted if isinstance(wanted, list | tuple) else [wanted]))
        absent = [value for value in values if not (texts == value).any()]
        if absent:
            raise SaeInputError(
                f"No row of {file} has {name} = {name_some(absent)}.",
                hint=f"{name} holds {name_some(texts.dropna().unique(), 12)}.",
                column=name,
            )
        frame = frame[texts.isin(values).to_numpy(dtype=bool)]
    if frame.empty:
        raise SaeInputError(f"{file} has no row with {name_some(f'{k} = {v}' for k, v in only.items())}.")
    return frame.reset_index(drop=True)


def cells(frame: pd.DataFrame, keys: list[str], figures: list[str], file: str, chosen: bool) -> pd.DataFrame:
    """Return the keys as text and the figures as numbers; refuse an empty key and a domain twice."""
    rows = pd.DataFrame({name: code_texts(frame[name]).astype("object") for name in keys})
    empty = rows.isna().any(axis=1) if keys else pd.Series(dtype=bool)
    if empty.any():
        lines = [row + 1 for row in np.flatnonzero(empty)]
        raise SaeInputError(
            f"{name_some(rows.columns[rows.isna().any()])} of {file} is empty in {len(lines)} rows: row "
            f"{name_some(lines)}.",
            hint="Every row needs its domain; take totals out, or leave them out with only.",
        )
    names = joined_labels(rows, keys) if keys else pd.Series(["all"] * len(rows))
    twice = names[names.duplicated()].unique()
    if len(twice):
        others = [name for name in frame if name not in (*keys, *figures)]
        raise SaeInputError(
            f"{file} has several rows for {len(twice)} domains of {' × '.join(keys) or 'the one domain'}: "
            f"{name_some(twice)}.",
            hint=f'Say which rows are meant: only = {{column = "value"}}, of {name_some(others, 8)}.'
            if others and not chosen
            else "Say which rows are meant with only, or name the columns that tell them apart in by.",
            areas=twice,
        )
    for name in dict.fromkeys(figures):
        numbers = to_numbers(frame, name, names=names, what=f"{file} has")
        if np.isinf(numbers).any():
            raise SaeInputError(
                f"{name} of {file} is infinite in {name_some(names[np.isinf(numbers)])}.", column=name
            )
        rows[name] = numbers
    return rows.assign(_name=names.to_numpy())


def check_unit(values: np.ndarray, unit: str, rows: pd.DataFrame, file: str) -> None:
    """Refuse shares outside 0 to 1, and percentages that must be shares."""
    known = values[np.isfinite(values)]
    if not len(known):
        raise SaeInputError(f"{file} holds no estimate in the chosen rows.")
    top = {"share": 1.0, "percent": 100.0}.get(unit)
    if top is None:
        return
    bad = np.flatnonzero((values < 0) | (values > top))
    if len(bad):
        shown = [f"{rows['_name'].iloc[k]} ({values[k]:g})" for k in bad]
        raise SaeInputError(
            f"{len(bad)} of {len(known)} estimates in {file} lie outside 0 to {top:g}: {name_some(shown)}.",
            hint='If they are percentages, write unit="percent"; if they are no shares, name their unit.',
        )
    if unit == "percent" and len(known) > 1 and known.max() <= 1.0:
        raise SaeInputError(
            f"No estimate in {file} is above 1 percent: the largest is {known.max():g}.",
            hint='If they are shares between 0 and 1, write unit="share".',
        )


def check_sizes(table: pd.DataFrame, file: str) -> None:
    """Refuse numbers of records that are none, and an estimate without any record."""
    n = table["n"]
    bad = (n < 0) | (n != n.round()) & n.notna() | (n == 0) & table["estimate"].notna()
    if bad.any():
        raise SaeInputError(
            f"n of {file} is no number of records behind an estimate in {int(bad.sum())} rows: "
            f"{name_some(f'{value:g}' for value in n[bad])}.",
            hint="Give whole numbers, above 0 where there is an estimate; leave n out if they are not known.",
            column="n",
        )


def check_errors(errors: np.ndarray, source: ErrorColumn, rows: pd.DataFrame, file: str) -> None:
    """Refuse errors below 0, and coefficients of variation in percent."""
    names = rows["_name"].to_numpy()
    if (errors < 0).any():
        raise SaeInputError(
            f"{source.column} of {file} is negative in {name_some(names[errors < 0])}.",
            hint="An error is at least 0. Codes such as -555555555 mean none: missing = [-555555555].",
            areas=names[errors < 0],
            column=source.column,
        )
    known = errors[np.isfinite(errors)]
    if source.kind == "cv" and len(known) and np.median(known) > 1:
        raise SaeInputError(
            f"The median of {source.column} in {file} is {np.median(known):g}: a CV is a fraction.",
            hint="Divide percentages by 100: 0.165, not 16.5.",
            column=source.column,
        )
