"""From a formula to a design matrix whose columns and levels are remembered and rebuilt by name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.specs.calculation import Moments, calculate, learns
from sae.specs.terms import Factor, Term, Terms, parse_terms
from sae.tables import label_text, labels, require, to_numbers

__all__ = ["Design", "check_rank", "column_range", "outside_range"]

_RANK_TOLERANCE = 1e-9
_CLEARLY_OF_FULL_RANK = 1e-6  # of the Gram matrix of columns of length 1, whose rounding is far below
_SLACK = 1e-9  # of the largest value: rounding of a mean is no extrapolation
_FLAGS = re.compile(r"\s+[bcdefnprsuz]{1,3}$")  # of Eurostat's tables, behind the figure
_SPELLS_A_NUMBER = re.compile(r"[+\-−]?(\d[\d\s.,'’]*|[.,]\d+)([eE][+-]?\d+)?\s*%?")
_MOST_CODES = 50
_SPELLS_NOTHING = {"", "na", "nan", "n/a", "null", "none", ".", ":", "-"}


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
    levels: Mapping[str, tuple[str, ...]]
    low: np.ndarray
    high: np.ndarray
    _coded: Mapping[str, tuple[str, ...]] = field(repr=False)  # levels of each factor that has some
    _moments: Moments = field(repr=False)
    _model_spec: Any = field(repr=False)  # of formulaic, where a factor has levels or is a basis

    @classmethod
    def learn(
        cls,
        formula: str,
        frame: pd.DataFrame,
        names: Sequence[object],
        rows: np.ndarray | None = None,
    ) -> tuple[Design, np.ndarray]:
        """Learn the design on the rows of `frame`, named by `names` in messages.

        Parameters
        ----------
        formula : str
        frame : DataFrame
        names : sequence
        rows : ndarray of bool, shape (n_rows,), optional
            The rows to learn from, by default all; the matrix has the others too.

        Returns
        -------
        Design
        ndarray of float, shape (n_rows, n_columns)

        Raises
        ------
        SaeSpecError
            If the formula is not of the language of `sae.specs.terms`.
        SaeInputError
            If a covariate is not in the data, is missing or infinite in some rows (they are named), holds
            numbers as text, or yields no column.
        """
        terms = parse_terms(formula)
        _check_variables(terms.variables, frame, names)
        if rows is not None and rows.all():
            rows = None
        if rows is not None and not _rowwise(terms, frame):
            used, kept = frame[list(terms.variables)], np.flatnonzero(rows)
            design, _ = cls.learn(formula, used.iloc[kept], [names[int(row)] for row in kept])
            return design, design.rebuild(used, names)
        coded = {
            factor.text: _levels(frame[factor.variables[0]], factor)
            for factor in terms.factors
            if factor.kind == "levels" or (factor.kind == "column" and not _holds_numbers(frame[factor.name]))
        }
        moments: Moments = {}
        parts = _parts(terms, coded, frame, names, moments)
        columns, X, model_spec = _first(terms, coded, parts, len(frame))
        if not columns:
            raise SaeSpecError(
                f"The formula {formula!r} has no column.", hint="Write 1 for an intercept alone."
            )
        _refuse_infinite(X, columns, names)
        levels = {factor.variables[0]: coded[factor.text] for factor in terms.factors if factor.text in coded}
        learnt = X if rows is None else X[rows]
        low, high = column_range(learnt) if len(learnt) else (np.full(len(columns), np.nan),) * 2
        return cls(formula, columns, terms.variables, levels, low, high, coded, moments, model_spec), X

    def rebuild(self, frame: pd.DataFrame, names: Sequence[object]) -> np.ndarray:
        """Return the same columns on other rows; levels are matched by name, whatever their order.

        Raises
        ------
        SaeInputError
            If a covariate is absent or missing in some rows, or a level is one that the fit never saw.
        """
        _check_variables(self.variables, frame, names)
        for name, known in self.levels.items():
            _refuse_new_levels(frame[name], known, names)
        terms = parse_terms(self.formula)
        parts = _parts(terms, self._coded, frame, names, self._moments)
        if self._model_spec is None:
            X = _products(terms, self._coded, parts, len(frame))
        else:
            X = _again(self._model_spec, parts)
        _refuse_infinite(X, self.columns, names)
        return X

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
    return _beyond(X, *column_range(reference))


def column_range(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return smallest and largest value of each column, shape (p,) each."""
    columns = np.ascontiguousarray(X.T)  # along memory it is one pass, across it a hundred times slower
    return columns.min(axis=1), columns.max(axis=1)


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
    XT = np.ascontiguousarray(X.T)
    scale = np.sqrt((XT * XT).sum(axis=1))
    scale = scale if np.isfinite(scale).all() and scale.all() else np.linalg.norm(X, axis=0)
    zero = np.flatnonzero(scale == 0.0)
    if len(zero):
        raise SaeInputError(
            f"{columns[zero[0]]} is 0 in every area with a direct estimate{where}.",
            hint="Leave it out of the formula.",
            column=columns[zero[0]],
        )
    XT = XT / scale[:, None]  # not in place: with one column it is X itself
    # the smallest singular value bounds the diagonal of R from below
    if np.linalg.eigvalsh(XT @ XT.T)[0] > _CLEARLY_OF_FULL_RANK:
        return
    R = np.linalg.qr(XT.T, mode="r")
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


