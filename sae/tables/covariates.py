"""Covariates with their origin: where each comes from, how it is defined, and of which year it is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from sae.errors import SaeInputError, name_some
from sae.tables.base import Table
from sae.tables.columns import require
from sae.tables.frames import pandas_frame
from sae.tables.joins import join_by_name

__all__ = ["Covariates", "Origin", "date_text", "frame_of", "year_of"]

_YEAR = re.compile(r"(1[5-9]|2[0-4])\d\d(?!\d)")
_DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})")
_MONTHS: tuple[str, ...] = ("January", "February", "March", "April", "May", "June", "July", "August")
_MONTHS += ("September", "October", "November", "December")


def year_of(period: str) -> int | None:
    """Return the year that a period begins with: 2025 of "2025Q1"; None where it begins with none.

    Examples
    --------
    >>> from sae.tables.covariates import year_of
    >>> year_of("2025Q1"), year_of("2021-07-01"), year_of("wave 3")
    (2025, 2021, None)
    """
    begins = _YEAR.match(period)
    return int(begins.group()) if begins else None


def date_text(period: str) -> str:
    """Return a date as it is written in text, any other period as it is.

    Examples
    --------
    >>> from sae.tables.covariates import date_text
    >>> date_text("2020-01-01"), date_text("2020Q4")
    ('1 January 2020', '2020Q4')
    """
    date = _DATE.fullmatch(period)
    if not date or not 1 <= int(date.group(2)) <= len(_MONTHS):
        return period
    return f"{int(date.group(3))} {_MONTHS[int(date.group(2)) - 1]} {date.group(1)}"


@dataclass(frozen=True)
class Origin:
    """Where a covariate comes from.

    Attributes
    ----------
    source : str
        Who counted: "Population register (SCB)".
    definition : str
        What was counted.
    vintage : str or mapping of str to str
        Year or date of the figures, "2020" or "2020-01-01", or "2018 to 2020" where areas differ; where the
        covariate has a value per period, the vintage of each period.
    rounding_error : float
        The most by which rounding of the source may have moved a value.

    Examples
    --------
    >>> origin = sae.auxiliary.Origin("Population register", "foreign-born over all residents", "2020-01-01")
    >>> origin.text(["2025"])
    'Population register, 1 January 2020 (foreign-born over all residents), 5 years before the data'
    """

    source: str
    definition: str
    vintage: str | Mapping[str, str]
    rounding_error: float = 0.0

    def __post_init__(self) -> None:
        vintages = [self.vintage] if isinstance(self.vintage, str) else list(self.vintage.values())
        odd = [vintage for vintage in vintages if year_of(vintage) is None]
        if odd or not vintages:
            raise SaeInputError(
                f"The vintage of a covariate begins with no year: {name_some(map(repr, odd)) or 'none'}.",
                hint='Write the year or the date of the figures: "2020" or "2020-01-01".',
            )

    def lags(self, periods: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Return how many years each period that has a year lies after the first and last of its figures."""
        years = {period: year_of(period) for period in periods}
        known = self.vintage if isinstance(self.vintage, Mapping) else dict.fromkeys(periods, self.vintage)
        lags = {}
        for period, year in years.items():
            if year is not None and period in known:
                first, last = (year_of(end) or year for end in _ends(known[period]))
                lags[period] = (year - first, year - last)
        return lags

    def text(self, periods: Sequence[str] = ()) -> str:
        """Return the origin in a line, with the distance of the figures from the periods of the data."""
        lags = self.lags(periods)
        shown = [f"{self.source}, {self._vintage_text(lags)} ({self.definition})", lag_text(lags)]
        if self.rounding_error:
            shown.append(f"rounding moves it by at most {self.rounding_error:.2g}")
        return ", ".join(filter(None, shown))

    def record(self) -> dict[str, object]:
        """Return the origin as plain values, for the provenance of a result."""
        vintage = self.vintage if isinstance(self.vintage, str) else dict(self.vintage)
        record: dict[str, object] = {
            "source": self.source,
            "definition": self.definition,
            "vintage": vintage,
        }
        return record | ({"rounding_error": self.rounding_error} if self.rounding_error else {})

    def _vintage_text(self, lags: Mapping[str, tuple[int, int]]) -> str:
        if isinstance(self.vintage, str):
            return _span_text(_ends(self.vintage))
        if len(set(lags.values())) > 1:  # the figures of one year serve several
            return name_some(
                [f"{_span_text(_ends(self.vintage[period]))} for {period}" for period in lags], 8
            )
        vintages = sorted({end for vintage in self.vintage.values() for end in _ends(vintage)})
        return _span_text((vintages[0], vintages[-1]))


