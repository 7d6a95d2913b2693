"""What a report shows of a table: published rows, cut into one indicator, period and group at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from sae.compare import ranks
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.publish.linked import TOTAL
from sae.publish.report_compared import apart, changed, met_means
from sae.publish.report_lacking import interviews_lacking
from sae.publish.rounding import decimals_of, rounded
from sae.publish.rows import shown_rows
from sae.publish.showing import table_of
from sae.publish.table import published
from sae.quality import assess, load_policy, policy_names
from sae.results import Result
from sae.tables import EstimateTable, check_spelling, label_text, labels, to_numbers
from sae.tables.columns import ESTIMATE_COLUMNS
from sae.tables.mixing import marks_in

__all__ = ["ReportRows", "Slice", "report_rows"]

RANKED = 300  # areas of which a report makes ranks: beyond that they say little and take minutes
PAIRED = 60  # areas whose pairs fit on a page


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
        (1, 0, -1), ``change, since`` as `sae.publish.report_compared.changed` says. Shown rows by their
        figure, then the others by their labels. ``row`` is the place in the table.
    unit, indicator, definition, time : str
    reference : float
        What the rows are compared with.
    kind : {"national", "met", "median"}
        What that is: the national figure, the known mean that they meet, or the median of those shown.
    pairs : ndarray of int, shape (m, m), or None
        Of the m rows shown: 1 where the row is surely higher than the column, -1 lower, 0 not told apart.
        None where there are fewer than two or too many for a page, or they do not compare.
    """

    key: tuple[str, ...]
    frame: pd.DataFrame
    unit: str
    indicator: str
    definition: str
    time: str
    reference: float
    kind: str
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
    met: Callable[[pd.DataFrame], float | None] | None = None,
) -> ReportRows:
    """Return what may be shown of a fit or a table, by slice: nothing else goes on.

    Parameters
    ----------
    data : Result or EstimateTable
        Flagged.
    area, national, names, seed
        As in `report`.
    met : callable, optional
        Rows of a selection to the known figure that they meet, where `national` is not given; by default
        that of the fit.

    Raises
    ------
    SaeInputError
        If rows were not judged, or an area stands twice in a slice.
    SaeSpecError
        If a column does not exist, or `national` fits no slice.
    """
    table = table_of(data)
    if table.frame.empty:
        raise SaeInputError("The table has no rows to report.")
    shown = shown_rows(table)
    rows = published(table).frame.assign(
        shown=shown, domain=labels(table.frame["domain"]).to_numpy(dtype=object)
    )
    for name in [name for name in table.groups if name in rows]:
        rows[name] = labels(rows[name]).astype("object")
    groups = [name for name in table.groups if name not in ESTIMATE_COLUMNS]
    groups = [name for name in groups if not rows[name].eq(rows["time"]).all()] or ["domain"]
    if "level" in groups and rows["geo"].ne("").any():  # of a production, which has the areas of all in geo
        rows["geo"] = rows["geo"].astype("object").where(rows["geo"].fillna("").ne(""), rows["level"])
        groups, area = [*groups, "geo"], area or "geo"
    elif "domain" not in groups and rows.duplicated([*groups, "indicator", "time"]).any():
        groups = ["domain", *groups]  # of a frame, whose areas stand beside its groups
    place = _place(rows, groups, area)
    picks = tuple(
        name
        for name in ("indicator", "time", *(name for name in groups if name != place))
        if rows[name].nunique(dropna=False) > 1
    )
    rows["direct"], judged = _direct(table, shown)
    rows["lacking"] = interviews_lacking(data, shown)
    rows["code"] = rows[place].astype(str)
    called = {} if names is None else _names(names, rows["code"], place)
    rows["area"] = rows["code"].map(lambda code: called.get(code, code))
    codes = rows.groupby(list(picks), sort=False).ngroup().to_numpy() if picks else np.zeros(len(rows), int)
    # what is hidden takes no part in ranks, pairs and changes, which would tell its place
    estimate = np.where(shown, to_numbers(table.frame, "estimate"), np.nan)
    sizes = pd.Series(codes[shown]).value_counts()
    rows["rank_low"] = rows["rank_high"] = pd.array([pd.NA] * len(rows), dtype="Int64")
    few = sizes.index[(sizes >= 2) & (sizes <= RANKED)]
    able = np.flatnonzero(np.isin(codes, few))
    ranked = seed is not None and len(able) > 0 and (len(able) == len(rows) or not isinstance(data, Result))
    if isinstance(data, Result):
        known: Result | pd.DataFrame = replace(data, estimates=table.assign(estimate=estimate))
        by = [name for name in picks if name not in ("indicator", "time")]
    else:
        known, by = _series(rows, picks, estimate, table), ["selection"]
    if ranked:
        part = known if isinstance(known, Result) else known.iloc[able].drop(columns=["indicator", "time"])
        made = ranks(part, seed=seed, within=by, accept=marks_in(table["definition"])).frame
        for name in ("low", "high"):
            rows.loc[rows.index[able], f"rank_{name}"] = made[name].to_numpy()
    moved = changed(known, rows["flag"]) if "time" in picks else None
    for name in ("change", "since"):
        rows[name] = "" if moved is None else moved[name].to_numpy()
    means = met_means(data, shown) if national is None and isinstance(data, Result) else {}
    slices = []
    for code in range(codes.max() + 1):
        at = np.flatnonzero(codes == code)
        few_shown = 2 <= int(shown[at].sum()) <= PAIRED
        kind = "met" if national is None else "national"
        if national is not None:
            figure: float | None = _national(national, rows.iloc[at], picks)
        elif met is not None:
            figure = met(rows.iloc[at])
        else:
            figure = means.get(tuple(at.tolist()))
        slices.append(_slice(rows.iloc[at], at, picks, known if few_shown else None, figure, kind))
    as_written: dict[str, list[Any]] = {
        name: [*map(str, rows[name].unique())] for name in ("indicator", "level") if name in picks
    }
    order = sorted(slices, key=lambda one: _order(one, picks, as_written))
    policies = tuple(dict.fromkeys(table.frame["policy"].tolist()))
    return ReportRows(picks, place, tuple(order), ranked, judged, policies)


