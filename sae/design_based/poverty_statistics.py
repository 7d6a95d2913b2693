"""Each statistic of an income distribution by domain: its value and its linearised variable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sae.numerics.design.quantiles import (
    NOTHING,
    Segments,
    gini,
    income_densities,
    kernel_densities,
    quantiles,
    sort_segments,
)

__all__ = ["LOCAL", "THRESHOLDED", "QuintileShares", "at_risk", "point_of", "quintile_shares"]

# estimates by domain, the linearised variable on the records of their own domain, notes for the log
Linearised = tuple[np.ndarray, np.ndarray, tuple[str, ...]]
# the same with the derivatives by the thresholds, shape (n_domains, n_groups), before the notes
LinearisedWithThreshold = tuple[np.ndarray, np.ndarray, np.ndarray, tuple[str, ...]]


def _sums(values: np.ndarray | None, weights: np.ndarray, codes: np.ndarray, n_domains: int) -> np.ndarray:
    """Weighted sum of `values` (1 if None) by domain; negative codes left out."""
    held = codes >= 0
    product = weights[held] if values is None else weights[held] * values[held]
    return np.bincount(codes[held], weights=product, minlength=n_domains)


def point_of(
    kind: str,
    values: np.ndarray,
    weights: np.ndarray,
    offsets: np.ndarray,
    applied: np.ndarray | None = None,
    split: np.ndarray | None = None,
) -> np.ndarray:
    """One statistic of every segment, without linearisation; `split` as for `quintile_shares`."""
    n_domains = offsets.size - 1
    domain = np.repeat(np.arange(n_domains), np.diff(offsets))
    with np.errstate(divide="ignore", invalid="ignore"):
        if kind in ("median", "median_ratio"):
            return quantiles(values, weights, offsets, np.full(n_domains, 0.5))
        if kind == "gini":
            return gini(values, weights, offsets)[0]
        if kind == "qsr":
            return quintile_shares(values, weights, offsets, split).ratio
        if kind == "poverty_gap":
            return 1.0 - _poor_median(values, weights, offsets)
        size = _sums(None, weights, domain, n_domains)
        if kind == "arpr":
            return _sums((values < 1.0).astype(float), weights, domain, n_domains) / size
        return _sums(applied, weights, domain, n_domains) / size


def _median(income: np.ndarray, weights: np.ndarray, codes: np.ndarray, n_domains: int) -> Linearised:
    segments = sort_segments(income, codes, n_domains, np.isfinite(income))
    w = weights[segments.order]
    median = quantiles(segments.values, w, segments.offsets, np.full(n_domains, 0.5))
    density = kernel_densities(segments.values, w, segments.offsets, median)
    size = _sums(None, weights, codes, n_domains)
    local = np.zeros(income.size)
    domain = codes[segments.order]
    below = segments.values <= median[domain]
    local[segments.order] = -(below - 0.5) / (size * density)[domain]
    return median, local, (_DENSITY,)


def _gini(income: np.ndarray, weights: np.ndarray, codes: np.ndarray, n_domains: int) -> Linearised:
    segments = sort_segments(income, codes, n_domains, np.isfinite(income))
    coefficient, influence = gini(segments.values, weights[segments.order], segments.offsets)
    local = np.zeros(income.size)
    local[segments.order] = influence
    return coefficient, local, ()


@dataclass(frozen=True, eq=False)
class QuintileShares:
    """S80/S20 of every segment and what it is made of; arrays of shape (n_domains,).

    Attributes
    ----------
    ratio : ndarray of float
        NaN where the lowest fifth has no income.
    low, high : ndarray of float
        The quintiles q20 and q80.
    poor : ndarray of float
        Income of the lowest fifth.
    split : ndarray of bool
        Where the records tied at a quintile are divided between its two sides.
    """

    ratio: np.ndarray
    low: np.ndarray
    high: np.ndarray
    poor: np.ndarray
    split: np.ndarray


def quintile_shares(
    values: np.ndarray, weights: np.ndarray, offsets: np.ndarray, split: np.ndarray | None = None
) -> QuintileShares:
    """S80/S20 of every segment of sorted incomes.

    Eurostat's rule moves a record as a whole: the income of those above q80 over that of those up to q20.
    Where several records that hold more than 1 % of the weight tie at a quintile, one of these "fifths" holds
    far more or less than a fifth (nobody, where all incomes are equal): there, and wherever the rule would
    give the richest fifth less than the poorest, the tied weight is split at the quintile, so that both sides
    hold exactly a fifth. The ratio is then never below 1.

    Parameters
    ----------
    values, weights : ndarray of float, shape (m,)
        Sorted within segments.
    offsets : ndarray of int, shape (n_domains + 1,)
        Starts of the segments.
    split : ndarray of bool, shape (n_domains,), optional
        Where ties are split: for replicates, as under the full weights. By the rule above, by default.
    """
    n_domains = offsets.size - 1
    domain = np.repeat(np.arange(n_domains), np.diff(offsets))
    low = quantiles(values, weights, offsets, np.full(n_domains, 0.2))
    high = quantiles(values, weights, offsets, np.full(n_domains, 0.8))
    rich = _sums(np.where(values > high[domain], values, 0.0), weights, domain, n_domains)
    poor = _sums(np.where(values <= low[domain], values, 0.0), weights, domain, n_domains)
    with np.errstate(divide="ignore", invalid="ignore"):
        if split is None:
            split = (rich < poor) | _tied(values, weights, domain, low) | _tied(values, weights, domain, high)
        if split.any():
            total = _sums(values, weights, domain, n_domains)
            rich = np.where(split, total - _lowest(values, weights, offsets, domain, 0.8), rich)
            poor = np.where(split, _lowest(values, weights, offsets, domain, 0.2), poor)
        size = _sums(np.abs(values), weights, domain, n_domains)
        ratio = np.where(poor > NOTHING * size, rich / poor, np.nan)
    return QuintileShares(np.where(split, np.maximum(ratio, 1.0), ratio), low, high, poor, split)


def _tied(values: np.ndarray, weights: np.ndarray, domain: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Whether several records, with more than 1 % of the weight, have the income `at` of their domain."""
    mine = (values == at[domain]) & (weights != 0.0)
    several = np.bincount(domain[mine], minlength=at.size) > 1
    held = np.bincount(domain[mine], weights[mine], minlength=at.size)
    return several & (held > 0.01 * _sums(None, weights, domain, at.size))


