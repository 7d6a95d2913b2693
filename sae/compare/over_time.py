"""Series over time: every period of every area, gaps and breaks marked, with the verdict of each step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import scipy

from sae.calls import answered
from sae.compare.changing import steps
from sae.compare.comparison import Options, Sides, compared, unit_of
from sae.compare.differing import Data
from sae.compare.joint import Figures, figures_of
from sae.compare.rows import named, over_time, rows_alone
from sae.compare.sides import breaks_between, period_order, periods_between
from sae.compare.time_series import ACROSS, MODELLED, NO_FIGURE, TimeSeries
from sae.errors import SaeSpecError
from sae.tables import labels, to_numbers

__all__ = ["series"]

_CHANGE = {"estimate": "change", "se": "change_se", "ci_low": "change_low", "ci_high": "change_high"}


@answered
def series(
    data: Data,
    *,
    level: float | None = None,
    accept: str | Sequence[str] = (),
    seed: int | np.random.Generator | None = None,
    draws: int = 4000,
    domain: str = "domain",
    estimate: str = "estimate",
    se: str = "se",
) -> TimeSeries:
    """Follow every area over time: its figures, what lies between them, and which steps are real changes.

    A step counts as a change only where the interval of the change, from the joint error of the two figures,
    leaves 0 out. Across a break nothing is said, unless the break is accepted by name; years without a figure
    have a row that says so.

    Parameters
    ----------
    data : Result, EstimateTable, DirectEstimates, Segregation or DataFrame
        With a column ``time``; a fit over time best.
    level, accept, seed, draws, domain, estimate, se
        As for `differences`.

    Returns
    -------
    TimeSeries

    Raises
    ------
    SaeSpecError
        If the rows have no periods.
    SaeInputError
        If a series changes its unit, or its definition where that is not accepted.

    Examples
    --------
    >>> frame = pd.DataFrame({"domain": "a", "time": ["2018", "2019", "2021"], "estimate": [0.5, 0.51, 0.6],
    ...                       "se": 0.02})
    >>> made = sae.compare.series(frame)
    >>> made[["time", "kind", "verdict"]].values.tolist()  # doctest: +NORMALIZE_WHITESPACE
    [['2018', 'figure', ''], ['2019', 'figure', 'cannot be told apart'], ['2020', 'no figure', ''],
     ['2021', 'figure', 'rose']]
    """
    options = Options(level, None, accept, seed, draws)
    figures = figures_of(data, domain=domain, estimate=estimate, se=se)
    if "time" not in figures.parts:
        raise SaeSpecError(
            "The rows have no periods, or one only: there is no series in them.",
            hint="Fit a model over time, or put the periods into a column time.",
        )
    level = figures.level if level is None else level
    periods = _all_periods(labels(figures.frame["time"]))
    levels = _levels(figures, level)
    changed, notes = _changes(figures, options, periods)
    frame = _grid(figures, levels.join(changed), periods)
    names = [str(name) for name in frame]
    keys = names[: names.index("time")]
    return TimeSeries(frame, tuple(keys), level, unit_of(figures.frame), notes)


def _all_periods(time: pd.Series) -> list[str]:
    """Return the periods in order, with the years that lie between years."""
    periods = period_order(time)
    between = periods_between(periods[0], periods[-1], periods)
    return [periods[0], *filter(None, between.split(", ")), periods[-1]]


def _levels(figures: Figures, level: float) -> pd.DataFrame:
    """Return the figures of the rows with their intervals: those of the table, else of their errors."""
    frame, size = figures.frame, len(figures.estimate)
    mse = np.asarray(figures.joint.mse(), dtype=float)
    known = np.isfinite(figures.estimate)
    own = {"se", "ci_low", "ci_high"} <= set(frame)
    error = to_numbers(frame, "se") if own else np.sqrt(mse)
    if own and level == figures.level:
        low, high = (to_numbers(frame, name) for name in ("ci_low", "ci_high"))
    else:
        ends = figures.ends(scipy.sparse.eye_array(size, format="csr"), mse, level)
        low, high = ends.low, ends.high
    kind = np.where(known, "figure", NO_FIGURE).astype(object)
    if "in_sample" in frame:
        bare = frame["in_sample"].eq(False).fillna(False).to_numpy(dtype=bool)
        kind[known & bare] = MODELLED
    blank = pd.array([pd.NA] * size, dtype="boolean")
    return pd.DataFrame(
        {
            "estimate": figures.estimate,
            "se": np.where(known, error, np.nan),
            "ci_low": np.where(known, low, np.nan),
            "ci_high": np.where(known, high, np.nan),
            "kind": kind,
            "n": pd.array(to_numbers(frame, "n"), dtype="Int64") if "n" in frame else pd.NA,
            "publishable": frame["publishable"].astype("boolean") if "publishable" in frame else blank,
        }
    )


def _changes(
    figures: Figures, options: Options, periods: Sequence[str]
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return what is known of the step to each row that has a figure before it, by row."""
    one, other = steps(figures, periods)
    time = labels(figures.frame["time"]).to_numpy(dtype=object)
    if not len(one):
        raise SaeSpecError(
            "No series has figures of two periods.",
            hint="Give the rows of several periods, of the same areas.",
        )
    alone = rows_alone(figures)
    breaks, why = breaks_between(figures, one, alone, other, options.accepted, apart=["time"])
    all_accepted = Options(options.level, None, [*options.accepted, *why], options.seed, options.draws)
    rows = named(figures, one, [name for name in figures.parts if name != "time"])
    sides = Sides(one, alone, other, rows.assign(against=time[other]))
    made = compared(figures, sides, all_accepted, "change", verdicts=("rose", "fell"), apart=["time"])
    refused = set(why) - set(options.accepted)
    across = np.array([bool(refused & set(text.split(", "))) for text in breaks], dtype=bool)
    table = made.frame.rename(columns=_CHANGE)[[*_CHANGE.values(), "p_above", "verdict", "against"]].copy()
    table.loc[across, [*_CHANGE.values(), "p_above"]] = np.nan
    table.loc[across, "verdict"] = ACROSS
    ends = zip(time[other], time[one], strict=True)
    table = table.assign(breaks=breaks, missing=[periods_between(*both, periods) for both in ends])
    notes = tuple(note for note in made.notes if not note.startswith("no rule says"))
    return table.set_axis(one), notes


