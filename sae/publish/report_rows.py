"""What a report shows of a table: published rows, cut into one indicator, period and group at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtr
from scipy.stats import false_discovery_control

from sae.compare import ranks
from sae.compare.joint import figures_of
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.publish.report_lacking import interviews_lacking
from sae.publish.rounding import decimals_of, rounded
from sae.publish.rows import shown_rows
from sae.publish.table import published
from sae.quality import assess, load_policy, policy_names
from sae.results import Result
from sae.tables import EstimateTable, labels, to_numbers
from sae.tables.columns import ESTIMATE_COLUMNS

__all__ = ["ReportRows", "Slice", "report_rows"]

RANKED = 300  # areas of which a report makes ranks: beyond that they say little and take minutes
PAIRED = 60  # areas whose pairs fit on a page
APART = 0.05  # false discovery rate among the pairs that are told apart


@dataclass(frozen=True, eq=False)
class Slice:
    """The rows of one indicator, period and group.

    Attributes
    ----------
    key : tuple of str
        Values of the columns by which a reader chooses.
    frame : DataFrame
        One row per area: ``area`` (its label), ``code``, ``estimate, ci_low, ci_high, reliability, flag,
        reason, shown``, ``direct`` where that may stand too, ``lacking`` interviews of the others,
        ``rank_low, rank_high`` among the rows shown, ``side`` of the reference on which its whole range lies
        (1, 0, -1). Shown rows by their figure, then the others by their labels.
    unit, indicator, definition, time : str
    reference : float
        The national figure, or the median of the rows shown.
    national : bool
        Which of the two.
    pairs : ndarray of int, shape (m, m), or None
        Of the m rows shown: 1 where the row is surely higher than the column, -1 lower, 0 not told apart.
    """

    key: tuple[str, ...]
    frame: pd.DataFrame
    unit: str
    indicator: str
    definition: str
    time: str
    reference: float
    national: bool
    pairs: np.ndarray | None

    @property
    def shown(self) -> pd.DataFrame:
        """The rows with a figure."""
        return self.frame[self.frame["shown"]]


@dataclass(frozen=True, eq=False)
class ReportRows:
    """The slices of a report.

    Attributes
    ----------
    picks : tuple of str
        Columns by which a reader chooses, those of one value left out.
    area : str
        Column that names the areas.
    slices : tuple of Slice
    ranked : bool
        Whether there are ranks.
    judged : bool
        Whether direct estimates could be judged by the policy of the table.
    policies : tuple of str
    """

    picks: tuple[str, ...]
    area: str
    slices: tuple[Slice, ...]
    ranked: bool
    judged: bool
    policies: tuple[str, ...]


def report_rows(
    data: Result | EstimateTable,
    *,
    area: str | None = None,
    national: float | Mapping[Any, float] | None = None,
    names: Mapping[str, str] | None = None,
    seed: int | None = None,
) -> ReportRows:
    """Return what may be shown of a fit or a table, by slice: nothing else goes on.

    Parameters
    ----------
    data : Result or EstimateTable
        Flagged.
    area, national, names, seed
        As in `report`.

    Raises
    ------
    SaeInputError
        If rows were not judged, or an area stands twice in a slice.
    SaeSpecError
        If a column does not exist, or `national` fits no slice.
    """
    table = data.estimates if isinstance(data, Result) else data
    if not isinstance(table, EstimateTable):
        raise SaeSpecError(
            f"A report is made of a fit or a table of estimates, not of {type(data).__name__}.",
            hint="Give what fit(...).flag(policy) returned, or EstimateTable.read(path).",
        )
    if table.frame.empty:
        raise SaeInputError("The table has no rows to report.")
    shown = shown_rows(table)
    rows = published(table).frame.assign(shown=shown)
    for name in [name for name in table.groups if name in rows]:
        rows[name] = labels(rows[name]).astype("object")
    groups = [name for name in table.groups if name not in ESTIMATE_COLUMNS]
    groups = [name for name in groups if not rows[name].eq(rows["time"]).all()] or ["domain"]
    if "level" in groups and rows["geo"].ne("").any():  # of a production, which has the areas of all in geo
        rows["geo"] = rows["geo"].astype("object").where(rows["geo"].fillna("").ne(""), rows["level"])
        groups, area = [*groups, "geo"], area or "geo"
    place = _place(rows, groups, area)
    picks = tuple(
        name
        for name in ("indicator", "time", *(name for name in groups if name != place))
        if rows[name].nunique(dropna=False) > 1
    )
    rows["direct"], judged = _direct(table, shown)
    rows["lacking"] = interviews_lacking(data, shown)
    rows["code"] = rows[place].astype(str)
    rows["area"] = rows["code"].map(lambda code: str((names or {}).get(code, code)))
    codes = rows.groupby(list(picks), sort=False).ngroup().to_numpy() if picks else np.zeros(len(rows), int)
    # what is hidden takes no part in ranks and pairs, which would tell its place
    estimate = np.where(shown, to_numbers(table.frame, "estimate"), np.nan)
    known: Result | pd.DataFrame = pd.DataFrame(
        {"domain": rows.index.astype(str), "time": codes.astype(str), "estimate": estimate, "se": table["se"]}
    )
    by: list[str] = []
    if isinstance(data, Result):
        known = replace(data, estimates=table.assign(estimate=estimate))
        by = [name for name in picks if name not in ("indicator", "time")]
    sizes = pd.Series(codes[shown]).value_counts()
    rows["rank_low"] = rows["rank_high"] = pd.array([pd.NA] * len(rows), dtype="Int64")
    few = sizes.index[(sizes >= 2) & (sizes <= RANKED)]
    able = np.flatnonzero(np.isin(codes, few))
    ranked = seed is not None and len(able) > 0 and (len(able) == len(rows) or not isinstance(data, Result))
    if ranked:
        part = known if isinstance(known, Result) else known.iloc[able]
        made = ranks(part, seed=seed, within=by).frame
        for name in ("low", "high"):
            rows.loc[rows.index[able], f"rank_{name}"] = made[name].to_numpy()
    figures = figures_of(known) if sizes.min() <= PAIRED else None
    slices = []
    for code in range(codes.max() + 1):
        at = np.flatnonzero(codes == code)
        slices.append(_slice(rows.iloc[at], at, picks, figures, national))
    order = sorted(slices, key=lambda one: _order(one, picks))
    policies = tuple(dict.fromkeys(table.frame["policy"].tolist()))
    return ReportRows(picks, place, tuple(order), ranked, judged, policies)


def _order(one: Slice, picks: tuple[str, ...]) -> tuple[Any, ...]:
    """Return what sorts the slices: the newest period first, the rest by name, single areas last."""
    newest = tuple(-ord(letter) for letter in one.time) if "time" in picks else ()
    others = tuple(value for name, value in zip(picks, one.key, strict=True) if name != "time")
    return (len(one.frame) == 1, others, newest)


def _place(rows: pd.DataFrame, groups: list[str], area: str | None) -> str:
    if area is None:
        return max(groups, key=lambda name: rows[name].nunique())
    if area not in groups:
        raise SaeSpecError(f"The table has no column {area!r} of areas.", hint=f"It has {name_some(groups)}.")
    return area


def _direct(table: EstimateTable, shown: np.ndarray) -> tuple[np.ndarray, bool]:
    """Return the direct estimates that may stand by the policy of the table themselves, rounded."""
    frame = table.frame
    out = np.full(len(frame), np.nan)
    known = [name for name in dict.fromkeys(frame["policy"].tolist()) if name in policy_names()]
    direct = frame[["n", "n_eff", "unit", "geo", "time", "in_sample"]].assign(
        estimate=frame["direct"], se=frame["direct_se"], method="direct"
    )
    judged = len(known) > 0
    for name in known:
        at = np.flatnonzero((frame["policy"] == name).to_numpy(dtype=bool))
        verdict = assess(direct.iloc[at], load_policy(name))
        judged &= bool(verdict["publishable"].notna().all())  # a policy may lack limits of the country
        out[at] = np.where(verdict["publishable"].fillna(False), frame["direct"].iloc[at], np.nan)
    out[~shown] = np.nan
    share = frame["unit"].eq("share").to_numpy(dtype=bool)
    digits = decimals_of(out, to_numbers(frame, "direct_se"), share=share, whole=np.zeros(len(frame), bool))
    return rounded(out, digits), judged


def _slice(
    rows: pd.DataFrame,
    at: np.ndarray,
    picks: tuple[str, ...],
    figures: Any,
    national: float | Mapping[Any, float] | None,
) -> Slice:
    twice = rows["area"][rows["area"].duplicated()]
    if len(twice):
        raise SaeInputError(
            f"{name_some(twice.unique())} stand more than once among the rows of one selection.",
            hint="Name the column of the areas by area=, or give each its own name in names=.",
            areas=list(twice),
        )
    key = tuple(str(value) for value in rows[list(picks)].iloc[0]) if picks else ()
    figure = _national(national, key)
    shown = rows["shown"].to_numpy(dtype=bool)
    reference = figure if figure is not None else float(rows["estimate"].median()) if shown.any() else np.nan
    low, high = (to_numbers(rows, name) for name in ("ci_low", "ci_high"))
    frame = rows.assign(side=(low > reference).astype(int) - (high < reference), _at=at)
    frame = frame.sort_values(["area"], kind="stable").sort_values(
        "estimate", ascending=False, kind="stable", na_position="last"
    )
    own = frame["_at"].to_numpy()[frame["shown"].to_numpy(dtype=bool)]
    few = figures is not None and 2 <= len(own) <= PAIRED
    first = rows.iloc[0]
    columns = ["area", "code", "estimate", "ci_low", "ci_high", "reliability", "flag", "reason", "shown"]
    columns += ["direct", "lacking"]
    return Slice(
        key,
        frame[[*columns, "rank_low", "rank_high", "side"]].reset_index(drop=True),
        str(first["unit"]),
        str(first["indicator"]),
        str(first["definition"]),
        str(first["time"]),
        reference,
        figure is not None,
        _apart(figures, own) if few else None,
    )


def _national(national: float | Mapping[Any, float] | None, key: tuple[str, ...]) -> float | None:
    if national is None or isinstance(national, (int, float)):
        return None if national is None else float(national)
    wanted = [key, *([key[0]] if len(key) == 1 else [])]
    value = next((national[one] for one in wanted if one in national), None)
    if value is None:
        raise SaeSpecError(
            f"national= has no figure for {' / '.join(key)}.",
            hint=f"Its keys are the values of a selection, such as {key!r}; it has {name_some(national, 6)}.",
        )
    return float(value)


def _apart(figures: Any, rows: np.ndarray) -> np.ndarray:
    """Return which rows are told apart, the false discovery rate of all pairs held (Benjamini–Hochberg)."""
    estimate = figures.estimate[rows]
    variance, left, right = figures.factors(rows)
    covariance = left @ right.T
    spread = np.sqrt(np.maximum(variance[:, None] + variance - covariance - covariance.T, 0.0))
    gap = estimate[:, None] - estimate
    z = np.divide(np.abs(gap), spread, out=np.zeros_like(gap), where=spread > 0)
    upper = np.triu_indices(len(rows), 1)
    told = false_discovery_control(2.0 * ndtr(-z[upper])) <= APART
    out = np.zeros(gap.shape, dtype=int)
    out[upper] = np.where(told, np.sign(gap[upper]), 0)
    return out - out.T
