"""Ranks of areas, with what is not known of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from sae.calls import answered
from sae.compare.differing import Data
from sae.compare.joint import Figures, figures_of
from sae.compare.sides import agreed_set
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.numerics.random.streams import seed_of
from sae.numerics.ranking import (
    credible_ranks,
    mean_bar,
    rank_draws,
    rank_sets,
    row_rank_sets,
    triple_goal,
)
from sae.tables import labels
from sae.tables.base import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Ranks", "rank_keys", "ranks"]

_COLUMNS = (
    "estimate",
    "rank",
    "low",
    "high",
    "own_low",
    "own_high",
    "expected_rank",
    "credible_low",
    "credible_high",
    "p_best",
    "p_worst",
    "triple_goal",
    "bar_low",
    "bar_high",
)


@dataclass(frozen=True, eq=False, repr=False)
class Ranks(Table):
    """Ranks of areas with their confidence sets.

    Attributes
    ----------
    frame : DataFrame
        One row per area, as it came: what tells it apart; `estimate`; `rank`, 1 for the best; `low`, `high`,
        ranks that hold for all areas together; `own_low`, `own_high`, ranks for this area alone;
        `expected_rank`; `credible_low`, `credible_high`, ranks that the joint draws say of all together;
        `p_best`, `p_worst`, probability of being among the best or worst `share`; `triple_goal`, estimates
        whose ranks and spread are good together; `bar_low`, `bar_high`, bars that may be compared by eye:
        two that do not overlap tell two areas apart, at the level on average over pairs.
    level, share : float
    best : str
    within : tuple of str
        Columns whose values are ranked apart.
    notes : tuple of str
    """

    frame: pd.DataFrame
    level: float
    share: float
    best: str
    within: tuple[str, ...]
    notes: tuple[str, ...]

    def summary(self) -> str:
        """Return what the ranks say, in a few lines."""
        frame, known = self.frame, self.frame["rank"].notna()
        groups = frame[known].groupby(list(self.within), sort=False) if self.within else [("", frame[known])]
        lines = [f"Ranks of {int(known.sum())} areas, 1 for the {self.best}, sets of {self.level:.0%}"]
        for key, part in groups:
            p = len(part)
            wide = (part["high"] - part["low"] + 1).median()
            cut = int(np.ceil(self.share * p))
            top, low = int((part["high"] <= cut).sum()), int((part["low"] > p - cut).sum())
            name = " / ".join(map(str, key)) if isinstance(key, tuple) else str(key)
            lines.append(
                f"{name + ': ' if name else ''}half of the sets hold {wide:g} or fewer of {p} ranks; surely "
                f"among the first {cut}: {top}; surely among the last {cut}: {low}"
            )
        return "\n".join([*lines, *self.notes])

    def _heading(self) -> str:
        return self.summary()

    def _shown(self) -> pd.DataFrame:
        keys = [name for name in self.frame if name not in (*_COLUMNS, "publishable")]
        columns = [*keys, "estimate", "rank", "low", "high", "own_low", "own_high", "p_best", "p_worst"]
        return self.frame.sort_values("rank", kind="stable")[columns]

    def plot(self, *, title: str = "", source: str = "") -> Figure:
        """Draw the sets: see `sae.plots.ranks`."""
        from sae.plots import ranks

        return ranks(self.frame, best=self.best, level=self.level, title=title, source=source)


@answered
def ranks(
    data: Data,
    *,
    seed: int | np.random.Generator | None = None,
    within: str | Sequence[str] = (),
    best: Literal["highest", "lowest"] = "highest",
    level: float = 0.95,
    share: float = 0.2,
    draws: int = 1000,
    accept: str | Sequence[str] = (),
    domain: str = "domain",
    estimate: str = "estimate",
    se: str = "se",
) -> Ranks:
    """Rank areas, with sets of ranks that hold the true ones, for all areas together and for each alone.

    The sets come from all pairwise differences with their full covariance, in steps; an area's set goes from
    one more than the areas that surely lie before it to all but those that surely lie behind it. What joint
    draws say (expected ranks, credible sets, probabilities) stands beside them.

    Parameters
    ----------
    data : Result, EstimateTable, DirectEstimates or DataFrame
        A fit brings its joint error; of tables without covariances the errors count as independent.
    seed : int or Generator
        The sets and probabilities rest on random draws.
    within : str or sequence of str
        Columns whose values are ranked apart, such as "time" or a group; indicators and periods always are.
    best : {"highest", "lowest"}
        Which value has rank 1.
    level : float
    share : float
        What counts as best and worst: 0.2 for the fifths.
    draws : int
        Random draws; 1,000 give the critical value to about 2 %.
    accept : str or sequence of str
        Breaks and definitions between areas that are accepted by name.
    domain, estimate, se : str
        Columns of a frame of one's own.

    Returns
    -------
    Ranks
        Rows without an estimate stay without a rank.

    Raises
    ------
    SaeSpecError
        If there is no seed, or an option or column makes no sense.
    SaeInputError
        If a row stands twice, an estimate has no standard error, fewer than two areas are to be ranked, or
        areas do not compare.

    References
    ----------
    Mogstad, Romano, Shaikh and Wilhelm (2024), Rev. Econ. Stud. 91, 476–518; Goldstein and Healy (1995);
    Shen and Louis (1998); Besag et al. (1995).

    Examples
    --------
    >>> frame = pd.DataFrame({"domain": list("abc"), "estimate": [0.9, 0.5, 0.45], "se": 0.05})
    >>> sae.compare.ranks(frame, seed=1)[["domain", "rank", "low", "high"]].to_dict("list")
    {'domain': ['a', 'b', 'c'], 'rank': [1, 2, 3], 'low': [1, 2, 2], 'high': [1, 3, 3]}
    """
    number = _checked(seed, best, level, share, draws)
    also = [within] if isinstance(within, str) else list(within)
    figures = figures_of(data, domain=domain, estimate=estimate, se=se, also=also)
    keys = rank_keys(figures, within)
    frame = figures.rows.assign(estimate=figures.estimate)
    for name in _COLUMNS[1:]:
        frame[name] = np.nan
    known = np.isfinite(figures.estimate)
    notes = list(figures.notes)
    if not known.all():
        notes.append(f"without an estimate and so without a rank: {name_some(frame['domain'][~known])}")
    errors, truths = figures.errors(draws, number), figures.truths(draws, number)
    sign = 1.0 if best == "highest" else -1.0
    accepted = [accept] if isinstance(accept, str) else list(accept)
    codes = frame.groupby(keys, sort=False).ngroup().to_numpy() if keys else np.zeros(len(frame), dtype=int)
    for code in range(codes.max(initial=-1) + 1):
        rows = np.flatnonzero((codes == code) & known)
        if len(rows) < 2:
            raise SaeInputError(
                f"{len(rows)} areas with an estimate are to be ranked{_place(frame, keys, codes, code)}.",
                hint="Ranks need two.",
            )
        agreed_set(figures, rows, accepted)
        made = _ranked(figures, rows, errors[:, rows], truths[:, rows], sign, level, share)
        frame.loc[rows, list(made)] = made.to_numpy()
    whole = ["rank", "low", "high", "own_low", "own_high", "credible_low", "credible_high"]
    frame[whole] = frame[whole].astype("Int64")
    return Ranks(frame, level, share, best, tuple(keys), tuple(notes))


def _checked(seed: object, best: str, level: float, share: float, draws: int) -> int:
    if seed is None:
        raise SaeSpecError("ranks(...) needs a seed.", hint="Call ranks(fit, seed=1), with any number.")
    if best not in ("highest", "lowest"):
        raise SaeSpecError(f"best={best!r} is neither 'highest' nor 'lowest'.")
    if not 0.0 < level < 1.0:
        raise SaeSpecError(f"level={level!r} is no probability between 0 and 1.", hint="0.95 is usual.")
    if not 0.0 < share <= 0.5:
        raise SaeSpecError(f"share={share!r} is no share of the areas above 0 and up to 0.5.")
    if isinstance(draws, bool) or not isinstance(draws, int) or draws < 100:
        raise SaeSpecError(f"draws={draws!r}: at least 100 are needed, 1,000 are usual.")
    return seed_of(seed)  # type: ignore[arg-type]


def rank_keys(figures: Figures, within: str | Sequence[str]) -> list[str]:
    """Return the columns whose values are taken apart: what is asked for, and what always is."""
    asked = [within] if isinstance(within, str) else list(within)
    own = [name for name in figures.rows if name != "publishable"]
    lost = [name for name in asked if name not in own]
    if lost:
        raise SaeSpecError(
            f"The rows have no {name_some(lost)} to compare within.", hint=f"They have {name_some(own, 20)}."
        )
    return [name for name in own if name in asked or name in figures.apart]


def _place(frame: pd.DataFrame, keys: Sequence[str], codes: np.ndarray, code: int) -> str:
    if not keys:
        return ""
    first = frame[list(keys)].iloc[[int(np.argmax(codes == code))]]
    return " for " + " / ".join(labels(first[name]).iloc[0] for name in keys)


def _ranked(
    figures: Figures,
    rows: np.ndarray,
    errors: np.ndarray,
    truths: np.ndarray,
    sign: float,
    level: float,
    share: float,
) -> pd.DataFrame:
    """Return the columns of the rows that are ranked together."""
    estimate = sign * figures.estimate[rows]
    variance, left, right = figures.factors(rows)
    noise = sign * errors.T
    low, high, _ = rank_sets(estimate, variance, left, right, noise, level)
    own_low, own_high = row_rank_sets(estimate, variance, left, right, noise, level)
    places = rank_draws(sign * truths)
    credible_low, credible_high = credible_ranks(places, level)
    p, cut = len(rows), int(np.ceil(share * len(rows)))
    bar = mean_bar(variance, left, right, level) * np.sqrt(variance) if (variance > 0).any() else 0.0
    return pd.DataFrame(
        {
            "rank": pd.Series(-estimate).rank(method="min").to_numpy(),
            "low": low,
            "high": high,
            "own_low": own_low,
            "own_high": own_high,
            "expected_rank": places.mean(axis=0),
            "credible_low": credible_low,
            "credible_high": credible_high,
            "p_best": (places <= cut).mean(axis=0),
            "p_worst": (places > p - cut).mean(axis=0),
            "triple_goal": sign * triple_goal(sign * truths, places),
            "bar_low": sign * estimate - bar,
            "bar_high": sign * estimate + bar,
        }
    )