def _names(names: Mapping[Any, str], codes: pd.Series, place: str) -> dict[str, str]:
    """Return the names of the areas by code; refuse keys that no area has, or that are spelt another way."""
    if not isinstance(names, Mapping):
        raise SaeSpecError(
            f"names maps the codes of areas to their names; it is a {type(names).__name__}.",
            hint='Write names={"AT13": "Wien"}.',
        )
    called = {label_text(code): str(name) for code, name in names.items()}
    keys = pd.Series([*called], dtype="object")
    if called and not keys.isin(codes).any():
        raise SaeInputError(
            f"None of the {len(called)} names is of an area: they are of {name_some(called)}, and the areas "
            f"are {name_some(codes.unique())}.",
            hint="Name the areas by their codes, as they stand in the table; as text where zeros lead.",
        )
    ours, theirs = (pd.DataFrame({place: each.unique()}) for each in (codes, keys))
    check_spelling(ours, theirs, [place], ("the table", "the names"))
    return called


def _order(one: Slice, picks: tuple[str, ...], as_written: Mapping[str, list[Any]]) -> tuple[Any, ...]:
    """Return what sorts the slices.

    Indicators and levels as the table has them, the newest period first, the rest by name after all persons,
    single areas last.
    """
    newest = tuple(-ord(letter) for letter in one.time) if "time" in picks else ()
    key = dict(zip(picks, one.key, strict=True))
    rest = [value for name, value in key.items() if name not in ("time", *as_written)]
    written = tuple(values.index(key[name]) for name, values in as_written.items())
    return (len(one.frame) == 1, written, [(value != TOTAL, value) for value in rest], newest)


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


