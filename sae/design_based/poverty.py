"""Poverty and inequality by domain: points and linearised variables over the whole file.

The linearised variable z of a statistic is such that the design variance of the total Σ w z is that of the
statistic. For a domain it has a part on the domain's own records, and, where a threshold is estimated, a part
on every record that the threshold was estimated from: z_d = local·1[domain d] + common·loading_d.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sae.errors import SaeInputError
from sae.indicators import Indicator
from sae.numerics.design.quantiles import bandwidths, densities, gini, quantiles, sort_segments

__all__ = ["PovertyEstimates", "estimate", "replicate"]


@dataclass(frozen=True, eq=False)
class PovertyEstimates:
    """Estimates of one indicator with what their variances need.

    Attributes
    ----------
    estimates : ndarray of float, shape (n_domains,)
        NaN where the domain has no record, or nobody below the threshold for a poverty gap.
    local : ndarray of float, shape (n,)
        Part of the linearised variable on the records of their own domain.
    common : ndarray of float, shape (n, n_groups)
        Linearised variable of the threshold of each group (period); no column where there is no threshold.
    loadings : ndarray of float, shape (n_domains, n_groups)
        Derivative of each domain's estimate by each threshold.
    codes : ndarray of int, shape (n,)
        Domain of each record, negative outside.
    thresholds : ndarray of float, shape (n_groups,)
        Estimated thresholds, in the unit of the income.
    notes : tuple of str
        What was done, for the log.
    """

    estimates: np.ndarray
    local: np.ndarray
    common: np.ndarray
    loadings: np.ndarray
    codes: np.ndarray
    thresholds: np.ndarray
    notes: tuple[str, ...]

    def scores(self, d: int) -> np.ndarray:
        """Linearised variable of domain `d` over the whole file, shape (n,)."""
        own = np.where(self.codes == d, self.local, 0.0)
        return own + self.common @ self.loadings[d] if self.common.shape[1] else own


def estimate(
    indicator: Indicator,
    income: np.ndarray,
    weights: np.ndarray,
    inside: np.ndarray,
    codes: np.ndarray,
    n_domains: int,
    *,
    groups: np.ndarray | None = None,
) -> PovertyEstimates:
    """Estimate a statistic of an income distribution in every domain and linearise it.

    Parameters
    ----------
    indicator : Indicator
        Of kind "median", "arpr", "poverty_gap", "qsr", "gini" or "threshold".
    income : ndarray of float, shape (n,)
        Income of every record of the file, NaN where missing. A threshold is estimated from all records with
        an income, whether inside or not.
    weights : ndarray of float, shape (n,)
        Analysis weights.
    inside : ndarray of bool, shape (n,)
        Records that the estimates are about: in the universe, in the subset, income known.
    codes : ndarray of int, shape (n,)
        Domain of each record, 0 to ``n_domains - 1``; negative: in none.
    n_domains : int
        Number of domains.
    groups : ndarray of int, shape (n,), optional
        Groups (periods) that each have a threshold of their own; negative: in none.

    Returns
    -------
    PovertyEstimates
        Rates, gaps and Gini coefficients as shares, never in percent.

    Raises
    ------
    SaeInputError
        If no record has an income, or a threshold is not positive.

    References
    ----------
    Deville (1999), Survey Methodology 25, 193–203; Osier (2009), Survey Research Methods 3, 167–195; Langel
    and Tillé (2011), Statistical inference for the quintile share ratio, Journal of Statistical Planning and
    Inference 141, 2976–2985, and (2013), JRSS A 176, 521–540 (Gini). The density of a domain is taken at the
    threshold, not at the median.

    Examples
    --------
    >>> income = np.array([1.0, 10, 11, 12])
    >>> everybody, one_domain = np.ones(4, bool), np.zeros(4, int)
    >>> estimate(Indicator("income", kind="arpr"), income, np.ones(4), everybody, one_domain, 1).estimates
    array([0.25])
    """
    codes = np.where(inside, codes, -1)
    if indicator.kind not in _THRESHOLDED:
        values, local, notes = _LOCAL[indicator.kind](income, weights, codes, n_domains)
        return PovertyEstimates(
            values, local, np.empty((income.size, 0)), np.empty((n_domains, 0)), codes, np.empty(0), notes
        )
    known, groups, n_groups = _reference(income, groups)
    lines = sort_segments(income, groups, n_groups, known)
    w = weights[lines.order]
    share = np.full(n_groups, 0.5)
    medians = quantiles(lines.values, w, lines.offsets, share)
    thresholds = _positive(indicator.threshold_share * medians)
    width = bandwidths(lines.values, w, lines.offsets)
    at_median = densities(lines.values, w, lines.offsets, medians, width)
    common = np.zeros((income.size, n_groups))
    for g in range(n_groups):
        mine = known & (groups == g)
        below = income[mine] <= medians[g]
        common[mine, g] = -indicator.threshold_share * (below - 0.5) / (weights[mine].sum() * at_median[g])
    # incomes relative to their threshold make one distribution of all groups, poor below 1
    codes = np.where(groups >= 0, codes, -1)
    relative = income / thresholds[groups]
    values, local, loadings, notes = _THRESHOLDED[indicator.kind](
        relative, weights, codes, n_domains, groups, thresholds
    )
    told = (
        f"threshold {indicator.threshold_share:g} of the median of {int(known.sum())} records with an income"
    )
    told += f": {', '.join(f'{value:.6g}' for value in thresholds)}" + (
        ", one per period" if n_groups > 1 else ""
    )
    return PovertyEstimates(values, local, common, loadings, codes, thresholds, (told, *notes))


def replicate(
    indicator: Indicator,
    income: np.ndarray,
    weights: np.ndarray,
    inside: np.ndarray,
    codes: np.ndarray,
    n_domains: int,
    *,
    groups: np.ndarray | None = None,
) -> np.ndarray:
    """Recompute the estimates, threshold included, with every column of replicate weights; sorts once.

    Parameters
    ----------
    indicator, income, inside, codes, n_domains, groups
        As for `estimate`.
    weights : ndarray of float, shape (n, n_replicates)
        Replicate weights; 0 takes a record out.

    Returns
    -------
    ndarray of float, shape (n_replicates, n_domains)

    Examples
    --------
    >>> replicate(Indicator("income", kind="median"), np.array([1.0, 2.0, 3.0]), np.eye(3), np.ones(3, bool),
    ...           np.zeros(3, int), 1).ravel()
    array([1., 2., 3.])
    """
    codes = np.where(inside, codes, -1)
    out = np.full((weights.shape[1], n_domains), np.nan)
    if indicator.kind not in _THRESHOLDED:
        segments = sort_segments(income, codes, n_domains, np.isfinite(income))
        for r, w in enumerate(weights.T):
            out[r] = _point(indicator.kind, segments.values, w[segments.order], segments.offsets)
        return out
    known, groups, n_groups = _reference(income, groups)
    codes = np.where(groups >= 0, codes, -1)
    lines = sort_segments(income, groups, n_groups, known)
    share = np.full(n_groups, 0.5)
    segments = sort_segments(income, codes, n_domains, known)
    for r, w in enumerate(weights.T):
        applied = (indicator.threshold_share * quantiles(lines.values, w[lines.order], lines.offsets, share))[
            groups
        ]
        if n_groups > 1:  # the order of relative incomes across groups changes with the thresholds
            segments = sort_segments(income / applied, codes, n_domains, known)
        own = applied[segments.order]
        relative = segments.values if n_groups > 1 else segments.values / own
        out[r] = _point(indicator.kind, relative, w[segments.order], segments.offsets, own)
    return out


def _reference(income: np.ndarray, groups: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, int]:
    """Find the records that the thresholds are estimated from, and their groups."""
    known = np.isfinite(income)
    groups = np.zeros(income.size, dtype=np.int64) if groups is None else np.asarray(groups)
    known = known & (groups >= 0)
    if not known.any():
        raise SaeInputError(
            "No record has an income, so there is no threshold.", hint="Check the income column."
        )
    return known, groups, int(groups[known].max()) + 1


def _positive(thresholds: np.ndarray) -> np.ndarray:
    bad = thresholds <= 0.0
    if bad.any():
        raise SaeInputError(
            f"The poverty threshold is {thresholds[bad][0]:.6g}: a median income must be above 0.",
            hint="Check the income column for codes of missing values such as 0 or -1.",
        )
    return thresholds


def _sums(values: np.ndarray | None, weights: np.ndarray, codes: np.ndarray, n_domains: int) -> np.ndarray:
    """Weighted sum of `values` (1 if None) by domain; negative codes left out."""
    held = codes >= 0
    product = weights[held] if values is None else weights[held] * values[held]
    return np.bincount(codes[held], weights=product, minlength=n_domains)


def _point(kind, values, weights, offsets, applied=None) -> np.ndarray:
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
            return 1.0 - _poor_median(values, weights, offsets, domain)
        size = _sums(None, weights, domain, n_domains)
        if kind == "arpr":
            return _sums((values < 1.0).astype(float), weights, domain, n_domains) / size
        return _sums(applied, weights, domain, n_domains) / size


def _median(income, weights, codes, n_domains):
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


def _gini(income, weights, codes, n_domains):
    segments = sort_segments(income, codes, n_domains, np.isfinite(income))
    coefficient, influence = gini(segments.values, weights[segments.order], segments.offsets)
    local = np.zeros(income.size)
    local[segments.order] = influence
    return coefficient, local, ()


def _quintile_shares(values, weights, offsets, domain):
    """S80/S20 of every segment, its q20 and q80, and the total below q20."""
    n_domains = offsets.size - 1
    low = quantiles(values, weights, offsets, np.full(n_domains, 0.2))
    high = quantiles(values, weights, offsets, np.full(n_domains, 0.8))
    rich = _sums(np.where(values > high[domain], values, 0.0), weights, domain, n_domains)
    poor = _sums(np.where(values <= low[domain], values, 0.0), weights, domain, n_domains)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(poor > 0.0, rich / poor, np.nan), low, high, poor


def _qsr(income, weights, codes, n_domains):
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


def _arpr(relative, weights, codes, n_domains, groups, thresholds):
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


def _poor_median(values, weights, offsets, domain):
    """Median relative income of those below 1, NaN where there is nobody."""
    n_domains = offsets.size - 1
    poor = np.where(values < 1.0, weights, 0.0)
    return quantiles(values, poor, offsets, np.full(n_domains, 0.5))


def _poverty_gap(relative, weights, codes, n_domains, groups, thresholds):
    # the poor median q solves F(q) = F(1)/2: its density divides the scores of both sides (Osier 2009)
    held = codes >= 0
    size = _sums(None, weights, codes, n_domains)
    segments = sort_segments(relative, codes, n_domains, np.isfinite(relative))
    middle = _poor_median(segments.values, weights[segments.order], segments.offsets, codes[segments.order])
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


def _threshold(relative, weights, codes, n_domains, groups, thresholds):
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


def _density_by_group(segments, weights, groups, n_groups, at) -> np.ndarray:
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
_LOCAL = {"median": _median, "gini": _gini, "qsr": _qsr}
_THRESHOLDED = {"arpr": _arpr, "poverty_gap": _poverty_gap, "threshold": _threshold}
