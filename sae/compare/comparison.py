"""A table of comparisons of two figures each: what makes it, and what it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy

from sae.compare.joint import Figures
from sae.compare.sides import agreed_breaks
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.numerics.random.streams import seed_of
from sae.quality.appearance import may_appear
from sae.tables import labels, to_numbers
from sae.tables.base import Table
from sae.tables.sheet_formats import Sheet
from sae.tables.sheet_notes import notes_sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["SAME", "Comparison", "Options", "Sides", "compared", "side_verdicts", "unit_of"]

SAME = "cannot be told apart"
NO_FIGURE = "no figure"
HALF_WIDTH = {"share": 0.05, "ratio": 0.2}  # what counts as reliable where nobody says otherwise
_SHOWN = ("value", "other", "estimate", "ci_low", "ci_high", "p_above", "verdict")
_CHUNK = 2_000_000  # weights held at once


@dataclass(frozen=True, eq=False)
class Sides:
    """The two sides of each comparison.

    Attributes
    ----------
    one : ndarray of int, shape (S,)
        Row of the figures.
    others : sparse array, shape (K, m)
        Weights of the rows that make up the other sides.
    cell : ndarray of int, shape (S,)
        Which of them is the other side; -1 for `number`.
    rows : DataFrame
        What tells the comparisons apart, with `against`: the other side in words.
    number : float
        Known without error; NaN where a side that is none of the rows is missing.
    """

    one: np.ndarray
    others: scipy.sparse.csr_array
    cell: np.ndarray
    rows: pd.DataFrame
    number: float = np.nan

    def weights(self, rows: np.ndarray, first: np.ndarray, second: np.ndarray) -> scipy.sparse.csr_array:
        """Return first · (one side) - second · (other side) of some comparisons as weights of the figures."""
        size = len(rows)
        shape = (size, self.others.shape[1])
        own = scipy.sparse.csr_array((first, (np.arange(size), self.one[rows])), shape=shape)
        cell = self.cell[rows]
        used = np.flatnonzero(cell >= 0)
        pick = scipy.sparse.csr_array((second[used], (used, cell[used])), shape=(size, self.others.shape[0]))
        return scipy.sparse.csr_array(own - pick @ self.others)

    def of_other(self, values: np.ndarray) -> np.ndarray:
        """Return the other side's value of each comparison, from those of the figures, last axis."""
        made = np.full((*values.shape[:-1], len(self.one)), self.number)
        used = self.cell >= 0
        made[..., used] = (self.others @ values.T).T[..., self.cell[used]]
        return made


