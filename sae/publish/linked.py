"""Hide further estimates where the others would tell a confidential one: totals, larger units, benchmarks.

Which equations hold is seen from the figures: a sum of groups or areas that meets its total, with the weights
of the benchmark or with what the survey counts, is known to whoever knows the method. Everybody is taken to
know all populations, every published figure without rounding, and of each person no more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import sparse

from sae.disclosure.attack import components
from sae.disclosure.equations import LinkedFigures, hidden_too, told_ends
from sae.publish.rows import shown_rows
from sae.quality.appearance import PROTECTING, confidential_rows
from sae.tables import EstimateTable, labels

__all__ = ["TOTAL", "further_rows", "linked_figures", "needs", "protected", "told", "with_hidden"]

TOTAL = "total"  # of a group that a row does not tell apart
_PULL = 2.0  # times γ: how far records can pull an estimate, π / 2 at most on the arcsine's scale
_HOLDS = 1e-6  # by how much a sum may miss a figure that it meets: areas without a record weigh 1e-9 each
_ALIKE = 1e-8  # of two equations that are the same one
_SAME = 1e-12  # an estimate that is the direct one
_CLOSE = 1e-5  # of an end of what is told: beyond the tolerance of the programmes
_DEARER = 10.0  # how much dearer a total is than its parts, beside its size


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Rows and the total of each, -1 where the table has none."""

    part: np.ndarray
    total: np.ndarray


def protected(table: EstimateTable, links: pd.DataFrame, levels: Sequence[str] = ()) -> EstimateTable:
    """Hide the rows from which, with all others, a confidential row could be told.

    Parameters
    ----------
    table : EstimateTable
        Judged. Its groups are grouping columns, "total" in a row that is over all of one, and `level` where
        areas of several levels stand in it.
    links : DataFrame
        Beside the rows: `weight`, of the benchmark, and `counted`, what the survey counts; and for every
        larger level a column ``in LEVEL``, the unit in which the row's area lies. `reach`, where it is there
        and a number, is how far the estimate must be open to both sides. `shares`, where it is there, names
        the set of indicators that add to 1 to which a row belongs.
    levels : sequence of str
        The smallest areas first.

    Returns
    -------
    EstimateTable
        Rows hidden for the sake of others have the flag ":c", and say why without numbers.

    Notes
    -----
    The estimate of a confidential row must be open to both sides by twice γ, what its records can pull it at
    most (times its benchmark factor where that is above 1); from 0 to 1 where γ is not known. The same of its
    direct estimate, from 0 to 1; and from 0 to twice the figure where it is no share.

    Examples
    --------
    >>> frame = pd.DataFrame({"domain": ["A", "B", "C", "all"], "level": ["area"] * 3 + ["nation"]})
    >>> frame = frame.assign(indicator="rate", unit="share", geo=["A", "B", "C", ""], n=[1, 90, 80, 171])
    >>> frame = frame.assign(estimate=[0.2, 0.6, 0.7, 0.5], policy="own", flag=[":c", "", "", ""])
    >>> frame = frame.assign(publishable=[False, True, True, True])
    >>> links = pd.DataFrame({"weight": 1.0, "counted": 1.0, "in nation": ["", "", "", None]})
    >>> table = sae.EstimateTable(frame, ("level",))
    >>> from sae.publish.linked import protected
    >>> protected(table, links, ["area", "nation"])["flag"].tolist()
    [':c', ':c', ':c', '']
    """
    return with_hidden(table, further_rows(table, links, levels))


def further_rows(table: EstimateTable, links: pd.DataFrame, levels: Sequence[str] = ()) -> np.ndarray:
    """Return which rows `protected` hides: no row of one indicator and period hangs on those of another."""
    figures = linked_figures(table, links, levels)
    more = np.zeros(len(figures.values), dtype=bool)
    open_ = (figures.least < figures.values) | (figures.most > figures.values)
    part = components(figures.matrix)
    wanted = np.isin(part, np.unique(part[open_ & figures.hidden]))
    places = np.flatnonzero(wanted)
    places = places[np.argsort(part[places], kind="stable")]
    for some in np.split(places, np.flatnonzero(np.diff(part[places])) + 1):
        if len(some) > 1:
            more[some] = hidden_too(figures.of(some))
    return more[: len(table)]


