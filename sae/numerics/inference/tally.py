"""Means over bootstrap replicates, their Monte Carlo errors, and how many replicates these take."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sae.progress import counting

__all__ = ["GOAL", "SLOW", "STAGES", "Tally", "relative_error", "replicates_text"]

GOAL = 0.02  # relative Monte Carlo error of a mean squared error that ends a bootstrap
STAGES = (200, 400, 800, 1600, 3200, 6400, 12800)  # replicates after which it is looked at
SLOW = 1600  # where each replicate is a fit in Python


def replicates_text(replicates: int | None) -> str:
    """Say how many replicates a specification takes."""
    return f"replicates until known to {GOAL:.0%}" if replicates is None else f"{replicates} replicates"


def relative_error(
    total: np.ndarray, squares: np.ndarray, count: int, known: np.ndarray | float
) -> np.ndarray:
    """Return the Monte Carlo standard error of known + total / count as a share of it.

    Parameters
    ----------
    total, squares : ndarray
        Sums of the simulated values and of their squares over `count` replicates.
    known : ndarray or float
        What is not simulated.
    """
    mean = total / count
    error = np.sqrt(np.maximum(squares / count - mean * mean, 0.0) / (count - 1))
    whole = known + mean
    return np.asarray(np.divide(error, whole, out=np.zeros_like(mean), where=whole > 0))


class Tally:
    """Mean squared errors over replicates: what is known exactly, and a mean of what is simulated.

    Parameters
    ----------
    known : ndarray, shape (M,)
    replicates : int or None
        None ends when every mean squared error is known to `GOAL`.
    most : int
        Replicates of None at which it ends in any case.

    Examples
    --------
    >>> tally = Tally(np.array([0.9]), None)
    >>> rng = np.random.default_rng(1)
    >>> for start, stop in tally.blocks(100):
    ...     tally.add(0.1 * rng.normal(size=(stop - start, 1)) ** 2)
    >>> tally.count, bool(tally.share[0] < 0.02)
    (200, True)
    """

    def __init__(self, known: np.ndarray, replicates: int | None, most: int = STAGES[-1]) -> None:
        stages = tuple(stage for stage in STAGES if stage <= most)
        self.known, self._ends = known, stages if replicates is None else (replicates,)
        self.count = 0
        self._step = counting("Bootstrap", replicates, "replicates")
        self._total, self._squares = np.zeros(known.shape), np.zeros(known.shape)

    def blocks(self, largest: int) -> Iterator[tuple[int, int]]:
        """Yield ranges of replicates, of `largest` at most, as long as more are needed."""
        for end in self._ends:
            while self.count < end:
                yield self.count, min(self.count + max(1, largest), end)
            if self.share.max(initial=0.0) <= GOAL:
                return

    def add(self, values: np.ndarray) -> None:
        """Count replicates in, shape (B, M)."""
        self._total += values.sum(axis=0)
        self._squares += (values * values).sum(axis=0)
        self.count += len(values)
        self._step(len(values))

    @property
    def mean(self) -> np.ndarray:
        """Mean squared errors, shape (M,)."""
        return self.known + self._total / self.count

    @property
    def share(self) -> np.ndarray:
        """Their Monte Carlo standard errors as shares of them, shape (M,)."""
        return relative_error(self._total, self._squares, self.count, self.known)

    @property
    def text(self) -> str:
        """Replicates, and how well standard errors are known by them, for the name of the method."""
        return f"{self.count} replicates, se to {0.5 * self.share.max(initial=0.0):.1%}"