def _ends(vintage: str) -> tuple[str, str]:
    """Return the first and last of "2018 to 2020", which areas may be of; of a year both are that."""
    first, _, last = vintage.partition(" to ")
    return first, last or first


def _span_text(ends: tuple[str, str]) -> str:
    return " to ".join(date_text(end) for end in dict.fromkeys(ends))


def lag_text(lags: Mapping[str, tuple[int, int]]) -> str:
    """Return how far figures lie from the data: "5 years before the data"; empty if of the same year."""
    years = [lag for ends in lags.values() for lag in ends] or [0]
    low, high = min(years), max(years)
    if low == high == 0:
        return ""
    if low < 0 < high:
        return f"from {high} {_years(high)} before to {-low} {_years(low)} after the data"
    near, far = sorted((abs(low), abs(high)))
    span = f"{far}" if near == far else f"{near} to {far}"
    return f"{span} {_years(far)} {'before' if high > 0 else 'after'} the data"


def _years(number: int) -> str:
    return "year" if abs(number) == 1 else "years"


@dataclass(frozen=True, eq=False, repr=False)
class Covariates(Table):
    """A table of covariates, one row per area (and group, and period), with the origin of its columns.

    Given to ``fit(areas=...)`` like a frame; the origin of each covariate then stands in the provenance of
    the result, and that of those which the formula uses in the summary, with their distance from the data.

    Attributes
    ----------
    frame : DataFrame
    origins : mapping of str to Origin
        By column; a column without an origin may stand beside.

    Examples
    --------
    >>> frame = pd.DataFrame({"city": ["A", "B"], "foreign": [0.1, 0.2]})
    >>> census = sae.auxiliary.Origin("Census", "born abroad", "2021")
    >>> table = sae.auxiliary.Covariates(frame, {"foreign": census})
    >>> table.origins["foreign"].text(["2023"])
    'Census, 2021 (born abroad), 2 years before the data'
    """

    frame: pd.DataFrame
    origins: Mapping[str, Origin] = field(default_factory=dict)

    def __post_init__(self) -> None:
        frame = pandas_frame(self.frame, "The covariates")
        require(frame, list(self.origins), "The covariates have", "(of origins=)")
        object.__setattr__(self, "frame", frame)

    def join(self, other: Covariates | pd.DataFrame, on: str | Sequence[str]) -> Covariates:
        """Return the covariates of two tables side by side, joined by name; every row needs its partner.

        Parameters
        ----------
        other : Covariates or DataFrame
            One row per label of `on`; of a frame no origin is known.
        on : str or sequence of str
            Columns that name the areas (and groups, and periods), in both.

        Raises
        ------
        SaeInputError
            If labels stand in one table only, twice in `other`, or another column stands in both.

        Examples
        --------
        >>> a = sae.auxiliary.Covariates(pd.DataFrame({"city": ["A"], "x": [1.0]}))
        >>> a.join(pd.DataFrame({"city": ["A"], "z": [2.0]}), on="city").frame.to_dict("list")
        {'city': ['A'], 'x': [1.0], 'z': [2.0]}
        """
        frame = pandas_frame(frame_of(other), "The others")
        origins = other.origins if isinstance(other, Covariates) else {}
        joined, _ = join_by_name(self.frame, frame, on, how="exact", names=("these covariates", "the others"))
        return Covariates(joined, {**self.origins, **origins})

    def renamed(self, columns: Mapping[str, str]) -> Covariates:
        """Return the table with other names of columns, such as {"area": "region"}; origins go with them."""
        require(self.frame, list(columns), "The covariates have")
        frame = self.frame.rename(columns=dict(columns))
        return Covariates(frame, {columns.get(name, name): origin for name, origin in self.origins.items()})

    def _heading(self) -> str:
        lines = [f"Covariates: {len(self.frame)} rows"]
        return "\n".join([*lines, *(f"  {name}: {origin.text()}" for name, origin in self.origins.items())])

    def _shown(self) -> pd.DataFrame:
        return self.frame


def frame_of(areas: Any) -> Any:
    """Return the frame of `Covariates`, anything else as it is."""
    return areas.frame if isinstance(areas, Covariates) else areas
