"""Replicate weights read from the columns of a file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, SaeSpecError, counted, name_some
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
_ENTRIES = ("columns", "method", "scale", "rscales", "rho", "centre", "factors")
_SAME = 1e-6  # relative difference up to which a column repeats the weights: files round
_FEWEST = 10  # records below which chance can make weights look like factors
_SURE = 4.0  # standard errors that a slope must be away from what the columns are said to be


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

    A column that repeats the weights is no replicate: it would add a deviation of 0 and one to the count.
    Numbered 0 under a prefix (W0, REPWT0) it is left out with a note; anywhere else it is refused, unless the
    scale does not hang on the number of replicates (it is given, or the method is "jkn": strata that a file
    lacks are often filled up so). Negative weights, as successive differences give them, are replicates like
    any other.

    Parameters
    ----------
    frame : DataFrame
        The records.
    given : mapping
        ``columns`` (prefix or list), ``method``, and optionally ``scale``, ``rscales``, ``rho``, ``centre``,
        and ``factors``: True where the columns hold factors that the weights are multiplied by.
    weights : ndarray, shape (n,)
        Analysis weights.

    Raises
    ------
    SaeSpecError
        If the method is not given or known, or an option has no meaning with it.
    SaeInputError
        If a column is absent, a weight missing, a column repeats the weights or adds up to nothing, or the
        columns look like factors where weights are announced, or the other way round.
    """
    if not isinstance(given, Mapping) or "columns" not in given or "method" not in given:
        raise SaeSpecError(
            f"replicates={given!r} does not say both the columns and the method.",
            hint=f"Write replicates={{'columns': 'PWGTP', 'method': 'sdr'}}; methods: {', '.join(METHODS)}.",
        )
    unknown = set(given) - set(_ENTRIES)
    if unknown:
        raise SaeSpecError(
            f"replicates has no entry {name_some(sorted(map(str, unknown)))}.",
            hint=f"Its entries are {', '.join(_ENTRIES)}.",
        )
    method, centre, factors = given["method"], given.get("centre", "estimate"), given.get("factors", False)
    check_method(method, METHODS)
    check_centre(centre)
    if not isinstance(factors, bool):
        raise SaeSpecError(f"replicates['factors'] is true or false, not {factors!r}.")
    rho = check_rho(method, given.get("rho"))
    names = replicate_columns(frame, given["columns"])
    matrix = np.empty((len(frame), len(names)), order="F")
    for position, name in enumerate(names):
        matrix[:, position] = numbers(column_of(frame, name, "replicate weight"), "replicate weight")
    _check_known(matrix, names)
    notes: list[str] = []
    if isinstance(given["columns"], str) and _repeats_at_zero(matrix, names, weights):
        notes.append(f"{names[0]} repeats the weights and is no replicate: left out")
        names, matrix = names[1:], matrix[:, 1:]
    _check_kind(matrix, names, weights, factors)
    if factors:
        matrix = matrix * weights[:, None]
    if method != "jkn" and "scale" not in given:
        _refuse_repeated(matrix, names, weights)
    rscales, scale = _scales(given, method, len(names), rho)
    matrix = np.asfortranarray(matrix)
    matrix.setflags(write=False)
    kind = "replicate factors" if factors else "replicate weights"
    notes.insert(
        0,
        f"{len(names)} {method} {kind} ({names[0]} .. {names[-1]}), scale {scale:g}, "
        f"deviations from the {centre}",
    )
    negative = int(np.count_nonzero(matrix < 0))
    if negative:
        notes.append(
            f"{counted(negative, 'replicate weight is', 'replicate weights are')} negative, and used"
        )
    return Replicates(matrix, method, scale, rscales, centre), notes


def _scales(
    given: Mapping[str, Any], method: str, n_replicates: int, rho: float | None
) -> tuple[np.ndarray, float]:
    """Return the scales of the replicates and that of their sum."""
    if method == "jkn" and "rscales" not in given:
        raise SaeSpecError(
            "Stratified jackknife weights read from a file need their rscales.",
            hint="Give replicates['rscales'], one (n_h - 1) / n_h per replicate, or make them: "
            "with_replicates('jkn').",
        )
    try:
        rscales = np.asarray(given.get("rscales", np.ones(n_replicates)), dtype=np.float64)
        scale = float(given.get("scale", default_scale(method, n_replicates, rho)))
    except (TypeError, ValueError):
        raise SaeSpecError("The scale and the rscales of replicate weights are numbers.") from None
    if rscales.shape != (n_replicates,) or not np.all((rscales >= 0) & np.isfinite(rscales)):
        raise SaeSpecError(
            f"rscales needs {n_replicates} numbers >= 0, one per replicate column, not {rscales.size}."
        )
    if not (scale > 0 and np.isfinite(scale)):
        raise SaeSpecError(f"The scale of replicate weights is positive, not {scale:g}.")
    return rscales, scale


def replicate_columns(frame: pd.DataFrame, columns: Any) -> list[str]:
    """Columns of a prefix in the order of their numbers, or the list as given."""
    if not isinstance(columns, str):
        if not isinstance(columns, Sequence | pd.Index | np.ndarray):
            raise SaeSpecError(f"replicates['columns'] is a prefix or a list of columns, not {columns!r}.")
        names = [str(name) for name in columns]
        twice = [name for name, times in Counter(names).items() if times > 1]
        if twice:
            raise SaeSpecError(f"replicates['columns'] names {name_some(twice)} more than once.")
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


