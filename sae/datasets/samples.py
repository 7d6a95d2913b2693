"""The surveys' design: PSUs with probability proportional to size within regions, then households."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sae.errors import SaeInputError

__all__ = ["Design", "systematic_pps", "two_stage"]


@dataclass(frozen=True)
class Design:
    """How much is drawn.

    Attributes
    ----------
    psus_per_root : float
        PSUs drawn in a region per square root of its households; two at least, half of its PSUs at most.
    households : int
        Households drawn in each PSU; all of them where there are fewer.
    """

    psus_per_root: float
    households: int


def two_stage(
    rng: np.random.Generator, design: Design, size: np.ndarray, households: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the households of one region: PSUs systematically with probability ∝ size, households by SRS.

    Parameters
    ----------
    rng : Generator
        The region's stream.
    design : Design
        How much is drawn.
    size : ndarray of float, shape (n_psu,)
        Size measure that the selection uses.
    households : ndarray of int, shape (n_psu,)
        Actual number of households.

    Returns
    -------
    drawn : ndarray of int, shape (n_drawn,)
        Running numbers of the drawn households within the region (PSU by PSU), increasing.
    weight : ndarray of float, shape (n_drawn,)
        Inverse inclusion probabilities.
    """
    wanted = round(design.psus_per_root * float(np.sqrt(households.sum())))
    psus, probability = systematic_pps(rng, size, min(max(wanted, 2), max(len(size) // 2, 1)))
    first = np.cumsum(households) - households
    taken = np.minimum(households[psus], design.households)
    drawn = [
        first[psu] + np.sort(rng.permutation(households[psu])[:take])
        for psu, take in zip(psus, taken, strict=True)
    ]
    return np.concatenate(drawn), np.repeat(households[psus] / (taken * probability), taken)


def systematic_pps(rng: np.random.Generator, size: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw `n` of the units with probability proportional to `size`, systematically in random order.

    Parameters
    ----------
    rng : Generator
        Source of the order and of the start.
    size : ndarray of float, shape (n_units,)
        Positive; no unit larger than sum(size) / n, else its probability would exceed 1.
    n : int
        Units to draw.

    Returns
    -------
    drawn : ndarray of int, shape (n,)
        Positions in `size`, increasing.
    probability : ndarray of float, shape (n,)
        Their inclusion probabilities, n · size / sum(size).

    Raises
    ------
    SaeInputError
        If a probability would exceed 1.

    References
    ----------
    Madow (1949), Annals of Mathematical Statistics 20, 333–354.
    """
    probability = n * size / size.sum()
    if probability.max() > 1.0:
        raise SaeInputError(
            f"{int((probability > 1.0).sum())} units are too large to be drawn once among {n}.",
            hint="Draw fewer units, or take the large ones with certainty.",
        )
    order = rng.permutation(len(size))
    bounds = np.cumsum(probability[order])
    points = rng.random() + np.arange(n)
    drawn = np.sort(order[np.minimum(np.searchsorted(bounds, points, side="right"), len(size) - 1)])
    return drawn, probability[drawn]
