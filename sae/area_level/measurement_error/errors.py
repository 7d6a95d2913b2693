"""Error variances and covariances of covariates, read by name and laid on the columns of the design."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sae.area_level.arrays import AreaArrays
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.tables import require, to_numbers

__all__ = ["ErrorArrays", "read_errors"]


@dataclass(frozen=True, eq=False)
class ErrorArrays:
    """Errors of the M areas of a model with p coefficients.

    Attributes
    ----------
    C : ndarray, shape (M, p, p)
        Covariances of the measurement errors.
    c : ndarray, shape (M, p)
        Their covariances with the sampling error of the outcome; 0 without a sample.
    """

    C: np.ndarray
    c: np.ndarray

    def turned(self, turns: tuple[np.ndarray, np.ndarray]) -> ErrorArrays:
        """Return the errors of the covariates times two matrices of shape (p, p), one after the other."""
        turn = turns[0] @ turns[1]
        return ErrorArrays(turn.T @ self.C @ turn, self.c @ turn)


def read_errors(entries: Sequence[Sequence[str]], outcome: str, arrays: AreaArrays) -> ErrorArrays:
    """Read the columns that `errors` of a specification names.

    Parameters
    ----------
    entries : sequence of tuple
        (covariate, column), (covariate, covariate, column) or (outcome, covariate, column).

    Raises
    ------
    SaeSpecError
        If a covariate does not enter the formula by itself.
    SaeInputError
        If a column is missing, a variance missing or negative, or the covariances of an area are no
        covariances; areas and columns are named.
    """
    p, size = arrays.X.shape[1], len(arrays.y)
    place = {name: _position(name, arrays) for name in _covariates(entries, outcome)}
    C, c = np.zeros((size, p, p)), np.zeros((size, p))
    for *names, column in entries:
        joined = [name for name in names if name != outcome]
        values = _values(arrays, column, arrays.sampled if len(joined) < len(names) else None)
        if len(names) == 1:
            _refuse(arrays, values < 0, values, column, "negative")
        i, j = place[joined[0]], place[joined[-1]]
        if len(joined) < len(names):
            c[:, i] = values
        else:
            C[:, i, j] = C[:, j, i] = values
    _refuse_impossible(arrays, C, c)
    return ErrorArrays(C, c)


def _covariates(entries: Sequence[Sequence[str]], outcome: str) -> list[str]:
    return list(dict.fromkeys(name for entry in entries for name in entry[:-1] if name != outcome))


def _position(name: str, arrays: AreaArrays) -> int:
    """Column of the design that is this covariate, and no other column rests on it."""
    columns = arrays.design.columns
    if name not in columns:
        raise SaeSpecError(
            f"errors= names {name}, which is no covariate of the formula by itself.",
            hint=f"The columns of the design are {name_some(columns, 15)}.",
        )
    frame, X = arrays.rows.covariates, arrays.X[arrays.in_order]
    stretched = arrays.design.rebuild(frame.assign(**{name: 1.001 * frame[name]}), arrays.rows.names)
    moved = [columns[k] for k in np.flatnonzero((stretched != X).any(axis=0)) if columns[k] != name]
    if moved:
        raise SaeSpecError(
            f"errors= names {name}, on which other columns rest: {name_some(moved)}.",
            hint="Errors are carried by covariates that enter the formula once, and not transformed.",
        )
    return columns.index(name)


def _values(arrays: AreaArrays, column: str, needed: np.ndarray | None) -> np.ndarray:
    """Return a column of the data in the order of the arrays; where it is not needed, 0."""
    frame = arrays.rows.covariates
    require(frame, [column], role="(of errors=)")
    numbers = to_numbers(frame, column, names=arrays.rows.names)[arrays.order]
    if needed is not None:
        numbers = np.where(needed, numbers, 0.0)
    _refuse(arrays, ~np.isfinite(numbers), numbers, column, "missing or not finite")
    return numbers


def _refuse(arrays: AreaArrays, bad: np.ndarray, values: np.ndarray, column: str, what: str) -> None:
    if bad.any():
        names = arrays.names[bad]
        raise SaeInputError(
            f"The errors in column {column} are {what} in {int(bad.sum())} of {len(values)} areas: "
            f"{name_some(names)}.",
            hint="A covariate that is known exactly in an area has the error variance 0 there.",
            areas=names,
            column=column,
        )


def _refuse_impossible(arrays: AreaArrays, C: np.ndarray, c: np.ndarray) -> None:
    """Refuse areas whose variances and covariances no errors can have."""
    size, p = c.shape
    joint = np.empty((size, p + 1, p + 1))
    joint[:, :p, :p], joint[:, :p, p], joint[:, p, :p] = C, c, c
    joint[:, p, p] = np.where(arrays.sampled, arrays.D, 1.0)
    sd = np.sqrt(np.einsum("dii->di", joint))
    unit = np.where(sd > 0, sd, 1.0)
    lowest = np.linalg.eigvalsh(joint / (unit[:, :, None] * unit[:, None, :]))[:, 0]
    bad = lowest < -1e-8
    if bad.any():
        names = arrays.names[bad]
        raise SaeInputError(
            f"Covariances of errors= are larger than the variances allow in {name_some(names)}.",
            hint="A covariance is at most the geometric mean of the two variances; smooth both alike.",
            areas=names,
        )
