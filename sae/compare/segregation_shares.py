"""Shares of groups in parts: the truths that a fit draws, or the noise of direct estimates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from sae.compare.differing import Data, Weights, column_of
from sae.compare.joint import Figures, figures_of
from sae.compare.rows import partner
from sae.compare.segregation_cells import Block, Cells, Living, check_cells, period_labels
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.results import Result
from sae.results.aggregation import row_weights
from sae.tables import EstimateTable, joined_labels, label_text, labels

__all__ = ["share_cells"]

_REST = "all others"


def share_cells(
    data: Data,
    population: Weights,
    area: str | Mapping[Any, Any] | pd.Series,
    group: str | None,
    domain: str,
    against: str | None,
    seed: int,
    draws: int,
    *,
    estimate: str,
    se: str,
) -> Cells:
    """Return the shares of each area's parts as numbers of people, with their replicates or draws."""
    also = [name for name in (area, group) if isinstance(name, str)] if isinstance(data, pd.DataFrame) else []
    figures = figures_of(data, domain=domain, estimate=estimate, se=se, also=also)
    frame = figures.frame
    column = data.column if isinstance(data, Result) else column_of(frame)
    if group is None and "indicator" in figures.parts:
        group = "indicator"
    if group is not None and group not in figures.parts:
        raise SaeSpecError(f"The rows are not by {group!r}.", hint=f"They are by {name_some(figures.parts)}.")
    keys = pd.concat([_areas(area, column, frame), period_labels(frame)], axis=1)
    own = labels(frame[group] if group else _name(frame)).to_numpy(dtype=object)
    people = _people(population, column, figures, group)
    _check_shares(figures)
    rest = [name for name in figures.parts if name != group]
    other = np.full(len(own), -1)
    if against is not None:
        mask = own == label_text(against)
        if not mask.any() or group is None:
            raise SaeInputError(
                f"No row is of the group {label_text(against)!r}.",
                hint=f"There are {name_some(pd.unique(own), 15)}, by {group or 'no column: give group='}.",
            )
        other = partner(figures, mask, rest)
    chosen = np.flatnonzero(own != label_text(against)) if against is not None else np.arange(len(own))
    if (other[chosen] < 0).any() and against is not None:
        names = joined_labels(frame.iloc[chosen[other[chosen] < 0]], rest)
        raise SaeInputError(f"{len(names)} parts lack the group {against!r}: {name_some(names)}.")
    listed = keys.assign(group=own, against=label_text(against) if against is not None else _REST)
    listed = listed.iloc[chosen].reset_index(drop=True)
    codes = listed.groupby(list(listed), sort=False).ngroup().to_numpy()
    rows = listed.drop_duplicates().reset_index(drop=True)
    living = _living(figures.estimate[None, :], people, chosen, other)
    sizes = {"parts": np.bincount(codes)}
    for name, values in zip(("members", "others"), living[:2], strict=True):
        sizes[name] = np.bincount(codes, values[0], len(rows))
    check_cells(rows, pd.DataFrame(sizes))
    sampled = _is_sampled(data)
    if sampled:
        noise = figures.errors(draws, seed)
        even = _even(figures, people, chosen, codes, len(rows), other) + noise
        truths = figures.estimate + noise
    else:
        even, truths = None, figures.truths(draws, seed)
    outside = float(((truths < 0) | (truths > 1)).mean())
    notes = list(figures.notes)
    if outside:
        notes.append(f"{outside:.1%} of the drawn shares lie below 0 or above 1 and count as 0 or 1")
    blocks = [
        Block(
            np.arange(len(rows)),
            codes,
            Living(*(values[0] for values in living)),
            _living(np.clip(truths, 0.0, 1.0), people, chosen, other),
            None if even is None else _living(np.clip(even, 0.0, 1.0), people, chosen, other),
        )
    ]
    return Cells(rows, pd.DataFrame(sizes), iter(blocks), tuple(notes))


