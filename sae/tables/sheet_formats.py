"""How the figures of a spreadsheet are shown: percentages of shares, decimals in measure of their error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

__all__ = ["WRAPPED", "CellFormats", "Sheet", "cell_formats"]

WRAPPED = "wrapped"  # in the place of a format: texts over several lines
_SHARES = ("0%", "0.0%", "0.00%", "0.000%", "0.0000%")
_PLAIN = ("#,##0", *(f"#,##0.{'0' * k}" for k in range(1, 7)), "0.000E+00")
_FIGURES = (*_SHARES, *_PLAIN)
_ERRORS = tuple(  # one decimal more than the figures
    codes[min(k + 1, len(codes) - 1)] for codes in (_SHARES, _PLAIN) for k in range(len(codes))
)
_OF_FIGURES = {
    **dict.fromkeys(("coef", "direct", "estimate", "ci_low", "ci_high"), _FIGURES),
    **dict.fromkeys(("value", "other", "half_width", "triple_goal", "bar_low", "bar_high"), _FIGURES),
    **dict.fromkeys(("se", "direct_se"), _ERRORS),
}
_NUMBERS = {
    "n": "#,##0",
    "n_other": "#,##0",
    "n_eff": "#,##0.0",
    "df": "#,##0.0",
    "deff": "0.00",
    "cv": "0.0%",
    "direct_cv": "0.0%",
    "gamma": "0.000",
    "benchmark_factor": "0.0000",
    "mse": "0.00E+00",
    "variance": "0.00E+00",
    "vardir": "0.00E+00",
    "z": "0.00",
    "p": "0.000",
    "p_value": "0.0000",
    "q_value": "0.0000",
    "p_above": "0.000",
    "standardised": "0.00",
    "leverage": "0.000",
}
_MOST = 6  # decimals


@dataclass(frozen=True, eq=False)
class Sheet:
    """A table of a workbook.

    Attributes
    ----------
    name : str
    frame : DataFrame
    share : ndarray of bool, shape (n_rows,), optional
        Which rows have shares as figures; by default those of the unit "share".
    wrapped : bool
        Whether its texts go over several lines, as notes do.
    """

    name: str
    frame: pd.DataFrame
    share: np.ndarray | None = None
    wrapped: bool = False


class CellFormats(NamedTuple):
    """The formats of a column, "" for none, and which of them each cell has."""

    codes: tuple[str, ...]
    of_cell: np.ndarray


def cell_formats(sheet: Sheet) -> list[CellFormats]:
    """Return the formats of every column.

    The figures of an indicator and unit have the decimals of two digits of their median standard error; a row
    that was rounded further, as published ones are, has no more than it needs.

    Examples
    --------
    >>> from sae.tables.sheet_formats import Sheet, cell_formats
    >>> frame = pd.DataFrame({"unit": ["share", "EUR"], "estimate": [0.58312, 18_234.5], "se": [0.01, 400.0]})
    >>> of = cell_formats(Sheet("estimates", frame))[1]
    >>> [of.codes[k] for k in of.of_cell]
    ['0.0%', '#,##0']
    """
    frame = sheet.frame
    none = np.zeros(len(frame), dtype=int)
    names = [str(name) for name in frame.columns]
    if sheet.wrapped:
        return [CellFormats((WRAPPED,), none) for _ in names]
    form = none
    if any(name in _OF_FIGURES for name in names):
        share = frame["unit"].eq("share").fillna(False) if "unit" in frame else none
        share = np.asarray(share if sheet.share is None else sheet.share, dtype=bool)
        form = _figure_forms(frame, share)
    return [
        CellFormats(_OF_FIGURES[name], form)
        if name in _OF_FIGURES
        else CellFormats((_NUMBERS.get(name, ""),), none)
        for name in names
    ]


def _figure_forms(frame: pd.DataFrame, share: np.ndarray) -> np.ndarray:
    """Return the place of every row's format among `_FIGURES`."""
    kinds = [frame[name].astype("object").fillna("") for name in ("indicator", "unit") if name in frame]
    if "coef" in frame:  # each on a scale of its own
        kinds = [pd.Series(range(len(frame)), index=frame.index)]
    kinds = kinds or [pd.Series(0, index=frame.index)]

    def decade(name: str) -> np.ndarray:
        """Return the power of ten of a column's median size in the row's indicator and unit, NaN if none."""
        if name not in frame:
            return np.full(len(frame), np.nan)
        sizes = pd.to_numeric(frame[name], errors="coerce").astype(float).abs()
        sizes = sizes.where(sizes.between(0, np.inf, inclusive="neither"))
        return np.floor(
            np.log10(sizes.groupby(kinds, observed=True).transform("median").to_numpy(dtype=float))
        )

    names = [name for name in ("estimate", "ci_low", "ci_high") if name in frame]
    figures = frame[names].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float)
    needed = _needed(figures)
    error = decade("se")
    error = np.where(np.isnan(error), decade("direct_se"), error)
    # without an error: one decimal of a percentage; of another figure those it needs, or four digits
    digits = np.where(needed > _MOST, 3.0 - decade("estimate"), needed)
    digits = np.where(np.isnan(error), np.where(share, 3.0, digits), 1.0 - error)
    decimals = np.minimum(np.where(np.isnan(digits), 3.0, digits), needed)
    # a percentage has two decimals less than its share
    percent = np.clip(decimals - 2, 0, len(_SHARES) - 1)
    return np.where(share, percent, len(_SHARES) + np.clip(decimals, 0, len(_PLAIN) - 1)).astype(int)


def _needed(figures: np.ndarray) -> np.ndarray:
    """Return the decimals that show all of a row's figures; one more than the most where these do not."""
    out = np.full(len(figures), _MOST + 1)
    some = ~np.isnan(figures).all(axis=1)
    for decimals in range(_MOST, -1, -1):
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = figures * 10.0**decimals
            exact = np.isnan(figures) | (np.abs(scaled - np.rint(scaled)) <= 1e-12 * np.abs(scaled) + 1e-9)
        out[some & exact.all(axis=1)] = decimals
    return out
