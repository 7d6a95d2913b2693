"""Area effects over a map: SAR, BYM2, Leroux and CAR as components of a specification."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from scipy import sparse

from sae.auxiliary.neighbours import Neighbours, is_square, neighbours, read_neighbours
from sae.calls import Answering
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.results import Message
from sae.tables import labels, pandas_frame

__all__ = ["BYM2", "CAR", "SAR", "Leroux", "SpatialEffect", "map_cut", "row_standardised"]


_POLYGONS = re.compile(r"\.(geo)?json(\.gz)?$", re.IGNORECASE)


@dataclass(frozen=True, eq=False, repr=False)
class SpatialEffect(metaclass=Answering):
    """What effects over a map share: the map, and how it stands in a model file."""

    map: Neighbours | pd.DataFrame | str | Path
    kind: ClassVar[str]
    bayes_only: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if hasattr(self.map, "__arrow_c_stream__"):  # a frame of any library
            object.__setattr__(self, "map", pandas_frame(self.map, "The edges"))

    @property
    def structure(self) -> str:
        """Name of the precision matrix in `sae.numerics.spacetime.precision`."""
        return self.kind

    def on(self, areas: list[str]) -> tuple[sparse.csr_matrix, tuple[str, ...]]:
        """Return the weights of the map for the areas in their order, and the map's areas besides.

        Returns
        -------
        adjacency : csr_matrix, shape (D, D)
        left_out : tuple of str
            What the map holds beyond the areas: it is cut.

        Raises
        ------
        SaeInputError
            If the map lacks areas, a weight is negative, missing or on the diagonal, or there is no pair of
            neighbours.
        """
        matrix, left_out = (_of_square if is_square(self.map) else _of_graph)(self.map, areas)
        if not matrix.nnz:
            raise SaeInputError("The map has no pair of neighbours.", hint="Leave spatial= out.")
        if self.bayes_only and abs(matrix - matrix.T).max() > 0:
            rows = np.asarray(areas)[np.unique((matrix - matrix.T).nonzero()[0])]
            raise SaeInputError(
                f"Weights of the map differ in the two directions: {name_some(rows)}.",
                hint=f"{type(self).__name__} needs a symmetric map; SAR takes any weights.",
                areas=rows,
            )
        return matrix, left_out

    def weights(self, areas: list[str]) -> sparse.csr_matrix:
        """Return W, the weights with rows that sum to 1, for the areas in their order, shape (D, D)."""
        return row_standardised(self.on(areas)[0])

    @cached_property
    def text(self) -> str:
        """The component as it stands in a model file; a map in memory by the digest of its content."""
        if isinstance(self.map, str | Path):
            return f"{self.kind}: {Path(self.map).as_posix()}"
        digest = hashlib.sha256()
        if isinstance(self.map, Neighbours):
            digest.update("\0".join(self.map.areas).encode() + self.map.pairs.tobytes())
        else:
            digest.update(self.map.to_csv(lineterminator="\n").encode())
        return f"{self.kind}: table {digest.hexdigest()[:12]}"

    @classmethod
    def of_text(cls, text: str) -> Self:
        """Read "KIND: FILE" of a model file."""
        kind, _, path = (part.strip() for part in text.partition(":"))
        if kind.lower() != cls.kind or not path:
            raise SaeSpecError(
                f"spatial = {text!r} cannot be read.",
                hint=f'Write "{cls.kind}: FILE", an edge list or polygons.',
            )
        if path.startswith("table "):
            raise SaeSpecError(
                f"spatial = {text!r} names a map that was a table in memory and is not in the file.",
                hint=f'Save the edge list and write "{cls.kind}: FILE", or give '
                f"spatial=sae.{cls.__name__}(...) in Python.",
            )
        return cls(path)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.text.partition(': ')[2]!r})"


@dataclass(frozen=True, eq=False, repr=False)
class SAR(SpatialEffect):
    """Simultaneous autoregressive area effects: u = ρ W u + ε, W row-standardised.

    Parameters
    ----------
    map : Neighbours, DataFrame, str or Path
        Which areas are neighbours, by the labels of the domains: `sae.auxiliary.Neighbours`, an edge list
        (two columns), a labelled square table of weights (not negative, 0 on the diagonal), or the file of an
        edge list or of polygons (GeoJSON, with the extra `geo`).

    Notes
    -----
    Rows of W sum to 1; an area without a neighbour (an island) has a row of zeros, so that its effect is
    independent, and it is named in the result's notes. Domains that an edge list lacks are taken as islands;
    `Neighbours` and square tables name all areas, so that a domain they lack is refused. What a map holds
    besides the data is cut, and the result's notes say so. With method="bayes" ρ is uniform on (-1, 1).

    References
    ----------
    Petrucci and Salvati (2006), J. Agric. Biol. Environ. Stat. 11, 169-182.

    Examples
    --------
    >>> edges = pd.DataFrame({"a": ["N", "S"], "b": ["S", "W"]})
    >>> sae.SAR(edges).weights(["W", "S", "N", "I"]).toarray()[1].tolist()
    [0.5, 0.0, 0.5, 0.0]
    """

    kind: ClassVar[str] = "sar"
    bayes_only: ClassVar[bool] = False


@dataclass(frozen=True, eq=False, repr=False)
class BYM2(SpatialEffect):
    """Area effects σ (√(1 - ρ) v + √ρ s): v independent, s intrinsic autoregressive over the map.

    s is scaled so that its typical variance is 1 and sums to zero, both in each connected part of the map: σ
    is the standard deviation of the effect and ρ, uniform on (0, 1), the share of its variance that
    neighbours share. An area without a neighbour has an independent effect with variance σ². Needs
    method="bayes".

    Parameters
    ----------
    map : Neighbours, DataFrame, str or Path
        As for `SAR`; symmetric.

    References
    ----------
    Riebler, Sørbye, Simpson and Rue (2016), Stat. Methods Med. Res. 25, 1145-1165; Freni-Sterrantino,
    Ventrucci and Rue (2018), Spat. Spatiotemporal Epidemiol. 26, 25-34.
    """

    kind: ClassVar[str] = "bym2"


@dataclass(frozen=True, eq=False, repr=False)
class Leroux(SpatialEffect):
    """Area effects with precision ((1 - ρ) I + ρ (diag(n) - A)) / σ², n the numbers of neighbours.

    ρ is uniform on (0, 1): 0 gives independent effects. An area without a neighbour has an independent effect
    with variance σ². Needs method="bayes".

    Parameters
    ----------
    map : Neighbours, DataFrame, str or Path
        As for `SAR`; symmetric.

    References
    ----------
    Leroux, Lei and Breslow (2000), in Statistical Models in Epidemiology, the Environment, and Clinical
    Trials, 179-191.
    """

    kind: ClassVar[str] = "leroux"


@dataclass(frozen=True, eq=False, repr=False)
class CAR(SpatialEffect):
    """Conditional autoregressive area effects: precision (diag(n) - ρ A) / σ², n the numbers of neighbours.

    ρ is uniform on (0, 1), or fixed at 1: the intrinsic autoregression, then scaled so that its typical
    variance is σ² and with effects that sum to zero, both in each connected part of the map. An area without
    a neighbour has an independent effect with variance σ². Needs method="bayes".

    Parameters
    ----------
    map : Neighbours, DataFrame, str or Path
        As for `SAR`; symmetric.
    rho : {None, 1.0}

    References
    ----------
    Besag, York and Mollié (1991), Ann. Inst. Stat. Math. 43, 1-20; Sørbye and Rue (2014), Spatial Statistics
    8.
    """

    rho: float | None = None
    kind: ClassVar[str] = "car"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rho is not None and self.rho != 1:
            raise SaeSpecError(f"CAR(rho={self.rho}): rho is estimated (None) or 1.")

    @property
    def structure(self) -> str:
        """Name of the precision matrix in `sae.numerics.spacetime.precision`."""
        return "car" if self.rho is None else "icar"

    @cached_property
    def text(self) -> str:
        """The component as it stands in a model file; a map in memory by the digest of its content."""
        return super().text + (", rho 1" if self.rho is not None else "")

    @classmethod
    def of_text(cls, text: str) -> CAR:
        """Read "car: FILE", with ", rho 1" where wanted."""
        fixed = text.strip().endswith(", rho 1")
        found = super().of_text(text.strip().removesuffix(", rho 1"))
        return cls(found.map, rho=1.0) if fixed else found


def row_standardised(adjacency: sparse.csr_matrix) -> sparse.csr_matrix:
    """Return weights with rows that sum to 1; a row of zeros stays."""
    sums = np.asarray(adjacency.sum(axis=1)).ravel()
    return sparse.csr_matrix(sparse.diags(1.0 / np.where(sums > 0, sums, 1.0)) @ adjacency)


def map_cut(left_out: tuple[str, ...]) -> list[Message]:
    """Say that the map held areas that the data lack."""
    if not left_out:
        return []
    text = f"{len(left_out)} areas of the map are not in the data and were left out: {name_some(left_out)}."
    return [Message(text)]


def _of_square(table: Any, areas: list[str]) -> tuple[sparse.csr_matrix, tuple[str, ...]]:
    named = table.set_axis(list(labels(table.index))).set_axis(list(labels(table.columns)), axis=1)
    left_out = _beyond(areas, list(named.index))
    values = named.loc[areas, areas].to_numpy(dtype=float)
    bad = ~(np.isfinite(values) & (values >= 0)).all(axis=1) | (np.diag(values) != 0)
    if bad.any():
        names = np.asarray(areas)[bad]
        raise SaeInputError(
            f"Weights of the map are missing, negative or on the diagonal in the rows {name_some(names)}.",
            areas=names,
        )
    return sparse.csr_matrix(values), left_out


def _of_graph(given: Any, areas: list[str]) -> tuple[sparse.csr_matrix, tuple[str, ...]]:
    if isinstance(given, Neighbours):
        graph = given
    elif isinstance(given, str | Path) and _POLYGONS.search(str(given)):
        graph = neighbours(given, areas)
    elif isinstance(given, str | Path | pd.DataFrame):
        graph = neighbours(given) if isinstance(given, pd.DataFrame) else read_neighbours(given)
        if set(graph.areas) <= set(areas):  # what an edge list lacks is an island
            graph = Neighbours((*graph.areas, *sorted(set(areas) - set(graph.areas))), graph.pairs).within(
                areas
            )
    else:
        raise SaeSpecError(
            f"A {type(given).__name__} is no map.",
            hint="Give Neighbours, an edge list, a labelled square table or a file; "
            "sae.auxiliary.neighbours reads arrays and polygons.",
        )
    left_out = (*graph.left_out, *_beyond(areas, list(graph.areas)))
    if len(graph.areas) > len(areas):
        graph = graph.within(areas)
    place = {area: k for k, area in enumerate(areas)}
    to = np.array([place[area] for area in graph.areas], dtype=np.int64)
    i, j = to[graph.pairs].T if len(graph.pairs) else (np.empty(0, int), np.empty(0, int))
    ones, size = np.ones(2 * len(i)), len(areas)
    matrix = sparse.csr_matrix((ones, (np.concatenate([i, j]), np.concatenate([j, i]))), shape=(size, size))
    return matrix, left_out


def _beyond(areas: list[str], known: list[str]) -> tuple[str, ...]:
    """Return the areas of the map that the data lack; refuse a map that lacks areas of the data."""
    on_map, in_data = set(known), set(areas)
    absent = [area for area in areas if area not in on_map]
    unknown = [label for label in known if label not in in_data]
    if absent:
        raise SaeInputError(
            f"Map and data do not match: {_some('domains not on the map', absent)}, "
            f"{_some('areas of the map not in the data', unknown)}.",
            hint="Write codes alike; name islands, which an edge list lacks, by "
            "sae.auxiliary.neighbours(edges, areas=...).",
            areas=absent,
        )
    return tuple(unknown)


def _some(what: str, areas: list[str]) -> str:
    return f"{len(areas)} {what}" + (f" ({name_some(areas)})" if areas else "")