def _name(frame: pd.DataFrame) -> pd.Series:
    """Return the name of the one group: its indicator, where there is one."""
    if "indicator" in frame and labels(frame["indicator"], keep_missing=True).fillna("").ne("").all():
        return frame["indicator"]
    return pd.Series("group", index=frame.index)


def _areas(area: Any, column: Any, frame: pd.DataFrame) -> pd.Series:
    if isinstance(area, str):
        return labels(column(area)).reset_index(drop=True).rename("domain")
    given = {label_text(part): label_text(name) for part, name in dict(area).items()}
    parts = labels(frame["domain"])
    lost = [name for name in parts.unique() if name not in given]
    if lost:
        raise SaeInputError(
            f"No area for {len(lost)} of {parts.nunique()} parts: {name_some(lost)}.",
            hint="Give the area of each part, by its name.",
            areas=lost,
        )
    return parts.map(given).reset_index(drop=True).rename("domain")


def _people(population: Weights, column: Any, figures: Figures, group: str | None) -> np.ndarray:
    """Return how many live in the part of each row; groups of a part have the same."""
    frame = figures.frame
    people = row_weights(population, column, frame)
    bad = ~((people >= 0) & np.isfinite(people))
    if bad.any():
        names = labels(frame["domain"][bad])
        raise SaeInputError(
            f"{int(bad.sum())} of {len(people)} rows have no population, or a negative one: "
            f"{name_some(names)}.",
            hint="Give how many live in each part.",
            areas=list(names),
        )
    if group is not None:
        rest = [name for name in figures.parts if name != group]
        apart = pd.Series(people).groupby(joined_labels(frame, rest).to_numpy(), sort=False).nunique()
        unlike = apart[apart > 1].index
        if len(unlike):
            raise SaeInputError(
                f"The population differs between groups in {len(unlike)} parts: {name_some(unlike)}.",
                hint="population= is everyone who lives in the part, the same on the rows of all its groups.",
                areas=list(unlike),
            )
    return people


def _check_shares(figures: Figures) -> None:
    frame, values = figures.frame, figures.estimate
    units = labels(frame["unit"], keep_missing=True).dropna() if "unit" in frame else pd.Series(dtype=str)
    other = [unit for unit in units.unique() if unit not in ("", "share")]
    bad = (values < 0) | (values > 1)
    if other or bad.any():
        what = f"are in {name_some(other)}" if other else "lie outside 0 to 1"
        names = labels(frame["domain"][bad])
        raise SaeInputError(
            f"The estimates {what}{': ' + name_some(names) if len(names) else ''}: they are no shares.",
            hint="Segregation takes the group's share of everyone in each part, as a number from 0 to 1.",
            areas=list(names),
        )


def _is_sampled(data: Data) -> bool:
    """Whether estimates scatter around the truth; the truth scatters around what a model predicts."""
    if isinstance(data, EstimateTable):
        return bool(data.frame["method"].eq("direct").fillna(False).all())
    return not isinstance(data, Result)


def _living(shares: np.ndarray, people: np.ndarray, chosen: np.ndarray, other: np.ndarray) -> Living:
    """Return members, others and everyone of the chosen rows."""
    numbers = shares * people
    own = numbers[:, chosen]
    with_partner = other[chosen] >= 0
    rest = np.where(with_partner, numbers[:, other[chosen]], people[chosen] - own)
    return Living(own, rest, np.broadcast_to(people[chosen], own.shape))


def _even(
    figures: Figures, people: np.ndarray, chosen: np.ndarray, codes: np.ndarray, size: int, other: np.ndarray
) -> np.ndarray:
    """Return shares that are the same in all parts of an area."""
    flat = figures.estimate.copy()
    for rows in {True: (chosen, other[chosen]), False: (chosen,)}[bool((other[chosen] >= 0).any())]:
        mean = np.bincount(codes, people[rows] * figures.estimate[rows], size)
        flat[rows] = (mean / np.bincount(codes, people[rows], size))[codes]
    return flat
