"""Whether a plan keeps its promise: a parametric bootstrap of the planned design, and the national rule."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.special import ndtr

from sae.calls import answered
from sae.errors import SaeInputError, SaeSpecError
from sae.numerics.allocation.levels import Levels
from sae.numerics.allocation.promise import simulated_errors
from sae.numerics.inference.transforms import TRANSFORMS
from sae.numerics.random.streams import normals, seed_of, stream_keys
from sae.planning.precision import PrecisionRule
from sae.planning.with_model.plan import OversamplePlan

__all__ = ["confirm", "national_check"]


@answered
def confirm(plan: OversamplePlan, replicates: int = 500, *, seed: int | np.random.Generator) -> pd.DataFrame:
    """Draw truths and samples of the planned sizes from the model, fit each by REML, and measure the error.

    Simulated is what the plan promises: with ``assurance`` the error at the assured quantile of the posterior
    of A; with ``assurance=None`` the error averaged over that posterior, each replicate with a value of its
    own. Errors go to the reported scale at levels drawn from the posterior of each domain. Nothing of the
    formula g1 + g2 + g3 is used.

    Parameters
    ----------
    plan : OversamplePlan
    replicates : int
        At least 2.
    seed : int or Generator

    Returns
    -------
    DataFrame
        ``domain, promised_rmse, bootstrap_rmse, error`` (Monte Carlo standard error of the latter),
        ``required_rmse`` and ``kept``: not above the requirement by more than two Monte Carlo errors, which a
        domain exactly at its requirement is found with a probability of about .98. Reported scale.

    Raises
    ------
    SaeInputError
        If no more domains are sampled than the model has coefficients.
    SaeSpecError
        If `replicates` is not a whole number of at least 2.

    References
    ----------
    González-Manteiga, Lombardía, Molina, Morales and Santamaría (2008), J. Stat. Comput. Simul. 78, 443–462.
    """
    if isinstance(replicates, bool) or not isinstance(replicates, (int, np.integer)) or replicates < 2:
        raise SaeSpecError(
            f"replicates = {replicates!r} is not a whole number of at least 2.", hint="Such as 500."
        )
    model, rows = plan.model, plan.rows
    psi = plan.psi(plan.with_model.n) / plan.slope2
    sampled = np.isfinite(psi)
    X = model.X[:, rows]
    if sampled.sum() <= len(X) + 1:
        raise SaeInputError(
            f"The plan samples {int(sampled.sum())} domains, too few for {len(X)} coefficients "
            "and a variance.",
            hint="Give the frame minimum sizes.",
        )
    if plan.assurance is None:
        held, variance = plan.planned, model.quantiles((np.arange(replicates) + 0.5) / replicates)
    else:
        held, variance = plan.planned.at(plan.held_at), np.full(replicates, plan.held_at)
    number = seed_of(seed)
    mse, error = simulated_errors(
        variance, psi, X, sampled, list(plan.cells.domains), number, _reported(plan, number)
    )
    rmse, promised = np.sqrt(mse), np.sqrt(held.expected(psi) * plan.slope2)
    error = error / (2.0 * np.maximum(rmse, np.finfo(float).tiny))
    required = np.sqrt(plan.bound)
    return pd.DataFrame(
        {
            "domain": plan.cells.domains,
            "promised_rmse": promised,
            "bootstrap_rmse": rmse,
            "error": error,
            "required_rmse": required,
            "kept": rmse <= required + 2.0 * error,
        }
    )


def _reported(plan: OversamplePlan, seed: int) -> Callable[[np.ndarray, np.ndarray, slice], np.ndarray]:
    """Return what takes errors to the reported scale, where the level of a domain is its posterior's."""
    levels, transform = plan.model.levels, TRANSFORMS[plan.model.scale]
    if levels is None:
        return lambda error, left, replicates: error
    levels = Levels(levels.grid[plan.rows], levels.weight[plan.rows])
    names = stream_keys(seed, "level", list(plan.cells.domains))

    def gap(error: np.ndarray, left: np.ndarray, replicates: slice) -> np.ndarray:
        level = levels.quantiles(ndtr(normals(names, replicates.start, len(error))))
        return np.asarray(transform.mean(level + error, left) - transform.inverse(level))

    return gap


@answered
def national_check(
    plan: OversamplePlan, rule: PrecisionRule, *, mean: float, size: float, other: float = 0.0
) -> pd.DataFrame:
    """Hold national direct estimates from the plan's sample against a rule, such as the regulation's.

    Parameters
    ----------
    plan : OversamplePlan
    rule : PrecisionRule
        `Regulation("lfs_unemployment_national")`, `CV(0.02)`, ...
    mean : float
        National share that is judged.
    size : float
        N of the rule, in persons or households.
    other : float
        Interviews with people outside the frame's group, taken as a sample at one rate.

    Returns
    -------
    DataFrame
        One row per allocation: interviews, design effect of the unequal rates, effective size, standard
        error, the standard error allowed, whether the rule asks nothing of a population of this size
        (``exempt``), and ``met``: exempt, or within the error allowed with everybody covered. Neither
        clustering nor the finite population is in it.
    """
    if not 0.0 < mean < 1.0:
        raise SaeSpecError(f"mean = {mean!r} is no national share.", hint="Give it between 0 and 1.")
    for name, value in (("size", size), ("other", other)):
        if not (np.isfinite(value) and value >= 0):
            raise SaeSpecError(f"{name} = {value!r} is not a finite number of 0 or more.")
    person = mean * (1.0 - mean)
    allowed = float(rule.bound(np.array([mean]), np.array([person]), np.array([size]))[0])
    table = plan.price_for_national_estimates
    n_eff = table["n_eff_total"] + other
    se = np.sqrt(person / n_eff)
    exempt = not np.isfinite(allowed)
    return pd.DataFrame(
        {
            "allocation": table["allocation"],
            "rule": rule.text,
            "interviews": table["interviews"] + other,
            "total_deff": table["total_deff"],
            "n_eff": n_eff,
            "se": se,
            "required_se": np.sqrt(allowed),
            "population_covered": table["population_covered"],
            "exempt": exempt,
            "met": exempt | ((se <= np.sqrt(allowed)) & (table["population_covered"] > 1.0 - 1e-9)),
        }
    )
