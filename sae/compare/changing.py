"""Changes from period to period, with what the errors of both have in common."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sae.calls import answered
from sae.compare.comparison import Comparison, Options, Sides, compared
from sae.compare.differing import Data
from sae.compare.joint import Figures, figures_of
from sae.compare.rows import named, over_time, rows_alone
from sae.compare.sides import period_order, periods_between
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.tables import label_text, labels

__all__ = ["changes", "steps"]


@answered
def changes(
    data: Data,
    first: object = None,
    last: object = None,
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
    """Tell which areas changed from one period to another, or from each period to the next.

    The error counts how those of the two periods go together: of a model over time its effects, coefficients
    and the overlap of the samples; of direct estimates their covariance where it was asked for.

    Parameters
    ----------
    data : Result, EstimateTable, DirectEstimates or DataFrame
        With a column ``time``.
    first, last : object, optional
        Two periods; without them each figure is compared with that of the area's period before, which may lie
        more than one step back: `missing` says what lies in between.
    level, half_width, accept, seed, draws, domain, estimate, se
        As for `differences`.

    Returns
    -------
    Comparison
        `time` is the later period, `against` the earlier one; the verdict is "rose", "fell" or "cannot be
        told apart". Changes across an accepted break name it in `breaks`; the groups EU28_FOR and
        EU27_2020_FOR of different years are one group across the break eu28_to_eu27_2020.

    Raises
    ------
    SaeSpecError
        If the rows have no periods.
    SaeInputError
        If a period is unknown, an area lacks one of the two, or the periods do not compare.

    References
    ----------
    Rao and Molina (2015), section 8.3; Berger and Priam (2016), J. R. Stat. Soc. A 179, 681-708.

    Examples
    --------
    >>> frame = pd.DataFrame({"domain": ["a"] * 3, "time": ["2018", "2019", "2021"],
    ...                       "estimate": [0.5, 0.51, 0.6], "se": 0.02})
    >>> sae.compare.changes(frame)[["time", "against", "verdict", "missing"]].values.tolist()
    [['2019', '2018', 'cannot be told apart', ''], ['2021', '2019', 'rose', '2020']]
    """
    options = Options(level, half_width, accept, seed, draws)
    if (first is None) != (last is None):
        raise SaeSpecError("Give both periods, first= and last=, or neither.")
    figures = figures_of(data, domain=domain, estimate=estimate, se=se)
    if "time" not in figures.parts:
        raise SaeSpecError(
            "The rows have no periods, or one only: there is no change in them.",
            hint="Fit a model over time, or put the periods into a column time.",
        )
    time = labels(figures.frame["time"])
    periods = period_order(time)
    rest = [name for name in figures.parts if name != "time"]
    if first is None:
        one, other = steps(figures, periods)
    else:
        one, other = _of_two(figures, time, periods, label_text(first), label_text(last))
    rows = named(figures, one, rest).assign(time=time.to_numpy()[one], against=time.to_numpy()[other])
    sides = Sides(one, rows_alone(figures), other, rows)
    made = compared(figures, sides, options, "change", verdicts=("rose", "fell"), apart=["time"])
    ends = zip(rows["against"], rows["time"], strict=True)
    made.frame["missing"] = [periods_between(*both, periods) for both in ends]
    return made


def steps(figures: Figures, periods: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows with a figure that have one before, and that one."""
    known = np.isfinite(figures.estimate)
    frame = over_time(figures)
    series = frame.groupby(list(frame), sort=False).ngroup().to_numpy()
    time = labels(figures.frame["time"])
    place = time.map({period: k for k, period in enumerate(periods)}).to_numpy()
    rows = pd.DataFrame({"series": series, "place": place, "_row": np.arange(len(frame))})[known]
    ordered = rows.sort_values(["series", "place"], kind="stable")
    before = ordered.groupby("series", sort=False)["_row"].shift(1)
    has = before.notna().to_numpy()
    one, other = ordered["_row"].to_numpy()[has], before.to_numpy()[has].astype(int)
    back = np.argsort(one, kind="stable")
    return one[back], other[back]


def _of_two(
    figures: Figures, time: pd.Series, periods: list[str], first: str, last: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of both periods, area by area."""
    lost = [period for period in (first, last) if period not in periods]
    if lost:
        raise SaeInputError(
            f"No estimate of the period {name_some(lost)}.", hint=f"The periods are {name_some(periods, 15)}."
        )
    if first == last:
        raise SaeSpecError(f"first and last are the same period, {first}.")
    names = pd.MultiIndex.from_frame(over_time(figures))
    start, stop = (np.flatnonzero(time.eq(period).to_numpy()) for period in (first, last))
    lacking = names[start].symmetric_difference(names[stop])
    if len(lacking):
        areas = [" / ".join(map(str, name)) for name in lacking]
        raise SaeInputError(
            f"{len(areas)} areas lack one of the periods {first} and {last}: {name_some(areas)}.",
            hint="Give them as rows of areas=, with covariates, or compare without first and last.",
            areas=areas,
        )
    return stop[names[stop].get_indexer(names[start])], start
