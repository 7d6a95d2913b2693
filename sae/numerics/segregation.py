"""Indices of the segregation of a group in the parts of areas: arrays of all parts, areas as codes.

Counts have the shape (..., n_parts): leading axes are replicates, and the indices come as (..., n_areas).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

__all__ = ["INDICES", "atkinson", "dissimilarity", "entropy", "exposure", "gini", "isolation"]


def dissimilarity(group: np.ndarray, other: np.ndarray, area: np.ndarray, n_areas: int) -> np.ndarray:
    """Share of the group that would have to move for the parts to hold both groups alike.

    D = ½ Σ_i |a_i/A − b_i/B| over the parts i of an area, a of the group and b of the others: 0 where every
    part holds the same shares, 1 where no part holds both.

    Parameters
    ----------
    group, other : ndarray of float, shape (..., n_parts)
        Members of the group and the others in each part, not negative.
    area : ndarray of int, shape (n_parts,)
        Area of each part, 0 to ``n_areas - 1``.
    n_areas : int

    Returns
    -------
    ndarray of float, shape (..., n_areas)
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
    apart = np.abs(_shares(group, area, n_areas) - _shares(other, area, n_areas))
    return np.where(_both(group, other, area, n_areas), 0.5 * _sums(apart, area, n_areas), np.nan)


def isolation(
    group: np.ndarray,
    other: np.ndarray,
    area: np.ndarray,
    n_areas: int,
    everyone: np.ndarray | None = None,
) -> np.ndarray:
    """Share of the own group that its average member meets in the own part.

    xPx = Σ_i (a_i/A)(a_i/t_i), t_i = a_i + b_i: the group's share in the area where every part holds the same
    shares, 1 where no part holds both.

    Parameters
    ----------
    group, other, area, n_areas
        As for `dissimilarity`.
    everyone : ndarray of float, shape (..., n_parts), optional
        t_i, where others than the two groups live there too.

    Returns
    -------
    ndarray of float, shape (..., n_areas)
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
    return _met(group, group, group + other if everyone is None else everyone, area, n_areas)


def exposure(
    group: np.ndarray,
    other: np.ndarray,
    area: np.ndarray,
    n_areas: int,
    everyone: np.ndarray | None = None,
) -> np.ndarray:
    """Share of the others that the average member of the group meets in the own part.

    xPy = Σ_i (a_i/A)(b_i/t_i), with the arguments, and the source, of `isolation`.

    Examples
    --------
    >>> exposure(np.array([3.0, 1.0]), np.array([1.0, 1.0]), np.array([0, 0]), 1)
    array([0.3125])
    """
    return _met(group, other, group + other if everyone is None else everyone, area, n_areas)


def entropy(group: np.ndarray, other: np.ndarray, area: np.ndarray, n_areas: int) -> np.ndarray:
    """Theil's information index: by how much the parts are less mixed than the area, weighted by their size.

    H = 1 − Σ_i t_i E_i / (T E) with E = −P ln P − (1 − P) ln(1 − P) of the group's share P.

    Parameters
    ----------
    group, other, area, n_areas
        As for `dissimilarity`.

    References
    ----------
    Theil and Finizza (1971), Journal of Mathematical Sociology 1, 187–194; Massey and Denton (1988), The
    dimensions of residential segregation, Social Forces 67, 281–315, eq. 3–5.

    Examples
    --------
    >>> entropy(np.array([2.0, 0.0]), np.array([0.0, 2.0]), np.array([0, 0]), 1)
    array([1.])
    """
    mixed = _sums(_information(group, other), area, n_areas)
    with np.errstate(divide="ignore", invalid="ignore"):
        return 1.0 - mixed / _information(_sums(group, area, n_areas), _sums(other, area, n_areas))


def gini(group: np.ndarray, other: np.ndarray, area: np.ndarray, n_areas: int) -> np.ndarray:
    """Mean difference of the group's share between all pairs of parts, against the largest there could be.

    G = Σ_i Σ_j t_i t_j |p_i − p_j| / (2 T² P (1 − P)): twice the area between the segregation curve and the
    diagonal.

    Parameters
    ----------
    group, other, area, n_areas
        As for `dissimilarity`.

    References
    ----------
    Massey and Denton (1988), eq. 6.

    Examples
    --------
    >>> gini(np.array([3.0, 1.0]), np.array([1.0, 1.0]), np.array([0, 0]), 1)
    array([0.25])
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(group > 0, group / (group + other), 0.0)
    order = np.argsort(2 * area + share, axis=-1, kind="stable")  # areas stay together
    own, their = (
        np.take_along_axis(np.nan_to_num(_shares(some, area, n_areas)), order, axis=-1)
        for some in (group, other)
    )
    codes = np.sort(area)
    before = [_before(part, codes, n_areas) for part in (own, their)]
    made = _sums(own * before[1] - their * before[0], codes, n_areas)
    return np.where(_both(group, other, area, n_areas), made, np.nan)