def _holds_numbers(column: pd.Series) -> bool:
    if pd.api.types.is_object_dtype(column.dtype):
        kind = pd.api.types.infer_dtype(column, skipna=True)
        return kind in ("integer", "floating", "mixed-integer-float")
    if pd.api.types.is_bool_dtype(column.dtype) or pd.api.types.is_complex_dtype(column.dtype):
        return False
    return bool(pd.api.types.is_numeric_dtype(column.dtype))


def _levels(column: pd.Series, factor: Factor) -> tuple[str, ...]:
    """Levels in the order of a category or of numbers, else sorted; only those that occur."""
    if factor.kind == "column":
        _refuse_numbers_as_text(column)
    text = labels(column)
    seen = set(text)
    if isinstance(column.dtype, pd.CategoricalDtype):
        levels = [level for level in map(label_text, column.dtype.categories) if level in seen]
    elif _holds_numbers(column):
        levels = [label_text(value) for value in np.sort(column.unique())]
    else:
        levels = sorted(seen)
    if factor.base is not None and factor.base not in seen:
        raise SaeInputError(
            f"{factor.text}: {column.name} has no level {factor.base!r}.",
            hint=f"Its levels are {name_some(levels, 10)}.",
            column=str(column.name),
        )
    return tuple(sorted(dict.fromkeys(levels), key=lambda level: level != factor.base))


def _refuse_numbers_as_text(column: pd.Series) -> None:
    """Refuse numbers that would become one level for each value: text that spells them, Decimals, dates."""
    if isinstance(column.dtype, pd.CategoricalDtype) or pd.api.types.is_bool_dtype(column.dtype):
        return
    kind = pd.api.types.infer_dtype(column, skipna=True)
    if kind in ("string", "empty", "boolean"):
        texts = labels(column, keep_missing=True).dropna().unique()
        values = list(dict.fromkeys(_FLAGS.sub("", text.strip()) for text in texts))
        numbers = [text for text in values if _SPELLS_A_NUMBER.fullmatch(text)]
        others = [text for text in values if not _SPELLS_A_NUMBER.fullmatch(text)]
        if not numbers or any(text.lower() not in _SPELLS_NOTHING for text in others):
            return
        if len(numbers) <= _MOST_CODES and all(text.isdecimal() for text in numbers):
            return  # whole numbers kept as text are codes
        shown, what = name_some(map(repr, texts), 3), "text that spells numbers"
    else:
        shown, what = name_some(column.head(3)), f"values of the kind {kind}"
    raise SaeInputError(
        f"The covariate {column.name} holds {what}: {shown}. Each would be a level of its own.",
        hint="Turn it into numbers (with a decimal point, percentages divided by 100), or write "
        f"C({column.name}) if they are codes.",
        column=str(column.name),
    )


