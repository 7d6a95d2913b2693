"""Indices of the segregation of a group in the parts of areas: arrays of all parts, areas as codes."""

from __future__ import annotations

import numpy as np

__all__ = ["dissimilarity", "isolation"]


def dissimilarity(group: np.ndarray, other: np.ndarray, area: np.ndarray, n_areas: int) -> np.ndarray:
    """Share of the group that would have to move for the parts to hold both groups alike.

    D = ½ Σ_i |a_i/A − b_i/B| over the parts i of an area, a of the group and b of the others: 0 where every
    part holds the same shares, 1 where no part holds both.

    Parameters
    ----------
    group, other : ndarray of float, shape (n_parts,)
        Members of the group and the others in each part, not negative.
    area : ndarray of int, shape (n_parts,)
        Area of each part, 0 to ``n_areas - 1``.
    n_areas : int

    Returns
    -------
    ndarray of float, shape (n_areas,)
        NaN where an area has no member of the group or of the others.

    References
    ----------
    Duncan and Duncan (1955), A methodological analysis of segregation indexes, American Sociological Review
    20, 210–217.

    Examples
    --------
    >>> dissimilarity(np.array([3.0, 1.0]), np.array([1.0, 1.0]), np.array([0, 0]), 1)
    array([0.25])
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = [part / np.bincount(area, part, n_areas)[area] for part in (group, other)]
    return 0.5 * np.bincount(area, np.abs(shares[0] - shares[1]), n_areas)


def isolation(group: np.ndarray, other: np.ndarray, area: np.ndarray, n_areas: int) -> np.ndarray:
    """Share of the own group that its average member meets in the own part.

    xPx = Σ_i (a_i/A)(a_i/t_i), t_i = a_i + b_i: the group's share in the area where every part holds the same
    shares, 1 where no part holds both.

    Parameters
    ----------
    group, other, area, n_areas
        As for `dissimilarity`.

    Returns
    -------
    ndarray of float, shape (n_areas,)
        NaN where an area has no member of the group.

    References
    ----------
    Lieberson (1981), An asymmetrical approach to segregation, in Peach, Robinson and Smith (eds), Ethnic
    Segregation in Cities, 61–82.

    Examples
    --------
    >>> isolation(np.array([3.0, 1.0]), np.array([1.0, 1.0]), np.array([0, 0]), 1)
    array([0.6875])
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        met = np.where(group > 0, group**2 / (group + other), 0.0)
        return np.bincount(area, met, n_areas) / np.bincount(area, group, n_areas)
