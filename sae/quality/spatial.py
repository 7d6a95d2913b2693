"""Whether neighbours resemble each other: Moran's I and Geary's C with analytical and permutation tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import sparse

from sae.calls import answered
from sae.errors import SaeInputError, SaeSpecError
from sae.numerics.random.streams import generator, seed_of

__all__ = ["SpatialTest", "gearys_c", "morans_i"]

_ALTERNATIVES = ("positive", "two-sided")


@dataclass(frozen=True)
class SpatialTest:
    """A test of spatial autocorrelation.

    Attributes
    ----------
    statistic, expected, sd : float
        The statistic, and its mean and standard deviation if the values were shuffled over the areas.
    z : float
        Standard deviations beyond the mean, positive where neighbours resemble each other.
    p_value : float
        Of z, normal.
    permutation_p_value : float
        Share of the permutations (and the data) that are at least as extreme; missing without permutations.
    permutations, n_areas, islands : int
        Areas without a neighbour, `islands`, take no part; they are not counted in `n_areas`.
    """

    statistic: float
    expected: float
    sd: float
    z: float
    p_value: float
    permutation_p_value: float
    permutations: int
    n_areas: int
    islands: int


@answered
def morans_i(
    values: np.ndarray,
    neighbours: np.ndarray | sparse.sparray,
    *,
    alternative: Literal["positive", "two-sided"] = "positive",
    permutations: int = 0,
    seed: int | np.random.Generator | None = None,
) -> SpatialTest:
    """Test residuals, or other values of areas, for spatial autocorrelation with Moran's I.

    I = n / Σ w_ij · Σ w_ij z_i z_j / Σ z_i² with z the values less their mean. For residuals of a regression
    the test is approximate: it ignores that the coefficients were estimated.

    Parameters
    ----------
    values : ndarray of float, shape (n_areas,)
    neighbours : ndarray or sparse array, shape (n_areas, n_areas)
        Weights w_ij ≥ 0 in the order of `values`, row-standardised or not; a zero diagonal.
    alternative : {"positive", "two-sided"}
    permutations : int
        Of the values over the areas; needs a seed.
    seed : int or Generator, optional

    Raises
    ------
    SaeInputError
        If values are missing or all equal, fewer than four areas have neighbours, or the matrix does not fit.
    SaeSpecError
        If permutations are asked for without a seed.

    References
    ----------
    Cliff and Ord (1981), Spatial Processes, section 2.3 (moments under randomisation).

    Examples
    --------
    >>> line = np.eye(6, k=1) + np.eye(6, k=-1)
    >>> round(sae.quality.morans_i(np.arange(6.0), line).statistic, 6)
    0.6
    """
    return _test("I", values, neighbours, alternative, permutations, seed)


@answered
def gearys_c(
    values: np.ndarray,
    neighbours: np.ndarray | sparse.sparray,
    *,
    alternative: Literal["positive", "two-sided"] = "positive",
    permutations: int = 0,
    seed: int | np.random.Generator | None = None,
) -> SpatialTest:
    """Test values of areas for spatial autocorrelation with Geary's C, on the differences of neighbours.

    C = (n - 1) Σ w_ij (x_i - x_j)² / (2 Σ w_ij Σ z_i²); below 1 where neighbours resemble each other.
    Parameters, errors and reference as in `morans_i`.

    Examples
    --------
    >>> line = np.eye(6, k=1) + np.eye(6, k=-1)
    >>> round(sae.quality.gearys_c(np.arange(6.0), line).statistic, 6)
    0.142857
    """
    return _test("C", values, neighbours, alternative, permutations, seed)


def _test(
    which: Literal["I", "C"],
    values: np.ndarray,
    neighbours: np.ndarray | sparse.sparray,
    alternative: Literal["positive", "two-sided"],
    permutations: int,
    seed: int | np.random.Generator | None,
) -> SpatialTest:
    if alternative not in _ALTERNATIVES:
        raise SaeSpecError(f"alternative={alternative!r}.", hint=f"Use one of {', '.join(_ALTERNATIVES)}.")
    x, W, islands = _prepared(values, neighbours)
    n = len(x)
    z = x - x.mean()
    expected, variance = _moments(z, W, which)
    statistic = float(_statistics(z[None], W, which)[0])
    sd, sign = float(np.sqrt(variance)), 1.0 if which == "I" else -1.0
    score = sign * (statistic - expected) / sd
    p_permuted = np.nan
    if permutations:
        if seed is None:
            raise SaeSpecError("A permutation test needs a seed.", hint="Give seed=1, or any number.")
        order = generator(seed_of(seed), "spatial permutation")
        shuffled = order.permuted(np.broadcast_to(z, (permutations, n)), axis=1)
        others = sign * (_statistics(shuffled, W, which) - expected)
        own = sign * (statistic - expected)
        # equal ones up to rounding count as extreme
        far = np.abs(others) >= abs(own) - 1e-12 if alternative == "two-sided" else others >= own - 1e-12
        p_permuted = (1.0 + int(far.sum())) / (permutations + 1.0)
    from scipy.special import ndtr

    p_value = 2.0 * ndtr(-abs(score)) if alternative == "two-sided" else ndtr(-score)
    return SpatialTest(
        statistic, expected, sd, score, float(p_value), float(p_permuted), permutations, n, islands
    )


def _prepared(
    values: np.ndarray, neighbours: np.ndarray | sparse.sparray
) -> tuple[np.ndarray, sparse.csr_array, int]:
    x, W = np.asarray(values, dtype=float), sparse.csr_array(neighbours, dtype=float)
    if W.shape != (len(x), len(x)):
        raise SaeInputError(f"There are {len(x)} values, but the matrix of neighbours is {W.shape}.")
    if (W.data < 0).any() or not np.isfinite(W.data).all() or W.diagonal().any():
        raise SaeInputError(
            "The matrix of neighbours needs weights ≥ 0 and a zero diagonal.",
            hint="Give 1 for neighbours and 0 for others, or row-standardised weights.",
        )
    linked = (W.sum(axis=1) > 0) | (W.sum(axis=0) > 0)
    missing = linked & ~np.isfinite(x)
    if missing.any():
        raise SaeInputError(
            f"{int(missing.sum())} of {len(x)} areas have neighbours but no value.",
            hint="Leave out these areas and their rows and columns of the matrix.",
        )
    x, W = x[linked], sparse.csr_array(W[linked][:, linked])
    if len(x) < 4:
        raise SaeInputError(f"Only {len(x)} areas have neighbours; the test needs four.")
    if np.ptp(x) <= 1e-12 * np.abs(x).max():
        raise SaeInputError("The values are all equal; they show no pattern.")
    return x, W, int((~linked).sum())


def _statistics(z: np.ndarray, W: sparse.csr_array, which: Literal["I", "C"]) -> np.ndarray:
    """Return the statistic of every row of values that sum to 0, shape (R,)."""
    n, whole, square = z.shape[1], W.sum(), np.sum(z[:1] ** 2)  # the same in every permutation
    product = np.einsum("ri,ri->r", z, (W @ z.T).T)
    if which == "I":
        return n / whole * product / square
    ends = W.sum(axis=0) + W.sum(axis=1)
    return (n - 1) * (z**2 @ ends - 2.0 * product) / (2.0 * whole * square)


def _moments(z: np.ndarray, W: sparse.csr_array, which: Literal["I", "C"]) -> tuple[float, float]:
    """Mean and variance of the statistic over all permutations of the values."""
    n, s0 = len(z), float(W.sum())
    both = W + W.T
    s1 = 0.5 * float(both.multiply(both).sum())
    s2 = float(np.sum((W.sum(axis=0) + W.sum(axis=1)) ** 2))
    k = n * float(np.sum(z**4)) / float(np.sum(z**2)) ** 2
    if which == "I":
        mean = -1.0 / (n - 1)
        first = n * ((n * n - 3 * n + 3) * s1 - n * s2 + 3 * s0**2)
        second = k * (n * (n - 1) * s1 - 2 * n * s2 + 6 * s0**2)
        return mean, (first - second) / ((n - 1) * (n - 2) * (n - 3) * s0**2) - mean**2
    first = (n - 1) * s1 * (n * n - 3 * n + 3 - (n - 1) * k)
    second = 0.25 * (n - 1) * s2 * (n * n + 3 * n - 6 - (n * n - n + 2) * k)
    third = s0**2 * (n * n - 3 - (n - 1) ** 2 * k)
    return 1.0, (first - second + third) / (n * (n - 2) * (n - 3) * s0**2)
