"""Poverty and inequality by domain: points and linearised variables over the whole file.

The linearised variable z of a statistic is such that the design variance of the total Σ w z is that of the
statistic. For a domain it has a part on the domain's own records, and, where a threshold is estimated, a part
on every record that the threshold was estimated from: z_d = local·1[domain d] + common·loading_d.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sae.design_based.poverty_statistics import LOCAL, THRESHOLDED, at_risk, point_of, quintile_shares
from sae.errors import SaeInputError
from sae.indicators import Indicator
from sae.numerics.design.quantiles import income_densities, quantiles, sort_segments

__all__ = ["PovertyEstimates", "estimate", "replicate"]


@dataclass(frozen=True, eq=False)
class PovertyEstimates:
    """Estimates of one indicator with what their variances need.

    Attributes
    ----------
    estimates : ndarray of float, shape (n_domains,)
        NaN where the domain has no record, or nobody below the threshold for a poverty gap.
    local : ndarray of float, shape (n,)
        PlainEstimates of the linearised variable on the records of their own domain.
    common : ndarray of float, shape (n, n_groups)
        Linearised variable of the threshold of each group (country, period); no column without thresholds.
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
    union: np.ndarray | None = None,
) -> PovertyEstimates:
    """Estimate a statistic of an income distribution in every domain and linearise it.

    Parameters
    ----------
    indicator : Indicator
        Of a kind of an income distribution.
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
        Groups (countries, periods) that each have a threshold of their own; negative: in none.
    union : ndarray of bool, shape (n,), optional
        Who counts besides the poor, of kind "arpr".

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
    >>> estimate(sae.Indicator("income", kind="arpr"), income, np.ones(4), everybody, one_domain, 1).estimates
    array([0.25])
    """
    codes = np.where(inside, codes, -1)
    if indicator.kind not in THRESHOLDED:
        values, local, notes = LOCAL[indicator.kind](income, weights, codes, n_domains)
        return PovertyEstimates(
            values, local, np.empty((income.size, 0)), np.empty((n_domains, 0)), codes, np.empty(0), notes
        )
    known, groups, n_groups = _reference(income, groups)
    lines = sort_segments(income, groups, n_groups, known)
    w = weights[lines.order]
    share = np.full(n_groups, 0.5)
    medians = quantiles(lines.values, w, lines.offsets, share)
    thresholds = _positive(indicator.reference_share * medians)
    at_median = income_densities(lines.values, w, lines.offsets, medians)
    common = np.zeros((income.size, n_groups))
    for g in range(n_groups):
        mine = known & (groups == g)
        below = income[mine] <= medians[g]
        common[mine, g] = -indicator.reference_share * (below - 0.5) / (weights[mine].sum() * at_median[g])
    # incomes relative to their threshold make one distribution of all groups, poor below 1
    codes = np.where(groups >= 0, codes, -1)
    relative = income / thresholds[groups]
    of_domains = (relative, weights, codes, n_domains, groups, thresholds)
    values, local, loadings, notes = (
        THRESHOLDED[indicator.kind](*of_domains) if union is None else at_risk(*of_domains, union)
    )
    values_text = ", ".join(f"{value:.6g}" for value in thresholds)
    note = (
        f"threshold {indicator.reference_share:g} of the median of {int(known.sum())} records with an income"
        f": {values_text}" + (", one per period and country" if n_groups > 1 else "")
    )
    return PovertyEstimates(values, local, common, loadings, codes, thresholds, (note, *notes))


def replicate(
    indicator: Indicator,
    income: np.ndarray,
    weights: np.ndarray,
    inside: np.ndarray,
    codes: np.ndarray,
    n_domains: int,
    *,
    groups: np.ndarray | None = None,
    full: np.ndarray | None = None,
    union: np.ndarray | None = None,
) -> np.ndarray:
    """Recompute the estimates, threshold included, with every column of replicate weights; sorts once.

    Parameters
    ----------
    indicator, income, inside, codes, n_domains, groups, union
        As for `estimate`.
    weights : ndarray of float, shape (n, n_replicates)
        Replicate weights; 0 takes a record out.
    full : ndarray of float, shape (n,), optional
        The weights themselves: they decide where tied incomes are split.

    Returns
    -------
    ndarray of float, shape (n_replicates, n_domains)

    Examples
    --------
    >>> median, everybody = sae.Indicator("income", kind="median"), np.ones(3, bool)
    >>> replicate(median, np.array([1.0, 2.0, 3.0]), np.eye(3), everybody, np.zeros(3, int), 1).ravel()
    array([1., 2., 3.])
    """
    codes = np.where(inside, codes, -1)
    out = np.full((weights.shape[1], n_domains), np.nan)
    if indicator.kind not in THRESHOLDED:
        segments = sort_segments(income, codes, n_domains, np.isfinite(income))
        split = None
        if full is not None and indicator.kind == "qsr":  # ties are treated alike in all replicates
            split = quintile_shares(segments.values, full[segments.order], segments.offsets).split
        for r, w in enumerate(weights.T):
            out[r] = point_of(
                indicator.kind, segments.values, w[segments.order], segments.offsets, split=split
            )
        return out
    known, groups, n_groups = _reference(income, groups)
    codes = np.where(groups >= 0, codes, -1)
    lines = sort_segments(income, groups, n_groups, known)
    share = np.full(n_groups, 0.5)
    segments = sort_segments(income, codes, n_domains, known)
    for r, w in enumerate(weights.T):
        applied = (indicator.reference_share * quantiles(lines.values, w[lines.order], lines.offsets, share))[
            groups
        ]
        if n_groups > 1:  # the order of relative incomes across groups changes with the thresholds
            segments = sort_segments(income / applied, codes, n_domains, known)
        own = applied[segments.order]
        relative = segments.values if n_groups > 1 else segments.values / own
        if union is not None:  # who counts in any case counts as one without an income
            relative = np.where(union[segments.order], 0.0, relative)
        out[r] = point_of(indicator.kind, relative, w[segments.order], segments.offsets, own)
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
