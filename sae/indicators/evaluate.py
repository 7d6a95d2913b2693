"""From a name to numbers: find the indicator, then read its parts off a survey."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.indicators.definition import Indicator
from sae.indicators.registry import LEVELS, REGISTRY
from sae.survey import Survey
from sae.survey.expressions import evaluate, names_in
from sae.tables import label_text

__all__ = ["IndicatorArrays", "arrays", "item_nonresponse", "resolve"]

LARGEST = 1e100  # of a value: variances sum weighted squares


@dataclass(frozen=True, eq=False)
class IndicatorArrays:
    """An indicator on the records of a survey, in their order.

    Attributes
    ----------
    indicator : Indicator
        What was evaluated.
    numerator : ndarray of bool or float, shape (n,)
        0 (False) outside. For an income distribution: the income of every record of the file, NaN where it is
        missing, because thresholds look beyond the universe.
    denominator : ndarray of bool or float, shape (n,)
        0 (False) outside; `inside` itself for a share, and for a mean or total over the universe.
    inside : ndarray of bool, shape (n,)
        Records in the universe (and in the survey's subset) on which everything needed is known.
    item_missing : ndarray of bool, shape (n,)
        Records left out because a defining variable is missing.
    candidates : ndarray of bool, shape (n,)
        Records in the universe, and those that may be in it because a variable of the universe is missing.
    share : bool
        The indicator is a share of persons: 0 ≤ numerator ≤ denominator, both yes/no.
    unit : str
        Unit of the indicator; "share" where one was found.
    groups : ndarray of int, shape (n,), or None
        Where thresholds are computed apart (periods), -1 unknown; None: one threshold for all records.
    group_labels : tuple of str
        Labels of the groups.
    """

    indicator: Indicator
    numerator: np.ndarray
    denominator: np.ndarray
    inside: np.ndarray
    item_missing: np.ndarray
    candidates: np.ndarray
    share: bool
    unit: str
    groups: np.ndarray | None = None
    group_labels: tuple[str, ...] = ()


def resolve(indicator: str | Indicator, survey: Survey) -> Indicator:
    """Find an indicator by name and check that the survey can carry it.

    Parameters
    ----------
    indicator : str or Indicator
        An id of the registry, a column of the survey, or an `Indicator`. An id comes before a column of the
        same name, unless the survey lacks the columns of the id.
    survey : Survey
        The records.

    Returns
    -------
    Indicator

    Raises
    ------
    SaeSpecError
        If nothing bears the name, columns are absent, a text column is asked for as a number, or a harmonised
        column holds values that its definition does not know.

    Examples
    --------
    >>> frame = pd.DataFrame({"w": [1.0, 2.0], "age": [30, 40], "labour_status": ["employed", "inactive"]})
    >>> sae.indicators.resolve("employment_rate", sae.Survey.from_frame(frame, weights="w")).universe
    '20 <= age <= 64'
    """
    frame = survey.frame
    if isinstance(indicator, Indicator):
        _check_columns(indicator, frame)
        return indicator
    if not isinstance(indicator, str):
        raise SaeSpecError(
            f"An indicator is a name or an sae.Indicator, but got {type(indicator).__name__}.",
            hint=f"Registered names: {', '.join(REGISTRY)}.",
        )
    registered = REGISTRY.get(indicator)
    if registered is not None and (indicator not in frame or not _absent(registered, frame)):
        _check_columns(registered, frame)
        _check_levels(registered, frame)
        return registered
    if indicator in frame:
        return _from_column(indicator, frame)
    near = get_close_matches(indicator, [*REGISTRY, *map(str, frame.columns)], n=3)
    raise SaeSpecError(
        f"{indicator!r} is neither an indicator of the registry nor a column of the survey.",
        hint=(f"Did you mean {' or '.join(near)}? " if near else "")
        + f"Registered: {', '.join(REGISTRY)}. An expression goes into sae.Indicator(numerator=...).",
    )


def arrays(indicator: Indicator, survey: Survey) -> IndicatorArrays:
    """Evaluate an indicator on every record of a survey.

    A record with any defining variable missing is out of numerator and denominator, and counted. Where the
    denominator is a yes/no condition that a record does not meet, the numerator need not be known.

    Parameters
    ----------
    indicator : Indicator
        As `resolve` returns it.
    survey : Survey
        The records; those outside a subset are outside here.

    Returns
    -------
    IndicatorArrays

    Raises
    ------
    SaeSpecError
        If a part is text where a number or a condition is needed.

    Examples
    --------
    >>> frame = pd.DataFrame({"w": [1.0, 2.0, 1.0], "age": [30, 40, None], "works": [True, False, True]})
    >>> adults = sae.Indicator("works", universe="age >= 18")
    >>> columns = sae.indicators.arrays(adults, sae.Survey.from_frame(frame, weights="w"))
    >>> columns.inside, columns.item_missing, columns.share
    (array([ True,  True, False]), array([False, False,  True]), True)
    """
    frame = survey.frame
    eligible, doubtful = _universe(indicator, survey)
    candidates = eligible | doubtful
    top, top_missing = _part(indicator.numerator, frame, "numerator")
    if indicator.distributional:
        return _income_arrays(indicator, survey, top, top_missing, eligible, doubtful)
    share = top.dtype == bool
    bottom: np.ndarray | None = None
    if indicator.denominator is not None:
        bottom, bottom_missing = _part(indicator.denominator, frame, "denominator")
        known = eligible & ~top_missing & ~bottom_missing
        share = share and bottom.dtype == bool and not np.any(known & top & ~bottom)
        if share:  # the denominator narrows the universe: beyond it the numerator need not be known
            doubtful = (doubtful & (bottom | bottom_missing)) | (eligible & bottom_missing)
            eligible, bottom = eligible & bottom & ~bottom_missing, None
        else:
            top_missing = top_missing | bottom_missing
    inside = eligible & ~top_missing
    share = bool(share) and indicator.kind != "total"
    return IndicatorArrays(
        indicator=indicator,
        numerator=_within(top, inside),
        denominator=inside if bottom is None else _within(bottom, inside),
        inside=inside,
        item_missing=doubtful | (eligible & top_missing),
        candidates=candidates,
        share=share,
        unit=indicator.unit or ("share" if share else ""),
    )


def item_nonresponse(data: IndicatorArrays, survey: Survey) -> dict[str, int]:
    """Count the records without a value of each variable that an indicator needs, within its universe.

    `data` are the arrays of the indicator on the same survey.

    Children have no labour status, which is no answer refused: who is surely outside does not count. Who may
    be inside, because a variable of the universe itself is missing, does.

    Examples
    --------
    >>> frame = pd.DataFrame({"w": 1.0, "age": [30, 40, 7], "works": [True, None, None]})
    >>> adults = sae.Indicator("works", universe="age >= 18")
    >>> survey = sae.Survey.from_frame(frame, weights="w")
    >>> sae.indicators.item_nonresponse(sae.indicators.arrays(adults, survey), survey)
    {'works': 1}
    """
    frame = survey.frame
    counts = {
        name: int(np.sum(data.candidates & frame[name].isna().to_numpy()))
        for name in _names(data.indicator, frame)
    }
    return {name: count for name, count in counts.items() if count}


def _within(values: np.ndarray, inside: np.ndarray) -> np.ndarray:
    return values & inside if values.dtype == bool else np.where(inside, values, 0.0)


def _income_arrays(
    indicator: Indicator,
    survey: Survey,
    income: np.ndarray,
    income_missing: np.ndarray,
    eligible: np.ndarray,
    doubtful: np.ndarray,
) -> IndicatorArrays:
    if income.dtype == bool:
        raise SaeSpecError(
            f"The kind {indicator.kind!r} is about an income, but {indicator.numerator!r} is yes or no."
        )
    income = np.where(income_missing, np.nan, income)
    missing = doubtful | income_missing
    inside = eligible & ~missing
    groups: np.ndarray | None = None
    labels: tuple[str, ...] = ()
    if survey.time is not None:
        groups, periods = pd.factorize(survey.frame[survey.time], sort=True)
        labels = tuple(map(label_text, periods))
    return IndicatorArrays(
        indicator=indicator,
        numerator=income,
        denominator=inside,
        inside=inside,
        item_missing=(eligible | doubtful) & missing,
        candidates=eligible | doubtful,
        share=indicator.kind == "arpr",
        unit=indicator.unit or ("share" if indicator.kind == "arpr" else ""),
        groups=groups,
        group_labels=labels,
    )


def _universe(indicator: Indicator, survey: Survey) -> tuple[np.ndarray, np.ndarray]:
    """Find the records surely in the universe, and those of which it is not known, within the subset."""
    n = len(survey.frame)
    within = np.ones(n, dtype=bool) if survey.mask is None else survey.mask
    if indicator.universe is None:
        return within, np.zeros(n, dtype=bool)
    values, missing = _part(indicator.universe, survey.frame, "universe")
    if values.dtype != bool:
        raise SaeSpecError(
            f"The universe {indicator.universe!r} is a number; a universe is a yes/no condition.",
            hint="Write a comparison, for example '20 <= age <= 64'.",
        )
    return within & values & ~missing, within & missing


def _part(expression: str, frame: pd.DataFrame, role: str) -> tuple[np.ndarray, np.ndarray]:
    """Evaluate a column or an expression to bool or float values, with the mask of the missing ones."""
    if expression in frame and not expression.isidentifier():  # a column name that no expression can hold
        frame, expression = pd.DataFrame({"column": frame[expression]}), "column"
    elif expression in frame and _is_text(frame[expression]):
        raise SaeSpecError(
            f"The {role} {expression!r} is a text column; it must be a number or a yes/no condition.",
            hint=f"Compare it with a level, for example \"{expression} == 'level'\".",
            column=expression,
        )
    result = evaluate(expression, frame)
    if result.values.dtype == bool:
        return result.values, result.missing
    huge = np.flatnonzero(np.abs(result.values) > LARGEST)  # a missing value is nan, and not among them
    if huge.size:
        raise SaeInputError(
            f"The {role} {expression!r} is beyond {LARGEST:.0e} in {huge.size:,} of {len(frame):,} records "
            f"(rows {name_some(huge + 1)}): their squares cannot be summed.",
            hint="Choose a larger unit, or leave a value empty that is not known.",
            areas=huge[:5] + 1,
            column=expression if expression in frame else None,
        )
    flags = _as_flags(result.values, result.missing)
    return result.values if flags is None else flags, result.missing


def _is_text(series: pd.Series) -> bool:
    held = series.cat.categories if isinstance(series.dtype, pd.CategoricalDtype) else series
    if pd.api.types.is_numeric_dtype(held.dtype):
        return False
    return pd.api.types.infer_dtype(held, skipna=True) not in ("boolean", "integer", "floating", "empty")


def _as_flags(values: np.ndarray, missing: np.ndarray) -> np.ndarray | None:
    """Return numbers that are only 0 and 1 as yes/no, else None."""
    yes = values == 1
    return yes if np.all(yes | (values == 0) | missing) and not missing.all() else None


def _from_column(name: str, frame: pd.DataFrame) -> Indicator:
    series = frame[name]
    if _is_text(series):
        levels = list(map(label_text, pd.unique(series.dropna())))
        example = levels[0] if levels else "level"
        raise SaeSpecError(
            f"The column {name!r} holds text ({name_some(levels, 3)}), which has no mean.",
            hint=f'Ask for the share of a level: sae.Indicator(numerator="{name} == {example!r}").',
            column=name,
        )
    values, missing = _part(name, frame, "indicator")
    if missing.all():
        raise SaeSpecError(f"The column {name!r} has no value at all.", column=name)
    return Indicator(numerator=name, id=name, label=name, unit="share" if values.dtype == bool else "")


def _names(indicator: Indicator, frame: pd.DataFrame) -> list[str]:
    """Columns that an indicator needs, in the order it names them."""
    parts = [
        part for part in (indicator.numerator, indicator.denominator, indicator.universe) if part is not None
    ]
    return list(
        dict.fromkeys(name for part in parts for name in ([part] if part in frame else names_in(part)))
    )


def _absent(indicator: Indicator, frame: pd.DataFrame) -> list[str]:
    return [name for name in _names(indicator, frame) if name not in frame]


def _check_columns(indicator: Indicator, frame: pd.DataFrame) -> None:
    absent = _absent(indicator, frame)
    if absent:
        columns = [str(column) for column in frame.columns]
        near = [match for name in absent for match in get_close_matches(name, columns, n=1)]
        raise SaeSpecError(
            f"The indicator {indicator.name!r} needs the column{'s' if len(absent) > 1 else ''} "
            f"{', '.join(absent)}, which the survey lacks. It has {name_some(columns, 12)}.",
            hint=(f"Did you mean {' and '.join(near)}? " if near else "")
            + "Map them in the layout ([survey.columns], [survey.codes]), or define an sae.Indicator.",
            column=absent[0],
        )


def _check_levels(indicator: Indicator, frame: pd.DataFrame) -> None:
    for name in _names(indicator, frame):
        if name not in LEVELS:
            continue
        series = frame[name]
        levels = series.cat.categories if isinstance(series.dtype, pd.CategoricalDtype) else series
        strange = [level for level in pd.unique(levels.dropna()) if level not in LEVELS[name]]
        if strange:
            raise SaeSpecError(
                f"The column {name!r} holds {name_some(strange)}, but the indicator {indicator.name!r} knows "
                f"only {', '.join(map(str, LEVELS[name]))}.",
                hint=f"Code it in the layout under [survey.codes.{name}].",
                column=name,
            )