def told(table: EstimateTable, links: pd.DataFrame, levels: Sequence[str], shown: np.ndarray) -> pd.DataFrame:
    """Attack what is shown of a table: return the confidential figures that are told too closely.

    Parameters
    ----------
    table, links, levels
        As `protected` takes them.
    shown : ndarray of bool
        The rows whose estimate everybody sees.

    Returns
    -------
    DataFrame
        The labels of the row, `figure` ("estimate" or "direct"), its `value`, the ends `low` and `high` of
        what is told of it, and `least` and `most`, between which it must be open.
    """
    n = len(table)
    figures = linked_figures(table, links, levels)
    hidden = figures.hidden.copy()
    hidden[:n] = ~shown
    figures = replace(figures, hidden=hidden)
    open_shown = np.flatnonzero(shown & confidential_rows(table.frame))
    places, low, high = told_ends(figures)
    slack = _CLOSE * np.maximum(1.0, np.abs(figures.values[places]))
    close = (low > figures.least[places] + slack) | (high < figures.most[places] - slack)
    places = np.concatenate([places[close], open_shown])
    values = figures.values[places]
    rows = table.frame[["indicator", "time", "geo", *table.groups]].iloc[places % n].reset_index(drop=True)
    return rows.assign(
        figure=np.where(places < n, "estimate", "direct"),
        value=values,
        low=np.concatenate([low[close], values[close.sum() :]]),
        high=np.concatenate([high[close], values[close.sum() :]]),
        least=figures.least[places],
        most=figures.most[places],
    )


def linked_figures(table: EstimateTable, links: pd.DataFrame, levels: Sequence[str]) -> LinkedFigures:
    """Return the estimates of all rows, then their direct estimates, and the equations between them.

    Last come the direct estimates of the records of a total that are in no row below it.
    """
    frame = table.frame
    n = len(frame)
    estimate, direct = (frame[name].to_numpy(dtype=float) for name in ("estimate", "direct"))
    share = frame["unit"].eq("share").to_numpy(dtype=bool)
    shown, secret = shown_rows(table), confidential_rows(table.frame)
    same = np.abs(estimate - direct) <= _SAME * np.maximum(1.0, np.abs(estimate))
    place = np.concatenate([np.arange(n), np.where(same, np.arange(n), n + np.arange(n))])
    values = np.nan_to_num(np.concatenate([estimate, direct]))
    weights = [links[name].to_numpy(dtype=float) for name in ("weight", "counted")]
    rows: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    rest = np.zeros(0)
    for pairs in _totals(table, links, levels):
        rows += _equations(pairs, estimate, direct, weights, share, place)
        line, of_rest = _with_rest(pairs, direct, weights[1], share, place, 2 * n + len(rest))
        rows.append(line)
        rest = np.append(rest, of_rest)
    if "shares" in links:
        rows += _wholes(table, links, levels, (estimate, direct), place)
    own = links["reach"].to_numpy(dtype=float) if "reach" in links else np.full(n, np.nan)
    least, most = needs(frame, estimate, direct, share, secret, own)
    twice = np.concatenate([share, share, np.ones(len(rest), dtype=bool)])
    values = np.append(values, rest)
    height = _height(table, levels)
    size = np.where(np.isfinite(weights[1]) & (weights[1] > 0), weights[1], 1.0)
    cost = (size / np.median(size) if n else size) ** 1.5 * _DEARER**height
    return LinkedFigures(
        _stacked(rows, len(values)),
        values,
        np.minimum(values, 0.0),
        np.where(twice, np.maximum(values, 1.0), np.inf),
        np.concatenate([~shown, np.ones(n + len(rest), dtype=bool)]),
        np.append(least, rest),
        np.append(most, rest),
        np.concatenate([cost, np.full(n + len(rest), np.inf)]),
    )


