"""Fit of the nested error model by its exact posterior."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sae.numerics.inference.joint_error import JointError
from sae.numerics.nested_error.posterior import NestedErrorPosterior
from sae.numerics.nested_error.posterior_means import coefficient_mixture, sd_quantiles
from sae.results import Result, parameter_columns, posterior_joint, posterior_result
from sae.samplers.nested_error import ExactNestedError
from sae.specs import split_formula
from sae.unit_level.priors import hyper_prior, unit_prior
from sae.unit_level.rows import UnitProblem
from sae.unit_level.tables import area_table, refuse, residual_table, warn

if TYPE_CHECKING:
    from sae.unit_level.nested_error.model import NestedError

__all__ = ["fit_posterior"]


def fit_posterior(spec: NestedError, problem: UnitProblem) -> Result:
    """Integrate the posterior and wrap it up."""
    sums = problem.sums
    # three digits: the text in the table is the prior that was used
    prior = unit_prior(spec.prior).scaled(float(f"{np.std(problem.y, ddof=1):.3g}"))
    try:
        exact = ExactNestedError.of(sums, problem.means, hyper_prior(prior), list(problem.names))
    except ValueError as error:
        refuse(problem, error, prior.text)
    posterior, seen, n = exact.posterior, sums.n > 0, sums.n
    tail = 0.5 * (1.0 - spec.level)
    probabilities = np.array([tail, 0.5, 1.0 - tail])
    coefficients, covariance = posterior.coefficients()
    ratio = posterior.tau[:, None] ** 2
    gamma = posterior.weights @ (n * ratio / (1.0 + n * ratio))
    explained = float(np.var(problem.X @ coefficients, ddof=1))
    sigma2_u, sigma2_e = posterior.mean(2, 2), posterior.mean(0, 2)
    diagnostics = pd.DataFrame([{
        "areas": len(n), "sampled": int(seen.sum()), "units": len(problem.y),
        "coefficients": len(coefficients),
        "r2_marginal": explained / (explained + sigma2_u + sigma2_e),
        "gamma_median": float(np.median(gamma[seen])),
    }])  # fmt: skip
    return posterior_result(
        spec,
        exact,  # type: ignore[arg-type]  # a frozen class cannot be written to, as the protocol would have it
        area_table(problem, split_formula(spec.formula)[0]),
        groups=(),
        in_sample=seen,
        prior=prior.text,
        joint=_joint(exact),
        title=f"Nested error (Bayes, prior of σu {prior.text})",
        model=spec.words,
        run=problem.run_id(spec.to_toml(), None),
        seed=None,
        coefficients=_coefficient_table(problem, posterior, probabilities),
        variance_components=_variance_table(posterior, probabilities),
        diagnostics=diagnostics,
        residuals=residual_table(problem, coefficients, covariance, sigma2_u, sigma2_e),
        areas=problem.population.frame,
        gamma=np.where(seen, gamma, np.nan),
        provenance={"warnings": warn(problem, None), "units": len(problem.y)},
    )


def _joint(exact: ExactNestedError) -> JointError:
    """Posterior covariance of the area means: what the nodes and the coefficients make them share."""
    posterior, mixture = exact.posterior, exact.mixture
    sums, means, profile = exact.sums, exact.means, posterior.profile
    mean, sd = mixture.moments()
    n = sums.n.astype(float)
    f = means.sampled(n)
    X, x = means.x_mean @ profile.root, sums.x_mean @ profile.root
    columns = []
    for k in np.flatnonzero(posterior.weights > 1e-9):
        ratio = posterior.tau[k] ** 2
        weight = f + (1.0 - f) * n * ratio / (1.0 + n * ratio)
        loading = (X - weight[:, None] * x) @ posterior.point.inverse[k].T
        columns.append(np.sqrt(posterior.weights[k]) * (mixture.means[k] - mean)[:, None])
        columns.append(np.sqrt(posterior.weights[k] * posterior.sigma2_e[k]) * loading)
    shared = np.hstack(columns)
    if len(shared) < shared.shape[1]:  # no more directions than areas
        values, vectors = np.linalg.eigh(shared @ shared.T)
        shared = vectors * np.sqrt(np.maximum(values, 0.0))
    return posterior_joint(sd**2, shared)


def _coefficient_table(
    problem: UnitProblem, posterior: NestedErrorPosterior, probabilities: np.ndarray
) -> pd.DataFrame:
    mixture = coefficient_mixture(posterior)
    mean, sd = mixture.moments()
    low, median, high = mixture.quantiles(probabilities)
    return pd.DataFrame(
        {"coef": mean, "sd": sd, "low": low, "median": median, "high": high},
        index=pd.Index(problem.design.columns, name="term"),
    )


def _variance_table(posterior: NestedErrorPosterior, probabilities: np.ndarray) -> pd.Series:
    columns: dict[str, np.ndarray] = {}
    for name, power in (("u", 1), ("e", 0)):
        ends = sd_quantiles(posterior, probabilities, tau_power=power)
        for title, scale in ((f"sigma2_{name}", 2), (f"sigma_{name}", 1)):
            mean, square = (posterior.mean(times * power, times) for times in (scale, 2 * scale))
            sd = np.sqrt(max(square - mean**2, 0.0))
            columns.update(parameter_columns(title, np.array(mean), np.array(sd), *(ends**scale)))
    return pd.Series({name: float(value) for name, value in columns.items()})
