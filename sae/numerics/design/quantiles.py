"""Weighted quantiles, densities and concentration of many domains at once, on values sorted within domains.

Every function takes the records of all domains as one run of segments: `order` lists the records sorted
by domain and then by value, `offsets` says where each domain starts. One sort serves them all.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sae.numerics.compile import compiled

__all__ = [
    "NOTHING",
    "Segments",
    "bandwidths",
    "densities",
    "gini",
    "income_densities",
    "kernel_densities",
    "quantiles",
    "sort_segments",
    "weighted_quantile",
]

# A cumulated weight this close to the wanted share (relative to the total) counts as equal to it, so that a
# change of the scale of the weights does not decide between one value and the mean of two.
TIE = 1e-12
# A total this small beside the sum of the absolute values is rounding: debts and incomes cancel.
NOTHING = 1e-12
_MANY, _SOME, _WIDE = 10_000, 1_000, 0.08  # values; a probe of them and 4 to 5 standard errors of its shares


@dataclass(frozen=True, eq=False)
class Segments:
    """Records sorted by domain, then by value.

    Attributes
    ----------
    order : ndarray of int, shape (m,)
        Positions of the kept records in the file.
    offsets : ndarray of int, shape (n_domains + 1,)
        Domain d holds ``order[offsets[d]:offsets[d + 1]]``.
    values : ndarray of float, shape (m,)
        The values in this order.
    """

    order: np.ndarray
    offsets: np.ndarray
    values: np.ndarray


def sort_segments(values: np.ndarray, codes: np.ndarray, n_domains: int, keep: np.ndarray) -> Segments:
    """Sort the kept records by domain and value.

    Parameters
    ----------
    values : ndarray of float, shape (n,)
        Values; those of records not kept are not looked at.
    codes : ndarray of int, shape (n,)
        Domain of each record, 0 to ``n_domains - 1``; a negative code is left out.
    n_domains : int
        Number of domains.
    keep : ndarray of bool, shape (n,)
        Records to sort.

    Examples
    --------
    >>> sort_segments(np.array([3.0, 1.0, 2.0]), np.array([1, 0, 1]), 2, np.ones(3, bool)).order
    array([1, 2, 0])
    """
    kept = np.flatnonzero(keep & (codes >= 0))
    mine = codes[kept].astype(np.int16 if n_domains < 2**15 else np.int64)  # int16 sorts by radix
    order = kept[np.argsort(mine, kind="stable")]
    offsets = np.concatenate(([0], np.cumsum(np.bincount(mine, minlength=n_domains))))
    gathered = np.asarray(values[order], dtype=float)
    for start, stop in pairwise(offsets):  # short sorts that stay in the cache
        rank = np.argsort(gathered[start:stop], kind="stable")
        order[start:stop] = order[start:stop][rank]
        gathered[start:stop] = gathered[start:stop][rank]
    return Segments(order, offsets, gathered)


@compiled
def quantiles(values, weights, offsets, shares):
    """Weighted quantile of each segment by the Eurostat definition.

    With r_j the cumulated share of the weights of the sorted values, the quantile is the first value with
    r_j > p; where some r_j equals p, the mean of that value and the next. A value of weight 0 is no value.

    Parameters
    ----------
    values, weights : ndarray of float, shape (m,)
        Sorted within segments.
    offsets : ndarray of int, shape (n_domains + 1,)
        Starts of the segments.
    shares : ndarray of float, shape (n_domains,)
        The share p wanted in each segment, 0 < p < 1.

    Returns
    -------
    ndarray of float, shape (n_domains,)
        NaN for a segment without weight.

    References
    ----------
    Eurostat (2009), Algorithms to compute social inclusion indicators based on EU-SILC, LC-ILC/39/09.
    """
    n_domains = offsets.size - 1
    out = np.full(n_domains, np.nan)
    for d in range(n_domains):
        total = 0.0
        for i in range(offsets[d], offsets[d + 1]):
            total += weights[i]
        if not total > 0.0:
            continue
        goal = shares[d] * total
        slack = TIE * total
        running = 0.0
        lower = np.nan  # the value at which the cumulated weight met the goal exactly
        for i in range(offsets[d], offsets[d + 1]):
            if weights[i] == 0.0:
                continue
            if not np.isnan(lower):
                out[d] = 0.5 * (lower + values[i])
                break
            running += weights[i]
            out[d] = values[i]
            if running > goal + slack:
                break
            if running >= goal - slack:
                lower = values[i]
    return out


def weighted_quantile(values: np.ndarray, weights: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Weighted quantiles of one sample by the Eurostat definition (see `quantiles`).

    Parameters
    ----------
    values, weights : ndarray of float, shape (n,)
        Values in any order and their weights.
    shares : array-like of float, shape (k,)
        Shares in (0, 1).

    Returns
    -------
    ndarray of float, shape (k,)

    Examples
    --------
    >>> weighted_quantile(np.array([1.0, 2.0, 3.0, 4.0]), np.ones(4), [0.5, 0.6])
    array([2.5, 3. ])
    """
    x, w = np.asarray(values, dtype=float), np.asarray(weights, dtype=float)
    return np.array([_quantile(x, w, share) for share in np.atleast_1d(shares)])


