"""Known figures by group, and the table of estimates that meet them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sae.errors import SaeSpecError, name_some
from sae.quality import Benchmark
from sae.quality.constraints import figure, figures_by_label
from sae.tables import EstimateTable, cv_of, labels

__all__ = ["benchmarked_table", "check_kind", "column_names", "refuse_mixed", "target_groups"]

_NO_SUMS = ("share", "ratio")  # units of what cannot be added


def target_groups(
    frames: Sequence[pd.DataFrame],
    column: Callable[[str], pd.Series],
    within: Any,
    targets: Any,
    what: str = "target",
) -> tuple[Any, dict[Any, Any]]:
    """Return the labels of the groups (one per row, or a column by name) and the figures by label.

    Parameters
    ----------
    frames : sequence of DataFrame
        The estimates and the areas, for what a message proposes.
    column : callable
        A column of the estimates or of the areas, by name.
    within, targets
        As of `Result.benchmark`.
    what : str
        What the figures are, for messages: "target variance".
    """
    if not isinstance(targets, Mapping | pd.Series):
        return _one_figure(len(frames[0]), column, within, targets, what)
    nested = [isinstance(figures, Mapping | pd.Series) for figures in dict(targets).values()]
    if any(nested):
        if within is not None:
            raise SaeSpecError(
                f"The {what}s name their columns themselves; within= has no meaning with them.",
                hint='Call benchmark({"country": {...}, "birth": {...}}, weights=...).',
            )
        if not all(nested):
            plain = [name for name, many in zip(targets.keys(), nested, strict=True) if not many]
            raise SaeSpecError(
                f"Some {what}s are figures by label, those of {name_some(plain)} are not.",
                hint='Give each column its figures: {"country": {"AT": ...}, "birth": {"foreign": ...}}.',
            )
        columns = {name: column(name) for name in dict(targets)}
        return columns, {name: dict(figures) for name, figures in dict(targets).items()}
    given = figures_by_label(targets, what)
    if within is None:
        near = [
            f'within="{name}"'
            for frame in frames
            for name in frame
            if pd.api.types.infer_dtype(frame[name]) in ("string", "categorical")
            and set(given) <= set(labels(frame[name], keep_missing=True).dropna())
        ]
        advice = f"Did you mean {' or '.join(dict.fromkeys(near))}? " if near else ""
        raise SaeSpecError(
            f"The {what}s name {name_some(given)}, but within= does not name the column of their groups.",
            hint=f'{advice}Call benchmark(targets, within="country", ...); one figure for all rows is a '
            "number: benchmark(0.7, ...).",
        )
    return _groups(column, within), dict(given)


def _one_figure(
    size: int, column: Callable[[str], pd.Series], within: Any, target: Any, what: str
) -> tuple[Any, dict[Any, float]]:
    if target is None or isinstance(target, str) or not np.isscalar(target):
        raise SaeSpecError(
            f"A benchmark needs its {what}s, not {str(target)[:60]!r}.",
            hint='Give one number for all rows, or figures by label: benchmark({"AT": 0.58}, '
            'within="country", weights="population").',
        )
    value = figure(target, f"The {what}")
    if within is None:
        return ["all rows"] * size, {"all rows": value}
    groups = _groups(column, within)
    names = list(groups.dropna().unique())
    if len(names) > 1:
        raise SaeSpecError(
            f"There is one {what}, but within= makes {len(names)} groups: {name_some(names)}.",
            hint=f"Give a {what} for each of them by its label, or leave within= out.",
        )
    return groups, dict.fromkeys(names, value)


def _groups(column: Callable[[str], pd.Series], within: Any) -> pd.Series:
    """Return the label of the group of every row, missing where a part of it is."""
    names = column_names(within, "within")
    parts = [labels(column(name), keep_missing=True).reset_index(drop=True) for name in names]
    text = parts[0]
    for part in parts[1:]:
        text = text + " / " + part
    return text


def column_names(given: Any, option: str) -> list[str]:
    """Return the names of columns that an option holds: one, or several, each once."""
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list | tuple) or not names or not all(isinstance(name, str) for name in names):
        raise SaeSpecError(
            f"{option} = {str(given)[:60]!r} names no column.",
            hint=f'Give a name, or a list: {option}="country".',
        )
    return list(dict.fromkeys(names))


def refuse_mixed(groups: Any, targets: Mapping[Any, Any], frame: pd.DataFrame, again: Sequence[str]) -> None:
    """Refuse a target over different indicators, or over rows that count the same persons again.

    Parameters
    ----------
    groups, targets
        As `target_groups` returns them.
    frame : DataFrame
        The estimate table.
    again : sequence of str
        Its columns whose rows count the same persons again.
    """
    apart = [name for name in ("indicator", *again) if frame[name].nunique() > 1]
    several = isinstance(groups, Mapping)
    for column, members in groups.items() if several and apart else [("", groups)] if apart else []:
        given = figures_by_label(targets[column] if several else targets, "target")
        texts = labels(pd.Series(np.asarray(members, dtype=object)), keep_missing=True)
        goal = texts.isin(list(given)).to_numpy()
        for name in apart:
            values = frame.loc[goal, name].reset_index(drop=True)
            mixed = values.groupby(texts[goal].to_numpy()).nunique() > 1
            if not mixed.any():
                continue
            which = name_some(values.unique())
            if name == "indicator":
                raise SaeSpecError(
                    f"A target over different indicators ({which}) has no meaning.",
                    hint=f"Give each its own: benchmark({{{values.iloc[0]!r}: ..., ...}}, "
                    'within="indicator", weights=...); within=["indicator", "country"] crosses them.',
                )
            raise SaeSpecError(
                f"A target over different values of {name} ({which}) counts the same persons again.",
                hint=f"Name {name} in within=, and give targets of one of its values.",
            )


def check_kind(frame: pd.DataFrame, share: bool, *, weighted: bool, total: bool) -> None:
    """Refuse the sum of what does not add up, and the mean of what does.

    Parameters
    ----------
    frame : DataFrame
        The estimate table.
    share : bool
        Whether the estimates are shares.
    weighted : bool
        Whether the benchmark has weights, and so is about means.
    total : bool
        Whether the user says that the estimates are totals.
    """
    if not isinstance(total, bool):
        raise SaeSpecError(f"total = {total!r} is no truth value.", hint="Write total=True, or leave it out.")
    totals = any(text.startswith("total of ") for text in frame["definition"].unique())
    units = sorted(set(frame["unit"].unique()) & set(_NO_SUMS)) or (["share"] if share else [])
    if weighted and (total or totals):
        raise SaeSpecError(
            "Totals add up to their target; weights, which make a mean, have no meaning with them.",
            hint="Leave weights= out." if totals else "Leave out total=True or weights=.",
        )
    if not weighted and units:
        raise SaeSpecError(
            f"{units[0].capitalize()}s do not add up; a benchmark of {units[0]}s needs weights.",
            hint='Name the column that counts whom a rate is about: benchmark(..., weights="population").',
        )
    if not (weighted or total or totals):
        raise SaeSpecError(
            "The benchmark has no weights, and nothing says that its target is a total.",
            hint='A mean or rate needs weights: benchmark(..., weights="population"); estimates that add up '
            "to the target need benchmark(..., total=True).",
        )


def benchmarked_table(
    table: EstimateTable, done: Benchmark, before: np.ndarray, mse: np.ndarray, shares: np.ndarray
) -> EstimateTable:
    """Put the benchmarked estimates into the table; interval ends keep their standard errors.

    The mean squared errors before and after are those of the joint error: where the intervals come from a
    posterior, its own. The rows of groups without a target stay as they are.
    """
    frame, touched = table.frame, done.constraints.touched
    old, new = frame["estimate"].to_numpy(), done.estimate
    stretch = np.sqrt(mse / before)
    mse = np.where(touched, mse, frame["mse"].to_numpy())
    low = new - (old - frame["ci_low"].to_numpy()) * stretch
    high = new + (frame["ci_high"].to_numpy() - old) * stretch
    low, high = (np.where(shares, np.clip(ends, 0.0, 1.0), ends) for ends in (low, high))
    se = np.where(touched, np.sqrt(mse), frame["se"].to_numpy())
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.where(old != 0, new / old, np.nan) * frame["benchmark_factor"].fillna(1.0).to_numpy()
    return table.assign(
        estimate=new,
        mse=mse,
        se=se,
        cv=cv_of(se, new),
        ci_low=np.where(touched, low, frame["ci_low"].to_numpy()),
        ci_high=np.where(touched, high, frame["ci_high"].to_numpy()),
        benchmark_factor=np.where(touched, factor, frame["benchmark_factor"].to_numpy()),
        interval=_marked(frame["interval"], touched),
        mse_method=_marked(frame["mse_method"], touched),
        reliability="",
        flag="e",
        publishable=pd.arrays.BooleanArray(np.zeros_like(touched), np.ones_like(touched)),
        reason="",
        policy="",
    )


def _marked(texts: pd.Series, touched: np.ndarray) -> pd.Series:
    """Return texts that say what was benchmarked."""
    marked = texts + ", benchmarked"
    return marked if touched.all() else marked.where(touched, texts)
