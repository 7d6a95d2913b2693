"""Counts of groups in parts, and what they might have been: bootstrap and even spread."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sae.compare.segregation_cells import Block, Cells, Living, check_cells, period_labels
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.numerics.random.streams import generator
from sae.tables import joined_labels, label_text, labels, require, to_numbers

__all__ = ["count_cells"]

_REST = "all others"


def count_cells(
    frame: pd.DataFrame,
    counts: str | Sequence[str],
    area: str | Mapping[Any, Any] | pd.Series,
    group: str | None,
    domain: str,
    against: str | None,
    seed: int,
    draws: int,
) -> Cells:
    """Return the counts of each area with their replicates, an area at a time."""
    if not isinstance(area, str):
        raise SaeSpecError("Of a frame of counts area= is a column.", hint="Put the areas into a column.")
    rows, members, groups = _table(frame, counts, area, group, domain)
    pairs = _pairs(groups, against)
    keys = [name for name in ("area", "time") if name in rows]
    areas = rows.drop_duplicates(keys)[keys].reset_index(drop=True)
    codes = rows.groupby(keys, sort=False).ngroup().to_numpy()
    listed = pd.concat([areas] * len(pairs), ignore_index=True).rename(columns={"area": "domain"})
    listed["group"] = np.repeat([groups[one] for one, _ in pairs], len(areas))
    listed["against"] = np.repeat([_REST if o is None else groups[o] for _, o in pairs], len(areas))
    total = np.column_stack([np.bincount(codes, part, len(areas)) for part in members.T])
    own = np.concatenate([total[:, one] for one, _ in pairs])
    others = np.concatenate([total.sum(axis=1) - total[:, k] if o is None else total[:, o] for k, o in pairs])
    sizes = pd.DataFrame({"parts": np.tile(np.bincount(codes), len(pairs)), "members": own, "others": others})
    check_cells(listed, sizes)
    order = np.argsort(codes, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(codes))[:-1])
    names = joined_labels(areas, keys).tolist()

    def blocks() -> Iterator[Block]:
        for place, (name, some) in enumerate(zip(names, parts, strict=True)):
            some = some[np.argsort(rows["part"].to_numpy(dtype=str)[some], kind="stable")]
            yield from _area(members[some], pairs, place, len(names), name, seed, draws)

    return Cells(listed, sizes, blocks(), ())


def _pairs(groups: Sequence[str], against: str | None) -> list[tuple[int, int | None]]:
    """Return each group and what it is set against, by number; of two groups the others are the other."""
    if against is None:
        return [(k, None if len(groups) > 2 else 1 - k) for k in range(len(groups))]
    if label_text(against) not in groups:
        raise SaeInputError(
            f"There is no group {label_text(against)!r}.", hint=f"There are {name_some(groups, 15)}."
        )
    other = list(groups).index(label_text(against))
    return [(k, other) for k in range(len(groups)) if k != other]


def _table(
    frame: pd.DataFrame, counts: str | Sequence[str], area: str, group: str | None, domain: str
) -> tuple[pd.DataFrame, np.ndarray, list[str]]:
    """Return area, time and part of each row, the counts by group, and the groups."""
    columns = [counts] if isinstance(counts, str) else list(counts)
    if (len(columns) == 1) != (group is not None):
        raise SaeSpecError(
            f"counts= names {len(columns)} column(s){' with' if group else ' without'} group=.",
            hint="Give one column per group, or one column of counts and group= with the groups.",
        )
    require(frame, [area, domain, *columns, *([group] if group else [])], "The counts have")
    frame = frame.reset_index(drop=True)
    rows = pd.concat([labels(frame[area]).rename("area"), period_labels(frame)], axis=1)
    rows["part"] = labels(frame[domain]).to_numpy(dtype=object)
    keys = [str(name) for name in rows]
    names = joined_labels(rows, keys).to_numpy()
    values = np.column_stack([_whole(frame, column, names) for column in columns])
    if group:
        keys.append(group)
        rows[group] = labels(frame[group]).to_numpy(dtype=object)
    twice = rows.duplicated(keys).to_numpy()
    if twice.any():
        raise SaeInputError(
            f"{int(twice.sum())} rows stand more than once: {name_some(names[twice])}.",
            hint=f"Give one row per part{' and group' if group else ''}: sexes and ages added up.",
            areas=list(names[twice]),
        )
    if not group:
        return rows, values, columns
    groups = rows[group].unique().tolist()
    if len(groups) < 2:
        raise SaeInputError(f"{group} holds one group: {groups[0]}.", hint="Give all that make up everyone.")
    wide = rows.assign(_count=values[:, 0]).pivot(index=keys[:-1], columns=group, values="_count")[groups]
    lost = wide.isna().any(axis=1).to_numpy()
    if lost.any():
        shown = name_some(joined_labels(wide[lost].reset_index(), keys[:-1]))
        raise SaeInputError(
            f"{int(lost.sum())} of {len(wide)} parts lack a group: {shown}.",
            hint="Give a count of 0 where there is no one; what is confidential is not 0.",
        )
    first = rows.drop_duplicates(keys[:-1])[keys[:-1]].reset_index(drop=True)  # the order they came in
    return first, wide.loc[pd.MultiIndex.from_frame(first)].to_numpy(), groups


def _whole(frame: pd.DataFrame, column: str, names: np.ndarray) -> np.ndarray:
    values = to_numbers(frame, column, names=names, what="The counts have")
    bad = ~(np.isfinite(values) & (values >= 0) & (values == np.round(values)))
    if bad.any():
        raise SaeInputError(
            f"{int(bad.sum())} of {len(values)} counts of {column} are missing, negative or not whole: "
            f"{name_some(names[bad])}.",
            hint="A part without anybody counts 0. sae.indicators.segregation takes counts that are not "
            "whole, and gives no error.",
            areas=list(names[bad]),
            column=column,
        )
    return values


def _area(
    members: np.ndarray,
    pairs: Sequence[tuple[int, int | None]],
    place: int,
    areas: int,
    name: str,
    seed: int,
    draws: int,
) -> Iterator[Block]:
    """Return the blocks of one area: all groups share its replicates."""
    codes = np.zeros(len(members), dtype=int)
    everyone, total = members.sum(axis=1), members.sum(axis=0)
    drawn = np.stack(
        [
            generator(seed, "segregation, members", (name, k)).multinomial(
                int(total[k]), members[:, k] / max(total[k], 1.0), draws
            )
            for k in range(members.shape[1])
        ],
        axis=-1,
    ).astype(float)
    rest = drawn.sum(axis=-1)
    for number, (one, other) in enumerate(pairs):
        two = everyone if other is None else members[:, one] + members[:, other]
        spread = generator(seed, "segregation, even", (name, number)).multivariate_hypergeometric(
            two.astype(np.int64), int(total[one]), draws, method="marginals"
        )
        yield Block(
            np.array([place + number * areas]),
            codes,
            Living(members[:, one], two - members[:, one], everyone),
            Living(
                drawn[..., one],
                (rest if other is None else drawn[..., [one, other]].sum(-1)) - drawn[..., one],
                rest,
            ),
            Living(spread.astype(float), two - spread, np.broadcast_to(everyone, spread.shape)),
        )
