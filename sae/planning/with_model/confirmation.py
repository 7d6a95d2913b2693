"""Whether a plan keeps its promise: a parametric bootstrap of the planned design, and the national rule."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sae.errors import SaeInputError
from sae.numerics.fay_herriot.bootstrap import bootstrap_mse
from sae.numerics.fay_herriot.fit import FayHerriotFits
from sae.numerics.inference.transforms import TRANSFORMS
from sae.numerics.random.streams import seed_of
from sae.planning.precision import PrecisionRule
from sae.planning.with_model.plan import OversamplePlan

__all__ = ["confirm", "national_check"]


def confirm(plan: OversamplePlan, replicates: int = 500, *, seed: int | np.random.Generator) -> pd.DataFrame:
    """Draw truths and samples of the planned sizes from the model, fit each by REML, and measure the error.

    The truths have the variance that the plan holds its targets at: the assured quantile of the posterior of
    A, or with ``assurance=None`` its mean. Nothing of the formula g1 + g2 + g3 is used.

    Parameters
    ----------
    plan : OversamplePlan
    replicates : int
    seed : int or Generator

    Returns
    -------
    DataFrame
        ``domain, promised_rmse, bootstrap_rmse, error`` (Monte Carlo standard error of the latter),
        ``required_rmse`` and ``kept``: not above the requirement by more than two Monte Carlo errors.
        Reported scale.

    Raises
    ------
    SaeInputError
        If no more domains are sampled than the model has coefficients.

    References
    ----------
    González-Manteiga, Lombardía, Molina, Morales and Santamaría (2008), J. Stat. Comput. Simul. 78, 443–462.
    """
    model, rows = plan.model, plan.rows
    slope2 = plan.slope2
    psi = plan.psi(plan.with_model.n)
    sampled = np.isfinite(psi)
    X = model.X[:, rows]
    if sampled.sum() <= len(X) + 1:
        raise SaeInputError(
            f"The plan samples {int(sampled.sum())} domains, too few for {len(X)} coefficients "
            "and a variance.",
            hint="Give the frame minimum sizes.",
        )
    A = plan.held_at
    held = plan.planned if plan.assurance is None else plan.planned.at(A)
    seen = np.isfinite(model.y)
    weight = 1.0 / (A + model.vardir[seen])
    beta = np.linalg.lstsq(
        model.X[:, seen].T * np.sqrt(weight)[:, None], model.y[seen] * np.sqrt(weight), rcond=None
    )[0]
    one = np.ones((1, 1))
    fits = FayHerriotFits(A * one, beta[None, None], np.zeros((1, 1, len(beta), len(beta))), one, one)
    mse, _ = bootstrap_mse(
        fits,
        np.where(sampled, psi, 1.0) / slope2,
        X,
        np.array([0, len(rows)]),
        sampled,
        list(plan.cells.domains),
        method="reml",
        replicates=replicates,
        seed=seed_of(seed),
        transform=TRANSFORMS[model.scale],
    )
    rmse, promised = np.sqrt(mse), np.sqrt(held.expected(psi / slope2) * slope2)
    error = rmse / np.sqrt(2.0 * replicates)
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
        (``exempt``), and ``met``: exempt, or within the error allowed with everybody covered. Clustering is
        not in it.
    """
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
