"""Synthetic estimates: means of post-strata over the whole sample, mixed as each domain is made up.

References
----------
Rao and Molina (2015), Small Area Estimation, 2nd ed., section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sae.calls import answered
from sae.design_based.counts import read_counts
from sae.design_based.indirect import Indirect, indirect_errors, rows, shared_means
from sae.design_based.indirect_problem import (
    IndirectProblem,
    bias_groups_of,
    check_mse,
    check_variance,
    universe_of,
)
from sae.indicators import Indicator, IndicatorArrays, arrays, check_accept, check_domains, resolve
from sae.literals import BiasMse, IndirectVariance
from sae.survey import Survey
from sae.tables import EstimateTable

__all__ = ["assumption", "prepare", "synthetic"]


@answered
def synthetic(
    survey: Survey,
    indicator: str | Indicator,
    by: str | Sequence[str],
    counts: pd.DataFrame,
    *,
    within: str | Sequence[str] = (),
    count: str = "population",
    variance: IndirectVariance | None = None,
    mse: BiasMse = "variance",
    bias_groups: str | None = None,
    level: float = 0.95,
    accept: str | Sequence[str] = (),
) -> EstimateTable:
    """Estimate an indicator by domain as if everybody in a post-stratum were alike wherever they live.

    Σ_g N_dg Ȳ_g / Σ_g N_dg, with the means Ȳ_g of the post-strata over the whole sample; for an indicator
    with a denominator Σ_g N_dg Ȳ_g / Σ_g N_dg X̄_g. Domains without a sample are rows like the others.

    Parameters
    ----------
    survey : Survey
    indicator : str or Indicator
        A mean, share or ratio.
    by : str or sequence of str
        Columns that make the domains, in the survey and in `counts`.
    counts : DataFrame
        One row per domain × post-stratum (0 where nobody lives): its labels, and how many persons of the
        indicator's universe it has. Labels are matched by name; what is missing on either side is named.
    within : str or sequence of str
        Columns whose crossing makes the post-strata; none for the plain synthetic estimate.
    count : str
        Column of `counts` with the numbers.
    variance : {"linearised", "replicate", "poisson"}, optional
        As in `sae.direct`. "poisson" divides weighted sums by known sizes: that of the domain in the direct
        estimate, that of the post-stratum Σ_d N_dg in Ȳ_g; the others divide by Σ w.
    mse : {"variance", "average", "area"}
        "variance": the design variance alone. It is small, and the bias, which rules here, is not in it; so
        no interval is given. "average": plus the squared bias averaged over the domains, estimated from the
        distance to the direct estimates. "area": plus each domain's own, which is very unstable.
        A squared bias estimated below 0 counts as 0, and ``mse_method`` says so.
    bias_groups : str, optional
        Column of `counts`, constant within a domain: average over the domains of each group apart.
    level : float
        Confidence level.
    accept : str or sequence of str
        As in `sae.direct`. A break within the survey marks every row: all share the means of post-strata.

    Returns
    -------
    EstimateTable
        ``gamma`` (the weight of the direct estimate) is 0; ``mse_method`` says what `mse` holds.

    Raises
    ------
    SaeSpecError
        If a column or an option does not exist, the indicator is a total or of an income distribution, or
        something runs by name only and is not accepted.
    SaeInputError
        If cells are missing, twice or unknown, a post-stratum has people but no record, or a record of the
        universe has no post-stratum.

    References
    ----------
    Rao and Molina (2015), section 3.2; Gonzalez and Waksberg (1973) and Marker (1995) for the average bias.

    Examples
    --------
    >>> frame = pd.DataFrame({"w": 1.0, "region": list("aabb"), "sex": list("fmfm"), "works": [1, 1, 0, 1]})
    >>> counts = pd.DataFrame({"region": list("aabb"), "sex": list("fmfm"), "population": [30, 10, 10, 10]})
    >>> survey = sae.Survey.from_frame(frame, weights="w")
    >>> table = sae.design_based.synthetic(survey, "works", "region", counts, within="sex")
    >>> table[["domain", "direct", "estimate"]].to_dict("list")
    {'domain': ['a', 'b'], 'direct': [1.0, 0.5], 'estimate': [0.625, 0.75]}
    """
    check_mse(mse, bias_groups, level)
    problem, data, indirect = prepare(survey, indicator, by, counts, within, count, variance, accept)
    direct = problem.direct(data)
    groups = bias_groups_of(counts, bias_groups, problem.known)
    errors = indirect_errors(problem, indirect, direct, data, mse, groups)
    return rows(
        problem,
        data,
        direct,
        estimate=indirect.estimate,
        mse=errors.mse,
        gamma=np.zeros(len(indirect.estimate)),
        method="post-stratified synthetic" if within else "synthetic",
        mse_method=errors.mse_method,
        model=assumption(within),
        biased=mse == "variance",
        level=level,
    )


def prepare(
    survey: Survey,
    indicator: str | Indicator,
    by: str | Sequence[str],
    counts: pd.DataFrame,
    within: str | Sequence[str],
    count: str,
    variance: IndirectVariance | None,
    accept: str | Sequence[str],
) -> tuple[IndirectProblem, IndicatorArrays, Indirect]:
    """Match survey and counts, and estimate the post-stratified synthetic estimate of every domain."""
    method = check_variance(survey, variance)
    resolved = resolve(indicator, survey)
    accepted = check_accept(accept, [resolved])
    data = arrays(resolved, survey, accepted)
    check_domains([*_names(by), *_names(within)], survey, accepted)
    base, x = universe_of(survey, data, accepted)
    known = read_counts(survey, _names(by), _names(within), counts, count, base)
    problem = IndirectProblem.of(survey, known, base, method)
    return problem, data, _mixed(problem, np.asarray(data.numerator, dtype=float), x)


def assumption(within: str | Sequence[str]) -> str:
    """Say what the synthetic part supposes."""
    return f"post-strata {' × '.join(_names(within))}" if within else "one mean for all domains"


def _names(columns: str | Sequence[str]) -> tuple[str, ...]:
    return (columns,) if isinstance(columns, str) else tuple(columns)


def _mixed(problem: IndirectProblem, y: np.ndarray, x: np.ndarray) -> Indirect:
    N = problem.known.N
    plain = bool(np.array_equal(x, problem.base))
    shared = shared_means(problem, y[:, None] if plain else np.column_stack([y, x]))
    if plain:
        share = N / problem.sizes[:, None]
        return Indirect(share @ shared.mean[:, 0], share, shared)
    bottom = N @ shared.mean[:, 1]
    share = N / bottom[:, None]
    estimate = share @ shared.mean[:, 0]
    loadings = np.stack([share, -estimate[:, None] * share], axis=2).reshape(len(N), -1)
    return Indirect(estimate, loadings, shared)
