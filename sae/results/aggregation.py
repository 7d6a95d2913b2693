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
from sae.tables import EstimateTable, labels, to_numbers
from sae.tables.mixing import joined_marks

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
        return to_numbers(column(weights).to_frame(weights), weights, names=frame["domain"])
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
    shares: np.ndarray,
) -> EstimateTable:
    """Return one row per unit: weighted means, or sums without weights.

    Parameters
    ----------
    frame : DataFrame
        The estimate table.
    columns : mapping of str to array
        What makes the units, on its rows: the columns `by`, and indicator and period where there are several.
    by : list of str
    weights : ndarray of float, shape (M,), or None
    combine : callable
        Weights of sums, one per row, to their estimates, mean squared errors and intervals: `Result.sums`.
    shares : ndarray of bool, shape (M,)
        Rows whose intervals end at 0 and 1.
    """
    units, codes = _units({name: labels(pd.Series(values)) for name, values in columns.items()})
    size = len(units[by[0]])
    values = np.ones(len(frame)) if weights is None else weights / np.bincount(codes, weights)[codes]
    shape, rows = (size, len(frame)), np.arange(len(frame))
    estimate, mse, (low, high, interval, joint) = combine(
        sparse.csr_array((values, (codes, rows)), shape=shape)
    )
    _, top = np.unique(codes, return_index=True)
    low, high = (np.where(shares[top], np.clip(ends, 0.0, 1.0), ends) for ends in (low, high))
    n = to_numbers(frame, "n")
    known = np.isfinite(n)
    counts = np.bincount(codes, np.where(known, n, 0.0), size)
    counts[np.bincount(codes[~known], minlength=size) > 0] = np.nan
    sampled = frame["in_sample"].to_numpy(dtype=bool)
    first: dict[str, Any] = {
        name: frame[name].iloc[top].to_numpy(dtype=object)
        for name in ("indicator", "definition", "unit", "model", "run", "method")
    }
    first["method"] = first["method"] + ", aggregated"
    if frame["definition"].nunique(dropna=False) > 1:
        first["definition"] = joined_marks(frame["definition"], codes).to_numpy(dtype=object)
    text = units[by[0]]
    for name in by[1:]:
        text = text + " / " + units[name]
    table = {
        **units,
        **first,
        "geo": units[by[0]],
        "domain": text,
        "n": counts,
        "estimate": estimate,
        "mse": mse,
        "ci_low": low,
        "ci_high": high,
        "interval": interval,
        "in_sample": np.bincount(codes[sampled], minlength=size) > 0,
        "mse_method": joint + " matrix",
    }
    return EstimateTable.from_mse(table, tuple(name for name in columns if name not in ("indicator", "time")))


def _units(keys: Mapping[str, pd.Series]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the combinations of labels that occur, in sorted order, and the place of every row's."""
    texts = {name: column.to_numpy(dtype=object) for name, column in keys.items()}
    places = np.zeros(len(next(iter(texts.values()))), dtype=np.intp)
    for text in texts.values():
        codes, levels = pd.factorize(text, sort=True)
        _, first, places = np.unique(places * len(levels) + codes, return_index=True, return_inverse=True)
    return {name: text[first] for name, text in texts.items()}, places