def needs(
    frame: pd.DataFrame,
    estimate: np.ndarray,
    direct: np.ndarray,
    share: np.ndarray,
    secret: np.ndarray,
    reach: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return how small and how large it must be possible that estimates and direct estimates are."""
    factor = np.maximum(np.nan_to_num(frame["benchmark_factor"].to_numpy(dtype=float), nan=1.0), 1.0)
    pull = _PULL * frame["gamma"].to_numpy(dtype=float) * factor
    pull = np.where(np.isfinite(pull) & (frame["method"] != "direct").to_numpy(dtype=bool), pull, np.inf)
    pull = np.where(np.isfinite(reach), reach, pull)
    ends = []
    for figure, reach in ((estimate, pull), (direct, np.full(len(frame), np.inf))):
        reach = np.where(share, reach, np.minimum(reach, 1.0) * np.abs(figure))
        top = np.where(share, 1.0, np.inf)
        least, most = np.maximum(figure - reach, 0.0), np.minimum(figure + reach, top)
        open_ = secret & np.isfinite(figure)
        known = np.nan_to_num(figure)
        ends.append(
            (
                np.where(open_, np.minimum(least, known), known),
                np.where(open_, np.maximum(most, known), known),
            )
        )
    (low, high), (direct_low, direct_high) = ends
    return np.concatenate([low, direct_low]), np.concatenate([high, direct_high])


def _totals(table: EstimateTable, links: pd.DataFrame, levels: Sequence[str]) -> Iterator[_Pairs]:
    """Yield the rows with their totals: over every grouping column, and in every larger unit."""
    frame = table.frame
    groups = [name for name in table.groups if name not in ("level", "geo", "time", "domain")]
    keys = {
        name: labels(frame[name]).to_numpy(dtype=object) for name in ("indicator", "time", "geo", *groups)
    }
    if levels:
        keys["level"] = labels(frame["level"]).to_numpy(dtype=object)
    index = pd.Index(_joined(keys))
    told = {name: keys[name] != TOTAL for name in groups}
    crossing = np.zeros(len(frame), dtype=int)
    for k, name in enumerate(groups):
        crossing += told[name].astype(int) << k
    kinds = np.unique(crossing).tolist()
    for fine in kinds:
        coarser = [one for one in kinds if one != fine and one & fine == one]
        for coarse in coarser:
            if any(one != coarse and one & coarse == coarse for one in coarser):
                continue  # the totals of the totals
            some = np.flatnonzero(crossing == fine)
            dropped = [name for k, name in enumerate(groups) if (fine & ~coarse) >> k & 1]
            yield _found(index, keys, some, dict.fromkeys(dropped, TOTAL))
    for k, lower in enumerate(levels):
        some = np.flatnonzero(keys["level"] == lower)
        for larger in levels[k + 1 :]:
            home = links[f"in {larger}"].iloc[some]
            known = home.notna().to_numpy()
            homes = home[known].to_numpy(dtype=object)
            yield _found(index, keys, some[known], {"level": larger, "geo": homes})


def _found(
    index: pd.Index, keys: dict[str, np.ndarray], some: np.ndarray, others: dict[str, str | np.ndarray]
) -> _Pairs:
    mine = {name: values[some] for name, values in keys.items()}
    for name, value in others.items():
        mine[name] = value if isinstance(value, np.ndarray) else np.full(len(some), value, dtype=object)
    if not len(some):
        return _Pairs(some, some)
    total = index.get_indexer(pd.Index(_joined(mine)))
    return _Pairs(some[total >= 0], total[total >= 0])


def _joined(keys: dict[str, np.ndarray]) -> np.ndarray:
    out = np.zeros(len(next(iter(keys.values()))), dtype=object)
    out[:] = ""
    for values in keys.values():
        out = out + "\x1f" + values
    return np.asarray(out, dtype=object)


def _equations(
    pairs: _Pairs,
    estimate: np.ndarray,
    direct: np.ndarray,
    weights: Sequence[np.ndarray],
    share: np.ndarray,
    place: np.ndarray,
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield the sums that hold as (number of the equation, place of the figure, coefficient)."""
    part, n = pairs.part, len(estimate)
    totals, number = np.unique(pairs.total, return_inverse=True)
    held = np.zeros((len(totals), 0))
    ones = np.where(share, np.nan, 1.0)  # counts add up as they are
    figures = (("e", estimate, "e", estimate), ("e", estimate, "d", direct), ("d", direct, "d", direct))
    for weight in (*weights, ones):
        mine = weight[part]
        whole = np.ones(len(totals)) if weight is ones else np.bincount(number, mine, len(totals))
        for of_part, parts, of_total, goals in figures:
            values, goal = np.where(mine > 0, parts[part], 0.0), goals[totals]
            top = np.bincount(number, mine * values, len(totals))
            with np.errstate(invalid="ignore", divide="ignore"):
                holds = np.abs(top / whole - goal) <= _HOLDS * np.maximum(1.0, np.abs(goal))
            used = holds[number] & (mine > 0)
            if not used.any():
                continue
            columns = part[used] + (n if of_part == "d" else 0)
            last = totals[holds] + (n if of_total == "d" else 0)
            line = np.concatenate([number[used], np.flatnonzero(holds)])
            cells = place[np.concatenate([columns, last])]
            size = np.concatenate([mine[used], -whole[holds]])
            fresh = _unseen(line, cells, size, len(totals), held)
            held = np.column_stack([held, fresh[1]])
            yield line[fresh[0]], cells[fresh[0]], size[fresh[0]]


def _with_rest(
    pairs: _Pairs, direct: np.ndarray, counted: np.ndarray, share: np.ndarray, place: np.ndarray, start: int
) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], np.ndarray]:
    """Return the sums of direct shares that lack some of a total's records, with the shares of the rest.

    Few records without a group leave the others of the total all but known.
    """
    totals, number = np.unique(pairs.total, return_inverse=True)
    size, goal = np.nan_to_num(counted), np.nan_to_num(direct)
    mine = np.where(np.isfinite(direct), size, 0.0)[pairs.part]
    whole = size[totals]
    rest = whole - np.bincount(number, mine, len(totals))
    some = share[totals] & (rest > _HOLDS * whole) & (rest < whole) & np.isfinite(direct[totals])
    top = whole * goal[totals] - np.bincount(number, mine * goal[pairs.part], len(totals))
    value = np.divide(top, rest, out=np.full(len(totals), np.nan), where=some)
    some &= (value > -_HOLDS) & (value < 1.0 + _HOLDS)  # what is no mean of shares adds up to anything
    used = some[number] & (mine > 0)
    line = np.concatenate([number[used], np.flatnonzero(some), np.flatnonzero(some)])
    n, some_totals = len(direct), totals[some]
    own = start + np.arange(len(some_totals))
    cells = np.concatenate([place[n + pairs.part[used]], place[n + some_totals], own])
    sizes = np.concatenate([mine[used], -whole[some], rest[some]])
    return (line, cells, sizes), np.clip(value[some], 0.0, 1.0)


