"""SPREE and GSPREE: how areas differ comes from a census, how many there are of each kind from the survey.

The census table X_agk (area a, post-stratum g, category k) gives the interactions of area and category; the
margins are current: counts of area × post-stratum from a register, post-stratum × category from the survey.
SPREE keeps the interactions (IPF from X). GSPREE scales them: in log p_agk = λ_gk + β log X_agk + const_ag
the slope β is fitted to the direct shares, and IPF starts from X^β. β = 1
is SPREE, β = 0 has every area alike.

References
----------
Purcell and Kish (1980), International Statistical Review 48, 3-18; Zhang and Chambers (2004), JRSS B 66,
479-496 (generalised linear structural model); Luna Hernández (2016), PhD thesis, University of Southampton.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sae.calls import answered
from sae.design_based.census import Structure, read_structure
from sae.design_based.indirect import (
    Indirect,
    Shared,
    extended,
    indirect_errors,
    rows,
    variance_of,
)
from sae.design_based.indirect_problem import bias_groups_of, check_mse
from sae.errors import SaeConvergenceError, SaeInputError, SaeSpecError, name_some
from sae.literals import BiasMse, MarginVariance
from sae.numerics.design.interactions import Moves, fit_slope, moves
from sae.numerics.design.ipf import conflicts, ipf
from sae.survey import Survey
from sae.tables import EstimateTable

__all__ = ["gspree", "spree"]

_FLAT = 1e-10  # share of the spread of log X left once areas and categories are out: rounding, no interaction


@answered
def spree(
    survey: Survey,
    category: str,
    by: str | Sequence[str],
    census: pd.DataFrame,
    counts: pd.DataFrame,
    *,
    within: str | Sequence[str] = (),
    universe: str | None = None,
    count: str = "population",
    variance: MarginVariance | None = None,
    mse: BiasMse = "variance",
    bias_groups: str | None = None,
    level: float = 0.95,
    accept: str | Sequence[str] = (),
) -> EstimateTable:
    """Estimate the shares of categories by domain, preserving the interactions of a census.

    Parameters
    ----------
    survey : Survey
    category : str
        Column of the survey and of `census` whose levels are the categories (labour status).
    by : str or sequence of str
        Columns that make the domains, in the survey, `census` and `counts`.
    census : DataFrame
        One row per domain × post-stratum × category, with the number at the last census.
    counts : DataFrame
        One row per domain × post-stratum, with the number of persons of the universe now.
    within : str or sequence of str
        Columns whose crossing makes the post-strata; none for a table of domain × category.
    universe : str, optional
        Condition on the survey's records; `census` and `counts` must count the same universe.
    count : str
        Column with the numbers, in `census` and in `counts`.
    variance : {"linearised", "replicate"}, optional
        As in `sae.direct`.
    mse : {"variance", "average", "area"}
        "variance": design variance of the survey margins, by the derivative of the fitted table; no interval,
        since the bias of outdated interactions is not in it. "average", "area": plus a squared bias
        estimated from the direct shares, as in `sae.design_based.synthetic`.
    bias_groups : str, optional
        Column of `counts`: groups of domains for the average bias.
    level : float
        Confidence level.
    accept : str or sequence of str
        As in `sae.direct`: what runs by name only.

    Returns
    -------
    EstimateTable
        One row per category and domain; the indicator is named as the condition ``category == 'level'``.

    Raises
    ------
    SaeSpecError
        If a column or an option does not exist, or something runs by name only and is not accepted.
    SaeInputError
        If cells or labels are missing or twice, margins cannot be met with the zeros of the census, or a
        category has no record in a post-stratum where the census has people in it.

    References
    ----------
    Purcell and Kish (1980); Rao and Molina (2015), section 3.2.

    Examples
    --------
    >>> frame = pd.DataFrame({"w": 1.0, "region": list("aabb"), "works": ["yes", "no", "yes", "yes"]})
    >>> census = pd.DataFrame({"region": list("aabb"), "works": ["yes", "no"] * 2})
    >>> census["population"] = [4, 4, 6, 2]
    >>> counts = pd.DataFrame({"region": ["a", "b"], "population": [12, 8]})
    >>> survey = sae.Survey.from_frame(frame, weights="w")
    >>> table = sae.design_based.spree(survey, "works", "region", census, counts)
    >>> table[["indicator", "domain", "estimate"]].round(4).tail(2).to_dict("list")
    {'indicator': ["works == 'yes'", "works == 'yes'"], 'domain': ['a', 'b'], 'estimate': [0.6754, 0.8619]}
    """
    check_mse(mse, bias_groups, level)
    frame = read_structure(survey, category, by, census, counts, within, universe, count, variance, accept)
    fit = _fitted(frame, frame.census)
    return _table(frame, fit, frame.shared, fit.jacobian, "spree", "", mse, counts, bias_groups, level)


@answered
def gspree(
    survey: Survey,
    category: str,
    by: str | Sequence[str],
    census: pd.DataFrame,
    counts: pd.DataFrame,
    *,
    within: str | Sequence[str] = (),
    beta: float | None = None,
    universe: str | None = None,
    count: str = "population",
    variance: MarginVariance | None = None,
    mse: BiasMse = "variance",
    bias_groups: str | None = None,
    level: float = 0.95,
    accept: str | Sequence[str] = (),
) -> EstimateTable:
    """Estimate the shares of categories by domain from the interactions of a census, scaled.

    Parameters
    ----------
    survey, category, by, census, counts, within, universe, count, variance, mse, bias_groups, level, accept
        As in `sae.design_based.spree`. No cell of `census` may be 0: it has no logarithm.
    beta : float, optional
        Slope of the interactions; without it, fitted by maximum likelihood to the direct shares of
        domain × post-stratum, each weighted by its effective sample size (Σw)²/Σw². Its
        error is in the variance.

    Returns
    -------
    EstimateTable
        ``model`` tells the slope and its standard error.

    Raises
    ------
    SaeSpecError, SaeInputError
        As in `sae.design_based.spree`; also if the census has no interactions to scale.
    SaeConvergenceError
        If the direct shares leave no finite slope.

    References
    ----------
    Zhang and Chambers (2004); Luna Hernández (2016).

    Examples
    --------
    >>> frame = pd.DataFrame({"w": 1.0, "region": list("aaabbb")})
    >>> frame["works"] = ["yes", "no", "no", "yes", "yes", "no"]
    >>> census = pd.DataFrame({"region": list("aabb"), "works": ["yes", "no"] * 2})
    >>> census["population"] = [4, 4, 6, 2]
    >>> counts = pd.DataFrame({"region": ["a", "b"], "population": [12, 12]})
    >>> survey = sae.Survey.from_frame(frame, weights="w")
    >>> table = sae.design_based.gspree(survey, "works", "region", census, counts)
    >>> table["estimate"].round(4).tail(2).tolist()
    [0.3333, 0.6667]
    """
    check_mse(mse, bias_groups, level)
    if beta is not None and not np.isfinite(beta):
        raise SaeSpecError(f"beta={beta} is no slope.", hint="Leave it out to have it fitted.")
    frame = read_structure(survey, category, by, census, counts, within, universe, count, variance, accept)
    log_census = _logarithms(frame)
    if beta is not None:
        fit = _fitted(frame, np.exp(beta * log_census))
        remark = f"slope {beta:.4g} (given)"
        return _table(
            frame, fit, frame.shared, fit.jacobian, "gspree", remark, mse, counts, bias_groups, level
        )
    slope, influence = _slope(frame, log_census)
    fit = _fitted(frame, np.exp(slope * log_census))
    shared = extended(frame.problem, frame.shared, influence)
    by_slope = fit.moves.by_slope(log_census).sum(axis=1) / frame.problem.sizes[:, None]
    jacobian = np.concatenate([fit.jacobian, by_slope[:, :, None]], axis=2)
    remark = f"slope {slope:.4g}, standard error {_slope_error(frame, shared):.3g}"
    return _table(frame, fit, shared, jacobian, "gspree", remark, mse, counts, bias_groups, level)


# ---------------------------------------------------------------- the fitted table


@dataclass(frozen=True, eq=False)
class _Fit:
    """Shares (D, K) of a fitted table, their derivative by the survey's shares (D, K, G K), and its moves."""

    moves: Moves
    estimate: np.ndarray
    jacobian: np.ndarray