@dataclass(frozen=True)
class Options:
    """What all comparisons can be asked for.

    Attributes
    ----------
    level : float, optional
        Of the intervals; that of the table by default.
    half_width : float, optional
        Half-width of the interval up to which a comparison counts as reliable.
    accept : str or sequence of str
    seed : int or Generator, optional
    draws : int
    """

    level: float | None = None
    half_width: float | None = None
    accept: str | Sequence[str] = ()
    seed: int | np.random.Generator | None = None
    draws: int = 4000

    def __post_init__(self) -> None:
        if self.level is not None and not 0.0 < self.level < 1.0:
            raise SaeSpecError(f"level={self.level!r} is no probability between 0 and 1.", hint="Give 0.95.")
        if self.half_width is not None and not self.half_width > 0.0:
            raise SaeSpecError(f"half_width={self.half_width!r} is no width above 0.")
        if isinstance(self.draws, bool) or not isinstance(self.draws, int) or self.draws < 100:
            raise SaeSpecError(f"draws={self.draws!r}: at least 100 are needed, 4,000 are usual.")

    @property
    def accepted(self) -> list[str]:
        """What is accepted by name."""
        return [self.accept] if isinstance(self.accept, str) else list(self.accept)


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(Table):
    """Comparisons of two figures each, with what is not known of them.

    Attributes
    ----------
    frame : DataFrame
        One row per comparison: what tells it apart; `against`, the other side; `value` and `other`, the two
        figures; `estimate`, their difference or ratio, with `se` (of a ratio: of its logarithm), `ci_low`,
        `ci_high` and `interval`; `p_above`, probability that the true difference is above 0 (the ratio above
        1); `verdict`, which says "cannot be told apart" where the interval holds 0 (or 1); `half_width` of
        the interval (of a ratio: of its logarithm) and `reliable`, whether it is small enough; `n` and
        `n_other`, the records of both sides; `publishable`, only where both sides are; `breaks`, accepted
        ones that lie between the sides. Changes have `missing` too: the periods in between.
    kind : {"difference", "ratio", "gap", "change"}
    level : float
    limit : float
        Half-width up to which a comparison is reliable; NaN where there is no rule.
    unit : str
        Of both sides; "" where unknown.
    notes : tuple of str
    """

    frame: pd.DataFrame
    kind: str
    level: float
    limit: float
    unit: str
    notes: tuple[str, ...]

    def summary(self) -> str:
        """Return what the comparisons say, in a few lines."""
        frame = self.frame
        sides = name_some(frame["against"].unique(), 2)
        lines = [f"{len(frame)} {self.kind}s, against {sides}; intervals of {self.level:.0%}"]
        counts = frame["verdict"].value_counts(sort=False)
        lines.append("; ".join(f"{verdict}: {count}" for verdict, count in counts.items()))
        if np.isfinite(self.limit):
            scale = ", of the logarithm" if self.kind == "ratio" else ""
            good = int(frame["reliable"].fillna(False).sum())
            lines.append(f"reliable, a half-width of at most {self.limit:g}{scale}: {good} of {len(frame)}")
        across = frame["breaks"] != ""
        if across.any():
            names = name_some(frame["breaks"][across].unique())
            lines.append(
                f"{int(across.sum())} lie across a break and say nothing of the world alone: {names}"
            )
        if "missing" in frame and (frame["missing"] != "").any():
            lines.append(f"periods without a figure in between: {name_some(_texts(frame['missing']))}")
        return "\n".join([*lines, *self.notes])

    def _heading(self) -> str:
        return self.summary()

    def _sheets(self) -> list[Sheet]:
        share = np.full(len(self), self.unit == "share" and self.kind != "ratio")
        notes = [("Comparison", line) for line in self.summary().splitlines()]
        return [Sheet("estimates", self.frame, share=share), notes_sheet([*notes, ("Unit", self.unit)])]

    def _shown(self) -> pd.DataFrame:
        keys = list(self.frame)[: list(self.frame).index("value")]
        return self.frame[[*keys, *_SHOWN]]

    def plot(self, *, title: str = "", source: str = "") -> Figure:
        """Draw the comparisons with their intervals: see `sae.plots.differences`."""
        from sae.plots import differences

        share = self.unit == "share"
        return differences(
            self.frame, kind=self.kind, level=self.level, share=share, title=title, source=source
        )


def _texts(column: pd.Series) -> list[str]:
    return [text for text in column.unique() if text]