def _grid(figures: Figures, rows: pd.DataFrame, periods: Sequence[str]) -> pd.DataFrame:
    """Return a row for every series and period, in order, with the segments that may be joined."""
    same = over_time(figures)
    codes = same.groupby(list(same), sort=False).ngroup().to_numpy()
    place = labels(figures.frame["time"]).map({text: k for k, text in enumerate(periods)}).to_numpy()
    last = pd.Series(place).groupby(codes).idxmax().to_numpy()  # a series bears the newest of its names
    names = named(figures, last, [str(name) for name in same])
    count, size = len(last), len(periods)
    row = np.full(count * size, -1)
    row[codes * size + place] = np.arange(len(codes))
    cells = rows.reindex(row).reset_index(drop=True)
    for name, text in (
        ("kind", NO_FIGURE),
        ("verdict", ""),
        ("against", ""),
        ("breaks", ""),
        ("missing", ""),
    ):
        cells[name] = cells[name].fillna(text)
    start = cells["missing"].ne("") | cells["verdict"].eq(ACROSS)
    cells["segment"] = start.groupby(np.repeat(np.arange(count), size)).cumsum().astype(int)
    head = names.iloc[np.repeat(np.arange(count), size)].reset_index(drop=True)
    head["time"] = np.tile(np.array(periods, dtype=object), count)
    order = [
        "estimate",
        "se",
        "ci_low",
        "ci_high",
        "kind",
        "against",
        *_CHANGE.values(),
        "p_above",
        "verdict",
    ]
    return pd.concat([head, cells[[*order, "breaks", "missing", "segment", "n", "publishable"]]], axis=1)