def _lowest(
    values: np.ndarray, weights: np.ndarray, offsets: np.ndarray, domain: np.ndarray, share: float
) -> np.ndarray:
    """Income of exactly the lowest `share` of the weight of every segment."""
    below = np.cumsum(weights) - weights
    first = np.append(below, 0.0)[offsets[:-1]]  # an empty segment at the end starts beyond the last record
    left = share * _sums(None, weights, domain, offsets.size - 1)[domain] - (below - first[domain])
    # a negative replicate weight below the quintile counts whole, above it not at all
    taken = np.where(left <= 0.0, 0.0, np.where(left >= weights, weights, left))
    return np.bincount(domain, taken * values, offsets.size - 1)


def _qsr(income: np.ndarray, weights: np.ndarray, codes: np.ndarray, n_domains: int) -> Linearised:
    # I(total up to the quantile q of order a) = x 1[x ≤ q] − q (1[x ≤ q] − a): no density is needed, and
    # records tied at q have the same value on either side of it
    segments = sort_segments(income, codes, n_domains, np.isfinite(income))
    x, domain = segments.values, codes[segments.order]
    shares = quintile_shares(x, weights[segments.order], segments.offsets)
    q20, q80, bottom = shares.low[domain], shares.high[domain], shares.poor[domain]
    of_bottom = np.where(x <= q20, x - q20, 0.0) + 0.2 * q20
    of_top = x - (np.where(x <= q80, x - q80, 0.0) + 0.8 * q80)
    local = np.zeros(income.size)
    with np.errstate(divide="ignore", invalid="ignore"):
        local[segments.order] = np.nan_to_num(
            (of_top - shares.ratio[domain] * of_bottom) / bottom, posinf=0.0, neginf=0.0
        )
    notes: tuple[str, ...] = (QUINTILES,)
    if shares.split.any():
        where = f"{int(shares.split.sum())} of {n_domains} domains"
        notes = (QUINTILES, f"ties at a quintile split so that both sides hold a fifth, in {where}")
    return shares.ratio, local, notes


def at_risk(
    relative: np.ndarray,
    weights: np.ndarray,
    codes: np.ndarray,
    n_domains: int,
    groups: np.ndarray,
    thresholds: np.ndarray,
    union: np.ndarray | None = None,
) -> LinearisedWithThreshold:
    """Rate of those below the threshold, or in the `union`, who count whatever their income, linearised.

    At the threshold only who is not in the union changes sides.
    """
    held = codes >= 0
    size = _sums(None, weights, codes, n_domains)
    risk = relative < 1.0 if union is None else (relative < 1.0) | union
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = _sums(risk.astype(float), weights, codes, n_domains) / size
    local = np.zeros(relative.size)
    local[held] = (risk[held] - rate[codes[held]]) / size[codes[held]]
    segments = sort_segments(relative, codes, n_domains, np.isfinite(relative))
    changing = None if union is None else ~union
    density = _density_by_group(
        income_densities, segments, weights, groups, thresholds.size, np.ones(n_domains), changing
    )
    return rate, local, density / thresholds, (_DENSITY.replace("incomes", "log incomes", 1),)