def _fitted(frame: Structure, seed: np.ndarray) -> _Fit:
    margins = [((0, 1), frame.known.N), ((1, 2), frame.margin)]
    clashes = conflicts(seed, margins)
    if clashes:
        cells = [frame.name(clash.margins[0], clash.index) for clash in clashes]
        raise SaeInputError(
            f"{len(cells)} cells have people now but none in the census: {name_some(cells)}.",
            hint="The census says nothing about them: join them with others, or correct the counts.",
            areas=cells,
        )
    fit = ipf(seed, margins)
    if not fit.converged:
        cell = frame.name(*fit.worst)
        raise SaeInputError(
            f"The margins cannot be met with the zeros of the census: after {fit.iterations:,} passes the "
            f"sum of {cell} is still {fit.gap:.2g} off (relatively).",
            hint="Join areas or categories that are empty in the census.",
            areas=[cell],
        )
    D, G, K = seed.shape
    moved = moves(fit.table)
    by_margin = moved.by_margin * frame.known.N.sum(axis=0)[:, None, None]
    sizes = frame.problem.sizes
    jacobian = by_margin.transpose(0, 2, 1, 3).reshape(D, K, G * K) / sizes[:, None, None]
    return _Fit(moved, fit.table.sum(axis=1) / sizes[:, None], jacobian)


