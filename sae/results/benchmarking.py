"""Known figures by group, and the table of estimates that meet them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from sae.errors import SaeSpecError
from sae.quality import Benchmark
from sae.tables import EstimateTable, cv_of

__all__ = ["benchmarked_table", "target_groups"]


def target_groups(
    size: int, column: Callable[[str], pd.Series], within: Any, targets: Any
) -> tuple[Any, dict[Any, Any]]:
    """Return the labels of the groups (a list, or one list per column) and the figures by label.

    Parameters
    ----------
    size : int
        Number of rows.
    column : callable
        A column of the estimates or of the areas, by name.
    within, targets
        As of `Result.benchmark`.
    """
    many = isinstance(targets, Mapping | pd.Series)
    nested = many and all(isinstance(figures, Mapping | pd.Series) for figures in dict(targets).values())
    if nested and len(targets):
        if within is not None:
            raise SaeSpecError(
                "The targets name their columns themselves; within= has no meaning with them.",
                hint='Call benchmark({"country": {...}, "birth": {...}}, weights=...).',
            )
        columns = {name: column(name).astype("object").tolist() for name in dict(targets)}
        return columns, {name: dict(figures) for name, figures in dict(targets).items()}
    if within is None:
        goals = dict(targets) if many else {"all": float(targets)}
        if len(goals) != 1:
            raise SaeSpecError(
                f"There are {len(goals)} targets, but within= does not name the column of their groups.",
                hint='Call benchmark(targets, within="country", ...).',
            )
        return [next(iter(goals))] * size, goals
    names = [within] if isinstance(within, str) else list(within)
    labels = [column(name).astype("object").tolist() for name in names]
    groups = labels[0] if len(labels) == 1 else list(zip(*labels, strict=True))
    return groups, dict(targets) if many else dict.fromkeys(groups, float(targets))


def benchmarked_table(table: EstimateTable, done: Benchmark, mse: np.ndarray, share: bool) -> EstimateTable:
    """Put the benchmarked estimates into the table; interval ends keep their standard errors."""
    frame = table.frame
    old, new = frame["estimate"].to_numpy(), done.estimate
    stretch = np.sqrt(mse / frame["mse"].to_numpy())
    low = new - (old - frame["ci_low"].to_numpy()) * stretch
    high = new + (frame["ci_high"].to_numpy() - old) * stretch
    if share:
        low, high = np.clip(low, 0.0, 1.0), np.clip(high, 0.0, 1.0)
    se = np.sqrt(mse)
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.where(old != 0, new / old, np.nan) * frame["benchmark_factor"].fillna(1.0).to_numpy()
    return table.assign(
        estimate=new,
        mse=mse,
        se=se,
        cv=cv_of(se, new),
        ci_low=low,
        ci_high=high,
        benchmark_factor=factor,
        interval=frame["interval"] + ", benchmarked",
        mse_method=frame["mse_method"] + ", benchmarked",
        reliability="",
        flag="e",
        publishable=pd.NA,
        reason="",
        policy="",
    )
