"""The surveys' designs: PSUs with probability proportional to size within regions, then households."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sae.errors import SaeInputError

__all__ = ["Design", "rotating", "systematic_pps", "two_stage"]


@dataclass(frozen=True)
class Design:
    """How much is drawn.

    Attributes
    ----------
    psus_per_root : float
        PSUs drawn in a region per square root of its households; two at least, half of its PSUs at most.
    households : int
        Households drawn in each PSU; all of them where there are fewer.
    waves : int
        In a panel, how many periods a dwelling stays; of the households of a PSU one in so many is new.
    """

    psus_per_root: float
    households: int
    waves: int = 1

    def psus(self, households: np.ndarray, psus: np.ndarray) -> np.ndarray:
        """Return how many PSUs are drawn in regions of so many households and PSUs."""
        wanted = np.maximum(np.rint(self.psus_per_root * np.sqrt(households)), 2)
        return np.minimum(wanted, np.maximum(psus // 2, 1)).astype(np.int64)


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
    psus, probability = systematic_pps(rng, size, _number_of_psus(design, households))
    first = np.cumsum(households) - households
    taken = np.minimum(households[psus], design.households)
    drawn = [
        first[psu] + np.sort(rng.permutation(households[psu])[:take])
        for psu, take in zip(psus, taken, strict=True)
    ]
    return np.concatenate(drawn), np.repeat(households[psus] / (taken * probability), taken)


def rotating(
    rng: np.random.Generator, design: Design, size: np.ndarray, households: np.ndarray, periods: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Draw a rotating panel of one region: the same PSUs in every period, dwellings that come and go.

    The dwellings of a PSU stand in random order, and a window moves over them by 1/waves of its length each
    period, so that every period is a simple random sample and a dwelling stays for so many periods. At the
    end of the order the window goes on at its start.

    Parameters
    ----------
    rng, design, size, households
        As for `two_stage`.
    periods : int
        How many periods are drawn; the first has all waves.

    Yields
    ------
    drawn : ndarray of int, shape (n_drawn,)
        Running numbers of the dwellings within the region.
    weight : ndarray of float, shape (n_drawn,)
        Inverse inclusion probabilities of the period.
    wave : ndarray of int, shape (n_drawn,)
        1 for dwellings that are new in the period.
    """
    psus, probability = systematic_pps(rng, size, _number_of_psus(design, households))
    first = np.cumsum(households) - households
    orders = [rng.permutation(households[psu]) for psu in psus]
    taken = np.minimum(households[psus], design.households)
    weight = np.repeat(households[psus] / (taken * probability), taken)
    turn = design.households // design.waves
    wave = np.concatenate([(take - 1 - np.arange(take)) // turn + 1 for take in taken])
    for period in range(periods):
        drawn = [
            first[psu] + order[(period * turn + np.arange(take)) % len(order)]
            for psu, order, take in zip(psus, orders, taken, strict=True)
        ]
        yield np.concatenate(drawn), weight, wave


def _number_of_psus(design: Design, households: np.ndarray) -> int:
    return int(design.psus(households.sum(), np.asarray(len(households))))


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
