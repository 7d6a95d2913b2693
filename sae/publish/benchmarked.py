"""Hide further estimates of one model where its benchmark would tell a confidential one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import sparse

from sae.disclosure.attack import components
from sae.disclosure.equations import LinkedFigures, hidden_too
from sae.errors import SaeInputError
from sae.publish.linked import needs, with_hidden
from sae.publish.rows import shown_rows
from sae.quality.appearance import confidential_rows
from sae.quality.benchmark import Benchmark
from sae.tables import EstimateTable

__all__ = ["protected_by_benchmarks"]


def protected_by_benchmarks(
    table: EstimateTable, benchmarks: Sequence[Benchmark]
) -> tuple[EstimateTable, tuple[str, ...]]:
    """Hide the rows from which, with the figures that they meet, a confidential row could be told.

    Parameters
    ----------
    table : EstimateTable
        Judged. Its first rows are those of the fit.
    benchmarks : sequence of Benchmark
        Which the fit met. Everybody is taken to know their figures and weights.

    Returns
    -------
    table : EstimateTable
        Rows hidden for the sake of others have the flag ":c", and say why without numbers.
    told : tuple of str
        Confidential rows that the figures tell whatever is hidden with them, such as one alone in its group.

    Notes
    -----
    How far a confidential estimate must be open is said at `sae.publish.linked.protected`.

    Examples
    --------
    Three areas of equal size whose mean is to be 0.5; the first is confidential.

    >>> from sae.publish.benchmarked import protected_by_benchmarks
    >>> frame = pd.DataFrame({"domain": ["A", "B", "C"], "unit": "share", "estimate": [0.2, 0.6, 0.7]})
    >>> frame = frame.assign(policy="own", flag=[":c", "", ""], gamma=0.1, method="FH")
    >>> frame = frame.assign(publishable=[False, True, True])
    >>> done = sae.quality.benchmark_estimates(
    ...     frame["estimate"], np.ones(3), np.zeros(3), {0: 0.5}, domains=frame["domain"]
    ... )
    >>> protected_by_benchmarks(sae.EstimateTable(frame), [done])[0]["flag"].tolist()
    [':c', ':c', '']
    """
    kept = [one.constraints.weights for one in benchmarks if not one.soft]
    if not kept:
        return table, ()
    n = kept[0].shape[0]
    figures = _figures(table, sparse.csr_array(sparse.hstack(kept).T), n)
    more, lost = np.zeros(len(table), dtype=bool), np.zeros(n, dtype=bool)
    part = components(figures.matrix)
    open_ = figures.hidden & ((figures.least < figures.values) | (figures.most > figures.values))
    for number in np.unique(part[open_]):
        some = np.flatnonzero(part == number)
        try:
            more[some] = hidden_too(figures.of(some))
        except SaeInputError:  # one by one: which it is
            for row in some[open_[some]].tolist():
                lost[row] = not _hidden_for(figures.of(some), some, row, more)
    return with_hidden(table, more), tuple(table["domain"][:n][lost])


def _hidden_for(figures: LinkedFigures, some: np.ndarray, row: int, more: np.ndarray) -> bool:
    """Hide what a single row needs; return whether that is possible."""
    own, values = some == row, figures.values
    alone = replace(
        figures,
        hidden=figures.hidden | more[some],
        least=np.where(own, figures.least, values),
        most=np.where(own, figures.most, values),
    )
    try:
        more[some] |= hidden_too(alone)
    except SaeInputError:
        return False
    return True


def _figures(table: EstimateTable, sums: sparse.csr_array, n: int) -> LinkedFigures:
    frame = table.frame.iloc[:n]
    estimate = frame["estimate"].to_numpy(dtype=float)
    share = frame["unit"].eq("share").to_numpy(dtype=bool)
    own = np.full(n, np.nan)
    least, most = needs(frame, estimate, own, share, confidential_rows(frame), own)
    values = np.nan_to_num(estimate)
    size = np.asarray(abs(sums).sum(axis=0)).ravel()
    return LinkedFigures(
        sums,
        values,
        np.minimum(values, 0.0),
        np.where(share, np.maximum(values, 1.0), np.inf),
        ~shown_rows(table)[:n],
        least[:n],
        most[:n],
        np.where(size > 0, size, 1.0) ** 1.5,
    )