def _table(
    frame: Structure,
    fit: _Fit,
    shared: Shared,
    jacobian: np.ndarray,
    method: str,
    remark: str,
    mse: BiasMse,
    counts: pd.DataFrame,
    column: str | None,
    level: float,
) -> EstimateTable:
    groups = bias_groups_of(counts, column, frame.known)
    tables = []
    for k, data in enumerate(frame.data):
        direct = frame.problem.direct(data)
        indirect = Indirect(fit.estimate[:, k], np.ascontiguousarray(jacobian[:, k]), shared)
        errors = indirect_errors(frame.problem, indirect, direct, data, mse, groups)
        table = rows(
            frame.problem,
            data,
            direct,
            estimate=indirect.estimate,
            mse=errors.mse,
            gamma=np.zeros(len(groups)),
            method=method,
            mse_method=errors.mse_method,
            model="; ".join(filter(None, [frame.assumption, remark])),
            biased=mse == "variance",
            level=level,
        )
        tables.append(table.frame)
    return EstimateTable(pd.concat(tables, ignore_index=True), frame.known.domains.by)


# ---------------------------------------------------------------- the slope of the interactions


def _logarithms(frame: Structure) -> np.ndarray:
    """Census interactions, shape (D, G, K): log counts less what areas and categories make alone."""
    needed = (frame.known.N > 0)[..., None] & (frame.known.N.sum(axis=0) > 0)[None, :, None]
    empty = np.argwhere((frame.census <= 0) & needed)
    if empty.size:
        cells = [f"{frame.domain(a)} × {frame.cell_name(g, k)}" for a, g, k in empty]
        raise SaeInputError(
            f"{len(cells)} cells of the census are 0 and have no logarithm: {name_some(cells)}.",
            hint="Join small cells, or use spree, where a 0 stays 0.",
            areas=cells,
        )
    logs = np.log(np.where(frame.census > 0, frame.census, 1.0))
    logs -= logs.mean(axis=2, keepdims=True)
    inner = logs - logs.mean(axis=0, keepdims=True)
    return np.where(needed, inner, 0.0)


def _slope(frame: Structure, log_census: np.ndarray) -> tuple[float, np.ndarray]:
    """Fit the slope to the direct shares; return it with its linearised variable, shape (n,)."""
    D, G, K = log_census.shape
    if np.abs(log_census).max() <= _FLAT:
        raise SaeInputError(
            "The census has no interaction of area and category: all areas have the same shares.",
            hint="There is no slope to fit; use sae.design_based.synthetic.",
        )
    problem = frame.problem
    placed = np.flatnonzero(problem.base & (problem.design.domain >= 0))
    cell = problem.design.domain[placed] * G + problem.known.strata[placed]
    w, k = problem.design.weights[placed], frame.coded[placed]
    total = np.bincount(cell, w, D * G)
    sampled = np.flatnonzero(total > 0)
    y = np.bincount(cell * K + k, w, D * G * K).reshape(-1, K)[sampled] / total[sampled, None]
    size = total[sampled] ** 2 / np.bincount(cell, w**2, D * G)[sampled]
    fit = fit_slope(y, size, sampled % G, log_census.reshape(-1, K)[sampled])
    if fit is None:
        raise SaeConvergenceError(
            "The direct shares leave no finite slope of the census interactions: some categories never occur "
            "with others, or no sampled area differs from the rest.",
            hint="Give beta= (1 is SPREE), use fewer post-strata, or join categories.",
        )
    place = np.full(D * G, -1)
    place[sampled] = np.arange(sampled.size)
    at = place[cell]
    influence = np.zeros(problem.base.size)
    influence[placed] = (fit.influence[at, k] - np.sum(y * fit.influence, axis=1)[at]) / total[cell]
    return fit.value, influence


def _slope_error(frame: Structure, shared: Shared) -> float:
    loadings = np.zeros((len(frame.known.domains), shared.columns.shape[1]))
    loadings[:, -1] = 1.0
    return float(np.sqrt(variance_of(frame.problem, shared, loadings)[0]))
