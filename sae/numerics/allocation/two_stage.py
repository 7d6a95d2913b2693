"""Design effects of two-stage designs, which depend on the allocation they serve."""

from __future__ import annotations

import numpy as np

from sae.numerics.compile import compiled

__all__ = ["self_representing", "two_stage_deff"]


def self_representing(
    n: np.ndarray,
    population: np.ndarray,
    take: np.ndarray,
    start: np.ndarray,
    size: np.ndarray,
    draws: int = 2,
) -> np.ndarray:
    """Return each stratum's share of people in primary units that are in the sample for certain.

    A primary unit is self-representing if it is as large as what `take` interviews stand for, take · N / n.
    The others, from the largest on, form groups of at most `draws` times that size, of which `draws` units
    are drawn: a group of no more than `draws` units is certain too.

    Parameters
    ----------
    n, population, take : ndarray, shape (H,)
        Interviews; people; interviews in each selected primary unit.
    start : ndarray of int, shape (H + 1,)
        Stratum h owns the primary units start[h] .. start[h + 1].
    size : ndarray
        People of each primary unit, largest first within its stratum.
    draws : int

    Examples
    --------
    >>> one = np.array([1.0])
    >>> size = np.array([500.0, 60, 60, 60, 20])
    >>> self_representing(100 * one, 1000 * one, 10 * one, np.array([0, 5]), size).round(4)
    array([0.7143])
    """
    return _certain(
        np.asarray(n, float),
        np.asarray(population, float),
        np.asarray(take, float),
        np.asarray(start, np.int64),
        np.asarray(size, float),
        draws,
    )


def two_stage_deff(share: np.ndarray, take: np.ndarray, rho: np.ndarray) -> np.ndarray:
    """1 in self-representing primary units, 1 + (take - 1) ρ in the others, by their share of people.

    Parameters
    ----------
    share : ndarray, shape (H,)
        From `self_representing`; n is spread in proportion to people.
    take : ndarray, shape (H,)
        Interviews in each selected primary unit.
    rho : ndarray, shape (H, K)
        Intra-class correlation of each of K variables.
    """
    return share[:, None] + (1.0 - share[:, None]) * (1.0 + (take[:, None] - 1.0) * rho)


@compiled
def _certain(n, population, take, start, size, draws):
    share = np.zeros(len(n))
    for h in range(len(n)):
        threshold = take[h] * population[h] / n[h]
        certain = total = 0.0
        i, end = start[h], start[h + 1]
        while i < end and size[i] >= threshold:
            certain += size[i]
            i += 1
        while i < end:
            together, units = size[i], 1
            while i + units < end and together + size[i + units] <= draws * threshold:
                together += size[i + units]
                units += 1
            if units <= draws:
                certain += together
            i += units
        for i in range(start[h], end):
            total += size[i]
        share[h] = certain / total
    return share