def _refuse_new_levels(column: pd.Series, known: Sequence[str], names: Sequence[object]) -> None:
    if isinstance(column.dtype, pd.CategoricalDtype) and set(labels(column.cat.categories)) <= set(known):
        return
    values = labels(column).astype("object")
    strange = ~values.isin(known).to_numpy()
    if strange.any():
        areas = np.asarray(names, dtype=object)[strange]
        raise SaeInputError(
            f"{column.name} has levels that the fit never saw: {name_some(dict.fromkeys(values[strange]))} "
            f"(in {name_some(areas)}).",
            hint=f"The fit knows {name_some(known, 10)}. Join levels, or leave {column.name} out.",
            areas=areas,
            column=str(column.name),
        )


def _check_variables(variables: Sequence[str], frame: pd.DataFrame, names: Sequence[object]) -> None:
    require(frame, variables, role="(a covariate of the formula)")
    for name in variables:
        empty = frame[name].isna().to_numpy()
        if empty.any():
            areas = np.asarray(names, dtype=object)[empty]
            rows = str(names[0]) == "row 1" or len(set(names)) < len(names)
            where = f"{len(areas)} of {len(frame)} {'rows' if rows else 'areas'}"
            raise SaeInputError(
                f"The covariate {name} is missing in {where}: {name_some(areas)}.",
                hint="Fill it in, or take these rows out."
                if rows
                else "Every area needs its covariates, those without a sample too. Fill them in, or take the "
                "areas out.",
                areas=areas,
                column=name,
            )


def _parts(
    terms: Terms,
    coded: Mapping[str, tuple[str, ...]],
    frame: pd.DataFrame,
    names: Sequence[object],
    moments: Moments,
) -> dict[str, Any]:
    """Return the data of each factor: its levels as a category, else its values as floats."""
    calculated = [factor for factor in terms.factors if factor.text not in coded]
    used = dict.fromkeys(name for factor in calculated for name in factor.variables)
    numbers = {name: to_numbers(frame, name, names=names) for name in used}
    parts: dict[str, Any] = {}
    for factor in terms.factors:
        if factor.text in coded:
            parts[factor.text] = _category(frame[factor.variables[0]], coded[factor.text])
        else:
            parts[factor.text] = calculate(factor.of, numbers, moments)
    return parts


def _category(column: pd.Series, levels: Sequence[str]) -> pd.Categorical:
    """Return a column of labels as a category of these levels; of a category only its values are spelt."""
    kind = pd.CategoricalDtype(list(levels))
    if not isinstance(column.dtype, pd.CategoricalDtype):
        return pd.Categorical(labels(column).astype("object"), dtype=kind)
    place = pd.Index(levels).get_indexer(pd.Index(labels(column.cat.categories)))
    return pd.Categorical.from_codes(np.append(place, -1)[column.cat.codes], dtype=kind)


