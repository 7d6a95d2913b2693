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
from scipy.stats import norm

from sae.design_based.parts import Judged
from sae.design_based.task import Task
from sae.errors import SaeInputError, name_some
from sae.indicators import Indicator, IndicatorArrays
from sae.numerics.design.replicates import replicate_deviations, replicate_totals
from sae.tables import EstimateTable

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
    words : ndarray of str
        What stands behind `bias2`.
    """

    variance: np.ndarray
    covariance: np.ndarray
    bias2: np.ndarray
    words: np.ndarray

    @property
    def mse(self) -> np.ndarray:
        """Variance and squared bias together."""
        return self.variance + self.bias2


# ---------------------------------------------------------------- variances


def shared_means(task: Task, values: np.ndarray) -> Shared:
    """Estimate the means of K variables in every post-stratum, with their linearised variables.

    Under "poisson" totals are divided by the known size of the post-stratum, as the direct estimate is by
    that of the domain; else by the estimated size.

    Parameters
    ----------
    task : Task
    values : ndarray of float, shape (n, K)
        0 outside the universe.
    """
    strata, n_strata, K = task.known.strata, len(task.known.names), values.shape[1]
    held = np.flatnonzero(strata >= 0)
    g, w = strata[held], task.design.weights[held]
    expanded = task.method == "poisson"
    size = task.known.N.sum(axis=0) if expanded else np.bincount(g, w, n_strata)
    sums = np.column_stack([np.bincount(g, w * column[held], n_strata) for column in values.T])
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(size[:, None] != 0, sums / size[:, None], 0.0)  # an empty one has no people either
    columns = np.zeros((strata.size, n_strata * K))
    for k in range(K):
        centre = 0.0 if expanded else mean[g, k]
        with np.errstate(divide="ignore", invalid="ignore"):
            columns[held, g * K + k] = np.where(size[g] > 0, (values[held, k] - centre) / size[g], 0.0)
    deviations = None
    if task.replicates is not None:
        ones = task.base.astype(float)
        theta = np.empty((n_strata, K, task.replicates.weights.shape[1]))
        for k in range(K):
            tops, bottoms = replicate_totals(
                task.replicates.weights, strata, task.base, np.ascontiguousarray(values[:, k]), ones, n_strata
            )
            with np.errstate(divide="ignore", invalid="ignore"):
                theta[:, k] = tops / bottoms
        deviations = _deviations(task, theta.reshape(n_strata * K, -1), mean.ravel())
    return Shared(mean, size, columns, deviations)


def extended(task: Task, shared: Shared, column: np.ndarray) -> Shared:
    """Add one linearised variable of a quantity that is no post-stratum mean (a coefficient)."""
    deviations = shared.deviations
    if deviations is not None:
        everyone = np.zeros(column.size, dtype=np.int64)
        zero = np.zeros(column.size)
        top, _ = replicate_totals(task.replicates.weights, everyone, task.base, column, zero, 1)
        deviations = np.vstack([deviations, _deviations(task, top, np.zeros(1))])
    return Shared(shared.mean, shared.size, np.column_stack([shared.columns, column]), deviations)


def _deviations(task: Task, theta: np.ndarray, estimate: np.ndarray) -> np.ndarray:
    made = task.replicates
    deviations, _ = replicate_deviations(
        theta, estimate, scale=made.scale, rscales=np.asarray(made.rscales, float), centre=made.centre
    )
    return np.nan_to_num(deviations)  # a post-stratum without people: no estimate uses it


def indirect_errors(
    task: Task, indirect: Indirect, part: Judged, data: IndicatorArrays, mse: str, groups: np.ndarray
) -> Errors:
    """Design variance, covariance with the direct estimate and squared bias of an indirect estimate.

    Parameters
    ----------
    task : Task
    indirect : Indirect
    part : Part
        Direct estimates of the same domains.
    data : IndicatorArrays
    mse : {"variance", "average", "area"}
        No bias; the average over each group of domains; each domain's own. A negative estimate counts as 0.
    groups : ndarray of int, shape (n_domains,)
    """
    variance, covariance = _moments(task, indirect, part, data)
    bias2, words = _squared_bias(task, indirect.estimate, variance, covariance, part, mse, groups)
    return Errors(variance, covariance, bias2, words)


def variance_of(task: Task, shared: Shared, loadings: np.ndarray) -> np.ndarray:
    """Design variance of combinations of shared means, `loadings` of shape (n_domains, r)."""
    if task.method == "replicate":
        return np.sum((loadings @ shared.deviations) ** 2, axis=1)
    if task.method == "poisson":  # records included independently
        w = task.design.weights
        Q = shared.columns.T @ ((w * (w - 1.0))[:, None] * shared.columns)
        return np.einsum("dr,rs,ds->d", loadings, Q, loadings)
    nothing = np.zeros(task.base.size)
    return task.design.variance(task.design.scores(nothing, task.base, shared.columns, loadings))


def _moments(
    task: Task, indirect: Indirect, part: Judged, data: IndicatorArrays
) -> tuple[np.ndarray, np.ndarray]:
    L, shared = indirect.loadings, indirect.shared
    variance = variance_of(task, shared, L)
    has_direct = np.isfinite(part.variance)
    if task.method == "replicate":
        covariance = np.sum((L @ shared.deviations) * np.nan_to_num(part.spread), axis=1)
        return variance, np.where(has_direct, covariance, np.nan)
    if task.method == "poisson":
        w = task.design.weights
        Q = (w * (w - 1.0))[:, None] * shared.columns
        d = np.flatnonzero((task.design.domain >= 0) & data.inside)
        code = task.design.domain[d]
        terms = np.sum(Q[d] * L[code], axis=1) * data.numerator[d] / task.sizes[code]
        covariance = np.bincount(code, terms, len(L))
        return variance, np.where(has_direct, covariance, np.nan)
    local = _direct_scores(task, part, data)
    design = task.design
    apart = design.variance(design.scores(local, data.inside, shared.columns, -L))
    with np.errstate(invalid="ignore"):
        return variance, np.where(has_direct, (part.variance + variance - apart) / 2.0, np.nan)


def _direct_scores(task: Task, part: Judged, data: IndicatorArrays) -> np.ndarray:
    """Linearised variable of the direct ratio of each record's own domain, shape (n,)."""
    domain, weights = task.design.domain, task.design.weights
    use = np.flatnonzero((domain >= 0) & data.inside)
    code, x = domain[use], np.asarray(data.denominator, float)[use]
    bottom = np.bincount(code, weights[use] * x, len(part.n))
    local = np.zeros(domain.size)
    with np.errstate(divide="ignore", invalid="ignore"):
        local[use] = np.nan_to_num((data.numerator[use] - part.estimate[code] * x) / bottom[code])
    return local