def _poor_median(values: np.ndarray, weights: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Median relative income of those below 1, NaN where there is nobody."""
    n_domains = offsets.size - 1
    poor = np.where(values < 1.0, weights, 0.0)
    return quantiles(values, poor, offsets, np.full(n_domains, 0.5))


def _poverty_gap(
    relative: np.ndarray,
    weights: np.ndarray,
    codes: np.ndarray,
    n_domains: int,
    groups: np.ndarray,
    thresholds: np.ndarray,
) -> LinearisedWithThreshold:
    # the poor median q solves F(q) = F(1)/2: its density divides the scores of both sides (Osier 2009)
    held = codes >= 0
    size = _sums(None, weights, codes, n_domains)
    segments = sort_segments(relative, codes, n_domains, np.isfinite(relative))
    middle = _poor_median(segments.values, weights[segments.order], segments.offsets)
    n_groups = thresholds.size
    # the poor median lies in the lower tail, where a kernel on logarithms is too narrow for enough records
    at_line, at_middle = (
        _density_by_group(kernel_densities, segments, weights, groups, n_groups, at)
        for at in (np.ones(n_domains), np.nan_to_num(middle))
    )
    density = at_middle.sum(axis=1)
    poor, poorer = relative < 1.0, np.zeros(relative.size, dtype=bool)
    poorer[held] = relative[held] <= middle[codes[held]]
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.nan_to_num(1.0 / (density * size), posinf=0.0)
        loadings = -(0.5 * at_line - middle[:, None] * at_middle) / density[:, None] / thresholds
    local = np.zeros(relative.size)
    local[held] = -(0.5 * poor[held] - poorer[held]) * scale[codes[held]]
    return 1.0 - middle, local, np.nan_to_num(loadings, posinf=0.0, neginf=0.0), (_DENSITY,)


def _median_ratio(
    relative: np.ndarray,
    weights: np.ndarray,
    codes: np.ndarray,
    n_domains: int,
    groups: np.ndarray,
    thresholds: np.ndarray,
) -> LinearisedWithThreshold:
    """Median of the incomes relative to the national median: F(q) = 1/2 moves with every group's median.

    The density is that of the national median: where the domain is the nation, both parts cancel.
    """
    segments = sort_segments(relative, codes, n_domains, np.isfinite(relative))
    middle = quantiles(segments.values, weights[segments.order], segments.offsets, np.full(n_domains, 0.5))
    size = _sums(None, weights, codes, n_domains)
    at = np.nan_to_num(middle)
    density = _density_by_group(income_densities, segments, weights, groups, thresholds.size, at)
    total = density.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.nan_to_num(1.0 / (size * total), posinf=0.0)
        loadings = -middle[:, None] * density / total[:, None] / thresholds
    local, held = np.zeros(relative.size), codes >= 0
    below = relative[held] <= middle[codes[held]]
    local[held] = -(below - 0.5) * scale[codes[held]]
    notes = (_DENSITY.replace("incomes", "log incomes", 1),)
    return middle, local, np.nan_to_num(loadings, posinf=0.0, neginf=0.0), notes


def _threshold(
    relative: np.ndarray,
    weights: np.ndarray,
    codes: np.ndarray,
    n_domains: int,
    groups: np.ndarray,
    thresholds: np.ndarray,
) -> LinearisedWithThreshold:
    """Threshold that applies in the domain: of several periods, the mean over its records."""
    held = codes >= 0
    size = _sums(None, weights, codes, n_domains)
    n_groups = thresholds.size
    cells = np.where(held, codes * n_groups + groups, -1)
    with np.errstate(divide="ignore", invalid="ignore"):
        mix = _sums(None, weights, cells, n_domains * n_groups).reshape(n_domains, n_groups) / size[:, None]
    mean = mix @ thresholds
    local = np.zeros(relative.size)
    local[held] = (thresholds[groups[held]] - mean[codes[held]]) / size[codes[held]]
    return mean, local, np.nan_to_num(mix), ()


def _density_by_group(
    density: Callable[..., np.ndarray],
    segments: Segments,
    weights: np.ndarray,
    groups: np.ndarray,
    n_groups: int,
    at: np.ndarray,
    part: np.ndarray | None = None,
) -> np.ndarray:
    """Density of relative incomes of each domain at one point, split by group: (n_domains, n_groups).

    `part` marks the records whose part of the density is wanted, all by default.
    """
    w, group = weights[segments.order], groups[segments.order]
    shown = w if part is None else np.where(part[segments.order], w, 0.0)
    plain = n_groups == 1 and part is None
    parts = [None] if plain else [np.where(group == g, shown, 0.0) for g in range(n_groups)]
    columns = [density(segments.values, w, segments.offsets, at, part) for part in parts]
    return np.nan_to_num(np.column_stack(columns), posinf=0.0)


_DENSITY = (
    "densities by a Gaussian kernel on incomes of bandwidth 0.9 min(sd, IQR/1.349) m^(-1/5), "
    "m the effective number of distinct incomes"
)
QUINTILES = "S80/S20 by Eurostat's rule: income above q80 over income up to q20, whole records"
LOCAL = {"median": _median, "gini": _gini, "qsr": _qsr}
THRESHOLDED = {
    "arpr": at_risk,
    "poverty_gap": _poverty_gap,
    "threshold": _threshold,
    "median_ratio": _median_ratio,
}
