"""From a name to numbers: find the indicator, then read its parts off a survey."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from warnings import warn

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, SaeSpecError, SaeWarning, name_some
from sae.indicators.admission import check_admitted
from sae.indicators.definition import UNSAMPLED, Indicator
from sae.indicators.registry import REGISTRY
from sae.survey import Survey
from sae.survey.expressions import evaluate, names_in, odd_names_hint
from sae.survey.operands import Operand
from sae.survey.variables import VARIABLES
from sae.tables import label_text

__all__ = [
    "BlockReading",
    "IndicatorArrays",
    "arrays",
    "block_arrays",
    "item_nonresponse",
    "resolve",
    "unchecked_arrays",
]

LARGEST = 1e100  # of a value: variances sum weighted squares
_Part = tuple[np.ndarray, np.ndarray]  # values of an expression, and where they are missing
# how notes of a survey begin that tell why a variable is not there
_ABSENCE = ("left out:", "not in the file", "layout ")
_NO_ANSWER = {*range(-9, 0), 7, 8, 9, 77, 88, 97, 98, 99, 777, 888, 997, 998, 999}  # codes beside 0 and 1
_FEW, _MOST_CODES = 10_000, 8
_NOWHERE = "have no threshold: their period or country is missing, or holds no income"
_FLAGS = (0, 1)  # what the national flag of poverty may hold


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
        Where thresholds are computed apart (countries, periods), -1 where there is none; None: one for all.
    group_labels : tuple of str
        Labels of the groups.
    union : ndarray of bool, shape (n,), or None
        Who counts besides the poor, of an indicator that joins a condition to them.
    notes : tuple of str
        What has to be said of the levels that it names.
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
    union: np.ndarray | None = None
    notes: tuple[str, ...] = ()


@dataclass(eq=False)
class BlockReading:
    """What the expressions of several indicators read of one block of records, each once.

    Attributes
    ----------
    operands : dict
        Columns by name.
    parts : dict
        Values and missing marks by expression, and whether any value is known.
    """

    operands: dict[str, Operand] = field(default_factory=dict)
    parts: dict[str, tuple[_Part, bool]] = field(default_factory=dict)


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
        _check_sampled(indicator)
        _check_columns(indicator, survey)
        return indicator
    if not isinstance(indicator, str):
        raise SaeSpecError(
            f"An indicator is a name or an sae.Indicator, but got {type(indicator).__name__}.",
            hint=f"Registered names: {', '.join(REGISTRY)}.",
        )
    registered = REGISTRY.get(indicator)
    if registered is not None and (indicator not in frame or not _absent(registered, frame)):
        _check_sampled(registered)
        _check_columns(registered, survey)
        _check_levels(registered, frame)
        return registered
    if indicator in frame:
        return _from_column(indicator, frame)
    near = get_close_matches(indicator, [*REGISTRY, *map(str, frame.columns)], n=3)
    if not indicator.isidentifier():
        raise SaeSpecError(
            f"{indicator!r} is neither an indicator of the registry nor a column of the survey.",
            hint=f"An expression is sae.Indicator(numerator={indicator!r}).",
        )
    raise SaeSpecError(
        f"{indicator!r} is neither an indicator of the registry nor a column of the survey.",
        hint=(f"Did you mean {' or '.join(near)}? " if near else "")
        + f"Registered: {', '.join(REGISTRY)}. An expression goes into sae.Indicator(numerator=...).",
    )


def arrays(indicator: Indicator, survey: Survey, accept: Collection[str] = ()) -> IndicatorArrays:
    """Evaluate an indicator on every record of a survey.

    A record with any defining variable missing is out of numerator and denominator, and counted. Where the
    denominator is a yes/no condition that a record does not meet, the numerator need not be known.

    Parameters
    ----------
    indicator : Indicator
        As `resolve` returns it.
    survey : Survey
        The records; those outside a subset are outside here.
    accept : collection of str
        What is accepted by name, as `check_accept` returns it.

    Returns
    -------
    IndicatorArrays

    Raises
    ------
    SaeSpecError
        If a part is text where a number or a condition is needed, or the survey cannot carry the indicator,
        or not without `accept`: see `check_admitted`.

    Examples
    --------
    >>> frame = pd.DataFrame({"w": [1.0, 2.0, 1.0], "age": [30, 40, None], "works": [True, False, True]})
    >>> adults = sae.Indicator("works", universe="age >= 18")
    >>> columns = sae.indicators.arrays(adults, sae.Survey.from_frame(frame, weights="w"))
    >>> columns.inside, columns.item_missing, columns.share
    (array([ True,  True, False]), array([False, False,  True]), True)
    """
    notes = check_admitted(indicator, survey, frozenset(accept))
    return unchecked_arrays(indicator, survey, notes)


def unchecked_arrays(indicator: Indicator, survey: Survey, notes: tuple[str, ...] = ()) -> IndicatorArrays:
    """Evaluate an indicator on some records of a survey that is known to carry it: see `arrays`.

    Parameters
    ----------
    indicator : Indicator
    survey : Survey
        Such as one file of a survey of several.
    notes : tuple of str
        What has to be said of the levels that it names.
    """
    eligible, doubtful = _universe(indicator, survey)
    top = _part(indicator.numerator, survey.frame, "numerator")
    if indicator.distributional:
        return _income_arrays(indicator, survey, *top, eligible, doubtful, notes)
    bottom = None
    if indicator.denominator is not None:
        bottom = _part(indicator.denominator, survey.frame, "denominator")
    share = _may_be_share(top, bottom, eligible)
    return replace(_linear_arrays(indicator, top, bottom, eligible, doubtful, share), notes=notes)


def block_arrays(
    indicator: Indicator, survey: Survey, yes_or_no: bool, reading: BlockReading
) -> tuple[IndicatorArrays | None, bool]:
    """Evaluate a linear indicator on a block of the records, without the checks that need all of them.

    Parameters
    ----------
    indicator : Indicator
    survey : Survey
        The records of the block.
    yes_or_no : bool
        Whether numerator and denominator are taken to be conditions, or numbers that are only 0 and 1, all
        over the file.
    reading : BlockReading
        Of this block.

    Returns
    -------
    arrays : IndicatorArrays or None
        None where they are taken for yes or no, and the block holds other numbers.
    any_known : bool
        Whether the block holds any value of numerator and denominator to tell.
    """
    eligible, doubtful = _universe(indicator, survey, reading)
    top, any_known = _block_part(indicator.numerator, survey.frame, "numerator", reading)
    bottom = None
    if indicator.denominator is not None:
        bottom, any_bottom = _block_part(indicator.denominator, survey.frame, "denominator", reading)
        any_known = any_known and any_bottom
    if yes_or_no and not _may_be_share(top, bottom, eligible):
        return None, any_known
    return _linear_arrays(indicator, top, bottom, eligible, doubtful, yes_or_no), any_known


def _may_be_share(top: _Part, bottom: _Part | None, eligible: np.ndarray) -> bool:
    """Whether both parts are yes or no, and the numerator within the denominator."""
    if top[0].dtype != bool or (bottom is not None and bottom[0].dtype != bool):
        return False
    return bottom is None or not np.any(eligible & ~top[1] & ~bottom[1] & top[0] & ~bottom[0])


def _linear_arrays(
    indicator: Indicator,
    top: _Part,
    bottom: _Part | None,
    eligible: np.ndarray,
    doubtful: np.ndarray,
    share: bool,
) -> IndicatorArrays:
    numerator, unknown = top
    denominator: np.ndarray | None = None
    candidates = eligible | doubtful
    if bottom is not None and share:
        # the denominator narrows the universe: beyond it the numerator need not be known
        holds, missing = bottom
        doubtful = (doubtful & (holds | missing)) | (eligible & missing)
        eligible = eligible & holds & ~missing
    elif bottom is not None:
        denominator, missing = bottom
        unknown = unknown | missing
    inside = eligible & ~unknown
    share = share and indicator.kind != "total"
    return IndicatorArrays(
        indicator=indicator,
        numerator=_within(numerator, inside),
        denominator=inside if denominator is None else _within(denominator, inside),
        inside=inside,
        item_missing=doubtful | (eligible & unknown),
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
        for name in data.indicator.variables(frame)
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
    notes: tuple[str, ...],
) -> IndicatorArrays:
    if income.dtype == bool:
        raise SaeSpecError(
            f"The kind {indicator.kind!r} is about an income, but {indicator.numerator!r} is yes or no."
        )
    income = np.where(income_missing, np.nan, income)
    groups, labels = _nations(survey, ~income_missing & (survey.weights > 0))
    inside, union = eligible & ~income_missing, None
    counts: dict[str, int] = {}
    if indicator.union is not None:
        union, known = _union(indicator.union, survey.frame)
        inside &= known
    if indicator.thresholded and groups is not None:
        counts[_NOWHERE] = int(np.sum(eligible & (groups < 0)))
        inside &= groups >= 0
    lines = (f"{indicator.name}: {count:,} records {what}" for what, count in counts.items() if count)
    return IndicatorArrays(
        indicator=indicator,
        numerator=income,
        denominator=inside,
        inside=inside,
        item_missing=doubtful | (eligible & ~inside),
        candidates=eligible | doubtful,
        share=indicator.kind == "arpr",
        unit=indicator.unit or ("share" if indicator.kind == "arpr" else ""),
        groups=groups,
        group_labels=labels,
        union=union,
        notes=(*notes, *lines),
    )


def _nations(survey: Survey, known: np.ndarray) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Group the records that share a national median: one period and country, with incomes that are `known`.

    -1 where the period or the country is missing, or holds no income.
    """
    frame = survey.frame
    columns = [] if survey.time is None else [survey.time]
    if "country" in frame and frame["country"].nunique() > 1:
        columns.append("country")
    if not columns:
        return None, ()
    grouped = frame.groupby(columns, sort=True, observed=True)
    keys = grouped.size().index.to_frame(index=False)
    codes = grouped.ngroup().fillna(-1).to_numpy(np.int64)
    held = np.bincount(codes[(codes >= 0) & known], minlength=len(keys)) > 0
    ranks = np.append(np.where(held, np.cumsum(held) - 1, -1), -1)
    return ranks[codes], tuple(" ".join(map(label_text, key)) for key in keys[held].itertuples(index=False))


