"""From a formula to a design matrix whose columns and levels are remembered and rebuilt by name."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.tables import label_text, labels, require, to_numbers

__all__ = ["Design", "check_rank", "outside_range"]

_RANK_TOLERANCE = 1e-9
_SLACK = 1e-9  # of the largest value: rounding of a mean is no extrapolation


@dataclass(frozen=True, eq=False)
class Design:
    """A design that was learnt on some rows and can be rebuilt on others.

    Attributes
    ----------
    formula : str
        The covariates: the right-hand side.
    columns : tuple of str
        Names of the columns of the matrix.
    variables : tuple of str
        Columns of the data that the formula uses.
    levels : mapping of str to tuple
        Levels of each text variable, the first one the reference.
    low, high : ndarray of float, shape (n_columns,)
        Range of each column on the rows that the design was learnt on.

    Examples
    --------
    >>> frame = pd.DataFrame({"x": [1.0, 2.0, 4.0], "g": ["b", "a", "b"]})
    >>> design, X = Design.learn("x + g", frame, ["A", "B", "C"])
    >>> design.columns
    ('Intercept', 'x', 'g[T.b]')
    >>> design.rebuild(pd.DataFrame({"g": ["b"], "x": [7.0]}), ["D"]).tolist()
    [[1.0, 7.0, 1.0]]
    >>> design.outside(np.array([[1.0, 7.0, 1.0], [1.0, 2.0, 0.0]])).tolist()
    [[False, True, False], [False, False, False]]
    """

    formula: str
    columns: tuple[str, ...]
    variables: tuple[str, ...]
    levels: Mapping[str, tuple[Any, ...]]
    low: np.ndarray
    high: np.ndarray
    _model_spec: Any

    @classmethod
    def learn(cls, formula: str, frame: pd.DataFrame, names: Sequence[object]) -> tuple[Design, np.ndarray]:
        """Learn the design on the rows of `frame`, named by `names` in messages.

        Returns
        -------
        Design
        ndarray of float, shape (n_rows, n_columns)

        Raises
        ------
        SaeSpecError
            If the formula cannot be read.
        SaeInputError
            If a covariate is not in the data, or missing or infinite in some rows; they are named.
        """
        from formulaic import Formula
        from formulaic.errors import FormulaicError

        try:
            parsed = Formula(formula)
            variables = tuple(sorted(str(name) for name in parsed.required_variables))
        except (FormulaicError, AttributeError) as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise SaeSpecError(
                f"The formula {formula!r} cannot be read: {reason}.", hint='Write it as "x1 + x2 + C(group)".'
            ) from None
        levels = {}
        _check_variables(variables, frame, names)
        for name in variables:
            if not _is_number(frame[name]):
                levels[name] = _levels(frame[name])
        prepared = _prepare(variables, levels, frame)
        try:
            with np.errstate(all="ignore"):  # what is not finite is refused by name below
                matrix = parsed.get_model_matrix(prepared, na_action="ignore", output="pandas")
        except FormulaicError as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise SaeSpecError(f"The formula {formula!r} cannot be evaluated: {reason}.") from None
        for factor, contrasts in matrix.model_spec.factor_contrasts.items():
            inside = [name for name in matrix.model_spec.factor_variables[factor] if name in variables]
            if len(inside) == 1 and inside[0] not in levels:  # C(number)
                levels[inside[0]] = tuple(contrasts.levels)
        columns = tuple(str(name) for name in matrix.columns)
        X = _finite(matrix, columns, names)
        low, high = (X.min(axis=0), X.max(axis=0)) if len(X) else (np.full(len(columns), np.nan),) * 2
        return cls(formula, columns, variables, levels, low, high, matrix.model_spec), X

    def rebuild(self, frame: pd.DataFrame, names: Sequence[object]) -> np.ndarray:
        """Return the same columns on other rows; levels are matched by name, whatever their order.

        Raises
        ------
        SaeInputError
            If a covariate is absent or missing in some rows, or a level is one that the fit never saw.
        """
        from formulaic.errors import DataMismatchWarning

        _check_variables(self.variables, frame, names)
        for name, levels in self.levels.items():
            values = _text(frame[name]) if _are_text(levels) else frame[name]
            strange = ~values.isin(levels).to_numpy()
            if strange.any():
                areas = np.asarray(names, dtype=object)[strange]
                found = list(dict.fromkeys(values[strange]))
                raise SaeInputError(
                    f"{name} has levels that the fit never saw: {name_some(found)} (in {name_some(areas)}).",
                    hint=f"The fit knows {name_some(levels, 10)}. Join levels, or leave {name} out.",
                    areas=areas,
                    column=name,
                )
        prepared = _prepare(self.variables, self.levels, frame)
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("error", DataMismatchWarning)
            try:
                matrix = self._model_spec.get_model_matrix(prepared, na_action="ignore")
            except DataMismatchWarning as problem:
                raise SaeInputError(f"The formula {self.formula!r} meets new levels: {problem}") from None
        return _finite(matrix, self.columns, names)

    def outside(self, X: np.ndarray) -> np.ndarray:
        """Return which entries lie outside the range of their column on the rows that were learnt on.

        Parameters
        ----------
        X : ndarray of float, shape (n_rows, n_columns)
            Of `rebuild`.

        Returns
        -------
        ndarray of bool, shape (n_rows, n_columns)
            ``.any(axis=1)`` says which rows extrapolate, ``.any(axis=0)`` in which columns.
        """
        return _beyond(X, self.low, self.high)


def outside_range(reference: np.ndarray, X: np.ndarray) -> np.ndarray:
    """Return which entries of X, (M, p), lie outside the range of a column of `reference`, (m, p).

    Examples
    --------
    >>> from sae.specs.design import outside_range
    >>> outside_range(np.array([[0.0], [1.0]]), np.array([[0.5], [2.0]])).ravel().tolist()
    [False, True]
    """
    return _beyond(X, reference.min(axis=0), reference.max(axis=0))


def check_rank(X: np.ndarray, columns: Sequence[str], where: str = "") -> None:
    """Refuse a design whose columns explain each other, or with too few rows; the columns are named.

    Parameters
    ----------
    X : ndarray of float, shape (n_rows, n_columns)
    columns : sequence of str
    where : str
        Which fit it is, for the message, such as " in 2024Q1".

    Raises
    ------
    SaeInputError
        If there are no more rows than columns, or a column is a linear combination of earlier ones.
    """
    n, p = X.shape
    if n <= p:
        raise SaeInputError(
            f"{p} coefficients cannot be estimated from {n} areas with a direct estimate{where}.",
            hint="Use fewer covariates (a text covariate costs one coefficient per level), or more areas.",
        )
    scale = np.linalg.norm(X, axis=0)
    zero = np.flatnonzero(scale == 0.0)
    if len(zero):
        raise SaeInputError(
            f"{columns[zero[0]]} is 0 in every area with a direct estimate{where}.",
            hint="Leave it out of the formula.",
            column=columns[zero[0]],
        )
    R = np.linalg.qr(X / scale, mode="r")
    bad = np.flatnonzero(np.abs(np.diag(R)) < _RANK_TOLERANCE)
    if not len(bad):
        return
    j = int(bad[0])
    share, *_ = np.linalg.lstsq(X[:, :j] / scale[:j], X[:, j] / scale[j], rcond=None)
    others = [columns[k] for k in range(j) if abs(share[k]) > 1e-6]
    constant = np.ptp(X[:, j]) <= 1e-9 * np.abs(X[:, j]).max()
    what = "is constant" if constant else f"is a linear combination of {name_some(others)}"
    raise SaeInputError(
        f"{columns[j]} {what}{where}, so the coefficients cannot be told apart.",
        hint=f"Leave {columns[j]} out of the formula, or write 0 + ... for a design without intercept.",
        column=columns[j],
    )


def _beyond(X: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    slack = _SLACK * np.maximum(np.abs(low), np.abs(high))
    return np.asarray((low - slack > X) | (high + slack < X))


def _is_number(column: pd.Series) -> bool:
    return bool(pd.api.types.is_numeric_dtype(column.dtype)) and not pd.api.types.is_bool_dtype(column.dtype)


def _are_text(levels: Sequence[object]) -> bool:
    """Whether levels are those of a text variable; those of C(number) are numbers."""
    return all(isinstance(level, str) for level in levels)


def _text(column: pd.Series) -> pd.Series:
    return labels(column).astype("object")


def _levels(column: pd.Series) -> tuple[str, ...]:
    """Levels in the order of a category, else sorted; only those that occur."""
    seen = set(_text(column))
    if isinstance(column.dtype, pd.CategoricalDtype):
        return tuple(level for level in map(label_text, column.dtype.categories) if level in seen)
    return tuple(sorted(seen))


def _check_variables(variables: Sequence[str], frame: pd.DataFrame, names: Sequence[object]) -> None:
    require(frame, variables, role="(a covariate of the formula)")
    for name in variables:
        empty = frame[name].isna().to_numpy()
        if empty.any():
            areas = np.asarray(names, dtype=object)[empty]
            raise SaeInputError(
                f"The covariate {name} is missing in {len(areas)} of {len(frame)} areas: {name_some(areas)}.",
                hint="Every area needs its covariates, those without a sample too. Fill them in, or take the "
                "areas out.",
                areas=areas,
                column=name,
            )


def _prepare(
    variables: Sequence[str], levels: Mapping[str, tuple[Any, ...]], frame: pd.DataFrame
) -> pd.DataFrame:
    """Numbers as float, text as categories with the known levels in their order."""
    columns: dict[str, Any] = {}
    for name in variables:
        if name in levels and _are_text(levels[name]):
            columns[name] = pd.Categorical(_text(frame[name]), categories=list(levels[name]))
        elif pd.api.types.is_integer_dtype(frame[name].dtype):
            # whole numbers stay whole, so that the levels of C(number) read as they were written
            columns[name] = frame[name].to_numpy(dtype=np.int64)
        else:
            columns[name] = to_numbers(frame, name)
    return pd.DataFrame(columns, index=range(len(frame)))


def _finite(matrix: pd.DataFrame, columns: Sequence[str], names: Sequence[object]) -> np.ndarray:
    X = np.ascontiguousarray(np.asarray(matrix, dtype=float))
    if len(X) != len(names):  # a formula without variables
        X = np.repeat(X[:1], len(names), axis=0)
    bad = ~np.isfinite(X)
    if bad.any():
        j = int(np.flatnonzero(bad.any(axis=0))[0])
        areas = np.asarray(names, dtype=object)[bad[:, j]]
        raise SaeInputError(
            f"{columns[j]} is not a finite number in {name_some(areas)}.", areas=areas, column=columns[j]
        )
    return X
