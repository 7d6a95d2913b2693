"""What every indirect estimate shares: its design variance beside the direct one, its bias, its rows.

An indirect estimate of a domain is, to first order, a fixed combination of means over the whole sample:
s_d = Σ_r L_dr t_r, t_r the total of w times the linearised variable of the r-th mean. Its variance, and its
covariance with the direct estimate of the domain, then come from the full design. The bias is what no
design variance shows: E(s_d - y_d)² = V(s_d - y_d) + bias², y_d the direct estimate.

References
----------
Rao and Molina (2015), Small Area Estimation, 2nd ed., section 3.2; Gonzalez and Waksberg (1973);
Marker (1995), PhD thesis, University of Michigan (average squared bias).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import ndtri

from sae.design_based.estimates import DomainEstimates
from sae.design_based.indirect_problem import IndirectProblem
from sae.errors import SaeInputError, name_some
from sae.indicators import IndicatorArrays, crossed_breaks
from sae.literals import BiasMse
from sae.numerics.design.replicates import replicate_deviations, replicate_totals
from sae.survey import Replicates
from sae.tables import EstimateTable, cv_of
from sae.tables.mixing import marked

__all__ = [
    "Errors",
    "Indirect",
    "Shared",
    "extended",
    "indirect_errors",
    "rows",
    "shared_means",
    "variance_of",
]


@dataclass(frozen=True, eq=False)
class Shared:
    """Means over post-strata that the estimates of all domains share.

    Attributes
    ----------
    mean : ndarray of float, shape (n_strata, K)
        Means per person of K variables.
    size : ndarray of float, shape (n_strata,)
        What the sums were divided by.
    columns : ndarray of float, shape (n, r)
        Linearised variables, r = n_strata K (stratum by stratum), and whatever was added.
    deviations : ndarray of float, shape (r, R), or None
        Their replicate deviations.
    """

    mean: np.ndarray
    size: np.ndarray
    columns: np.ndarray
    deviations: np.ndarray | None


@dataclass(frozen=True, eq=False)
class Indirect:
    """An indirect estimate of every domain, and what it is to first order.

    Attributes
    ----------
    estimate : ndarray of float, shape (n_domains,)
    loadings : ndarray of float, shape (n_domains, r)
    shared : Shared
    """

    estimate: np.ndarray
    loadings: np.ndarray
    shared: Shared


@dataclass(frozen=True, eq=False)
class Errors:
    """Errors of an indirect estimate beside the direct one; arrays of shape (n_domains,).

    Attributes
    ----------
    variance, covariance : ndarray of float
        Design variance, and covariance with the direct estimate (missing without one).
    bias2 : ndarray of float
        Estimated squared bias, >= 0; 0 where it is not asked for.
    mse_method : ndarray of str
        What `mse` holds.
    """

    variance: np.ndarray
    covariance: np.ndarray
    bias2: np.ndarray
    mse_method: np.ndarray

    @property
    def mse(self) -> np.ndarray:
        """Variance and squared bias together."""
        return self.variance + self.bias2


# ---------------------------------------------------------------- variances


def shared_means(problem: IndirectProblem, values: np.ndarray) -> Shared:
    """Estimate the means of K variables in every post-stratum, with their linearised variables.

    Under "poisson" totals are divided by the known size of the post-stratum, as the direct estimate is by
    that of the domain; else by the estimated size.

    Parameters
    ----------
    problem : IndirectProblem
    values : ndarray of float, shape (n, K)
        0 outside the universe.
    """
    strata, n_strata, K = problem.known.strata, len(problem.known.names), values.shape[1]
    held = np.flatnonzero(strata >= 0)
    g, w = strata[held], problem.design.weights[held]
    expanded = problem.method == "poisson"
    size = problem.known.N.sum(axis=0) if expanded else np.bincount(g, w, n_strata)
    sums = np.column_stack([np.bincount(g, w * column[held], n_strata) for column in values.T])
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(size[:, None] != 0, sums / size[:, None], 0.0)  # an empty one has no people either
    columns = np.zeros((strata.size, n_strata * K))
    for k in range(K):
        centre = 0.0 if expanded else mean[g, k]
        with np.errstate(divide="ignore", invalid="ignore"):
            columns[held, g * K + k] = np.where(size[g] > 0, (values[held, k] - centre) / size[g], 0.0)
    deviations = None
    replicates = problem.replicates
    if replicates is not None:
        ones = problem.base.astype(float)
        theta = np.empty((n_strata, K, replicates.weights.shape[1]))
        for k in range(K):
            tops, bottoms = replicate_totals(
                replicates.weights, strata, problem.base, np.ascontiguousarray(values[:, k]), ones, n_strata
            )
            with np.errstate(divide="ignore", invalid="ignore"):
                theta[:, k] = tops / bottoms
        deviations = _deviations(replicates, theta.reshape(n_strata * K, -1), mean.ravel())
    return Shared(mean, size, columns, deviations)


def extended(problem: IndirectProblem, shared: Shared, column: np.ndarray) -> Shared:
    """Add one linearised variable of a quantity that is no post-stratum mean (a coefficient)."""
    deviations, replicates = shared.deviations, problem.replicates
    if deviations is not None and replicates is not None:
        everyone = np.zeros(column.size, dtype=np.int64)
        zero = np.zeros(column.size)
        top, _ = replicate_totals(replicates.weights, everyone, problem.base, column, zero, 1)
        deviations = np.vstack([deviations, _deviations(replicates, top, np.zeros(1))])
    return Shared(shared.mean, shared.size, np.column_stack([shared.columns, column]), deviations)


def _deviations(replicates: Replicates, theta: np.ndarray, estimate: np.ndarray) -> np.ndarray:
    rscales = np.asarray(replicates.rscales, float)
    deviations, _ = replicate_deviations(
        theta, estimate, scale=replicates.scale, rscales=rscales, centre=replicates.centre
    )
    return np.nan_to_num(deviations)  # a post-stratum without people: no estimate uses it


def indirect_errors(
    problem: IndirectProblem,
    indirect: Indirect,
    direct: DomainEstimates,
    data: IndicatorArrays,
    mse: BiasMse,
    groups: np.ndarray,
) -> Errors:
    """Design variance, covariance with the direct estimate and squared bias of an indirect estimate.

    Parameters
    ----------
    problem : IndirectProblem
    indirect : Indirect
    direct : DomainEstimates
        Direct estimates of the same domains.
    data : IndicatorArrays
    mse : {"variance", "average", "area"}
        No bias; the average over each group of domains; each domain's own. A negative estimate counts as 0.
    groups : ndarray of int, shape (n_domains,)
    """
    variance, covariance = _moments(problem, indirect, direct, data)
    bias2, mse_method = _squared_bias(problem, indirect.estimate, variance, covariance, direct, mse, groups)
    return Errors(variance, covariance, bias2, mse_method)


def variance_of(problem: IndirectProblem, shared: Shared, loadings: np.ndarray) -> np.ndarray:
    """Design variance of combinations of shared means, `loadings` of shape (n_domains, r)."""
    if problem.method == "replicate":
        return np.sum((loadings @ shared.deviations) ** 2, axis=1)
    if problem.method == "poisson":  # records included independently
        w = problem.design.weights
        Q = shared.columns.T @ ((w * (w - 1.0))[:, None] * shared.columns)
        return np.einsum("dr,rs,ds->d", loadings, Q, loadings)
    nothing = np.zeros(problem.base.size)
    return problem.design.variance(problem.design.scores(nothing, problem.base, shared.columns, loadings))


def _moments(
    problem: IndirectProblem, indirect: Indirect, direct: DomainEstimates, data: IndicatorArrays
) -> tuple[np.ndarray, np.ndarray]:
    L, shared = indirect.loadings, indirect.shared
    variance = variance_of(problem, shared, L)
    has_direct = np.isfinite(direct.variance)
    if problem.method == "replicate":
        deviations = np.nan_to_num(np.asarray(direct.factors))
        covariance = np.sum((L @ shared.deviations) * deviations, axis=1)
        return variance, np.where(has_direct, covariance, np.nan)
    if problem.method == "poisson":
        w = problem.design.weights
        Q = (w * (w - 1.0))[:, None] * shared.columns
        d = np.flatnonzero((problem.design.domain >= 0) & data.inside)
        code = problem.design.domain[d]
        terms = np.sum(Q[d] * L[code], axis=1) * data.numerator[d] / problem.sizes[code]
        covariance = np.bincount(code, terms, len(L))
        return variance, np.where(has_direct, covariance, np.nan)
    local = _direct_scores(problem, direct, data)
    design = problem.design
    apart = design.variance(design.scores(local, data.inside, shared.columns, -L))
    with np.errstate(invalid="ignore"):
        return variance, np.where(has_direct, (direct.variance + variance - apart) / 2.0, np.nan)


def _direct_scores(problem: IndirectProblem, direct: DomainEstimates, data: IndicatorArrays) -> np.ndarray:
    """Linearised variable of the direct ratio of each record's own domain, shape (n,)."""
    domain, weights = problem.design.domain, problem.design.weights
    use = np.flatnonzero((domain >= 0) & data.inside)
    code, x = domain[use], np.asarray(data.denominator, float)[use]
    bottom = np.bincount(code, weights[use] * x, len(direct.n))
    local = np.zeros(domain.size)
    with np.errstate(divide="ignore", invalid="ignore"):
        local[use] = np.nan_to_num((data.numerator[use] - direct.estimate[code] * x) / bottom[code])
    return local


