"""Composite estimates: the direct estimate where the sample carries it, the synthetic one for the rest.

References
----------
Drew, Singh and Choudhry (1982), Survey Methodology 8, 17-47; Purcell and Kish (1979), Biometrics 35, 365-384;
Rao and Molina (2015), Small Area Estimation, 2nd ed., section 3.3.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sae.calls import answered
from sae.design_based.estimates import DomainEstimates
from sae.design_based.indirect import Errors, indirect_errors, rows
from sae.design_based.indirect_problem import bias_groups_of, check_mse
from sae.design_based.smoothing import smooth
from sae.design_based.synthetic_estimation import assumption, prepare
from sae.errors import SaeSpecError
from sae.indicators import Indicator
from sae.literals import BiasMse, CompositeMse, IndirectVariance, Smoothing
from sae.survey import Survey
from sae.tables import EstimateTable

__all__ = ["composite", "ssd"]


@answered
def ssd(
    survey: Survey,
    indicator: str | Indicator,
    by: str | Sequence[str],
    counts: pd.DataFrame,
    *,
    within: str | Sequence[str] = (),
    count: str = "population",
    delta: float = 1.0,
    variance: IndirectVariance | None = None,
    mse: BiasMse = "variance",
    bias_groups: str | None = None,
    level: float = 0.95,
    accept: str | Sequence[str] = (),
) -> EstimateTable:
    """Estimate by the sample-size dependent composite of the direct and the synthetic estimate.

    The weight of the direct estimate is 1 where N̂_d >= delta N_d, else N̂_d / (delta N_d), with N̂_d = Σ w.

    Parameters
    ----------
    survey, indicator, by, counts, within, count, variance, bias_groups, level, accept
        As in `sae.design_based.synthetic`. With ``variance="poisson"`` the direct estimate divides by the
        known population of the domain, else by the estimated one.
    delta : float
        How much sample the direct estimate needs, above 0: the larger, the more is borrowed.
    mse : {"variance", "average", "area"}
        "variance": the design variance at the weights found, covariance of the two parts included, the bias
        not; no interval. "average", "area": plus (1 - weight)² × the squared bias of the synthetic direct.

    Returns
    -------
    EstimateTable
        ``gamma`` is the weight of the direct estimate.

    Raises
    ------
    SaeSpecError, SaeInputError
        As in `sae.design_based.synthetic`.

    References
    ----------
    Drew, Singh and Choudhry (1982); Rao and Molina (2015), section 3.3.

    Examples
    --------
    >>> frame = pd.DataFrame({"w": 8.0, "region": list("aaab"), "works": [1, 1, 0, 0]})
    >>> counts = pd.DataFrame({"region": ["a", "b"], "population": [20, 16]})
    >>> table = sae.design_based.ssd(sae.Survey.from_frame(frame, weights="w"), "works", "region", counts)
    >>> table[["gamma", "estimate"]].round(3).to_dict("list")
    {'gamma': [1.0, 0.5], 'estimate': [0.667, 0.25]}
    """
    check_mse(mse, bias_groups, level)
    if not (np.isfinite(delta) and delta > 0):
        raise SaeSpecError(f"delta must be a number above 0, but delta={delta}.")
    problem, data, indirect = prepare(survey, indicator, by, counts, within, count, variance, accept)
    direct = problem.direct(data)
    groups = bias_groups_of(counts, bias_groups, problem.known)
    errors = indirect_errors(problem, indirect, direct, data, mse, groups)
    placed = np.flatnonzero(problem.base & (problem.design.domain >= 0))
    estimated = np.bincount(problem.design.domain[placed], problem.design.weights[placed], len(problem.sizes))
    phi = np.where(np.isfinite(direct.estimate), np.clip(estimated / (delta * problem.sizes), 0.0, 1.0), 0.0)
    return rows(
        problem,
        data,
        direct,
        estimate=_mixed(phi, direct.estimate, indirect.estimate),
        mse=_error(phi, direct.variance, errors),
        gamma=phi,
        method="ssd",
        mse_method="at the weight found: " + errors.mse_method,
        model=f"{assumption(within)}; delta {delta:g}",
        biased=mse == "variance",
        level=level,
    )


@answered
def composite(
    survey: Survey,
    indicator: str | Indicator,
    by: str | Sequence[str],
    counts: pd.DataFrame,
    *,
    within: str | Sequence[str] = (),
    count: str = "population",
    variance: IndirectVariance | None = None,
    smoothing: Smoothing | None = None,
    mse: CompositeMse = "average",
    bias_groups: str | None = None,
    level: float = 0.95,
    accept: str | Sequence[str] = (),
) -> EstimateTable:
    """Estimate by the composite whose weight minimises the mean squared error.

    The weight of the direct estimate is MSE(syn) / (MSE(syn) + V(dir)), the covariance of the two being
    neglected in the weight, not in the error. A domain without a direct variance gets the weight 0.

    Parameters
    ----------
    survey, indicator, by, counts, within, count, variance, bias_groups, level, accept
        As in `sae.design_based.synthetic`.
    smoothing : {"deff", "gvf", "arcsin"}, optional
        Smooth the direct variances first, as in `sae.direct`: otherwise a domain whose few answers agree has
        no usable variance.
    mse : {"average", "area"}
        Squared bias of the synthetic estimate: averaged over domains, which is stable, or each domain's own,
        which may be estimated 0 (then the weight is nearly all on the synthetic estimate).

    Returns
    -------
    EstimateTable
        ``gamma`` is the weight of the direct estimate. ``mse`` is the error at that weight: it does not know
        that the weight is itself estimated.

    Raises
    ------
    SaeSpecError, SaeInputError
        As in `sae.design_based.synthetic`.

    References
    ----------
    Purcell and Kish (1979); Rao and Molina (2015), section 3.3.

    Examples
    --------
    >>> frame = pd.DataFrame({"w": 1.0, "region": list("aaaabbbb"), "works": [1, 1, 1, 0, 1, 0, 0, 0]})
    >>> counts = pd.DataFrame({"region": ["a", "b"], "population": [20, 20]})
    >>> survey = sae.Survey.from_frame(frame, weights="w")
    >>> table = sae.design_based.composite(survey, "works", "region", counts)
    >>> table[["direct", "gamma", "estimate"]].round(3).to_dict("list")
    {'direct': [0.75, 0.25], 'gamma': [0.538, 0.538], 'estimate': [0.635, 0.365]}
    """
    check_mse(mse, bias_groups, level, CompositeMse)
    problem, data, indirect = prepare(survey, indicator, by, counts, within, count, variance, accept)
    direct = problem.direct(data)
    groups = bias_groups_of(counts, bias_groups, problem.known)
    errors = indirect_errors(problem, indirect, direct, data, mse, groups)
    vardir = _vardir(direct, smoothing)
    usable = vardir > 0
    with np.errstate(invalid="ignore"):
        phi = np.where(usable, errors.mse / (errors.mse + np.where(usable, vardir, 1.0)), 0.0)
    mse_method = np.where(
        usable,
        "at the weight found: " + errors.mse_method,
        errors.mse_method + "; no direct variance: weight 0",
    )
    return rows(
        problem,
        data,
        direct,
        estimate=_mixed(phi, direct.estimate, indirect.estimate),
        mse=_error(phi, vardir, errors),
        gamma=phi,
        method="composite",
        mse_method=mse_method,
        model=assumption(within) + (f"; direct variances smoothed by {smoothing}" if smoothing else ""),
        biased=False,
        level=level,
    )


def _vardir(direct: DomainEstimates, smoothing: Smoothing | None) -> np.ndarray:
    if smoothing is None:
        return np.where(direct.variance > 0, direct.variance, np.nan)
    frame = pd.DataFrame(
        {"n": direct.n, "estimate": direct.estimate, "variance": direct.variance, "df": direct.df}
    )
    return smooth(frame, smoothing, share=direct.share).vardir


def _mixed(phi: np.ndarray, direct: np.ndarray, synthetic: np.ndarray) -> np.ndarray:
    return phi * np.where(phi > 0, direct, 0.0) + (1.0 - phi) * synthetic


def _error(phi: np.ndarray, vardir: np.ndarray, errors: Errors) -> np.ndarray:
    """E of phi dir + (1 - phi) syn, phi fixed; missing where a direct part has no variance."""
    borrowed = (1.0 - phi) ** 2 * errors.mse
    own = phi**2 * vardir + 2.0 * phi * (1.0 - phi) * errors.covariance
    return np.where(phi > 0, borrowed + own, borrowed)