def _first(
    terms: Terms, coded: Mapping[str, tuple[str, ...]], parts: Mapping[str, Any], n: int
) -> tuple[tuple[str, ...], np.ndarray, Any]:
    """Return the names of the columns, the columns, and what formulaic has to remember of them."""
    if _plain(terms, coded):
        names = ["Intercept"][: terms.intercept]
        for term in terms.terms:
            levels = coded.get(term[0].text)
            if levels is None:
                names.append(":".join(factor.name for factor in term))
                continue
            if len(levels) == 1:
                _refuse_empty(term, coded)
            names.extend(f"{term[0].name}[T.{level}]" for level in levels[1:])
        return tuple(names), _products(terms, coded, parts, n), None
    from formulaic import Formula
    from formulaic.errors import FormulaicError

    spelt = _spelt(terms, coded)
    right = [":".join(spelt[factor.text] for factor in term) for term in terms.terms]
    try:
        with np.errstate(all="ignore"):  # what is not finite is refused by name
            matrix = Formula(" + ".join(["1" if terms.intercept else "0", *right])).get_model_matrix(
                _frame(parts), na_action="ignore", output="pandas", context={}
            )
    except (FormulaicError, ValueError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise SaeInputError(f"The formula with {name_some(spelt)} cannot be evaluated: {reason}.") from None
    slices = list(matrix.model_spec.term_slices.values())[terms.intercept :]
    for term, columns in zip(terms.terms, slices, strict=True):
        if columns.start == columns.stop:
            _refuse_empty(term, coded)
    shown = {spelt[factor.text]: factor.name for factor in terms.factors}
    pattern = re.compile("|".join(sorted(map(re.escape, shown), key=len, reverse=True)))
    names = [pattern.sub(lambda match: shown[match[0]], str(name)) for name in matrix.columns]
    return tuple(names), np.ascontiguousarray(matrix, dtype=float), matrix.model_spec


def _again(model_spec: Any, parts: Mapping[str, Any]) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.ascontiguousarray(
            model_spec.get_model_matrix(_frame(parts), na_action="ignore", context={}), dtype=float
        )


def _frame(parts: Mapping[str, Any]) -> pd.DataFrame:
    return pd.DataFrame({_token(k): values for k, values in enumerate(parts.values())})


def _token(k: int) -> str:
    return f"_{k}_"


def _spelt(terms: Terms, coded: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """How formulaic is given each factor: the columns it sees bear numbers, so that no name is read twice."""
    spans = terms.intercept or any(len(term) == 1 and term[0].text in coded for term in terms.terms)
    spelt = {}
    for k, factor in enumerate(terms.factors):
        token = _token(k)
        if factor.kind == "basis":
            options = [f"{name}={value}" for name, value in factor.options]
            if factor.function != "poly":
                options.append("extrapolation='extend'")  # areas without a sample may lie outside
            if factor.function in ("cs", "cr") and spans:
                options.append("constraints='center'")  # else it holds the constant once more
            token = f"{factor.function}({', '.join([token, *options])})"
        elif factor.coding != "Treatment":
            token = f"C({token}, {factor.coding})"
        spelt[factor.text] = token
    return spelt


def _refuse_empty(term: Term, coded: Mapping[str, tuple[str, ...]]) -> None:
    shown = ":".join(factor.text for factor in term)
    lone = [factor for factor in term if len(coded.get(factor.text, "ab")) == 1]
    why = f": {lone[0].name} is {coded[lone[0].text][0]} in every row" if lone else ""
    raise SaeInputError(
        f"The term {shown} yields no column{why}.",
        hint="Leave it out of the formula.",
        column=term[0].variables[0],
    )


def _plain(terms: Terms, coded: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether all columns are numbers, or levels against the first one beside an intercept."""
    for term in terms.terms:
        levels = [factor for factor in term if factor.text in coded]
        if any(factor.kind == "basis" for factor in term):
            return False
        if levels and not (terms.intercept and len(term) == 1 and levels[0].coding == "Treatment"):
            return False
    return True


def _products(
    terms: Terms, coded: Mapping[str, tuple[str, ...]], parts: Mapping[str, Any], n: int
) -> np.ndarray:
    """Return the columns of a plain formula: products of its numbers, and a column for each further level."""
    columns = [np.ones(n)] if terms.intercept else []
    with np.errstate(all="ignore"):  # what is not finite is refused by name
        for term in terms.terms:
            values = parts[term[0].text]
            if term[0].text in coded:
                codes = values.codes
                columns += [(codes == k).astype(float) for k in range(1, len(coded[term[0].text]))]
                continue
            for factor in term[1:]:
                values = values * parts[factor.text]
            columns.append(values)
    return np.ascontiguousarray(np.column_stack(columns)) if columns else np.empty((n, 0))


def _rowwise(terms: Terms, frame: pd.DataFrame) -> bool:
    """Whether each row of the design follows from that row alone: no levels, no basis, no moments."""
    for factor in terms.factors:
        if factor.kind == "column" and not _holds_numbers(frame[factor.name]):
            return False
        if factor.kind in ("levels", "basis") or (factor.kind == "number" and learns(factor.of)):
            return False
    return True


def _refuse_infinite(X: np.ndarray, columns: Sequence[str], names: Sequence[object]) -> None:
    bad = ~np.isfinite(X)
    if bad.any():
        j = int(np.flatnonzero(bad.any(axis=0))[0])
        areas = np.asarray(names, dtype=object)[bad[:, j]]
        raise SaeInputError(
            f"{columns[j]} is not a finite number in {name_some(areas)}.", areas=areas, column=columns[j]
        )
