"""Fit of Fay–Herriot models that are scale mixtures of normals: chains, then the result."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sae.area_level.arrays import AreaProblem
from sae.area_level.fay_herriot.bayes import check_proper, resolved_prior
from sae.area_level.multivariate.bayes import parameter_row
from sae.area_level.rows import read_rows
from sae.area_level.tables import extrapolation
from sae.errors import SaeSpecError
from sae.numerics.inference.transforms import TRANSFORMS
from sae.numerics.random.streams import seed_of
from sae.results import Result, posterior_joint, posterior_result
from sae.samplers.pymc import CHAINS
from sae.samplers.scale_mixtures import ScaleMixture, sample_mixture
from sae.specs import split_formula

if TYPE_CHECKING:
    from sae.specs.priors import Prior

__all__ = ["chain_seed", "fit_scale_mixture"]

_JOINT_DRAWS = 400
_THIN = 10  # iterations per kept draw of the horseshoe, whose common scale moves slowly
_CONSTANT = 1e-12  # share of its size below which the spread of a column is rounding


def chain_seed(seed: int | np.random.Generator | None) -> int:
    """Return the seed of chains as a number; a fit without one is refused.

    Raises
    ------
    SaeSpecError
    """
    if seed is None:
        raise SaeSpecError(
            "This model is fitted by random draws; it has no seed.",
            hint="Call fit(..., seed=1), with any number.",
        )
    return seed_of(seed)


def fit_scale_mixture(
    spec: Any, data: Any, areas: pd.DataFrame | None, seed: int, *, title: str, df: float | None = np.inf,
    horseshoe: bool = False, scale: float | None = None,
) -> Result:  # fmt: skip
    """Read, sample, and wrap it up.

    Parameters
    ----------
    spec : Specification
        With formula, domain, vardir, prior, level and draws.
    data, areas
        As of `FayHerriot.fit`.
    df : float or None
        Degrees of freedom of the effects; None draws them.
    horseshoe : bool
        Whether the coefficients of standardised covariates are shrunk; the intercept is not.
    scale : float, optional
        Of the half-Cauchy prior of their common scale; by default that of the outcome.
    """
    outcome, covariates = split_formula(spec.formula)
    rows = read_rows(
        data, areas, outcome=outcome, domain=spec.domain, vardir=spec.vardir, n_eff="n_eff", per=()
    )
    problem = AreaProblem.build(rows, TRANSFORMS["identity"], covariates)
    on = problem.sampled
    prior = resolved_prior(spec.prior, problem.y[on])
    centre, width = _standardised(problem.X[:, on]) if horseshoe else (0.0, np.ones(len(problem.X)))
    shrunk = width > 0 if horseshoe else np.zeros(len(width), dtype=bool)
    width = np.where(width > 0, width, 1.0)
    check_proper(prior, int(on.sum()), len(problem.X) - int(shrunk.sum()))
    X = (problem.X.T - centre) / width
    unit = float(f"{np.std(problem.y[on], ddof=1):.3g}") if scale is None else scale
    posterior = sample_mixture(
        problem.y, problem.D, X, on, problem.labels, prior.code, seed=seed,
        df=np.nan if df is None else df, shrunk=shrunk, tau_scale=unit, draws=-(-spec.draws // CHAINS),
        thin=_THIN if horseshoe else 2,
    )  # fmt: skip
    messages = [text for _, text in extrapolation(problem)]
    for kind, text in extrapolation(problem):
        warnings.warn(text, kind, stacklevel=3)
    beta = _natural(posterior.hyper["beta"], centre, width, problem)
    return _result(spec, problem, posterior, beta, _prior_text(prior, df, unit if horseshoe else None), title,
                   seed, messages)  # fmt: skip


def _standardised(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means and deviations of the columns; 0 and 0 for a constant one; not centred where none is constant."""
    spread = X.std(axis=1, ddof=1)
    constant = spread <= _CONSTANT * np.abs(X).max(axis=1)
    centre = np.where(constant | ~constant.any(), 0.0, X.mean(axis=1))
    return centre, np.where(constant, 0.0, spread)


