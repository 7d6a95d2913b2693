"""The map of the synthetic country: a lattice of regions with two islands, larger regions, smooth fields."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

__all__ = ["NATION", "Geography", "field", "geography"]

NATION = "XA"
_COLUMNS = 12  # width of the lattice, fixed so that a region keeps its place when the country grows
_BLOCK_ROWS, _BLOCK_COLUMNS = 5, 3  # regions of one larger region
_ISLANDS = (11, 108)  # corners of the default country, cut off from their neighbours
_WAVES = 6


@dataclass(frozen=True, eq=False)
class Geography:
    """Where the regions lie.

    Attributes
    ----------
    codes : tuple of str
        Region codes such as ``XA1001``; the number depends on the region alone, not on the country's size.
    nuts1 : tuple of str
        Code of the larger region of each region.
    x, y : ndarray of float, shape (n_regions,)
        Centre on the lattice, in cells.
    edges : ndarray of int, shape (n_edges, 2)
        Pairs of neighbouring regions, each pair once.
    island : ndarray of bool, shape (n_regions,)
        Regions cut off from every other.
    """

    codes: tuple[str, ...]
    nuts1: tuple[str, ...]
    x: np.ndarray
    y: np.ndarray
    edges: np.ndarray
    island: np.ndarray

    def neighbours(self) -> pd.DataFrame:
        """Return the edge list, columns ``region_a`` and ``region_b``, each pair once."""
        codes = np.array(self.codes)
        return pd.DataFrame({"region_a": codes[self.edges[:, 0]], "region_b": codes[self.edges[:, 1]]})


def geography(regions: int) -> Geography:
    """Lay `regions` regions on the lattice, row by row; larger regions are blocks of 5 × 3."""
    cell = np.arange(regions)
    row, column = np.divmod(cell, _COLUMNS)
    per_band = _COLUMNS // _BLOCK_COLUMNS
    block = row // _BLOCK_ROWS * per_band + column // _BLOCK_COLUMNS + 1
    right = np.column_stack([cell, cell + 1])[column < _COLUMNS - 1]
    below = np.column_stack([cell, cell + _COLUMNS])
    edges = np.concatenate([right, below])
    edges = edges[(edges[:, 1] < regions) & ~np.isin(edges, _ISLANDS).any(axis=1)]
    nuts1 = tuple(f"{NATION}{b}" for b in block)
    codes = tuple(f"{larger}{c + 1:03d}" for larger, c in zip(nuts1, cell, strict=True))
    return Geography(codes, nuts1, column.astype(float), row.astype(float), edges, np.isin(cell, _ISLANDS))


def field(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return a smooth random field of mean 0 and variance 1 (over fields) at the points (x, y).

    A sum of cosine waves of random direction, wavelength of 8 to 20 cells and phase: its value at a point
    does not depend on which other points exist.
    """
    angle, phase = rng.uniform(0.0, 2.0 * np.pi, (2, _WAVES))
    frequency = 2.0 * np.pi / rng.uniform(8.0, 20.0, _WAVES)
    waves = np.outer(x, frequency * np.cos(angle)) + np.outer(y, frequency * np.sin(angle)) + phase
    return np.sqrt(2.0 / _WAVES) * np.cos(waves).sum(axis=1)
