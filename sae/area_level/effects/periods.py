"""One rule of time: where each period stands on a regular axis, whatever the column writes it as."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, SaeWarning, name_some
from sae.literals import TimeUnit
from sae.results import Message
from sae.tables import labels

__all__ = ["TimeAxis", "time_axis"]

_PER_YEAR = {"year": 1, "half-year": 2, "quarter": 4, "month": 12}
_LETTERS = {"half-year": "S", "quarter": "Q", "month": "-", "week": "-W"}
_CALENDAR = {
    "half-year": re.compile(r"(\d{4})[- ]?[SH]([12])", re.IGNORECASE),
    "quarter": re.compile(r"(\d{4})[- ]?Q([1-4])", re.IGNORECASE),
    "month": re.compile(r"(\d{4})(?:-|[- ]?M)(0?[1-9]|1[0-2])", re.IGNORECASE),
    "week": re.compile(r"(\d{4})[- ]?W(0?[1-9]|[1-4]\d|5[0-3])", re.IGNORECASE),
    "day": re.compile(r"(\d{4}-\d{2}-\d{2})(?:/\d{4}-\d{2}-\d{2})?"),
}
_CODES = {
    "half-year": re.compile(r"(\d{4})0?([12])"),
    "quarter": re.compile(r"(\d{4})0?([1-4])"),
    "month": re.compile(r"(\d{4})(0[1-9]|1[0-2])"),
    "week": re.compile(r"(\d{4})(0[1-9]|[1-4]\d|5[0-3])"),
    "day": re.compile(r"(\d{4})(\d{2})(\d{2})"),
}
_WHOLE = re.compile(r"[+-]?\d{1,15}")
_SEASON = re.compile(r"(\d{4})[-/–](\d{4}|\d{2})")
_NUMBERED = re.compile(r"(\D*)(\d{1,9})")
_YEARS = (1500, 2500)  # whole numbers that are years
_SMALL = 1000  # whole numbers below count steps
# Periods between the first and the last, to those that the data have: beyond, the unit is not theirs.
_MOST, _SPARSE = 100, 5


@dataclass(frozen=True, eq=False)
class TimeAxis:
    """Periods on a regular axis.

    Attributes
    ----------
    column : str
    place : ndarray of int, shape (n,)
        Step of each period, 0 the first.
    missing : tuple of str
        Periods between the first and the last that the data lack.
    """

    column: str
    place: np.ndarray
    missing: tuple[str, ...]

    @property
    def messages(self) -> list[Message]:
        """Name the gaps."""
        if not self.missing:
            return []
        steps = int(self.place.max()) + 1
        text = (
            f"{len(self.missing)} of {steps} periods between the first and the last of {self.column} are "
            f"missing: {name_some(self.missing, 10)}; the effects run on through them."
        )
        return [Message(text, SaeWarning)]


def time_axis(periods: pd.Series, column: str, unit: TimeUnit | None = None) -> TimeAxis:
    """Place periods on a regular axis.

    Years, half-years (2020S1), quarters (2020Q4, 2020-Q4), months (2020-12, 2020M12), weeks (2020W05), dates
    and periods of pandas are those of the calendar; whole numbers below 1000, numbered text ("wave 3") and
    the levels of an ordered category are steps. Codes such as 20204 or 202012 are periods where their unit
    is said. Without a unit the step is the largest that meets all periods: two years for 2014, 2016, 2020.

    Parameters
    ----------
    periods : Series
        Each once, in any order.
    column : str
        Their name, for messages.
    unit : {"step", "year", "half-year", "quarter", "month", "week", "day"}, optional

    Raises
    ------
    SaeInputError
        If there is one period only, they cannot be read, are written in several ways, or lie so far apart
        that nearly all steps between them are empty.

    Examples
    --------
    >>> from sae.area_level.effects.periods import time_axis
    >>> time_axis(pd.Series([2014, 2016, 2020]), "year").place.tolist()
    [0, 1, 3]
    >>> time_axis(pd.Series([20204, 20211]), "period", "quarter").place.tolist()
    [0, 1]
    """
    texts = list(labels(periods))
    if len(texts) < 2:
        raise SaeInputError(f"{column} has one period only ({texts[0]}).", column=column)
    kind, ordinals = _read(periods, texts, column, unit)
    order = np.argsort(ordinals, kind="stable")
    gaps = np.diff(ordinals[order])
    if (gaps == 0).any():
        twice = [texts[order[k + j]] for k in np.flatnonzero(gaps == 0)[:1] for j in (0, 1)]
        raise SaeInputError(
            f"{name_some(twice)} of {column} are one {unit or kind}.",
            hint="Write each period in one way, once.",
            column=column,
        )
    step = int(np.gcd.reduce(gaps)) if unit is None else 1
    place = (ordinals - ordinals.min()) // step
    steps = int(place.max()) + 1
    if steps > max(_MOST, _SPARSE * len(texts)):
        ends = f"{texts[order[0]]} to {texts[order[-1]]}"
        raise SaeInputError(
            f"{column} goes from {ends} in {steps} steps of {_span(step, kind)}; the data have "
            f"{len(texts)} of them.",
            hint='Say a coarser unit, such as unit="month" for dates, or number the waves 1, 2, 3.',
            column=column,
        )
    levels = [str(level) for level in periods.cat.categories] if kind == "level" else []
    taken = set(place.tolist())
    missing = [int(ordinals.min()) + k * step for k in range(steps) if k not in taken]
    return TimeAxis(column, place, tuple(levels[k] if levels else _text(k, kind) for k in missing))


def _span(step: int, kind: str) -> str:
    return f"one {kind}" if step == 1 else f"{step} {kind}s"


def _read(
    periods: pd.Series, texts: Sequence[str], column: str, unit: TimeUnit | None
) -> tuple[str, np.ndarray]:
    """Return the unit of the periods and their numbers on its scale."""
    if all(_WHOLE.fullmatch(text) for text in texts):
        return _of_numbers(texts, column, unit)
    for kind, pattern in _CALENDAR.items():
        if all(pattern.fullmatch(text) for text in texts):
            return _of_calendar(texts, kind, column, unit)
    if unit in (None, "year") and _seasons(texts):
        return "year", _array([int(text[:4]) for text in texts])
    parts = [_NUMBERED.fullmatch(text) for text in texts]
    if unit in (None, "step"):
        if len({part[1] if part else "" for part in parts}) == 1 and all(parts):
            return "step", _array([int(part[2]) for part in parts if part])
        if isinstance(periods.dtype, pd.CategoricalDtype) and periods.cat.ordered:
            return "level", periods.cat.codes.to_numpy(dtype=np.int64)
    raise _unread(texts, column, unit)


def _of_numbers(texts: Sequence[str], column: str, unit: TimeUnit | None) -> tuple[str, np.ndarray]:
    values = [int(text) for text in texts]
    if unit in ("step", "year"):
        return unit, _array(values)
    if unit is not None:
        found = [_CODES[unit].fullmatch(text) for text in texts]
        if not all(found):
            raise _unread([text for text, one in zip(texts, found, strict=True) if not one], column, unit)
        return unit, _array([_ordinal(one.groups(), unit, column) for one in found if one])
    if all(_YEARS[0] <= value <= _YEARS[1] for value in values):
        return "year", _array(values)
    if all(abs(value) < _SMALL for value in values):
        return "step", _array(values)
    fitting = [kind for kind in ("quarter", "month", "day") if all(map(_CODES[kind].fullmatch, texts))]
    likely = fitting[-1] if fitting else "step"
    raise SaeInputError(
        f"{column} holds numbers that are neither years nor small counts: {name_some(texts)}. The distance "
        f"between two such codes is no time: from 20204 to 20211 is one quarter or seven steps.",
        hint=f'Say their unit, such as unit="{likely}", or write 2020Q4, 2020-12 or a date.',
        column=column,
    )


def _of_calendar(
    texts: Sequence[str], kind: str, column: str, unit: TimeUnit | None
) -> tuple[str, np.ndarray]:
    if kind == "month" and len(texts) > 1 and _seasons(texts):
        if unit == "year":
            return unit, _array([int(text[:4]) for text in texts])
        if unit is None:
            raise SaeInputError(
                f"{column} can be read as months and as years from one summer to the next: "
                f"{name_some(texts)}.",
                hint='Say unit="month" or unit="year".',
                column=column,
            )
    if kind == "day":
        return _of_dates([_date(text[:10].split("-"), column) for text in texts], unit)
    if unit not in (None, kind):
        raise _unread(texts, column, unit)
    found = [_CALENDAR[kind].fullmatch(text) for text in texts]
    return kind, _array([_ordinal(one.groups(), kind, column) for one in found if one])


def _of_dates(days: Sequence[date], unit: TimeUnit | None) -> tuple[str, np.ndarray]:
    """Dates of one day of the month, or of its last, are months; others days."""
    if unit is None:
        ends = all(date.fromordinal(day.toordinal() + 1).day == 1 for day in days if day < date.max)
        unit = "month" if ends or len({day.day for day in days}) == 1 else "day"
    if unit in _PER_YEAR:
        per = _PER_YEAR[unit]
        return unit, _array([day.year * per + (day.month - 1) * per // 12 for day in days])
    return unit, _array([day.toordinal() if unit != "week" else (day.toordinal() - 1) // 7 for day in days])


def _seasons(texts: Sequence[str]) -> bool:
    """Whether all periods join a year and the next: 2019/20."""
    found = [_SEASON.fullmatch(text) for text in texts]
    return all(one and (int(one[1]) + 1) % 10 ** len(one[2]) == int(one[2]) for one in found)


def _ordinal(parts: Sequence[str], kind: str, column: str) -> int:
    if kind == "day":
        return _date(parts, column).toordinal()
    year, part = int(parts[0]), int(parts[1])
    if kind != "week":
        return year * _PER_YEAR[kind] + part - 1
    try:
        return (date.fromisocalendar(year, part, 1).toordinal() - 1) // 7
    except ValueError:
        raise SaeInputError(f"{column}: {year} has no week {part}.", column=column) from None


def _date(parts: Sequence[str], column: str) -> date:
    try:
        return date(*map(int, parts))
    except ValueError:
        raise SaeInputError(f"{column}: {'-'.join(parts)} is no date.", column=column) from None


def _text(ordinal: int, kind: str) -> str:
    if kind in ("step", "year"):
        return str(ordinal)
    if kind == "day":
        return str(date.fromordinal(ordinal))
    if kind == "week":
        year, part, _ = date.fromordinal(7 * ordinal + 1).isocalendar()
    else:
        year, part = divmod(ordinal, _PER_YEAR[kind])
        part += 1
    width = 2 if kind in ("month", "week") else 1
    return f"{year}{_LETTERS[kind]}{part:0{width}d}"


def _array(values: list[int]) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def _unread(texts: Sequence[str], column: str, unit: TimeUnit | None) -> SaeInputError:
    what = "periods" if unit is None else f'periods of unit="{unit}"'
    return SaeInputError(
        f"{column} holds labels that are no {what}: {name_some(list(texts))}.",
        hint="Write all as years, 2020Q4, 2020-12, dates, or whole numbers 1, 2, 3; an ordered category "
        "tells the order of other labels.",
        column=column,
    )