def compared(
    figures: Figures,
    sides: Sides,
    options: Options,
    kind: str,
    *,
    verdicts: tuple[str, str] = ("higher", "lower"),
    apart: Sequence[str] = (),
) -> Comparison:
    """Compare the two sides of each comparison.

    Parameters
    ----------
    figures : Figures
    sides : Sides
    options : Options
    kind : {"difference", "ratio", "gap", "change"}
    verdicts : (str, str)
        What a positive and a negative one is called.
    apart : sequence of str
        Columns in which the sides may differ.
    """
    if not len(sides.one) or (np.isnan(sides.number) and (sides.cell < 0).all()):
        raise SaeInputError(
            "No row has another side to be compared with.",
            hint=f"The rows are by {name_some(figures.parts)}: both sides agree in all but what is compared.",
        )
    level = figures.level if options.level is None else options.level
    breaks = agreed_breaks(figures, sides.one, sides.others, sides.cell, options.accepted, apart=apart)
    value, other = figures.estimate[sides.one], sides.of_other(figures.estimate)
    ratio = kind == "ratio"
    if ratio:
        _check_positive(sides.rows, value, other)
    numbers = _numbers(figures, sides, level, value, other, ratio)
    notes = list(figures.notes)
    if options.seed is not None:
        _from_draws(numbers, figures, sides, options, level, ratio)
    low, high = numbers["ci_low"], numbers["ci_high"]
    half = (np.log(high) - np.log(low) if ratio else high - low) / 2.0
    unit = unit_of(figures.frame)
    limit = HALF_WIDTH.get("ratio" if ratio else unit, np.nan)
    if options.half_width is not None:
        limit = options.half_width
    if np.isnan(limit):
        notes.append("no rule says which half-width is reliable in this unit: give half_width=")
    frame = sides.rows.assign(**numbers)
    zero = 1.0 if ratio else 0.0
    frame["verdict"] = np.select(
        [~np.isfinite(low), low > zero, high < zero], [NO_FIGURE, *verdicts], default=SAME
    )
    frame["half_width"] = half
    frame["reliable"] = pd.array(half <= limit, dtype="boolean")
    if np.isnan(limit):
        frame["reliable"] = pd.array([pd.NA] * len(frame), dtype="boolean")
    frame["n"], frame["n_other"] = _counts(figures.frame, sides)
    frame["publishable"] = _publishable(figures.frame, sides) & np.isfinite(numbers["estimate"])
    frame["breaks"] = breaks
    lost = frame["verdict"].eq(NO_FIGURE).to_numpy()
    if lost.any():
        notes.append(
            f"without a figure on both sides or its error: {int(lost.sum())} comparisons of "
            f"{name_some(pd.unique(labels(frame['domain'][lost])))}"
        )
    return Comparison(frame, kind, level, limit, unit, tuple(notes))


