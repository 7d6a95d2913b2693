"""Each statistic of an income distribution by domain: its value and its linearised variable."""

from __future__ import annotations

import numpy as np

from sae.numerics.design.quantiles import Segments, bandwidths, densities, gini, quantiles, sort_segments

__all__ = ["LOCAL", "THRESHOLDED", "point_of"]

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
) -> np.ndarray:
    """One statistic of every segment, without linearisation."""
    n_domains = offsets.size - 1
    domain = np.repeat(np.arange(n_domains), np.diff(offsets))
    with np.errstate(divide="ignore", invalid="ignore"):
        if kind == "median":
            return quantiles(values, weights, offsets, np.full(n_domains, 0.5))
        if kind == "gini":
            return gini(values, weights, offsets)[0]
        if kind == "qsr":
            return _quintile_shares(values, weights, offsets, domain)[0]
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
    width = bandwidths(segments.values, w, segments.offsets)
    density = densities(segments.values, w, segments.offsets, median, width)
    size = _sums(None, weights, codes, n_domains)
    local = np.zeros(income.size)
    domain = codes[segments.order]
    below = segments.values <= median[domain]
    local[segments.order] = -(below - 0.5) / (size * density)[domain]
    return median, local, (_BANDWIDTH,)


def _gini(income: np.ndarray, weights: np.ndarray, codes: np.ndarray, n_domains: int) -> Linearised:
    segments = sort_segments(income, codes, n_domains, np.isfinite(income))
    coefficient, influence = gini(segments.values, weights[segments.order], segments.offsets)
    local = np.zeros(income.size)
    local[segments.order] = influence
    return coefficient, local, ()


def _quintile_shares(
    values: np.ndarray, weights: np.ndarray, offsets: np.ndarray, domain: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """S80/S20 of every segment, its q20 and q80, and the total below q20."""
    n_domains = offsets.size - 1
    low = quantiles(values, weights, offsets, np.full(n_domains, 0.2))
    high = quantiles(values, weights, offsets, np.full(n_domains, 0.8))
    rich = _sums(np.where(values > high[domain], values, 0.0), weights, domain, n_domains)
    poor = _sums(np.where(values <= low[domain], values, 0.0), weights, domain, n_domains)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(poor > 0.0, rich / poor, np.nan), low, high, poor


def _qsr(income: np.ndarray, weights: np.ndarray, codes: np.ndarray, n_domains: int) -> Linearised:
    # I(total up to the quantile q of order a) = x 1[x ≤ q] − q (1[x ≤ q] − a): no density is needed
    segments = sort_segments(income, codes, n_domains, np.isfinite(income))
    x, domain = segments.values, codes[segments.order]
    ratio, low, high, poor = _quintile_shares(x, weights[segments.order], segments.offsets, domain)
    q20, q80, bottom = low[domain], high[domain], poor[domain]
    of_bottom = np.where(x <= q20, x - q20, 0.0) + 0.2 * q20
    of_top = x - (np.where(x <= q80, x - q80, 0.0) + 0.8 * q80)
    local = np.zeros(income.size)
    with np.errstate(divide="ignore", invalid="ignore"):
        local[segments.order] = np.nan_to_num(
            (of_top - ratio[domain] * of_bottom) / bottom, posinf=0.0, neginf=0.0
        )
    return ratio, local, ()


def _arpr(
    relative: np.ndarray,
    weights: np.ndarray,
    codes: np.ndarray,
    n_domains: int,
    groups: np.ndarray,
    thresholds: np.ndarray,
) -> LinearisedWithThreshold:
    held = codes >= 0
    size = _sums(None, weights, codes, n_domains)
    poor = relative < 1.0
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = _sums(poor.astype(float), weights, codes, n_domains) / size
    local = np.zeros(relative.size)
    local[held] = (poor[held] - rate[codes[held]]) / size[codes[held]]
    segments = sort_segments(relative, codes, n_domains, np.isfinite(relative))
    density = _density_by_group(segments, weights, groups, thresholds.size, np.ones(n_domains))
    return rate, local, density / thresholds, (_BANDWIDTH,)


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
    at_line = _density_by_group(segments, weights, groups, n_groups, np.ones(n_domains))
    at_middle = _density_by_group(segments, weights, groups, n_groups, np.nan_to_num(middle))
    density = at_middle.sum(axis=1)
    poor, poorer = relative < 1.0, np.zeros(relative.size, dtype=bool)
    poorer[held] = relative[held] <= middle[codes[held]]
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.nan_to_num(1.0 / (density * size), posinf=0.0)
        loadings = -(0.5 * at_line - middle[:, None] * at_middle) / density[:, None] / thresholds
    local = np.zeros(relative.size)
    local[held] = -(0.5 * poor[held] - poorer[held]) * scale[codes[held]]
    return 1.0 - middle, local, np.nan_to_num(loadings, posinf=0.0, neginf=0.0), (_BANDWIDTH,)


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
    segments: Segments, weights: np.ndarray, groups: np.ndarray, n_groups: int, at: np.ndarray
) -> np.ndarray:
    """Density of relative incomes of each domain at one point, split by group: (n_domains, n_groups)."""
    w = weights[segments.order]
    width = bandwidths(segments.values, w, segments.offsets)
    if n_groups == 1:
        return np.nan_to_num(densities(segments.values, w, segments.offsets, at, width), posinf=0.0)[:, None]
    out = np.zeros((at.size, n_groups))
    domain = np.repeat(np.arange(at.size), np.diff(segments.offsets))
    size = _sums(None, w, domain, at.size)
    for g in range(n_groups):
        part = np.where(groups[segments.order] == g, w, 0.0)
        density = densities(segments.values, part, segments.offsets, at, width)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = _sums(None, part, domain, at.size) / size
            out[:, g] = np.nan_to_num(density * share, posinf=0.0)
    return out


_BANDWIDTH = (
    "densities by a Gaussian kernel of bandwidth 0.9 min(sd, IQR/1.349) m^(-1/5), "
    "m the effective number of distinct incomes"
)
LOCAL = {"median": _median, "gini": _gini, "qsr": _qsr}
THRESHOLDED = {"arpr": _arpr, "poverty_gap": _poverty_gap, "threshold": _threshold}
