"""Differences, ratios and gaps: figures against one row, one group, a known number or the mean of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
import scipy

from sae.calls import answered
from sae.compare.comparison import Comparison, Options, Sides, compared
from sae.compare.joint import Figures, figures_of
from sae.compare.rows import named, partner, rows_alone
from sae.compare.segregation_table import Segregation
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.results import Result
from sae.results.aggregation import row_weights
from sae.tables import DirectEstimates, EstimateTable, label_text, labels
from sae.tables.base import Table

__all__ = ["column_of", "differences", "gaps", "ratios"]

Data = Result | EstimateTable | DirectEstimates | Segregation | pd.DataFrame
Against = str | float | Mapping[str, Any]
Weights = str | Mapping[Any, float] | pd.Series


@answered
def differences(
    data: Data,
    against: Against | None = None,
    *,
    weights: Weights | None = None,
    level: float | None = None,
    half_width: float | None = None,
    accept: str | Sequence[str] = (),
    seed: int | np.random.Generator | None = None,
    draws: int = 4000,
    domain: str = "domain",
    estimate: str = "estimate",
    se: str = "se",
) -> Comparison:
    """Compare every row with one row, a known number, or the mean of all areas.

    The error of a difference comes from the joint error of the two sides: of a fit its one source, of direct
    estimates their covariance where it was asked for; the errors of other tables count as independent, and
    the table says so.

    Parameters
    ----------
    data : Result, EstimateTable, DirectEstimates or DataFrame
    against : str, float or mapping
        A domain by its name; a number known without error; or columns to values, which are the row of each
        group, indicator and period that all others of it are compared with: ``{"city": "Wien"}``.
    weights : str, mapping or Series
        Without `against`: each row is compared with the weighted mean of all areas, itself included, whose
        error it shares. A column of the fit's estimates or areas (or of the frame), or values by domain.
    level : float, optional
        Of the intervals; that of the table by default.
    half_width : float, optional
        Half-width of the interval up to which a difference counts as reliable; 0.05 for shares by default,
        none for other units.
    accept : str or sequence of str
        Breaks and definitions between the sides that are accepted by name.
    seed : int or Generator, optional
        With one, intervals and probabilities are those of joint draws; without, they rest on the joint error,
        as the table's own do.
    draws : int
    domain, estimate, se : str
        Columns of a frame of one's own.

    Returns
    -------
    Comparison

    Raises
    ------
    SaeSpecError
        If there is nothing to compare with, or an option makes no sense.
    SaeInputError
        If the sides differ in unit, indicator, definition, version of places, or across a break; if a row or
        a weight is missing.

    Examples
    --------
    >>> frame = pd.DataFrame({"domain": list("abc"), "estimate": [0.9, 0.5, 0.45], "se": 0.05})
    >>> sae.compare.differences(frame, "b")[["domain", "estimate", "verdict"]].round(2).values.tolist()
    [['a', 0.4, 'higher'], ['c', -0.05, 'cannot be told apart']]
    """
    options = Options(level, half_width, accept, seed, draws)
    figures, sides, apart = _sides(data, against, weights, domain, estimate, se)
    return compared(figures, sides, options, "difference", apart=apart)


@answered
def ratios(
    data: Data,
    against: Against | None = None,
    *,
    weights: Weights | None = None,
    level: float | None = None,
    half_width: float | None = None,
    accept: str | Sequence[str] = (),
    seed: int | np.random.Generator | None = None,
    draws: int = 4000,
    domain: str = "domain",
    estimate: str = "estimate",
    se: str = "se",
) -> Comparison:
    """Divide every row by one row, a known number, or the mean of all areas.

    The standard error is that of the logarithm, by the delta method; intervals are made there and taken back.

    Parameters
    ----------
    data, against, weights, level, accept, seed, draws, domain, estimate, se
        As for `differences`.
    half_width : float
        Of the logarithm; 0.2 by default, a factor of 1.22.

    Returns
    -------
    Comparison

    Raises
    ------
    SaeSpecError, SaeInputError
        As for `differences`; and if a side is not positive.

    Examples
    --------
    >>> frame = pd.DataFrame({"domain": list("ab"), "estimate": [0.6, 0.5], "se": 0.03})
    >>> sae.compare.ratios(frame, "b")[["estimate", "ci_low", "ci_high"]].round(2).values.tolist()
    [[1.2, 1.03, 1.4]]
    """
    options = Options(level, half_width, accept, seed, draws)
    figures, sides, apart = _sides(data, against, weights, domain, estimate, se)
    return compared(figures, sides, options, "ratio", apart=apart)


@answered
def gaps(
    data: Data,
    column: str,
    group: str,
    against: str,
    *,
    level: float | None = None,
    half_width: float | None = None,
    accept: str | Sequence[str] = (),
    seed: int | np.random.Generator | None = None,
    draws: int = 4000,
    domain: str = "domain",
    estimate: str = "estimate",
    se: str = "se",
) -> Comparison:
    """Compare two groups within every area, such as the foreign-born with the native.

    Parameters
    ----------
    data : Result, EstimateTable, DirectEstimates or DataFrame
        With rows of both groups; of a multivariate fit the components are groups of its column, or of
        "indicator" where they are columns of a plain frame.
    column : str
        What makes the groups: "birth_group", or "indicator".
    group, against : str
        Two of its values; the gap is `group` minus `against`.
    level, half_width, accept, seed, draws, domain, estimate, se
        As for `differences`.

    Returns
    -------
    Comparison
        One row per area; an area that lacks a group stays without a gap.

    Raises
    ------
    SaeSpecError
        If the rows are not by such a column.
    SaeInputError
        If a group has no row, or the sides do not compare.

    Examples
    --------
    >>> frame = pd.DataFrame({"domain": ["a", "a", "b", "b"], "birth": ["foreign", "native"] * 2,
    ...                       "estimate": [0.5, 0.7, 0.6, 0.65], "se": 0.04})
    >>> made = sae.compare.gaps(frame, "birth", "foreign", "native")
    >>> made[["domain", "estimate", "verdict"]].round(2).values.tolist()
    [['a', -0.2, 'lower'], ['b', -0.05, 'cannot be told apart']]
    """
    options = Options(level, half_width, accept, seed, draws)
    figures = figures_of(data, domain=domain, estimate=estimate, se=se, also=[column])
    _check_columns(figures, [column])
    if label_text(group) == label_text(against):
        raise SaeSpecError(
            f"Both groups are {label_text(group)!r}: there is no gap.", hint="Name two groups."
        )
    values = labels(figures.frame[column])
    lost = [name for name in (group, against) if label_text(name) not in set(values)]
    if lost:
        raise SaeInputError(
            f"No row has {column} {name_some(map(repr, lost))}.",
            hint=f"There are {name_some(values.unique(), 15)}.",
            column=column,
        )
    rest = [name for name in figures.parts if name != column]
    other = partner(figures, values.eq(label_text(against)).to_numpy(), rest)
    one = np.flatnonzero(values.eq(label_text(group)).to_numpy())
    rows = named(figures, one, rest)
    rows["group"], rows["against"] = label_text(group), label_text(against)
    sides = Sides(one, rows_alone(figures), other[one], rows)
    return compared(figures, sides, options, "gap", apart=[column])


def _sides(
    data: Data, against: Against | None, weights: Weights | None, domain: str, estimate: str, se: str
) -> tuple[Figures, Sides, list[str]]:
    """Return the figures and what each is compared with."""
    if (against is None) == (weights is None):
        raise SaeSpecError(
            "Say what to compare with: against=, or weights= for the mean of all areas; not both.",
            hint='differences(fit, "Wien"), differences(fit, 0.7) or differences(fit, weights="population").',
        )
    if isinstance(against, Result | Table | pd.DataFrame | pd.Series):
        raise SaeSpecError(
            f"against= is an area, a number or {{column: value}}, not a {type(against).__name__}.",
            hint="Rows of two tables are compared after sae.combine, or by a fit over both.",
        )
    also = [name for name in against if name != domain] if isinstance(against, Mapping) else []
    figures = figures_of(data, domain=domain, estimate=estimate, se=se, also=also)
    if against is None:
        assert weights is not None
        return figures, _against_mean(figures, data, weights), []
    if isinstance(against, Real) and not isinstance(against, bool | np.bool_):
        return figures, _against_number(figures, float(against)), []
    chosen = dict(against) if isinstance(against, Mapping) else {"domain": against}
    _check_columns(figures, list(chosen))
    return figures, _against_row(figures, chosen), list(chosen)


def _against_number(figures: Figures, number: float) -> Sides:
    if not np.isfinite(number):
        raise SaeSpecError(f"against={number!r} is no number to compare with.")
    if label_text(number) in set(labels(figures.frame["domain"])):
        raise SaeSpecError(
            f"against={number:g} is a number, and a domain bears it as its name.",
            hint=f"For the area give its text, {label_text(number)!r}; for the number subtract it yourself.",
        )
    if "unit" in figures.frame and figures.frame["unit"].nunique() > 1:
        raise SaeSpecError(
            f"against={number:g} is one number, and the figures have several units: "
            f"{name_some(figures.frame['indicator'].unique())}.",
            hint="Compare the rows of one indicator, as a frame with domain, estimate and se.",
        )
    if "unit" in figures.frame and figures.frame["unit"].eq("share").any() and not 0.0 <= number <= 1.0:
        raise SaeSpecError(
            f"against={number:g} is no share: the figures lie between 0 and 1.",
            hint=f"Write {number / 100:g} for {number:g} %.",
        )
    one = np.arange(len(figures.estimate))
    rows = named(figures, one, figures.parts).assign(against=f"{number:g}")
    nothing = scipy.sparse.csr_array((0, len(one)))
    return Sides(one, nothing, np.full(len(one), -1), rows, number)


def _against_mean(figures: Figures, data: Data, weights: Weights) -> Sides:
    frame = figures.frame
    column = data.column if isinstance(data, Result) else column_of(frame)
    values = row_weights(weights, column, frame)
    bad = ~((values >= 0) & np.isfinite(values))
    missing = ~np.isfinite(figures.estimate) & (values > 0)
    if bad.any() or missing.any():
        names = labels(frame["domain"][bad | missing])
        what = "have no weight, or a negative one" if bad.any() else "have no estimate to go into the mean"
        raise SaeInputError(
            f"{len(names)} of {len(values)} rows {what}: {name_some(names)}.",
            hint="Give every row a weight of 0 or more, and 0 to rows that do not count.",
            areas=list(names),
        )
    within = [name for name in figures.rows if name in figures.apart]
    codes = frame.groupby(within, sort=False).ngroup().to_numpy() if within else np.zeros(len(frame), int)
    total = np.bincount(codes, values)
    if not (total > 0).all():
        raise SaeInputError("The weights of a mean are all 0.")
    order = np.arange(len(frame))
    others = scipy.sparse.csr_array((values / total[codes], (codes, order)))
    others.eliminate_zeros()
    rows = named(figures, order, figures.parts).assign(against="mean of all areas")
    return Sides(order, others, codes, rows)


def column_of(frame: pd.DataFrame) -> Any:
    """Return what looks columns of a table up by name."""

    def column(name: str) -> pd.Series:
        if name not in frame:
            raise SaeInputError(
                f"The table has no column {name!r}.", hint=f"It has {name_some(frame, 15)}.", column=name
            )
        return frame[name]

    return column


def _against_row(figures: Figures, chosen: Mapping[str, Any]) -> Sides:
    frame = figures.frame
    mask = np.ones(len(frame), dtype=bool)
    for name, value in chosen.items():
        values = labels(frame[name])
        mask &= values.eq(label_text(value)).to_numpy()
        if not values.eq(label_text(value)).any():
            raise SaeInputError(
                f"No row has {name} {label_text(value)!r}.",
                hint=_by_column(figures, value) * (name == "domain")
                + f"There are {name_some(values.unique(), 15)}.",
                column=name,
            )
    rest = [name for name in figures.parts if name not in chosen]
    if "domain" in chosen:  # it is made of the groups
        rest = [name for name in rest if name in ("indicator", "time")]
    other = partner(figures, mask, rest)
    one = np.flatnonzero(~mask)
    text = " / ".join(label_text(value) for value in chosen.values())
    rows = named(figures, one, figures.parts).assign(against=text)
    return Sides(one, rows_alone(figures), other[one], rows)


def _by_column(figures: Figures, value: Any) -> str:
    """Say in which column of the groups a label stands that is no domain of its own."""
    groups = [name for name in figures.parts if name not in ("domain", "indicator", "time")]
    has = [name for name in groups if labels(figures.frame[name]).eq(label_text(value)).any()]
    if has and len(groups) > 1:
        return f"The rows are by {name_some(groups)}: write against={{{has[0]!r}: {label_text(value)!r}}}. "
    return ""


def _check_columns(figures: Figures, names: Sequence[str]) -> None:
    known = [*figures.parts, *({"domain"} - set(figures.parts))]
    lost = [name for name in names if name not in known]
    if lost:
        raise SaeSpecError(f"The rows are not by {name_some(lost)}.", hint=f"They are by {name_some(known)}.")