def _wholes(
    table: EstimateTable,
    links: pd.DataFrame,
    levels: Sequence[str],
    figures: Sequence[np.ndarray],
    place: np.ndarray,
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield the sums of shares that are 1, of estimates and of direct estimates, in persons."""
    sets = links["shares"].fillna("").to_numpy(dtype=object)
    some = np.flatnonzero(sets != "")
    names = [
        "time",
        "geo",
        *(name for name in table.groups if name not in ("level", "geo", "time", "domain")),
    ]
    keys = {name: labels(table.frame[name]).to_numpy(dtype=object) for name in names}
    if levels:
        keys["level"] = labels(table.frame["level"]).to_numpy(dtype=object)
    joined = _joined({"shares": sets, **keys})[some]
    number = np.unique(joined, return_inverse=True)[1]
    several = np.bincount(number) > 1
    persons = np.nan_to_num(links["counted"].to_numpy(dtype=float)[some])
    size = np.bincount(number, persons) / np.bincount(number)
    size = np.where(size > 0, size, 1.0)
    for first, values in zip((0, len(table)), figures, strict=True):
        holds = several & (np.abs(np.bincount(number, values[some]) - 1.0) <= _HOLDS)
        used = holds[number]
        yield number[used], place[some[used] + first], size[number[used]]


def _unseen(
    line: np.ndarray, cells: np.ndarray, size: np.ndarray, count: int, held: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return which entries belong to equations that stand nowhere yet, and a sum over each that tells it."""
    scale = np.bincount(line, np.abs(size), count)
    share = size / scale[line]
    tells = np.bincount(line, share * np.cos(1.0 + cells), count)
    there = np.bincount(line, minlength=count) > 0
    known = np.any(np.less_equal(np.abs(held - tells[:, None]), _ALIKE), axis=1)
    return np.flatnonzero(~known[line]), np.where(there, tells, np.nan)


def _stacked(rows: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], n: int) -> sparse.csr_array:
    start, lines, cells, sizes = 0, [], [], []
    for line, cell, size in rows:
        if len(line):
            _, place = np.unique(line, return_inverse=True)
            lines.append(start + place)
            start += int(place.max()) + 1
            cells.append(cell)
            sizes.append(size)
    if not lines:
        return sparse.csr_array((0, n))
    where = (np.concatenate(lines), np.concatenate(cells))
    matrix = sparse.csr_array((np.concatenate(sizes), where), shape=(start, n))
    matrix.sum_duplicates()
    return matrix


def _height(table: EstimateTable, levels: Sequence[str]) -> np.ndarray:
    """Return how many totals lie above the smallest cells in a row."""
    frame = table.frame
    height = np.zeros(len(frame))
    for name in table.groups:
        if name == "level":
            height += frame["level"].map({level: k for k, level in enumerate(levels)}).fillna(0).to_numpy()
        else:
            height += frame[name].eq(TOTAL).fillna(False).to_numpy(dtype=float)
    return height


def with_hidden(table: EstimateTable, more: np.ndarray) -> EstimateTable:
    """Return the table with rows hidden for the sake of others."""
    frame = table.frame
    breaks = frame["flag"].str.extract("(b?)$", expand=False)
    reason = frame["reason"].where(frame["reason"].eq(""), "; " + frame["reason"])
    return table.assign(
        flag=frame["flag"].mask(more, ":c" + breaks),
        publishable=frame["publishable"].mask(more, False),
        reason=frame["reason"].mask(more, PROTECTING + reason),
    )