def atkinson(group: np.ndarray, other: np.ndarray, area: np.ndarray, n_areas: int) -> np.ndarray:
    """Atkinson's index at b = ½, where parts with few and with many of the group weigh alike.

    A = 1 − P/(1 − P) |Σ_i (1 − p_i)^½ p_i^½ t_i / (P T)|² = 1 − (Σ_i √(a_i/A · b_i/B))².

    Parameters
    ----------
    group, other, area, n_areas
        As for `dissimilarity`.

    References
    ----------
    Massey and Denton (1988), eq. 7.

    Examples
    --------
    >>> atkinson(np.array([2.0, 0.0]), np.array([0.0, 2.0]), np.array([0, 0]), 1)
    array([1.])
    """
    shared = np.sqrt(_shares(group, area, n_areas) * _shares(other, area, n_areas))
    made = 1.0 - _sums(shared, area, n_areas) ** 2
    return np.where(_both(group, other, area, n_areas), made, np.nan)


# with everyone who lives in a part: only what is met depends on who is there beside the two groups
INDICES: Mapping[str, Callable[[np.ndarray, np.ndarray, np.ndarray, int, np.ndarray], np.ndarray]] = {
    "dissimilarity": lambda group, other, area, size, _: dissimilarity(group, other, area, size),
    "isolation": isolation,
    "exposure": exposure,
    "entropy": lambda group, other, area, size, _: entropy(group, other, area, size),
    "gini": lambda group, other, area, size, _: gini(group, other, area, size),
    "atkinson": lambda group, other, area, size, _: atkinson(group, other, area, size),
}


def _sums(values: np.ndarray, area: np.ndarray, n_areas: int) -> np.ndarray:
    """Return the sums over the parts of each area."""
    if values.ndim == 1:
        return np.bincount(area, values, n_areas)
    rows = int(np.prod(values.shape[:-1]))
    codes = area + n_areas * np.arange(rows)[:, None]
    return np.bincount(codes.ravel(), values.ravel(), rows * n_areas).reshape(*values.shape[:-1], n_areas)


def _shares(values: np.ndarray, area: np.ndarray, n_areas: int) -> np.ndarray:
    """Return each part's share of its area; NaN where the area has no member."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(values / _sums(values, area, n_areas)[..., area])


def _met(
    group: np.ndarray, other: np.ndarray, everyone: np.ndarray, area: np.ndarray, n_areas: int
) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        met = np.where(group > 0, group * other / everyone, 0.0)
        return np.asarray(_sums(met, area, n_areas) / _sums(group, area, n_areas))


def _information(group: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return t E of parts or areas."""
    total = group + other
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = [np.where(some > 0, some * np.log(some / total), 0.0) for some in (group, other)]
    return -(parts[0] + parts[1])


def _before(shares: np.ndarray, codes: np.ndarray, n_areas: int) -> np.ndarray:
    """Return the sum of the shares of the parts before each one in its area; parts area by area."""
    whole = _sums(shares, codes, n_areas)
    ahead = np.cumsum(whole, axis=-1) - whole
    return np.asarray(np.cumsum(shares, axis=-1) - shares - ahead[..., codes])


def _both(group: np.ndarray, other: np.ndarray, area: np.ndarray, n_areas: int) -> np.ndarray:
    return (_sums(group, area, n_areas) > 0) & (_sums(other, area, n_areas) > 0)