def _squared_bias(
    problem: IndirectProblem,
    estimate: np.ndarray,
    variance: np.ndarray,
    covariance: np.ndarray,
    direct: DomainEstimates,
    mse: BiasMse,
    groups: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Estimate bias² = (s - y)² - V(s - y), by domain or averaged over groups of domains."""
    D = estimate.size
    if mse == "variance":
        return np.zeros(D), np.full(D, "design variance only: the bias is not in it", dtype=object)
    with np.errstate(invalid="ignore"):
        usable = direct.variance > 0
        own = (estimate - direct.estimate) ** 2 - (direct.variance + variance - 2.0 * covariance)
    own = np.where(usable, own, np.nan)
    if mse == "area":
        missing = np.where(
            usable,
            "design variance + own squared bias (estimated below 0, taken as 0)",
            "design variance only: no direct variance to find the bias from",
        )
        mse_method = np.where(own > 0, "design variance + own squared bias", missing)
        return np.where(own > 0, own, 0.0), mse_method.astype(object)
    n_groups = int(groups.max()) + 1
    count = np.bincount(groups, usable, n_groups)
    names = problem.known.domains.labels["domain"]
    short = [names.iloc[int(np.flatnonzero(groups == g)[0])] for g in np.flatnonzero(count < 2)]
    if short:
        raise SaeInputError(
            f"{len(short)} groups of domains have fewer than 2 direct estimates with a variance above 0, so "
            f"their bias cannot be averaged: the groups of {name_some(short)}.",
            hint="Use larger groups (bias_groups=), or mse='variance', which leaves the bias out.",
            areas=short,
        )
    average = np.bincount(groups, np.nan_to_num(own), n_groups) / count
    methods = [
        f"design variance + squared bias averaged over {int(c)} domains"
        + ("" if b > 0 else " (estimated below 0, taken as 0)")
        for c, b in zip(count, average, strict=True)
    ]
    return np.maximum(average, 0.0)[groups], np.array(methods, dtype=object)[groups]


# ---------------------------------------------------------------- rows


def rows(
    problem: IndirectProblem,
    data: IndicatorArrays,
    direct: DomainEstimates,
    *,
    estimate: np.ndarray,
    mse: np.ndarray,
    gamma: np.ndarray,
    method: str,
    mse_method: np.ndarray,
    model: str,
    biased: bool,
    level: float,
) -> EstimateTable:
    """Put one indicator of all domains into an estimate table.

    Parameters
    ----------
    problem : IndirectProblem
    data : IndicatorArrays
    direct : DomainEstimates
    estimate, mse, gamma : ndarray of float, shape (n_domains,)
        `gamma` is the weight of the direct estimate.
    method, model : str
    mse_method : ndarray of str, shape (n_domains,)
    biased : bool
        The bias is left out of `mse`: then there is no interval.
    level : float
    """
    with np.errstate(invalid="ignore"):
        se, direct_se = np.sqrt(mse), np.sqrt(direct.variance)
    low, high, names = _interval(estimate, se, direct.share, level)
    if biased:
        low, high, names = np.full_like(low, np.nan), np.full_like(high, np.nan), np.full_like(names, "")
    labels = problem.known.domains.labels
    breaks = crossed_breaks(problem.survey, data.indicator, problem.known.domains.by)
    definition = pd.Series(data.indicator.definition, index=labels.index)
    frame = labels.assign(
        indicator=data.indicator.name,
        definition=marked(definition, [one.id for one in breaks]),  # of all: they share one sample
        unit=direct.unit,
        n=direct.n,
        n_eff=direct.n_eff,
        direct=direct.estimate,
        direct_se=direct_se,
        direct_cv=cv_of(direct_se, direct.estimate),
        estimate=estimate,
        mse=mse,
        ci_low=low,
        ci_high=high,
        interval=names,
        gamma=gamma,
        in_sample=np.isfinite(direct.estimate),
        method=method,
        mse_method=mse_method,
        model="; ".join([model, *problem.known.notes]),
    )
    return EstimateTable.from_mse(frame, problem.known.domains.by, se=se)


def _interval(
    estimate: np.ndarray, se: np.ndarray, share: bool, level: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give normal intervals, on the logit scale for shares; none where there is no error."""
    z = float(ndtri(0.5 + level / 2))
    known = np.isfinite(estimate) & (se > 0)
    if share:
        known &= (estimate > 0) & (estimate < 1)
    low, high = np.full(estimate.size, np.nan), np.full(estimate.size, np.nan)
    p, half = estimate[known], z * se[known]
    if share:
        odds, half = np.log(p / (1 - p)), half / (p * (1 - p))
        low[known], high[known] = 1 / (1 + np.exp(half - odds)), 1 / (1 + np.exp(-half - odds))
    else:
        low[known], high[known] = p - half, p + half
    names = np.where(known, "logit normal" if share else "normal", "").astype(object)
    return low, high, names