def _check_known(matrix: np.ndarray, names: list[str]) -> None:
    faults = [(name, np.flatnonzero(~np.isfinite(matrix[:, k]))) for k, name in enumerate(names)]
    faults = [(name, rows) for name, rows in faults if rows.size]
    if faults:
        name, rows = faults[0]
        raise SaeInputError(
            f"{len(faults)} of {len(names)} replicate weight columns hold missing or infinite values: "
            f"{name_some(name for name, _ in faults)} (in {name}: rows {rows_text(rows)}).",
            hint="Correct these columns or leave them out of replicates['columns'].",
            column=name,
        )
    empty = [name for name, total in zip(names, matrix.sum(axis=0), strict=True) if not total > 0]
    if empty:
        raise SaeInputError(
            f"{len(empty)} of {len(names)} replicate weight columns add up to 0 or less: {name_some(empty)}.",
            hint="Every replicate stands for the whole population: leave these out of replicates['columns'].",
            column=empty[0],
        )


def _repeats_at_zero(matrix: np.ndarray, names: list[str], weights: np.ndarray) -> bool:
    """Whether the first column bears the number 0 and is the weight, or the weight at another scale."""
    number = re.search(r"\d+$", names[0])
    if number is None or int(number.group()) != 0 or len(names) < 3:
        return False
    first = matrix[:, 0]
    return _repeats(first, weights) or _repeats(first / first.sum(), weights / weights.sum())


def _repeats(column: np.ndarray, weights: np.ndarray) -> bool:
    """Whether a column is the weight, but for the digits of the file or for rounding to whole numbers."""
    rounding = 0.5 if np.all(column == np.rint(column)) else 0.0
    return bool(np.all(np.abs(column - weights) <= np.maximum(_SAME * weights, rounding)))


def _refuse_repeated(matrix: np.ndarray, names: list[str], weights: np.ndarray) -> None:
    repeated = [name for k, name in enumerate(names) if _repeats(matrix[:, k], weights)]
    if repeated:
        raise SaeInputError(
            f"{counted(len(repeated), 'replicate column repeats', 'replicate columns repeat')} the weights: "
            f"{name_some(repeated)}. The full weight is no replicate, and would make the errors too small.",
            hint="Leave it out of replicates['columns']; or give replicates['scale'] if it is a filler.",
            column=repeated[0],
        )


def _check_kind(matrix: np.ndarray, names: list[str], weights: np.ndarray, factors: bool) -> None:
    """Refuse factors given for weights and weights given for factors."""
    base = np.ones_like(weights) if factors else weights
    ratio = float(np.median(matrix.sum(axis=0)) / base.sum())
    looks = _kind_of(matrix.mean(axis=1), weights)
    if factors and (not 0.5 < ratio < 2 or looks == "weights"):
        rise = ", and rise with the weights one to one" if looks == "weights" else ""
        raise SaeInputError(
            f"The replicate factors are {ratio:.3g} on average{rise}. Factors lie around 1 at every weight.",
            hint="Leave replicates['factors'] out if the columns are replicate weights, already multiplied.",
            column=names[0],
        )
    if not factors and (not 0.5 < ratio < 2 or looks == "factors"):
        apart = ", but do not rise with them: they look like factors" if looks == "factors" else ""
        raise SaeInputError(
            f"The replicate weights add up to {ratio:.3g} times the weights{apart}.",
            hint="They must be analysis weights. If the file holds factors, say so: replicates['factors'] = "
            "true multiplies them by the weight.",
            column=names[0],
        )


def _kind_of(mean: np.ndarray, weights: np.ndarray) -> str:
    """Tell replicate weights from factors by their mean over the replicates; "" where that cannot be told.

    Replicate weights rise with the weights one to one and factors not at all, whatever scale the weights were
    normalised to. Both the slope and the fit must say so: members of a sampling unit share their noise, which
    the error of the slope does not know.
    """
    away = weights - weights.mean()
    spread = float(away @ away)
    if len(weights) < _FEWEST or spread <= _SAME * float(weights @ weights):
        return ""
    slope = float(away @ mean) / spread
    residual = mean - mean.mean() - slope * away
    error = float(np.sqrt(np.sum((away * residual) ** 2)) / spread)
    nearer_factors = np.sum((mean - mean.mean()) ** 2) < np.sum(
        (mean - weights * (mean.mean() / weights.mean())) ** 2
    )
    if slope + _SURE * error < 0.5 and nearer_factors:
        return "factors"
    return "weights" if slope - _SURE * error > 0.5 and not nearer_factors else ""


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
    number = isinstance(rho, int | float | np.number) and not isinstance(rho, bool)
    if method == "fay" and not (rho is not None and number and 0 < rho < 1):
        raise SaeSpecError(
            f"Fay's method needs rho between 0 and 1, not {rho!r}.", hint="For example rho=0.5."
        )
    if method != "fay" and rho is not None:
        raise SaeSpecError(f"rho has no meaning with {method!r}.", hint="Use method 'fay' or leave rho out.")
    return rho
