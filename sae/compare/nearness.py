"""Peers: the areas that are most like one in size and structure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sae.calls import answered
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.results import Result
from sae.tables import label_text, labels, to_numbers
from sae.tables.base import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Peers", "peers"]


@dataclass(frozen=True, eq=False, repr=False)
class Peers(Table):
    """The areas nearest to one.

    Attributes
    ----------
    frame : DataFrame
        The area itself, with rank 0 and distance 0, and its peers from the nearest on: `domain`, `rank`,
        `distance`, and each column in standard deviations from the area's own value.
    values : DataFrame
        The columns as they came, on the same rows.
    columns : tuple of str
    areas : int
        Number of areas that were looked at.
    """

    frame: pd.DataFrame
    values: pd.DataFrame
    columns: tuple[str, ...]
    areas: int

    def summary(self) -> str:
        """Return what the peers are near in, in a line."""
        name = self.frame["domain"].iloc[0]
        return (
            f"{len(self.frame) - 1} peers of {name} among {self.areas - 1} areas, nearest in "
            f"{name_some(self.columns)}, each in standard deviations"
        )

    def _heading(self) -> str:
        return self.summary()

    def _shown(self) -> pd.DataFrame:
        return self.frame

    def plot(self, *, title: str = "", source: str = "") -> Figure:
        """Draw how far the peers lie from the area: see `sae.plots.peers`."""
        from sae.plots import peers

        return peers(self.frame, self.columns, title=title, source=source)


@answered
def peers(
    data: Result | pd.DataFrame, area: str, columns: Sequence[str], *, k: int = 10, domain: str = "domain"
) -> Peers:
    """Find the areas that are nearest to one in size and structure.

    The distance is Euclid's between the columns, each divided by its standard deviation over all areas. Sizes
    are best given as logarithms. Of areas at the same distance the one first by name comes first.

    Parameters
    ----------
    data : Result or DataFrame
        One row per area.
    area : str
        Its name.
    columns : sequence of str
        Of the fit's estimates or areas, or of the frame: what the areas are to be alike in.
    k : int
        How many peers.
    domain : str
        Column of a frame with the names.

    Raises
    ------
    SaeSpecError
        If there is no such column, or `k` is no number of peers.
    SaeInputError
        If the area is unknown, an area stands twice, or a value is missing or the same everywhere.

    Examples
    --------
    >>> frame = pd.DataFrame({"domain": list("abcd"), "log_size": [5.0, 5.1, 7.0, 5.4],
    ...                       "young": [0.2, 0.21, 0.2, 0.4]})
    >>> sae.compare.peers(frame, "a", ["log_size", "young"], k=2)["domain"].tolist()
    ['a', 'b', 'd']
    """
    names = [columns] if isinstance(columns, str) else list(columns)
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise SaeSpecError(f"k={k!r} is no number of peers.", hint="Give a whole number, such as 10.")
    if not names:
        raise SaeSpecError("No column is given for the areas to be alike in.")
    frame = _frame(data, names, domain)
    areas = labels(frame["domain"])
    if areas.duplicated().any():
        raise SaeInputError(
            f"{name_some(areas[areas.duplicated()].unique())} stand more than once.",
            hint="Give one row per area: one period, one group.",
        )
    if label_text(area) not in set(areas):
        raise SaeInputError(
            f"There is no area {label_text(area)!r}.", hint=f"There are {name_some(areas, 15)}."
        )
    values = np.column_stack([to_numbers(frame, name, names=areas) for name in names])
    lacking = ~np.isfinite(values)
    if lacking.any():
        bad = lacking.any(axis=1)
        which = name_some(np.array(names)[lacking.any(axis=0)])
        raise SaeInputError(
            f"{int(bad.sum())} of {len(areas)} areas have no {which}: {name_some(areas[bad])}.",
            hint="Leave these areas or these columns out.",
            areas=list(areas[bad]),
        )
    spread = values.std(axis=0)
    if not (spread > 0).all():
        raise SaeInputError(
            f"{name_some(np.array(names)[spread == 0])} has the same value everywhere.",
            hint="Areas cannot be near or far in it; leave it out.",
        )
    own = int(np.flatnonzero(areas.eq(label_text(area)))[0])
    apart = (values - values[own]) / spread
    distance = np.sqrt((apart**2).sum(axis=1))
    order = np.lexsort((areas.to_numpy(dtype=str), distance))
    order = np.concatenate([[own], order[order != own][:k]])
    out = pd.DataFrame({"domain": areas.to_numpy()[order], "rank": np.arange(len(order))})
    out["distance"] = distance[order]
    for place, name in enumerate(names):
        out[name] = apart[order, place]
    raw = pd.DataFrame(values[order], columns=names).assign(domain=out["domain"])
    return Peers(out, raw[["domain", *names]], tuple(names), len(areas))


def _frame(data: Result | pd.DataFrame, names: Sequence[str], domain: str) -> pd.DataFrame:
    if isinstance(data, Result):
        return pd.DataFrame(
            {"domain": data.column("domain"), **{name: data.column(name).to_numpy() for name in names}}
        )
    lost = [name for name in (domain, *names) if name not in data]
    if lost:
        raise SaeSpecError(
            f"The frame has no column {name_some(lost)}.", hint=f"It has {name_some(data, 20)}."
        )
    return data.reset_index(drop=True).assign(domain=data[domain].to_numpy())
