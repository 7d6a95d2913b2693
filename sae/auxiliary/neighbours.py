"""Which areas touch which: edge lists, matrices and polygons, checked by name, islands reported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sae.auxiliary.areas import code_texts, open_areas
from sae.auxiliary.polygons import bordering_pairs, read_shapes
from sae.calls import answered
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.tables import labels, pandas_frame, require

__all__ = ["Neighbours", "is_square", "neighbours", "read_neighbours"]


@dataclass(frozen=True, eq=False)
class Neighbours:
    """A map as an undirected graph.

    Attributes
    ----------
    areas : tuple of str
        All areas, in their given order; islands are among them.
    pairs : ndarray of int, shape (n_pairs, 2)
        Positions in `areas` of each neighbouring pair, once, smaller position first, sorted.
    left_out : tuple of str
        Areas that the map had besides.
    """

    areas: tuple[str, ...]
    pairs: np.ndarray
    left_out: tuple[str, ...] = ()

    @property
    def counts(self) -> np.ndarray:
        """Number of neighbours of each area, shape (n_areas,)."""
        return np.bincount(self.pairs.ravel(), minlength=len(self.areas))

    @property
    def islands(self) -> tuple[str, ...]:
        """Areas without a neighbour."""
        return tuple(self.areas[i] for i in np.flatnonzero(self.counts == 0))

    @property
    def parts(self) -> tuple[tuple[str, ...], ...]:
        """The connected parts of the map in the order of their first areas, islands among them."""
        label = _connected(len(self.areas), self.pairs)
        return tuple(
            tuple(self.areas[i] for i in np.flatnonzero(label == part))
            for part in dict.fromkeys(label.tolist())
        )

    def within(self, areas: Iterable[object]) -> Neighbours:
        """Return the map of these areas alone, in their order.

        Raises
        ------
        SaeInputError
            If the map lacks some; they are named.

        Examples
        --------
        >>> square = pd.DataFrame({"a": ["N", "S"], "b": ["S", "W"]})
        >>> sae.auxiliary.neighbours(square).within(["W", "S"])
        Neighbours: 2 areas, 1 pairs; no island; 1 areas of the map left out: N
        """
        names = _unique(areas)
        position = pd.Index(names).get_indexer(pd.Index(self.areas))
        absent = [name for name in names if name not in set(self.areas)]
        if absent:
            raise SaeInputError(
                f"The map lacks {len(absent)} of {len(names)} areas: {name_some(absent)}.",
                hint="Check that both use the same codes (leading zeros, vintage).",
                areas=absent,
            )
        ends = position[self.pairs].reshape(-1, 2)
        ends = np.sort(ends[(ends >= 0).all(axis=1)], axis=1)
        pairs = ends[np.lexsort((ends[:, 1], ends[:, 0]))]
        beyond = [name for name, place in zip(self.areas, position, strict=True) if place < 0]
        return Neighbours(names, pairs, (*self.left_out, *beyond))

    def __repr__(self) -> str:
        islands = (
            f"; {len(self.islands)} islands: {name_some(self.islands)}" if self.islands else "; no island"
        )
        parts = len(self.parts) - len(self.islands)
        apart = f"; {parts} parts without a link" if parts > 1 else ""
        beyond = (
            f"; {len(self.left_out)} areas of the map left out: {name_some(self.left_out)}"
            if self.left_out
            else ""
        )
        return f"Neighbours: {len(self.areas)} areas, {len(self.pairs)} pairs{islands}{apart}{beyond}"


def _connected(size: int, pairs: np.ndarray) -> np.ndarray:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(size, size))
    return np.asarray(connected_components(links, directed=False)[1])


def _unique(areas: Iterable[object]) -> tuple[str, ...]:
    names = tuple(labels(areas if isinstance(areas, pd.Series | pd.Index | np.ndarray) else list(areas)))
    position = pd.Index(names)
    if not position.is_unique:
        raise SaeInputError(f"areas= repeats {name_some(position[position.duplicated()])}.")
    return names


@answered
def neighbours(
    map: pd.DataFrame | np.ndarray | str | Path | Mapping[str, Any] | Any,
    areas: Iterable[object] | None = None,
    *,
    key: str | None = None,
) -> Neighbours:
    """Return the map that an edge list, a matrix or polygons describe, checked.

    Parameters
    ----------
    map : DataFrame, array, sparse array, str, Path, mapping or GeoDataFrame
        * An edge list: the first two columns hold the codes of two neighbouring areas. Either each pair
          stands once or every pair stands in both directions.
        * A square table of 0 and 1 with the same codes in its rows and columns, in any order.
        * A square array of 0 and 1, or such a table without labels: `areas` names its rows.
        * Polygons: GeoJSON, a file of it (``.gz`` too) or a GeoDataFrame. Areas are neighbours where their
          common border has a length, not where they meet in a point. Needs shapely, of the extra `geo`.
    areas : iterable, optional
        Codes of all areas, in the wanted order. Of an edge list: those in no pair are islands; without it the
        areas of the list, sorted, and no island can be known. Of labelled tables and polygons: what they hold
        besides is left out and named. Of an array: its rows.
    key : str, optional
        Of polygons: the property with the codes, such as "NUTS_ID"; without it that which holds all `areas`.

    Raises
    ------
    SaeInputError
        If a code is missing, the map lacks one of `areas`, an edge list has others, an area neighbours
        itself, a pair is repeated, stands in one direction only or is unequal in the two directions of a
        matrix, an array has no labels or other ones than it needs, or polygons do not fit together.

    Examples
    --------
    >>> sae.auxiliary.neighbours(pd.DataFrame({"a": ["N", "S"], "b": ["S", "W"]}), areas=["N", "S", "W", "I"])
    Neighbours: 4 areas, 2 pairs; 1 islands: I
    >>> sae.auxiliary.neighbours(np.array([[0, 1], [1, 0]]), areas=["N", "S"])
    Neighbours: 2 areas, 1 pairs; no island
    """
    if isinstance(map, str | Path | Mapping) or hasattr(map, "__geo_interface__"):
        codes, shapes = read_shapes(map, key, () if areas is None else (areas := _unique(areas)))
        whole = Neighbours(codes, bordering_pairs(codes, shapes))
    elif isinstance(map, np.ndarray) or hasattr(map, "tocoo"):
        return _of_array(map, areas)
    elif is_square(map):
        if isinstance(map.index, pd.RangeIndex) and isinstance(map.columns, pd.RangeIndex):
            return _of_array(map.to_numpy(), areas)
        rows = labels(map.index).tolist()
        columns = pd.Index(labels(map.columns)).get_indexer(rows)
        whole = _of_array(map.to_numpy()[:, columns], rows)
    else:
        return _of_edges(map, areas)
    return whole if areas is None else whole.within(areas)


def is_square(map: object) -> bool:
    """Whether a map is a square table of numbers whose rows and columns bear the same labels."""
    if not isinstance(map, pd.DataFrame) or map.shape[0] != map.shape[1] or map.shape[0] < 2:
        return False
    if map.shape[1] == 2 and isinstance(map.columns, pd.RangeIndex):
        return False  # two edges
    numbers = all(pd.api.types.is_numeric_dtype(kind) for kind in map.dtypes)
    return numbers and set(labels(map.index)) == set(labels(map.columns))


def _of_array(matrix: Any, areas: Iterable[object] | None) -> Neighbours:
    """Read a square array of 0 and 1 whose rows are named one by one."""
    rows = matrix.shape[0] if len(matrix.shape) else 0
    if matrix.shape != (rows, rows):
        raise SaeInputError(f"The matrix has the shape {matrix.shape}; it is not square.")
    if areas is None:
        raise SaeSpecError(
            f"The {rows} rows of the matrix have no names, and areas are not matched by position in silence.",
            hint="Name them in their order: areas=[...].",
        )
    names = _unique(areas)
    if len(names) != rows:
        raise SaeInputError(
            f"areas= names {len(names)} areas, but the matrix has {rows} rows.",
            hint="Every row needs its name, in the order of the matrix.",
        )
    from scipy.sparse import coo_array

    try:
        links = coo_array(matrix, dtype=float)
    except (TypeError, ValueError):
        raise SaeInputError("The matrix holds something other than numbers.", hint="Give 0 and 1.") from None
    links.sum_duplicates()
    links.eliminate_zeros()
    i, j = links.row.astype(np.int64), links.col.astype(np.int64)
    _refuse(
        [names[k] for k in i[~(links.data == 1)]], "have weights other than 0 and 1 in the matrix", _WEIGHTS
    )
    _refuse([names[k] for k in i[i == j]], "are their own neighbour")
    there = i * rows + j
    one_way = np.setdiff1d(there, j * rows + i)
    if len(one_way):
        shown = [f"{names[k // rows]}–{names[k % rows]}" for k in one_way]
        raise SaeInputError(
            f"{len(shown)} pairs are neighbours in one direction only: {name_some(shown)}.",
            hint="A map is symmetric; a labelled table of weights that is not may go to sae.SAR.",
            areas=[names[k // rows] for k in one_way],
        )
    up = i < j
    pairs = np.column_stack([i[up], j[up]])
    return Neighbours(names, pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))])


_WEIGHTS = (
    "Give weights as a labelled square table to sae.SAR, or say which pairs are neighbours: matrix > 0."
)


def _refuse(names: list[str], fault: str, hint: str = "") -> None:
    faulty = list(dict.fromkeys(names))
    if faulty:
        raise SaeInputError(f"{len(faulty)} areas {fault}: {name_some(faulty)}.", hint=hint, areas=faulty)


def _check_edges(table: pd.DataFrame) -> None:
    """Refuse tables whose first two columns are no codes of neighbours: matrices, row numbers, 0 for "no".

    Raises
    ------
    SaeInputError
    """
    if table.shape[1] < 2:
        raise SaeInputError(
            "The edge list has fewer than two columns.", hint="Expected the codes of two neighbours."
        )
    first, *others = (labels(table.iloc[:, k], keep_missing=True) for k in range(table.shape[1]))
    if len(table) == len(others) > 1 and set(first) == set(labels(table.columns[1:])):
        raise SaeInputError(
            f"The edge list is a square table of {len(table)} areas with their codes in the column "
            f"{table.columns[0]!r}.",
            hint="Make that column its index, table.set_index(...), and give it to neighbours.",
        )
    numbers = [[str(k + start) for k in range(len(table))] for start in (0, 1)]
    if len(others) > 1 and first.tolist() in numbers and not set(first) & set(others[0]):
        raise SaeInputError(
            f"The first column of the edge list, {table.columns[0]!r}, numbers its rows.",
            hint="Give the two columns with the codes of the neighbours.",
        )
    for name, column in zip(table.columns[2:], others[1:], strict=True):
        no = column.isin(["0", "False"])
        if no.any() and set(column.dropna()) in ({"0", "1"}, {"False", "True"}):
            raise SaeInputError(
                f"{name} is {column[no].iloc[0]} in {int(no.sum())} of {len(table)} rows of the edge list: "
                "whether these are neighbours is not known.",
                hint="Keep the rows of neighbours, and the two columns of their codes.",
                column=str(name),
            )


def _of_edges(edges: Any, areas: Iterable[object] | None) -> Neighbours:
    edges = pandas_frame(edges, "The edges")
    _check_edges(edges)
    ends = edges.iloc[:, :2]
    if ends.isna().any(axis=None):
        rows = np.flatnonzero(ends.isna().any(axis=1)) + 1
        raise SaeInputError(
            f"A neighbour is missing in {len(rows)} rows: {name_some(rows)}.", hint="Drop these rows."
        )
    a, b = (labels(ends.iloc[:, i]).to_numpy(dtype=object) for i in (0, 1))
    names = tuple(sorted({*a, *b})) if areas is None else _unique(areas)
    position = pd.Index(names)
    i, j = position.get_indexer(pd.Index(a)), position.get_indexer(pd.Index(b))
    unknown = sorted({*a[i < 0], *b[j < 0]})
    if unknown:
        raise SaeInputError(
            f"{len(unknown)} areas of the edge list are not among the areas: {name_some(unknown)}.",
            hint="Check that both use the same codes (leading zeros, vintage); "
            "neighbours(edges).within(areas) cuts a list that is larger on purpose.",
            areas=unknown,
        )
    _refuse(sorted(a[i == j]), "are their own neighbour")
    _check_directions(i, j, names)
    pairs = np.unique(np.column_stack([np.minimum(i, j), np.maximum(i, j)]), axis=0)
    return Neighbours(names, pairs.astype(np.int64).reshape(-1, 2))


@answered
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
    if not between:
        _check_edges(file.cells)
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
