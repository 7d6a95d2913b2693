"""Who lives where, as it came and as it might have been: what indices of segregation are computed from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, name_some
from sae.tables import labels

__all__ = ["Block", "Cells", "Living", "check_cells", "period_labels"]


class Living(NamedTuple):
    """Members of a group, the others and everyone in parts; leading axes are replicates."""

    group: np.ndarray
    other: np.ndarray
    everyone: np.ndarray


class Block(NamedTuple):
    """Parts of some areas of one group.

    Attributes
    ----------
    place : ndarray of int
        The rows of `Cells.rows` that the codes stand for.
    codes : ndarray of int, shape (n_parts,)
    plain : Living
        As it came.
    drawn : Living
        Replicates, or joint draws of the truth.
    even : Living or None
        Replicates of an even spread; none where `drawn` are truths.
    """

    place: np.ndarray
    codes: np.ndarray
    plain: Living
    drawn: Living
    even: Living | None


@dataclass(frozen=True, eq=False)
class Cells:
    """Areas, periods and groups with their parts.

    Attributes
    ----------
    rows : DataFrame
        One row each: domain, time (where there are periods), group, against.
    sizes : DataFrame
        Its parts, members and others.
    blocks : iterator of Block
    notes : tuple of str
    """

    rows: pd.DataFrame
    sizes: pd.DataFrame
    blocks: Iterator[Block]
    notes: tuple[str, ...]


def period_labels(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the column ``time`` as labels, or no column where there is none."""
    nothing = pd.DataFrame(index=pd.RangeIndex(len(frame)))
    if "time" not in frame:
        return nothing
    time = labels(frame["time"], keep_missing=True).fillna("").to_numpy(dtype=object)
    if (time == "").all():
        return nothing
    lost = time == ""
    if lost.any():
        raise SaeInputError(
            f"{int(lost.sum())} of {len(time)} rows have no period in time.", hint="Give every row one."
        )
    return pd.DataFrame({"time": time})


def check_cells(rows: pd.DataFrame, sizes: pd.DataFrame) -> None:
    """Refuse areas of which no index can be made."""
    names = rows["domain"] + (", " + rows["time"] if "time" in rows else "")
    single = names[sizes["parts"].to_numpy() == 1].unique()
    if len(single):
        raise SaeInputError(
            f"{len(single)} of {names.nunique()} areas have a single part: {name_some(single)}.",
            hint="An index over one part says nothing; take finer parts, or take these areas out.",
            areas=list(single),
        )
    for column, of in (("members", "group"), ("others", "against")):
        nobody = sizes[column].eq(0).to_numpy()
        if nobody.any():
            shown = name_some(names[nobody] + ": " + rows[of][nobody])
            raise SaeInputError(
                f"{int(nobody.sum())} of {len(names)} areas have no member of a side: {shown}.",
                hint="There is no segregation without members; take these areas or groups out.",
                areas=list(names[nobody].unique()),
            )