def _union(expression: str, frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Who fulfils the condition, and of whom every part of it is known.

    One part alone would tell of the deprived what it cannot tell of the others: the rate would be too high.
    """
    holds, missing = _part(expression, frame, "union")
    if holds.dtype != bool:
        raise SaeSpecError(f"The union {expression!r} is a number; it is a yes/no condition.")
    known = ~missing & ~frame[list(names_in(expression))].isna().any(axis=1).to_numpy()
    return holds & known, known


def _universe(indicator: Indicator, survey: Survey, reading: BlockReading | None = None) -> _Part:
    """Find the records surely in the universe, and those of which it is not known, within the subset."""
    n = len(survey.frame)
    within = np.ones(n, dtype=bool) if survey.mask is None else survey.mask
    if indicator.universe is None:
        return within, np.zeros(n, dtype=bool)
    if reading is not None:
        (values, missing), _ = _block_part(indicator.universe, survey.frame, "universe", reading)
    else:
        values, missing = _part(indicator.universe, survey.frame, "universe")
    if values.dtype != bool:
        raise SaeSpecError(
            f"The universe {indicator.universe!r} is a number; a universe is a yes/no condition.",
            hint="Write a comparison, for example '20 <= age <= 64'.",
        )
    return within & values & ~missing, within & missing


def _block_part(expression: str, frame: pd.DataFrame, role: str, reading: BlockReading) -> tuple[_Part, bool]:
    """Evaluate as `_part`; where no value is known the block does not tell whether they are yes or no."""
    if expression not in reading.parts:
        values, missing = _part(expression, frame, role, reading.operands)
        any_known = not missing.all()
        values = values if any_known else np.zeros(missing.size, dtype=bool)
        reading.parts[expression] = (values, missing), any_known
    return reading.parts[expression]


def _part(
    expression: str, frame: pd.DataFrame, role: str, fetched: dict[str, Operand] | None = None
) -> _Part:
    """Evaluate a column or an expression to bool or float values, with the mask of the missing ones."""
    if expression in frame and not expression.isidentifier():  # a column name that no expression can hold
        frame, expression, fetched = pd.DataFrame({"column": frame[expression]}), "column", None
    elif expression in frame and _is_text(frame[expression]):
        raise SaeSpecError(
            f"The {role} {expression!r} is a text column; it must be a number or a yes/no condition.",
            hint=f"Compare it with a level, for example \"{expression} == 'level'\".",
            column=expression,
        )
    result = evaluate(expression, frame, fetched)
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
    _warn_of_codes(name, np.asarray(values)[~missing])
    return Indicator(numerator=name, id=name, label=name, unit="share" if values.dtype == bool else "")


def _warn_of_codes(name: str, values: np.ndarray) -> None:
    """Warn of the mean of a column that holds codes: yes and no as 1 and 2, or 0 and 1 beside "no answer"."""
    if values.dtype == bool:
        return
    if len(np.unique(values[:_FEW])) > _MOST_CODES:
        return
    held = set(np.unique(values).tolist())
    silent = sorted(held & _NO_ANSWER)
    if held == {1, 2}:
        way = f'the share of one is sae.Indicator(numerator="{name} == 1").'
    elif silent and held - {*silent} == {0, 1}:
        way = f'if {silent[-1]:g} means no answer, say so in the layout: missing = ["{silent[-1]:g}"].'
    else:
        return
    text = ", ".join(f"{value:g}" for value in sorted(held))
    warn(
        f"The column {name!r} holds the codes {text}, and its mean is taken; {way}", SaeWarning, stacklevel=7
    )


def _absent(indicator: Indicator, frame: pd.DataFrame) -> list[str]:
    return [name for name in indicator.variables(frame) if name not in frame]


def _check_sampled(indicator: Indicator) -> None:
    if indicator.kind in UNSAMPLED:
        raise SaeSpecError(
            f"No survey tells {indicator.name!r}: it comes from registers or counts, without sampling error.",
            hint=f"Use sae.indicators.{UNSAMPLED[indicator.kind]}(table, {indicator.name!r}).",
        )


def _names_one(note: str, names: list[str]) -> bool:
    return any(re.search(rf"\b{re.escape(name)}\b", note) for name in names)


def _check_columns(indicator: Indicator, survey: Survey) -> None:
    absent = _absent(indicator, survey.frame)
    if absent:
        columns = [str(column) for column in survey.frame.columns]
        near = [match for name in absent for match in get_close_matches(name, columns, n=1)]
        why = [note for note in survey.notes if note.startswith(_ABSENCE) and _names_one(note, absent)]
        raise SaeSpecError(
            f"The indicator {indicator.name!r} needs the column{'s' if len(absent) > 1 else ''} "
            f"{', '.join(absent)}, which the survey lacks. It has {name_some(columns, 12)}.",
            hint=odd_names_hint(" ".join(indicator.parts), columns)
            + (f"The survey's notes: {'; '.join(why)}. " if why else "")
            + (f"Did you mean {' and '.join(near)}? " if near else "")
            + "Map them in the layout ([survey.columns], [survey.codes]), or define an sae.Indicator.",
            column=absent[0],
        )


def _check_levels(indicator: Indicator, frame: pd.DataFrame) -> None:
    for name in indicator.variables(frame):
        known = _FLAGS if name == "poor" else VARIABLES[name].levels if name in VARIABLES else ()
        if not known:
            continue
        series = frame[name]
        levels = series.cat.categories if isinstance(series.dtype, pd.CategoricalDtype) else series
        strange = [level for level in pd.unique(levels.dropna()) if level not in known]
        if strange:
            raise SaeSpecError(
                f"The column {name!r} holds {name_some(strange)}, but the indicator {indicator.name!r} knows "
                f"only {', '.join(map(str, known))}.",
                hint=f"Code it in the layout under [survey.codes.{name}].",
                column=name,
            )
