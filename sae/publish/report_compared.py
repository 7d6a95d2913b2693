"""What the rows of a report say against each other: pairs of areas, periods, and the figure of the nation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from sae.compare import changes, pairs
from sae.compare.comparison import SAME
from sae.compare.joint import figures_of
from sae.compare.rows import named
from sae.errors import SaeInputError
from sae.indicators import BREAKS
from sae.publish.benchmarked import protected_by_benchmarks
from sae.results import Result
from sae.tables import labels
from sae.tables.mixing import marks_in

__all__ = ["APART", "apart", "changed", "met_means"]

APART = 0.05  # false discovery rate among the pairs that are told apart
_EXACT = 1e-9  # of weights that add up to one


def apart(known: Result | pd.DataFrame, rows: np.ndarray) -> np.ndarray | None:
    """Return which rows are told apart: 1 higher than the column, -1 lower, 0 not; None if not comparable.

    Parameters
    ----------
    known : Result or DataFrame
        Figures of the shown rows, with their joint error or as independent of each other.
    rows : ndarray of int, shape (m,)
        Those of one selection, in the order that is wanted.
    """
    own = np.sort(rows)
    if isinstance(known, Result):
        alone = np.full(len(known.estimates), np.nan)
        alone[own] = known.estimates["estimate"].to_numpy(dtype=float)[own]
        part: Result | pd.DataFrame = replace(known, estimates=known.estimates.assign(estimate=alone))
    else:
        part = known.iloc[own]
    try:
        verdict = pairs(part, fdr=APART).frame["verdict"]
    except SaeInputError:  # several definitions, or a break between them
        return None
    made = np.zeros((len(own), len(own)), dtype=int)
    made[np.triu_indices(len(own), 1)] = verdict.map({"higher": 1, "lower": -1}).fillna(0)
    order = np.searchsorted(own, rows)
    return (made - made.T)[np.ix_(order, order)]


def changed(known: Result | pd.DataFrame, flag: pd.Series) -> pd.DataFrame:
    """Return what became of each row since the area's period before: ``change`` and ``since``.

    Parameters
    ----------
    known : Result or DataFrame
        As of `apart`.
    flag : Series of str
        Of the rows.

    Returns
    -------
    DataFrame
        ``change`` is "rose", "fell", "same" (cannot be told apart), "break" (lies in between: not compared),
        or "" where there is no period before.
    """
    out = pd.DataFrame({"change": "", "since": ""}, index=range(len(flag)))
    figures = figures_of(known)
    if "time" not in figures.parts:
        return out
    accepted = [*BREAKS, *(marks_in(figures.frame["definition"]) if "definition" in figures.frame else [])]
    try:
        made = changes(known, accept=accepted).frame
    except SaeInputError:  # no area has two periods, or these do not compare
        return out
    rows = named(figures, np.arange(len(flag)), [name for name in figures.parts if name != "time"])
    keys = list(rows)
    row_of = pd.MultiIndex.from_frame(rows.assign(time=labels(figures.frame["time"]).to_numpy()))
    now = row_of.get_indexer(pd.MultiIndex.from_frame(made[[*keys, "time"]]))
    before = row_of.get_indexer(pd.MultiIndex.from_frame(made[[*keys, "against"]]))
    marked = flag.str.endswith("b").to_numpy(dtype=bool)
    broken = made["breaks"].ne("").to_numpy() | (marked[now] & ~marked[before])
    verdict = made["verdict"].replace({SAME: "same", "no figure": ""}).to_numpy()
    out.loc[now, "change"] = np.where(broken, "break", verdict)
    out.loc[now, "since"] = made["against"].to_numpy()
    return out


def met_means(fit: Result, shown: np.ndarray) -> dict[tuple[int, ...], float]:
    """Return the known means that the fit was benchmarked to, by their rows, where nothing is told by them.

    Parameters
    ----------
    fit : Result
    shown : ndarray of bool
        Of its rows. With one row hidden in a mean the figure would give it away; with a confidential one that
        the figures of the benchmark could tell, none of them is returned.
    """
    exact = [one for one in fit.benchmarks if not one.soft]
    if not exact:
        return {}
    table, told = protected_by_benchmarks(fit.estimates, fit.benchmarks)
    if told or not table.frame["flag"].equals(fit.estimates.frame["flag"]):
        return {}
    out = {}
    for one in exact:
        weights = one.constraints.weights.tocsc()
        for k, figure in enumerate(one.constraints.target.tolist()):
            part = slice(weights.indptr[k], weights.indptr[k + 1])
            rows = np.sort(weights.indices[part][weights.data[part] != 0])
            if abs(weights.data[part].sum() - 1.0) < _EXACT and (~shown[rows]).sum() != 1:
                out[tuple(rows.tolist())] = figure
    return out
