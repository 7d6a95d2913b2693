"""Fit of the nested error model by likelihood: EBLUP of area means, their error, intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.special import ndtr, stdtrit

import sae
from sae.numerics.inference.joint_error import JointError
from sae.numerics.inference.priors import FLAT_SD, FLAT_VARIANCE
from sae.numerics.inference.transforms import TRANSFORMS
from sae.numerics.nested_error.bootstrap import bootstrap_mse
from sae.numerics.nested_error.fit import NestedErrorFits, fit_nested_error
from sae.numerics.nested_error.mse import Predictions, predict, variance_information
from sae.numerics.nested_error.posterior import HyperPrior, nested_error_posterior
from sae.numerics.nested_error.posterior_means import area_mixture
from sae.results import NormalDraws, Result
from sae.specs import split_formula
from sae.tables import EstimateTable
from sae.unit_level.rows import UnitProblem
from sae.unit_level.tables import area_table, refuse, residual_table, warn

if TYPE_CHECKING:
    from sae.unit_level.nested_error.model import NestedError

__all__ = ["fit_likelihood"]

FEW_AREAS = 50  # with fewer, the error of the variances and of the MSE itself is no longer small


def fit_likelihood(spec: NestedError, problem: UnitProblem, seed: int | None) -> Result:
    """Fit, predict, measure the error, and wrap it all up."""
    sums, means = problem.sums, problem.means
    try:
        fits = fit_nested_error(sums, spec.method)
    except ValueError as error:
        refuse(problem, error)
    part = predict(fits, sums, means, spec.method)
    mse = part.mse
    words = np.full(len(mse), f"analytical, Prasad–Rao, {spec.method.upper()}", dtype=object)
    words[~part.corrected] = f"{words[0]}, bias term left out"
    if spec.mse == "bootstrap":
        assert seed is not None
        mse = bootstrap_mse(
            fits, sums, means, list(problem.names), method=spec.method, replicates=spec.replicates, seed=seed
        )
        words[:] = f"parametric bootstrap, {spec.replicates} replicates"
    low, high, interval, prior = _intervals(spec, problem, fits, part, mse)
    seen = sums.n > 0
    messages = warn(problem, float(fits.sigma2_u[0]))
    run = problem.run_id(spec.to_toml(), seed)
    joint = JointError.of_fits(mse, [part.factor])
    se, magnitude = np.sqrt(mse), np.abs(part.estimate)
    with np.errstate(divide="ignore", invalid="ignore"):
        cv = np.where(magnitude > 0, se / magnitude, np.nan)
    table = area_table(problem, split_formula(spec.formula)[0]).assign(
        estimate=part.estimate, mse=mse, se=se, cv=cv, ci_low=low, ci_high=high, interval=interval,
        gamma=np.where(seen, part.gamma, np.nan), in_sample=seen, flag="e",
        method=f"EBLUP, {spec.method.upper()}", mse_method=words, prior=prior, model=spec.words, run=run,
    )  # fmt: skip
    covariance = fits.root[0] @ fits.root[0].T
    return Result(
        estimates=EstimateTable(table, ()),
        coefficients=_coefficient_table(problem, fits),
        variance_components=_variance_table(problem, fits),
        diagnostics=_diagnostics(problem, fits, part, spec.method),
        residuals=residual_table(
            problem, fits.coefficients[0], covariance, float(fits.sigma2_u[0]), float(fits.sigma2_e[0])
        ),
        provenance={
            "sae": sae.__version__, "model": spec.to_toml(), "seed": seed, "run": run, "warnings": messages,
            "units": len(problem.y),
        },
        spec=spec,
        areas=problem.population.frame,
        title=f"Nested error ({spec.method.upper()})",
        joint=joint,
        source=NormalDraws(
            part.estimate, joint, TRANSFORMS["identity"], tuple(problem.names), problem.design.columns
        ),
    )  # fmt: skip


def _intervals(
    spec: NestedError, problem: UnitProblem, fits: NestedErrorFits, part: Predictions, mse: np.ndarray
) -> tuple[np.ndarray, np.ndarray, str, str]:
    """Student's t on the MSE with many areas and a positive variance, else quantiles of a posterior.

    Its flat prior of σu², or of σu where that is improper, stands in the table.
    """
    tail = 0.5 * (1.0 - spec.level)
    m, p = int((problem.sums.n > 0).sum()), len(problem.design.columns)
    if m >= FEW_AREAS and m > p and fits.sigma2_u[0] > 0.0:
        half = float(stdtrit(m - p, 1.0 - tail)) * np.sqrt(mse)
        return part.estimate - half, part.estimate + half, "t on the MSE", ""
    for code, prior in ((FLAT_VARIANCE, "flat-variance"), (FLAT_SD, "flat-sd")):
        try:
            posterior = nested_error_posterior(problem.sums, HyperPrior(code))
        except ValueError:  # improper with so few areas
            continue
        low, high = area_mixture(posterior, problem.sums, problem.means).quantiles(
            np.array([tail, 1.0 - tail])
        )
        return low, high, f"posterior, {prior} prior", prior
    missing = np.full(len(mse), np.nan)
    return missing, missing, "none: too few areas", ""


def _coefficient_table(problem: UnitProblem, fits: NestedErrorFits) -> pd.DataFrame:
    beta, se = fits.coefficients[0], np.sqrt((fits.root[0] ** 2).sum(axis=1))
    z = beta / se
    return pd.DataFrame(
        {"coef": beta, "se": se, "z": z, "p": 2.0 * ndtr(-np.abs(z))},
        index=pd.Index(problem.design.columns, name="term"),
    )


def _variance_table(problem: UnitProblem, fits: NestedErrorFits) -> pd.Series:
    u2, e2, n = float(fits.sigma2_u[0]), float(fits.sigma2_e[0]), problem.sums.n
    spread = np.sqrt(np.diagonal(variance_information(n[n > 0].astype(float), u2, e2)))
    return pd.Series({
        "sigma2_u": u2, "sigma2_u_se": spread[0] if u2 > 0.0 else np.nan,
        "sigma2_e": e2, "sigma2_e_se": spread[1],
    })  # fmt: skip


def _diagnostics(problem: UnitProblem, fits: NestedErrorFits, part: Predictions, method: str) -> pd.DataFrame:
    p, n = len(problem.design.columns), len(problem.y)
    seen = problem.sums.n > 0
    loglik = float(fits.loglik[0])
    explained = float(np.var(problem.X @ fits.coefficients[0], ddof=1))
    whole = explained + float(fits.sigma2_u[0] + fits.sigma2_e[0])
    return pd.DataFrame([{
        "areas": len(seen), "sampled": int(seen.sum()), "units": n, "coefficients": p,
        "likelihood": "restricted" if method == "reml" else "full", "loglik": loglik,
        "aic": 2.0 * (p + 2) - 2.0 * loglik, "bic": np.log(n) * (p + 2) - 2.0 * loglik,
        "r2_marginal": explained / whole, "gamma_median": float(np.median(part.gamma[seen])),
        "maxima": int(fits.maxima[0]),
    }])  # fmt: skip