def _quantile(x: np.ndarray, w: np.ndarray, share: float) -> float:
    """Return the quantile from the values about it, where there are many, and from all if it is not there."""
    quantile = _of_all(*_about(x, w, share), share) if len(x) >= _MANY else np.nan
    return quantile if np.isfinite(quantile) else _of_all(x, w, share)


def _of_all(x: np.ndarray, w: np.ndarray, share: float) -> float:
    order = np.argsort(x, kind="stable")
    return float(quantiles(x[order], w[order], np.array([0, x.size]), np.array([share]))[0])


def _about(x: np.ndarray, w: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the values about a quantile, by a few of all, between all below at -inf and all above at inf."""
    some = slice(None, None, len(x) // _SOME)
    order = np.argsort(x[some])
    reached = np.cumsum(w[some][order])
    ends = np.searchsorted(reached, np.array([share - _WIDE, share + _WIDE]) * reached[-1])
    low, high = x[some][order[np.minimum(ends, len(order) - 1)]]
    near, below = (x >= low) & (x <= high), w @ (x < low)
    own = w[near]
    above = max(w.sum() - below - own.sum(), 0.0)
    return np.concatenate([[-np.inf], x[near], [np.inf]]), np.concatenate([[below], own, [above]])


@compiled
def _spreads(values, weights, offsets):
    """Weighted standard deviation and effective number of distinct values of each segment."""
    n_domains = offsets.size - 1
    sd = np.zeros(n_domains)
    atoms = np.zeros(n_domains)
    for d in range(n_domains):
        total = 0.0
        mean = 0.0
        for i in range(offsets[d], offsets[d + 1]):
            total += weights[i]
            mean += weights[i] * values[i]
        if not total > 0.0:
            continue
        mean /= total
        spread = 0.0
        squares = 0.0
        tied = 0.0
        for i in range(offsets[d], offsets[d + 1]):
            spread += weights[i] * (values[i] - mean) ** 2
            tied += weights[i]
            if i + 1 == offsets[d + 1] or values[i + 1] != values[i]:
                squares += tied * tied
                tied = 0.0
        sd[d] = np.sqrt(spread / total)
        atoms[d] = total * total / squares if squares > 0.0 else 1.0  # squares of tiny weights underflow
    return sd, atoms


def bandwidths(values: np.ndarray, weights: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Bandwidth of the Gaussian kernel for each segment: 0.9 min(sd, IQR/1.349) m^(-1/5).

    Two choices differ from the usual sd N^(-1/5) of poverty work. The interquartile range guards against the
    long right tail of incomes. The size m is not the estimated population (which lets the density follow
    single records) but Kish's effective number of distinct values: members of a household share one income
    and inform the density once.

    Parameters
    ----------
    values, weights : ndarray of float, shape (m,)
        Sorted within segments.
    offsets : ndarray of int, shape (n_domains + 1,)
        Starts of the segments.

    Returns
    -------
    ndarray of float, shape (n_domains,)
        In the unit of `values`; 0 where all values of the segment are equal or it is empty.

    References
    ----------
    Silverman (1986), Density Estimation for Statistics and Data Analysis, equations 3.30 and 3.31.
    """
    sd, atoms = _spreads(values, weights, offsets)
    n_domains = offsets.size - 1
    low = quantiles(values, weights, offsets, np.full(n_domains, 0.25))
    high = quantiles(values, weights, offsets, np.full(n_domains, 0.75))
    robust = (np.nan_to_num(high - low)) / 1.349
    scale = np.where(robust > 0.0, np.minimum(sd, robust), sd)
    return 0.9 * scale * np.maximum(atoms, 1.0) ** -0.2


@compiled
def densities(values, weights, offsets, at, bandwidth):
    """Gaussian kernel density of each segment at one point.

    f_d(q) = Σ_i w_i φ((q − x_i)/h_d) / (h_d Σ_i w_i).

    Parameters
    ----------
    values, weights : ndarray of float, shape (m,)
        Sorted within segments.
    offsets : ndarray of int, shape (n_domains + 1,)
        Starts of the segments.
    at, bandwidth : ndarray of float, shape (n_domains,)
        The point and the bandwidth h_d of each segment.

    Returns
    -------
    ndarray of float, shape (n_domains,)
        Per unit of `values`; infinite where the bandwidth is 0 and NaN where the segment is empty.

    References
    ----------
    Deville (1999), Survey Methodology 25, 193–203; Osier (2009), Survey Research Methods 3, 167–195.
    """
    n_domains = offsets.size - 1
    out = np.full(n_domains, np.nan)
    for d in range(n_domains):
        total = 0.0
        near = 0.0
        h = bandwidth[d]
        for i in range(offsets[d], offsets[d + 1]):
            total += weights[i]
            if h > 0.0:
                u = (at[d] - values[i]) / h
                if abs(u) < 9.0:  # beyond, the kernel is below 1e-18 of its peak
                    near += weights[i] * np.exp(-0.5 * u * u)
        if total > 0.0:
            out[d] = near / (total * h * np.sqrt(2.0 * np.pi)) if h > 0.0 else np.inf
    return out


def kernel_densities(
    values: np.ndarray,
    weights: np.ndarray,
    offsets: np.ndarray,
    at: np.ndarray,
    part: np.ndarray | None = None,
) -> np.ndarray:
    """Density of each segment, or of a part of it, at one point, with the bandwidth of `bandwidths`.

    Parameters
    ----------
    values, weights : ndarray of float, shape (m,)
        Sorted within segments.
    offsets : ndarray of int, shape (n_domains + 1,)
        Starts of the segments.
    at : ndarray of float, shape (n_domains,)
        The point of each segment.
    part : ndarray of float, shape (m,), optional
        Weights of those whose part of the density is wanted, 0 for the others.

    Returns
    -------
    ndarray of float, shape (n_domains,)
        Per unit of `values`; infinite where the bandwidth is 0 and NaN where the segment is empty.
    """
    width = bandwidths(values, weights, offsets)
    if part is None:
        return densities(values, weights, offsets, at, width)
    share = _shares(part, weights, offsets)
    return np.where(share == 0.0, 0.0, densities(values, part, offsets, at, width) * share)


def income_densities(
    values: np.ndarray,
    weights: np.ndarray,
    offsets: np.ndarray,
    at: np.ndarray,
    part: np.ndarray | None = None,
) -> np.ndarray:
    """Density of the incomes of each segment at one point, by a Gaussian kernel on their logarithms.

    f(q) = g(log q)/q, g the density of the logarithms. Incomes pile up between the poverty threshold and the
    median and have a long right tail: a kernel on the incomes themselves flattens the pile, and makes the
    variance of a poverty rate 4 to 10 % too low. Incomes of 0 or less have no logarithm; they count in the
    size of the segment. At a point of 0 or less the kernel is on the incomes.

    Parameters
    ----------
    values, weights, offsets, at, part
        As in `kernel_densities`.

    Returns
    -------
    ndarray of float, shape (n_domains,)
        Per unit of `values`; infinite where the bandwidth is 0 and NaN where the segment is empty.

    References
    ----------
    Graf and Tillé (2014), Survey Methodology 40, 61–79 (the bias of the kernel on incomes); Wand, Marron and
    Ruppert (1991), Transformations in density estimation, JASA 86, 343–353.

    Examples
    --------
    >>> income = np.sort(np.random.default_rng(1).lognormal(0, 0.6, 5000))
    >>> income_densities(income, np.ones(5000), np.array([0, 5000]), np.array([1.0])).round(2)
    array([0.67])
    """
    positive = values > 0.0
    point = np.where(at > 0.0, at, 1.0)
    wanted = np.where(positive, weights if part is None else part, 0.0)
    logs, held = np.log(np.where(positive, values, 1.0)), np.where(positive, weights, 0.0)
    share = _shares(held, weights, offsets)
    density = kernel_densities(logs, held, offsets, np.log(point), wanted) / point
    density = np.where(share == 0.0, 0.0, density * share)
    return np.where(at > 0.0, density, kernel_densities(values, weights, offsets, at, part))


@compiled
def _shares(part, weights, offsets):
    """Return the share of a part in the weight of each segment, NaN where there is no weight."""
    shares = np.full(offsets.size - 1, np.nan)
    for d in range(shares.size):
        total = weights[offsets[d] : offsets[d + 1]].sum()
        if total > 0.0:
            shares[d] = part[offsets[d] : offsets[d + 1]].sum() / total
    return shares


@compiled
def gini(values, weights, offsets):
    """Gini coefficient of each segment and its influence values.

    G = Σ_i Σ_j w_i w_j max(x_i, x_j) / (N Y) − 1 with N = Σ w_i and Y = Σ w_i x_i, which is the sum over the
    sorted values [2 Σ_i w_i x_i Σ_{j≤i} w_j − Σ_i w_i² x_i] / (N Y) − 1. The influence value is its exact
    derivative by the weight: z_k = 2 (x_k N_k + Y − Y_k)/(N Y) − (G + 1)(1/N + x_k/Y), N_k and Y_k being the
    sums up to k. Ties need no special care: they change neither.

    Parameters
    ----------
    values, weights : ndarray of float, shape (m,)
        Sorted within segments.
    offsets : ndarray of int, shape (n_domains + 1,)
        Starts of the segments.

    Returns
    -------
    coefficient : ndarray of float, shape (n_domains,)
        NaN where the segment is empty or its total is not positive.
    influence : ndarray of float, shape (m,)
        Linearised variable in the order of `values`; 0 where the coefficient is NaN.

    References
    ----------
    Langel and Tillé (2013), Variance estimation of the Gini index: revisiting a result several times
    published, JRSS A 176, 521–540.
    """
    n_domains = offsets.size - 1
    coefficient = np.full(n_domains, np.nan)
    influence = np.zeros(values.size)
    for d in range(n_domains):
        size = 0.0
        total = 0.0
        absolute = 0.0
        cross = 0.0
        for i in range(offsets[d], offsets[d + 1]):
            size += weights[i]
            total += weights[i] * values[i]
            absolute += abs(weights[i] * values[i])
            cross += weights[i] * values[i] * (2.0 * size - weights[i])
        if not (size > 0.0 and total > NOTHING * absolute):
            continue
        ratio = cross / (size * total)
        coefficient[d] = ratio - 1.0
        below = 0.0
        earned = 0.0
        for i in range(offsets[d], offsets[d + 1]):
            below += weights[i]
            earned += weights[i] * values[i]
            influence[i] = 2.0 * (values[i] * below + total - earned) / (size * total) - ratio * (
                1.0 / size + values[i] / total
            )
    return coefficient, influence
