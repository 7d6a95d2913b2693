"""Estimates of larger units, with errors from the joint matrix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from sae.errors import SaeInputError, name_some
from sae.quality.constraints import figures_by_label
from sae.results.draws import SumEnds
from sae.tables import EstimateTable, joined_labels, labels, to_numbers

__all__ = ["aggregate_table", "row_weights"]


def row_weights(
    weights: str | Mapping[Any, float] | pd.Series, column: Callable[[str], pd.Series], frame: pd.DataFrame
) -> np.ndarray:
    """Return one weight per row of a table: a column of the estimates or areas, or values by domain.

    Raises
    ------
    SaeInputError
        If a weight is no number, or a domain has none.
    """
    if isinstance(weights, str):
        return to_numbers(pd.DataFrame({weights: column(weights)}), weights, names=frame["domain"])
    domains = frame["domain"]
    given = figures_by_label(weights, "weight")
    absent = [name for name in domains if name not in given]
    if absent:
        raise SaeInputError(
            f"No weight for {len(absent)} of {len(domains)} domains: {name_some(absent)}.",
            hint="Give one weight per domain, by its name.",
            areas=absent,
        )
    chosen = pd.DataFrame({"weights": pd.Series([given[name] for name in domains], dtype="object")})
    return to_numbers(chosen, "weights", names=domains)


def aggregate_table(
    frame: pd.DataFrame,
    columns: Mapping[str, Any],
    by: list[str],
    weights: np.ndarray | None,
    combine: Callable[[sparse.csr_array], tuple[np.ndarray, np.ndarray, SumEnds]],
    *,
    share: bool,
) -> EstimateTable:
    """Return one row per unit: weighted means, or sums without weights.

    Parameters
    ----------
    frame : DataFrame
        The estimate table.
    columns : mapping of str to array
        What makes the units, on its rows: the columns `by`, and the period.
    by : list of str
    weights : ndarray of float, shape (M,), or None
    combine : callable
        Weights of sums, one per row, to their estimates, mean squared errors and intervals: `Result.sums`.
    share : bool
        Whether the intervals end at 0 and 1.
    """
    keys = pd.DataFrame({name: labels(pd.Series(values)) for name, values in columns.items()})
    units = keys.drop_duplicates().sort_values(list(columns), kind="stable").reset_index(drop=True)
    place = {key: k for k, key in enumerate(units.itertuples(index=False, name=None))}
    codes = np.array([place[key] for key in keys.itertuples(index=False, name=None)])
    values = np.ones(len(frame)) if weights is None else weights / np.bincount(codes, weights)[codes]
    shape = (len(units), len(frame))
    sums = sparse.csr_array((values, (codes, np.arange(len(frame)))), shape=shape)
    ones = sparse.csr_array((np.ones(len(frame)), (codes, np.arange(len(frame)))), shape=shape)
    estimate, mse, (low, high, interval, joint) = combine(sums)
    if share:
        low, high = np.clip(low, 0.0, 1.0), np.clip(high, 0.0, 1.0)
    n = to_numbers(frame, "n")
    counts = ones @ np.where(np.isfinite(n), n, 0.0)
    known = ones @ np.isfinite(n).astype(float) == ones.sum(axis=1)
    first = {
        name: frame[name].iloc[0] for name in ("indicator", "definition", "unit", "model", "run", "method")
    }
    method = f"{first.pop('method')}, aggregated"
    table = units.assign(
        **first,
        method=method,
        geo=units[by[0]],
        domain=joined_labels(units, by),
        n=pd.array(np.where(known, counts, np.nan)).astype("Int64"),
        estimate=estimate,
        mse=mse,
        ci_low=low,
        ci_high=high,
        interval=interval,
        in_sample=(ones @ frame["in_sample"].to_numpy(dtype=float)) > 0,
        mse_method=[f"{name} matrix" for name in joint],
    )
    return EstimateTable.from_mse(table, tuple(name for name in columns if name != "time"))