def _natural(beta: np.ndarray, centre: Any, width: np.ndarray, problem: AreaProblem) -> np.ndarray:
    """Coefficients of the columns as the formula has them; what was centred goes into the constant column."""
    found = beta / width
    moved = found * centre
    if np.any(moved):
        constant = int(np.flatnonzero(np.ptp(problem.X[:, problem.sampled], axis=1) == 0.0)[0])
        found[:, constant] -= moved.sum(axis=1) / problem.X[constant, problem.sampled][0]
    return found


def _prior_text(prior: Prior, df: float | None, common: float | None) -> str:
    parts = [f"sigma_u {prior.text}"]
    if df is None:
        parts.append("df 2 + gamma(2, 0.1)")
    if common is not None:
        parts.append(f"coefficients horseshoe, tau half-cauchy({common:g})")
    return "; ".join(parts)


def _result(
    spec: Any, problem: AreaProblem, posterior: ScaleMixture, beta: np.ndarray, prior: str, title: str,
    seed: int,
    messages: list[str],
) -> Result:  # fmt: skip
    hyper, on = posterior.hyper, problem.sampled
    weights = np.full(len(beta), 1.0 / len(beta))
    values = {name: hyper[name] for name in ("sigma_u", "df", "tau") if name in hyper}
    if np.ptp(values.get("df", np.array([0.0, 1.0]))) == 0.0:
        del values["df"]  # given, not learnt
    tail = 0.5 * (1.0 - spec.level)
    low, median, high = np.quantile(beta, (tail, 0.5, 1.0 - tail), axis=0)
    _, sd = posterior.moments()
    means = posterior.mixture.means[:: max(1, len(beta) // _JOINT_DRAWS)]
    mean = beta.mean(axis=0)
    effect = hyper["sigma_u"][:, None] ** 2 * hyper["factor"]
    gamma = (effect / (effect + problem.D)).mean(axis=0) * on
    explained = float(np.var((mean @ problem.X)[on], ddof=1))
    covariance = np.atleast_2d(np.cov(beta.T))
    return posterior_result(
        spec, posterior, problem.rows.table,
        groups=problem.rows.groups,
        in_sample=problem.rows.sampled,
        prior=prior,
        joint=posterior_joint(sd**2, (means - means.mean(axis=0)).T / np.sqrt(len(means) - 1)),
        title=title,
        model=f"{title}: {spec.formula}",
        run=problem.run_id(spec.to_toml(), seed),
        seed=seed,
        coefficients=pd.DataFrame(
            {"coef": mean, "sd": beta.std(axis=0, ddof=1), "low": low, "median": median, "high": high},
            index=pd.Index(problem.design.columns, name="term"),
        ),
        variance_components=pd.Series(parameter_row(values, weights, spec.level)),
        diagnostics=pd.DataFrame([{
            "areas": len(on), "sampled": int(on.sum()), "coefficients": len(mean),
            "r2_marginal": explained / (explained + float(np.median(effect[:, on]))),
            "gamma_median": float(np.median(gamma[on])),
        }]),
        residuals=_residuals(problem, mean, covariance, effect),
        areas=problem.rows.covariates,
        gamma=gamma,
        provenance={"warnings": messages, "direct": dict(problem.rows.provenance)},
    )  # fmt: skip


def _residuals(
    problem: AreaProblem, mean: np.ndarray, covariance: np.ndarray, effect: np.ndarray
) -> pd.DataFrame:
    """Residuals of the mean regression, over the deviation that the model gives them."""
    on = np.flatnonzero(problem.sampled)
    X, D = problem.X[:, on], problem.D[on]
    fitted = mean @ X
    total = effect.mean(axis=0)[on] + D
    left = np.maximum(total - np.einsum("pm,pq,qm->m", X, covariance, X), 1e-12 * total)
    return pd.DataFrame({
        "row": problem.order[on], "domain": problem.names[on], "fitted": fitted,
        "residual": problem.y[on] - fitted, "standardised": (problem.y[on] - fitted) / np.sqrt(left),
        "leverage": 1.0 - left / total,
    }).set_index("row").sort_index()  # fmt: skip
