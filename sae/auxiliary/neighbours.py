"""Which areas touch which: edge lists read, checked by name, islands reported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sae.auxiliary.areas import code_texts, open_areas
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.tables import labels, pandas_frame, require

__all__ = ["Neighbours", "neighbours", "read_neighbours"]


@dataclass(frozen=True, eq=False)
class Neighbours:
    """A map as an undirected graph.

    Attributes
    ----------
    areas : tuple of str
        All areas, in their given order; islands are among them.
    pairs : ndarray of int, shape (n_pairs, 2)
        Positions in `areas` of each neighbouring pair, once, smaller position first, sorted.
    """

    areas: tuple[str, ...]
    pairs: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """Number of neighbours of each area, shape (n_areas,)."""
        return np.bincount(self.pairs.ravel(), minlength=len(self.areas))

    @property
    def islands(self) -> tuple[str, ...]:
        """Areas without a neighbour."""
        return tuple(self.areas[i] for i in np.flatnonzero(self.counts == 0))

    def __repr__(self) -> str:
        islands = (
            f"; {len(self.islands)} islands: {name_some(self.islands)}" if self.islands else "; no island"
        )
        return f"Neighbours: {len(self.areas)} areas, {len(self.pairs)} pairs{islands}"


def neighbours(edges: pd.DataFrame, areas: Iterable[object] | None = None) -> Neighbours:
    """Check an edge list and return the map it describes.

    Parameters
    ----------
    edges : DataFrame
        The first two columns hold the codes of two neighbouring areas. Either each pair stands once or
        every pair stands in both directions.
    areas : iterable, optional
        Codes of all areas, in the wanted order; those in no pair are islands. Without it: the areas of the
        edge list, sorted, and no island can be known.

    Raises
    ------
    SaeInputError
        If a code is missing or not among `areas`, an area neighbours itself, a pair is repeated, or some
        pairs but not all stand in both directions.

    Examples
    --------
    >>> sae.auxiliary.neighbours(pd.DataFrame({"a": ["N", "S"], "b": ["S", "W"]}), areas=["N", "S", "W", "I"])
    Neighbours: 4 areas, 2 pairs; 1 islands: I
    """
    edges = pandas_frame(edges, "The edges")
    if edges.shape[1] < 2:
        raise SaeInputError(
            "The edge list has fewer than two columns.", hint="Expected the codes of two neighbours."
        )
    ends = edges.iloc[:, :2]
    if ends.isna().any(axis=None):
        rows = np.flatnonzero(ends.isna().any(axis=1)) + 1
        raise SaeInputError(
            f"A neighbour is missing in {len(rows)} rows: {name_some(rows)}.", hint="Drop these rows."
        )
    a, b = (labels(ends.iloc[:, i]).to_numpy(dtype=object) for i in (0, 1))
    names = tuple(sorted({*a, *b}) if areas is None else labels(list(areas)))
    position = pd.Index(names)
    if not position.is_unique:
        raise SaeInputError(f"areas= repeats {name_some(position[position.duplicated()])}.")
    i, j = position.get_indexer(a), position.get_indexer(b)
    unknown = sorted({*a[i < 0], *b[j < 0]})
    if unknown:
        raise SaeInputError(
            f"{len(unknown)} areas of the edge list are not among the areas: {name_some(unknown)}.",
            hint="Check that both use the same codes (leading zeros, vintage).",
            areas=unknown,
        )
    own = sorted(set(a[i == j]))
    if own:
        raise SaeInputError(f"{len(own)} areas are their own neighbour: {name_some(own)}.", areas=own)
    _check_directions(i, j, names)
    pairs = np.unique(np.column_stack([np.minimum(i, j), np.maximum(i, j)]), axis=0)
    return Neighbours(names, pairs.astype(np.int64).reshape(-1, 2))


def read_neighbours(
    path: str | Path,
    areas: Iterable[object] | None = None,
    *,
    between: Sequence[str] = (),
    encoding: str = "utf-8",
    separator: str | None = None,
    missing: Sequence[str | float] = (),
) -> Neighbours:
    """Read an edge list (a text file or Parquet) and return the map it describes.

    Parameters
    ----------
    path : str or Path
        The file; codes are read as text.
    areas : iterable, optional
        See `neighbours`.
    between : sequence of str
        The two columns that hold the codes; the first two without it.
    encoding, separator, missing
        See `read_areas`.
    """
    file = open_areas(path, encoding=encoding, separator=separator, missing=missing)
    require(file.cells, between, f"{file.name} has", hint="between= names it.")
    if len(between) not in (0, 2):
        raise SaeSpecError(f"between= names {len(between)} columns, not two.")
    ends = file.cells[list(between)] if between else file.cells.iloc[:, :2]
    return neighbours(ends.apply(code_texts), areas)


def _check_directions(i: np.ndarray, j: np.ndarray, names: tuple[str, ...]) -> None:
    """Refuse repeated rows, and lists in which only some of the pairs stand in both directions."""
    keys = i * len(names) + j
    there = np.unique(keys)
    if len(there) < len(keys):
        rows = zip(i.tolist(), j.tolist(), strict=True)
        offenders = [f"{names[a]}–{names[b]}" for (a, b), times in Counter(rows).items() if times > 1]
        raise SaeInputError(f"The edge list repeats {len(offenders)} pairs: {name_some(offenders)}.")
    one_way = [divmod(int(key), len(names)) for key in np.setdiff1d(there, j * len(names) + i)]
    if one_way and len(one_way) < len(there):
        offenders = [f"{names[a]}–{names[b]}" for a, b in one_way]
        raise SaeInputError(
            f"{len(offenders)} pairs stand in one direction only, others in both: {name_some(offenders)}.",
            hint="List each pair once, or every pair in both directions.",
            areas=[names[a] for a, _ in one_way],
        )
