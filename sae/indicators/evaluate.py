"""The arrays of an indicator: its parts on every record of a survey."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from sae.errors import SaeSpecError
from sae.indicators.admission import check_admitted
from sae.indicators.definition import Indicator
from sae.indicators.parts import BlockReading, Part, block_part, part
from sae.survey import Survey
from sae.survey.expressions import names_in
from sae.tables import label_text

__all__ = ["IndicatorArrays", "arrays", "block_arrays", "item_nonresponse", "unchecked_arrays"]

_NOWHERE = "have no threshold: their period or country is missing, or holds no income"


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
    top = part(indicator.numerator, survey.frame, "numerator")
    if indicator.distributional:
        return _income_arrays(indicator, survey, *top, eligible, doubtful, notes)
    bottom = None
    if indicator.denominator is not None:
        bottom = part(indicator.denominator, survey.frame, "denominator")
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
    top, any_known = block_part(indicator.numerator, survey.frame, "numerator", reading)
    bottom = None
    if indicator.denominator is not None:
        bottom, any_bottom = block_part(indicator.denominator, survey.frame, "denominator", reading)
        any_known = any_known and any_bottom
    if yes_or_no and not _may_be_share(top, bottom, eligible):
        return None, any_known
    return _linear_arrays(indicator, top, bottom, eligible, doubtful, yes_or_no), any_known


def _may_be_share(top: Part, bottom: Part | None, eligible: np.ndarray) -> bool:
    """Whether both parts are yes or no, and the numerator within the denominator."""
    if top[0].dtype != bool or (bottom is not None and bottom[0].dtype != bool):
        return False
    return bottom is None or not np.any(eligible & ~top[1] & ~bottom[1] & top[0] & ~bottom[0])


def _linear_arrays(
    indicator: Indicator,
    top: Part,
    bottom: Part | None,
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
    holds, missing = part(expression, frame, "union")
    if holds.dtype != bool:
        raise SaeSpecError(f"The union {expression!r} is a number; it is a yes/no condition.")
    known = ~missing & ~frame[list(names_in(expression))].isna().any(axis=1).to_numpy()
    return holds & known, known


def _universe(indicator: Indicator, survey: Survey, reading: BlockReading | None = None) -> Part:
    """Find the records surely in the universe, and those of which it is not known, within the subset."""
    n = len(survey.frame)
    within = np.ones(n, dtype=bool) if survey.mask is None else survey.mask
    if indicator.universe is None:
        return within, np.zeros(n, dtype=bool)
    if reading is not None:
        (values, missing), _ = block_part(indicator.universe, survey.frame, "universe", reading)
    else:
        values, missing = part(indicator.universe, survey.frame, "universe")
    if values.dtype != bool:
        raise SaeSpecError(
            f"The universe {indicator.universe!r} is a number; a universe is a yes/no condition.",
            hint="Write a comparison, for example '20 <= age <= 64'.",
        )
    return within & values & ~missing, within & missing
