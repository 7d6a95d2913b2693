"""Statistics of an income distribution by domain: points from `poverty`, variances over the full design."""

from __future__ import annotations

from typing import Any

import numpy as np

from sae.design_based import poverty
from sae.design_based.design import Design
from sae.design_based.estimates import PlainEstimates
from sae.design_based.linear import replicate_variance
from sae.indicators import IndicatorArrays
from sae.survey import Replicates

__all__ = ["distribution_estimates"]


def distribution_estimates(
    design: Design, data: IndicatorArrays, replicates: Replicates | None
) -> PlainEstimates:
    """Estimate a poverty or inequality statistic in every domain, thresholds estimated along with it.

    Parameters
    ----------
    design : Design
    data : IndicatorArrays
        Of an indicator of one of the kinds of an income distribution.
    replicates : Replicates or None
        Without them the variance is linearised, over the full file that the threshold comes from.
    """
    indicator, inside = data.indicator, data.inside
    income, domains = data.numerator, (inside, design.domain, design.n_domains)
    how: dict[str, Any] = {"groups": data.groups, "union": data.union}
    statistic = poverty.estimate(indicator, income, design.weights, *domains, **how)
    scores = design.scores(statistic.local, inside, statistic.common, statistic.loadings)
    use = inside & (design.domain >= 0)
    moments = design.sizes(inside)
    n, weight = moments[:, 0], moments[:, 1]
    square = _mean_square(design, statistic, use)
    with np.errstate(divide="ignore", invalid="ignore"):
        srs = np.where(n > 1, weight * square / (n - 1.0), np.nan)
    shared: dict[str, Any] = {
        "estimate": statistic.estimates,
        "moments": moments,
        "counts": scores.counts[0],
        "srs_variance": srs,
        "share": data.share,
        "unit": data.unit,
        "centred": indicator.kind != "threshold",
        "notes": statistic.notes,
    }
    if replicates is None:
        variance = np.where(np.isfinite(statistic.estimates), design.variance(scores), np.nan)
        return PlainEstimates(**shared, scores=scores, variance=variance)
    theta = poverty.replicate(indicator, income, replicates.weights, *domains, **how, full=design.weights).T
    return PlainEstimates(**shared, **replicate_variance(theta, statistic.estimates, replicates))


def _mean_square(design: Design, statistic: poverty.PovertyEstimates, use: np.ndarray) -> np.ndarray:
    """Σ w z_d² over the full file, z_d = local 1(d) + common @ loadings_d, without an n × n_domains array."""
    w, domain = design.weights, design.domain[use]
    local, common = statistic.local[use], statistic.common
    out = np.bincount(domain, w[use] * local**2, design.n_domains).astype(float)
    if common.shape[1]:
        cross = np.einsum("ij,ij->i", common[use], statistic.loadings[domain])
        out += 2.0 * np.bincount(domain, w[use] * local * cross, design.n_domains)
        gram = common.T @ (w[:, None] * common)
        out += np.einsum("di,ij,dj->d", statistic.loadings, gram, statistic.loadings)
    return out