def _squared_bias(
    task: Task,
    estimate: np.ndarray,
    variance: np.ndarray,
    covariance: np.ndarray,
    part: Judged,
    mse: str,
    groups: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Estimate bias² = (s - y)² - V(s - y), by domain or averaged over groups of domains."""
    D = estimate.size
    if mse == "variance":
        return np.zeros(D), np.full(D, "design variance only: the bias is not in it", dtype=object)
    with np.errstate(invalid="ignore"):
        usable = part.variance > 0
        own = (estimate - part.estimate) ** 2 - (part.variance + variance - 2.0 * covariance)
    own = np.where(usable, own, np.nan)
    if mse == "area":
        words = np.where(
            own > 0, "design variance + own squared bias",
            np.where(usable, "design variance + own squared bias (estimated below 0, taken as 0)",
                     "design variance only: no direct variance to find the bias from"),
        )  # fmt: skip
        return np.where(own > 0, own, 0.0), words.astype(object)
    n_groups = int(groups.max()) + 1
    count = np.bincount(groups, usable, n_groups)
    short = [task.known.domains.labels["domain"].iloc[int(np.flatnonzero(groups == g)[0])]
             for g in np.flatnonzero(count < 2)]  # fmt: skip
    if short:
        raise SaeInputError(
            f"{len(short)} groups of domains have fewer than 2 direct estimates with a variance above 0, so "
            f"their bias cannot be averaged: the groups of {name_some(short)}.",
            hint="Use larger groups (bias_groups=), or mse='variance', which leaves the bias out.",
            areas=short,
        )
    average = np.bincount(groups, np.nan_to_num(own), n_groups) / count
    said = [f"design variance + squared bias averaged over {int(c)} domains"
            + ("" if b > 0 else " (estimated below 0, taken as 0)")
            for c, b in zip(count, average, strict=True)]  # fmt: skip
    return np.maximum(average, 0.0)[groups], np.array(said, dtype=object)[groups]


# ---------------------------------------------------------------- rows


def rows(
    task: Task,
    indicator: Indicator,
    part: Judged,
    *,
    estimate: np.ndarray,
    mse: np.ndarray,
    gamma: np.ndarray,
    method: str,
    mse_words: np.ndarray,
    model: str,
    biased: bool,
    level: float,
) -> EstimateTable:
    """Put one indicator of all domains into an estimate table.

    Parameters
    ----------
    task : Task
    indicator : Indicator
    part : Part
        Direct estimates.
    estimate, mse, gamma : ndarray of float, shape (n_domains,)
        `gamma` is the weight of the direct estimate.
    method, model : str
    mse_words : ndarray of str, shape (n_domains,)
    biased : bool
        The bias is left out of `mse`: then there is no interval.
    level : float
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        se = np.sqrt(mse)
        direct_se = np.sqrt(part.variance)
        cv = np.where(estimate != 0, se / np.abs(estimate), np.nan)
        direct_cv = np.where(part.estimate != 0, direct_se / np.abs(part.estimate), np.nan)
    low, high, names = _interval(estimate, se, part.share, level)
    if biased:
        low, high, names = np.full_like(low, np.nan), np.full_like(high, np.nan), np.full_like(names, "")
    labels = task.known.domains.labels
    frame = labels.assign(
        indicator=indicator.name, definition=indicator.definition, unit=part.unit,
        n=part.n, n_eff=part.n_eff, direct=part.estimate, direct_se=direct_se, direct_cv=direct_cv,
        estimate=estimate, mse=mse, se=se, cv=cv, ci_low=low, ci_high=high, interval=names,
        gamma=gamma, in_sample=np.isfinite(part.estimate), flag="e", method=method, mse_method=mse_words,
        model="; ".join([model, *task.known.notes]),
    )  # fmt: skip
    return EstimateTable(frame, task.known.domains.by)


def _interval(
    estimate: np.ndarray, se: np.ndarray, share: bool, level: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give normal intervals, on the logit scale for shares; none where there is no error."""
    z = float(norm.ppf(0.5 + level / 2))
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
