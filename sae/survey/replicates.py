"""Replicate weights read from the columns of a file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.literals import ReplicateCentre
from sae.survey.checks import column_of, numbers, rows_text

__all__ = [
    "METHODS",
    "Replicates",
    "check_centre",
    "check_method",
    "check_rho",
    "default_scale",
    "read_replicates",
]

METHODS = ("brr", "fay", "jk1", "jkn", "bootstrap", "sdr")


@dataclass(frozen=True, eq=False)
class Replicates:
    """Replicate weights and how to turn replicate estimates into a variance.

    The variance of an estimate is ``scale * sum_r rscales[r] * (theta_r - centre)**2``.

    Attributes
    ----------
    weights : ndarray of float, shape (n, R)
        Analysis weights of each replicate.
    method : str
        One of `METHODS`.
    scale : float
    rscales : ndarray, shape (R,)
    centre : {"estimate", "mean"}
        The full-sample estimate, or the mean of the replicate estimates.
    """

    weights: np.ndarray
    method: str
    scale: float
    rscales: np.ndarray
    centre: ReplicateCentre


def default_scale(method: str, n_replicates: int, rho: float | None) -> float:
    """Return the scale of the sum of squares (Wolter 2007; Judkins 1990; Fay and Train 1995 for sdr)."""
    if method == "fay":
        assert rho is not None
        return 1 / (n_replicates * (1 - rho) ** 2)
    return {
        "brr": 1 / n_replicates,
        "jk1": (n_replicates - 1) / n_replicates,
        "jkn": 1.0,
        "bootstrap": 1 / n_replicates,
        "sdr": 4 / n_replicates,
    }[method]


def read_replicates(frame: pd.DataFrame, given: Any, weights: np.ndarray) -> tuple[Replicates, list[str]]:
    """Replicate weights from columns of the file.

    Parameters
    ----------
    frame : DataFrame
        The records.
    given : mapping
        ``columns`` (prefix or list), ``method``, and optionally ``scale``, ``rscales``, ``rho``, ``centre``.
    weights : ndarray, shape (n,)
        Analysis weights.

    Raises
    ------
    SaeSpecError
        If the method is not given or known, or an option has no meaning with it.
    SaeInputError
        If a column is absent, a weight missing or negative, or the columns look like factors instead of
        weights.
    """
    if not isinstance(given, Mapping) or "columns" not in given or "method" not in given:
        raise SaeSpecError(
            f"replicates={given!r} does not say both the columns and the method.",
            hint=f"Write replicates={{'columns': 'PWGTP', 'method': 'sdr'}}; methods: {', '.join(METHODS)}.",
        )
    unknown = set(given) - {"columns", "method", "scale", "rscales", "rho", "centre"}
    if unknown:
        raise SaeSpecError(f"replicates has no entry {name_some(sorted(unknown))}.")
    method, centre = given["method"], given.get("centre", "estimate")
    check_method(method, METHODS)
    check_centre(centre)
    rho = check_rho(method, given.get("rho"))
    names = replicate_columns(frame, given["columns"])
    matrix = np.empty((len(frame), len(names)), order="F")
    for position, name in enumerate(names):
        matrix[:, position] = numbers(column_of(frame, name, "replicate weight"), "replicate weight")
    _check_values(matrix, names, weights)
    n_replicates = len(names)
    if method == "jkn" and "rscales" not in given:
        raise SaeSpecError(
            "Stratified jackknife weights read from a file need their rscales.",
            hint="Give replicates['rscales'], one (n_h - 1) / n_h per replicate, or make them: "
            "with_replicates('jkn').",
        )
    rscales = np.asarray(given.get("rscales", np.ones(n_replicates)), dtype=np.float64)
    if rscales.shape != (n_replicates,) or not np.all(rscales >= 0):
        raise SaeSpecError(
            f"rscales needs {n_replicates} numbers >= 0, one per replicate column, not {rscales.size}."
        )
    scale = float(given.get("scale", default_scale(method, n_replicates, rho)))
    if not scale > 0:
        raise SaeSpecError(f"The scale of replicate weights is positive, not {scale:g}.")
    matrix.setflags(write=False)
    note = (
        f"{n_replicates} {method} replicate weights ({names[0]} .. {names[-1]}), scale {scale:g}, "
        f"deviations from the {centre}"
    )
    return Replicates(matrix, method, scale, rscales, centre), [note]


def replicate_columns(frame: pd.DataFrame, columns: Any) -> list[str]:
    """Columns of a prefix in the order of their numbers, or the list as given."""
    if not isinstance(columns, str):
        names = [str(name) for name in columns]
    else:
        pattern = re.compile(re.escape(columns) + r"_?(\d+)")
        matches = {str(name): match for name in frame if (match := pattern.fullmatch(str(name)))}
        names = sorted(matches, key=lambda name: int(matches[name].group(1)))
    if len(names) < 2:
        raise SaeInputError(
            f"Replicate weights need at least two columns; {columns!r} gives {len(names)}.",
            hint="Give the prefix that stands before their numbers, or the list of columns.",
            column=str(columns),
        )
    return names


def _check_values(matrix: np.ndarray, names: list[str], weights: np.ndarray) -> None:
    for word, test in (("missing or infinite", lambda w: ~np.isfinite(w)), ("negative", lambda w: w < 0)):
        bad = [(name, np.flatnonzero(test(matrix[:, k]))) for k, name in enumerate(names)]
        bad = [(name, rows) for name, rows in bad if rows.size]
        if bad:
            name, rows = bad[0]
            raise SaeInputError(
                f"{len(bad)} of {len(names)} replicate weight columns hold {word} values: "
                f"{name_some(name for name, _ in bad)} (in {name}: rows {rows_text(rows)}).",
                hint="Replicate weights are >= 0: correct these columns or leave them out of "
                "replicates['columns'].",
                column=name,
            )
    ratio = float(np.median(matrix.sum(axis=0)) / weights.sum())
    if not 0.5 < ratio < 2:
        raise SaeInputError(
            f"The replicate weights add up to {ratio:.3g} times the weights.",
            hint="They must be analysis weights: if the file holds factors, multiply them by the weight.",
            column=names[0],
        )


def check_method(method: object, known: tuple[str, ...]) -> None:
    """Refuse a method that is not known here."""
    if method not in known:
        raise SaeSpecError(
            f"{method!r} is not a method of replicate weights here.", hint=f"Use one of {', '.join(known)}."
        )


def check_centre(centre: object) -> None:
    """Refuse a centre other than the two."""
    if centre not in ("estimate", "mean"):
        raise SaeSpecError(f"centre={centre!r} is neither 'estimate' nor 'mean'.")


def check_rho(method: str, rho: float | None) -> float | None:
    """Return rho where it belongs to the method; refuse it elsewhere, and its absence."""
    if method == "fay" and (rho is None or not 0 < rho < 1):
        raise SaeSpecError(
            f"Fay's method needs rho between 0 and 1, not {rho!r}.", hint="For example rho=0.5."
        )
    if method != "fay" and rho is not None:
        raise SaeSpecError(f"rho has no meaning with {method!r}.", hint="Use method 'fay' or leave rho out.")
    return rho