def _numbers(
    figures: Figures, sides: Sides, level: float, value: np.ndarray, other: np.ndarray, ratio: bool
) -> dict[str, np.ndarray]:
    """Return estimates, errors, intervals and probabilities, as many comparisons at once as memory bears."""
    size = len(value)
    made = {name: np.full(size, np.nan) for name in ("estimate", "se", "ci_low", "ci_high", "p_above")}
    text = np.full(size, "", dtype=object)
    with np.errstate(divide="ignore", invalid="ignore"):
        estimate = np.log(value / other) if ratio else value - other
        slopes = (1.0 / value, 1.0 / other) if ratio else (np.ones(size), np.ones(size))
    known = np.flatnonzero(np.isfinite(estimate))
    widest = max(int(np.diff(sides.others.indptr).max(initial=1)), 1)
    for rows in np.array_split(known, max(1, -(-len(known) * widest // _CHUNK))):
        weights = sides.weights(rows, slopes[0][rows], slopes[1][rows])
        mse = np.asarray(figures.joint.mse_of(weights)).ravel()
        ends = figures.ends(weights, mse, level)
        sums = weights @ np.where(np.isfinite(figures.estimate), figures.estimate, 0.0)
        shift = estimate[rows] - sums
        made["estimate"][rows], made["se"][rows] = estimate[rows], np.sqrt(mse)
        made["ci_low"][rows], made["ci_high"][rows] = ends.low + shift, ends.high + shift
        sides_of = (made["ci_low"][rows], made["ci_high"][rows])
        made["p_above"][rows] = _above(figures, weights, estimate[rows], mse, *sides_of, level)
        text[rows] = ends.interval
    if ratio:
        for name in ("estimate", "ci_low", "ci_high"):
            made[name] = np.exp(made[name])
        text = np.where(text == "", "", text + ", log scale")
    return {"value": value, "other": other, **made, "interval": text}


def _above(
    figures: Figures,
    weights: scipy.sparse.csr_array,
    estimate: np.ndarray,
    mse: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    level: float,
) -> np.ndarray:
    """Return the probability that the true comparisons lie above 0, by what makes their intervals."""
    if figures.below is None:
        with np.errstate(divide="ignore", invalid="ignore"):
            z = np.where(estimate == 0.0, 0.0, estimate / np.sqrt(mse))
        return np.asarray(scipy.special.stdtr(figures.freedom(weights), z))
    sums = weights @ figures.estimate
    made = 1.0 - figures.below(weights, sums - estimate)
    # of several posteriors: a normal on either side of the estimate, as wide as the interval there
    half = np.where(estimate > 0, estimate - low, high - estimate) / scipy.special.ndtri(0.5 + 0.5 * level)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.isnan(made), scipy.special.ndtr(estimate / half), made)


def _from_draws(
    numbers: dict[str, np.ndarray],
    figures: Figures,
    sides: Sides,
    options: Options,
    level: float,
    ratio: bool,
) -> None:
    """Put quantiles and shares of joint draws in the place of what rests on the covariance."""
    truths = figures.truths(options.draws, seed_of(options.seed))  # type: ignore[arg-type]
    known = np.flatnonzero(np.isfinite(numbers["estimate"]))
    for rows in np.array_split(known, max(1, -(-len(known) * options.draws // 20_000_000))):
        part = replace(sides, one=sides.one[rows], cell=sides.cell[rows])
        value, other = truths[:, part.one], part.of_other(truths)
        if ratio and not ((value > 0) & (other > 0)).all():
            raise SaeInputError(
                "Some joint draws are not positive: their ratios have no meaning.",
                hint="Leave the seed out, for the interval on the log scale, or use differences().",
            )
        moved = value / other if ratio else value - other
        tail = 0.5 * (1.0 - level)
        numbers["ci_low"][rows], numbers["ci_high"][rows] = np.quantile(moved, [tail, 1.0 - tail], axis=0)
        zero = 1.0 if ratio else 0.0
        numbers["p_above"][rows] = (moved > zero).mean(axis=0) + 0.5 * (moved == zero).mean(axis=0)
        numbers["interval"][rows] = f"quantiles of {options.draws:,} joint draws"


def _check_positive(rows: pd.DataFrame, value: np.ndarray, other: np.ndarray) -> None:
    bad = (value <= 0) | (other <= 0)
    if bad.any():
        raise SaeInputError(
            f"{int(bad.sum())} of {len(bad)} ratios have a side that is not positive: "
            f"{name_some(labels(rows['domain'][bad]))}.",
            hint="A ratio of such estimates has no meaning; use differences().",
            areas=list(labels(rows["domain"][bad])),
        )


def unit_of(frame: pd.DataFrame) -> str:
    """Return the unit that all rows have, or ""."""
    if "unit" not in frame:
        return ""
    units = labels(frame["unit"], keep_missing=True).dropna().unique()
    return str(units[0]) if len(units) == 1 else ""


def _counts(frame: pd.DataFrame, sides: Sides) -> list[pd.Series]:
    n = to_numbers(frame, "n") if "n" in frame else np.full(len(frame), np.nan)
    there = replace(sides, others=(sides.others != 0).astype(float), number=np.nan)
    return [
        pd.Series(counts, index=sides.rows.index).astype("Float64").round().astype("Int64")
        for counts in (n[sides.one], there.of_other(n))
    ]


def side_verdicts(frame: pd.DataFrame) -> np.ndarray:
    """Return whether each row may appear; missing where no policy said so."""
    if "publishable" not in frame:
        return np.full(len(frame), pd.NA, dtype=object)
    verdict = frame["publishable"].astype("boolean").to_numpy(dtype=object)
    if "policy" in frame:
        judged = frame["policy"].ne("").to_numpy(dtype=bool)
        verdict[judged] = may_appear(frame)[judged]
    return verdict


def _publishable(frame: pd.DataFrame, sides: Sides) -> pd.Series:
    """Return whether both sides may appear; a mean or a known number is none that a policy judges."""
    verdict = side_verdicts(frame)
    single = np.flatnonzero(np.diff(sides.others.indptr) == 1)
    row_of = np.full(sides.others.shape[0] + 1, -1)  # the last for cell -1
    row_of[single] = sides.others.indices[sides.others.indptr[single]]
    other = np.array([verdict[row] if row >= 0 else True for row in row_of[sides.cell]], dtype=object)
    both = pd.array(verdict[sides.one], dtype="boolean") & pd.array(other, dtype="boolean")
    return pd.Series(both, index=sides.rows.index)