def _series(
    rows: pd.DataFrame, picks: tuple[str, ...], estimate: np.ndarray, table: EstimateTable
) -> pd.DataFrame:
    """Return figures without a joint error: an area of a group, by one definition, is a series of periods."""
    several = [name for name in picks if name != "time"]
    names = rows[[*several, "code", "definition", "geo_version"]].astype(object).fillna("")
    frame = pd.DataFrame({"domain": names.agg("\x1f".join, axis=1).to_numpy()})
    selection = rows.groupby(list(picks), sort=False).ngroup() if picks else pd.Series(0, index=rows.index)
    frame["selection"] = selection.astype(str).to_numpy()
    for name in ("indicator", "unit", "definition", "geo_version", "time"):
        frame[name] = rows[name].astype(object).fillna("").to_numpy()
    return frame.assign(estimate=estimate, se=table["se"].to_numpy())


def _slice(
    rows: pd.DataFrame,
    at: np.ndarray,
    picks: tuple[str, ...],
    known: Result | pd.DataFrame | None,
    figure: float | None,
    kind: str,
) -> Slice:
    twice = rows["area"][rows["area"].duplicated()]
    if len(twice):
        raise SaeInputError(
            f"{name_some(twice.unique())} stand more than once among the rows of one selection.",
            hint="Name the column of the areas by area=, or give each its own name in names=.",
            areas=list(twice),
        )
    key = _key(rows, picks)
    shown = rows["shown"].to_numpy(dtype=bool)
    reference = figure if figure is not None else float(rows["estimate"].median()) if shown.any() else np.nan
    low, high = (to_numbers(rows, name) for name in ("ci_low", "ci_high"))
    frame = rows.assign(side=(low > reference).astype(int) - (high < reference), row=at)
    frame = frame.sort_values(["area"], kind="stable").sort_values(
        "estimate", ascending=False, kind="stable", na_position="last"
    )
    own = frame["row"].to_numpy()[frame["shown"].to_numpy(dtype=bool)]
    first = rows.iloc[0]
    columns = ["area", "code", "estimate", "ci_low", "ci_high", "reliability", "flag", "reason", "shown"]
    columns += ["direct", "lacking"]
    return Slice(
        key,
        frame[[*columns, "rank_low", "rank_high", "side", "change", "since", "row"]].reset_index(drop=True),
        str(first["unit"]),
        str(first["indicator"]),
        str(first["definition"]),
        str(first["time"]),
        reference,
        kind if figure is not None else "median",
        None if known is None else apart(known, own),
    )


def _key(rows: pd.DataFrame, picks: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(str(value) for value in rows[list(picks)].iloc[0]) if picks else ()


def _national(national: float | Mapping[Any, float], rows: pd.DataFrame, picks: tuple[str, ...]) -> float:
    key = _key(rows, picks)
    if isinstance(national, Real) and not isinstance(national, bool):
        return _of_the_scale(float(national), rows)
    if not isinstance(national, Mapping):
        raise SaeSpecError(
            f"national={national!r} is neither a figure nor figures by selection.", hint="Write national=0.7."
        )
    wanted = [key, *([key[0]] if len(key) == 1 else [])]
    value = next((national[one] for one in wanted if one in national), None)
    if value is None:
        raise SaeSpecError(
            f"national= has no figure for {' / '.join(key)}.",
            hint=f"Its keys are the values of a selection, such as {key!r}; it has {name_some(national, 6)}.",
        )
    return _of_the_scale(float(value), rows)


def _of_the_scale(figure: float, rows: pd.DataFrame) -> float:
    if rows["unit"].eq("share").any() and not 0.0 <= figure <= 1.0:
        raise SaeInputError(
            f"The national figure is {figure:g}, and the table holds shares from 0 to 1.",
            hint=f"Write national={figure / 100:g} for {figure:g} %.",
        )
    return figure
