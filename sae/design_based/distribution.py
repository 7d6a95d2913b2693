"""Statistics of an income distribution by domain: points from `poverty`, variances over the full design."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sae.design_based import poverty
from sae.design_based.design import Design
from sae.design_based.linear import replicate_variance
from sae.design_based.parts import Part

if TYPE_CHECKING:
    from sae.indicators import Indicator, IndicatorArrays
    from sae.survey.replicates import Replicates

__all__ = ["distribution_estimates"]


def distribution_estimates(
    design: Design, indicator: Indicator, data: IndicatorArrays, replicates: Replicates | None
) -> Part:
    """Estimate a poverty or inequality statistic in every domain, thresholds estimated along with it.

    Parameters
    ----------
    design : Design
    indicator : Indicator
        Of one of the kinds of an income distribution.
    data : IndicatorArrays
    replicates : Replicates or None
        Without them the variance is linearised, over the full file that the threshold comes from.
    """
    inside = data.inside
    income, domains = data.numerator, (inside, design.domain, design.n_domains)
    found = poverty.estimate(indicator, income, design.weights, *domains, groups=data.groups)
    scores = design.scores(found.local, inside, found.common, found.loadings)
    use = inside & (design.domain >= 0)
    moments = design.sizes(inside)
    n, weight = moments[:, 0], moments[:, 1]
    square = _mean_square(design, found, use)
    with np.errstate(divide="ignore", invalid="ignore"):
        srs = np.where(n > 1, weight * square / (n - 1.0), np.nan)
    shared: dict[str, Any] = {
        "estimate": found.estimates, "moments": moments, "counts": scores.counts[0], "srs_variance": srs,
        "share": data.share, "unit": data.unit, "notes": found.notes,
    }  # fmt: skip
    if replicates is None:
        variance = np.where(np.isfinite(found.estimates), design.variance(scores), np.nan)
        return Part(**shared, spread=scores, variance=variance)
    theta = poverty.replicate(indicator, income, replicates.weights, *domains, groups=data.groups).T
    return Part(**shared, **replicate_variance(theta, found.estimates, replicates))


def _mean_square(design: Design, found: poverty.PovertyEstimates, use: np.ndarray) -> np.ndarray:
    """Σ w z_d² over the full file, z_d = local 1(d) + common @ loadings_d, without an n × n_domains array."""
    w, domain = design.weights, design.domain[use]
    local, common = found.local[use], found.common
    out = np.bincount(domain, w[use] * local**2, design.n_domains).astype(float)
    if common.shape[1]:
        cross = np.einsum("ij,ij->i", common[use], found.loadings[domain])
        out += 2.0 * np.bincount(domain, w[use] * local * cross, design.n_domains)
        gram = common.T @ (w[:, None] * common)
        out += np.einsum("di,ij,dj->d", found.loadings, gram, found.loadings)
    return out
