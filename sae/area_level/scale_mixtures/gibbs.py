"""The posterior of Fay–Herriot models that are scale mixtures of normals: Gibbs chains, then tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from sae.area_level.arrays import AreaArrays
from sae.area_level.priors import check_proper, resolved_prior
from sae.area_level.reading import read_rows
from sae.numerics.inference.priors import data_unit
from sae.numerics.inference.standardise import standardise
from sae.numerics.inference.transforms import TRANSFORMS
from sae.results import (
    FitTables,
    PosteriorFit,
    chains_apart,
    coefficient_index,
    credible_table,
    explained_share,
    parameter_row,
    posterior_joint,
    residual_table,
)
from sae.samplers.chains import draw_summary, prior_text
from sae.samplers.pymc import per_chain
from sae.samplers.scale_mixtures import ScaleMixture, sample_mixture
from sae.specs import split_formula
from sae.specs.priors import Prior

__all__ = ["fit_scale_mixture", "read_arrays"]

_THIN = 10  # iterations per kept draw of the horseshoe, whose common scale moves slowly


def read_arrays(
    data: Any, areas: pd.DataFrame | None, formula: str, *, domain: str, vardir: str
) -> AreaArrays:
    """Read the rows of a model without transformation; arguments as of `FayHerriot.fit` and `FayHerriot`."""
    outcome, covariates = split_formula(formula)
    rows = read_rows(data, areas, outcome=outcome, domain=domain, vardir=vardir, n_eff="n_eff", per=())
    return AreaArrays.build(rows, TRANSFORMS["identity"], covariates)


def fit_scale_mixture(
    arrays: AreaArrays,
    *,
    prior: Prior | str | None,
    level: float,
    draws: int,
    seed: int,
    df: float | None = np.inf,
    horseshoe: bool = False,
    scale: float | None = None,
) -> PosteriorFit:
    """Run the chains.

    Parameters
    ----------
    arrays : AreaArrays
        Of one fit.
    prior : Prior, str or None
        Of the scale of the effects, as a specification has it.
    level : float
        Of the intervals.
    draws : int
        Kept draws of all chains together.
    seed : int
    df : float or None
        Degrees of freedom of the effects; None draws them.
    horseshoe : bool
        Whether the coefficients of standardised covariates are shrunk; the intercept is not.
    scale : float, optional
        Of the half-Cauchy prior of their common scale; by default that of the outcome.

    Raises
    ------
    SaeInputError
        If a flat prior leaves the posterior improper.
    SaeConvergenceError
        If the chains do not agree.
    """
    on, p = arrays.sampled, arrays.X.shape[1]
    resolved = resolved_prior(prior, arrays.y[on])
    standard = standardise(arrays.X[on]) if horseshoe else None
    shrunk = np.zeros(p, dtype=bool) if standard is None else ~standard.constant
    check_proper(resolved, int(on.sum()), p - int(shrunk.sum()))
    unit = data_unit(arrays.y[on]) if scale is None else scale
    posterior = sample_mixture(
        arrays.y,
        arrays.D,
        arrays.X if standard is None else standard.of(arrays.X),
        on,
        arrays.labels,
        resolved.code,
        seed=seed,
        df=np.nan if df is None else df,
        shrunk=shrunk,
        tau_scale=unit,
        draws=per_chain(draws),
        thin=_THIN if horseshoe else 2,
    )
    priors = {"sigma_u": resolved.text}
    if df is None:
        priors["df"] = "2 + gamma(2, 0.1)"
    if horseshoe:
        priors["coefficients"] = f"horseshoe, tau half-cauchy({unit:g})"
    effect = posterior.effects
    gamma = (effect / (effect + arrays.D)).mean(axis=0) * on
    beta = posterior.beta if standard is None else standard.natural(posterior.beta)
    _, sd = posterior.moments()
    return PosteriorFit(
        posterior,
        posterior_joint(sd**2, posterior.shared()),
        prior_text(priors),
        _tables(arrays, posterior, beta, gamma, level),
        gamma,
        messages=(*arrays.messages(), *chains_apart(posterior.chains.doubt)),
    )


def _tables(
    arrays: AreaArrays, posterior: ScaleMixture, beta: np.ndarray, gamma: np.ndarray, level: float
) -> FitTables:
    """Tables of the posterior and of draws of coefficients of the columns as they are, shape (S, p)."""
    on, hyper = arrays.sampled, posterior.hyper
    effect = posterior.effects
    learnt = [name for name in ("sigma_u", "df", "tau") if name in hyper and np.ptp(hyper[name]) > 0.0]
    values: dict[str, np.ndarray] = {name: hyper[name] for name in learnt}
    mean, sd, ends = draw_summary(beta, level)
    fitted = posterior.level + posterior.X @ hyper["beta"].mean(axis=0)
    explained = float(np.var(fitted[on], ddof=1))
    diagnostics = {
        "areas": len(on),
        "sampled": int(on.sum()),
        "coefficients": len(mean),
        "r2_marginal": explained_share(explained, float(np.median(effect[:, on]))),
        "gamma_median": float(np.median(gamma[on])),
    }
    return FitTables(
        credible_table(mean, sd, ends, coefficient_index(arrays.design.columns)),
        pd.Series(parameter_row(values, np.full(len(beta), 1.0 / len(beta)), level), dtype=float),
        pd.DataFrame([diagnostics]),
        _residuals(arrays, posterior, fitted),
    )


def _residuals(arrays: AreaArrays, posterior: ScaleMixture, fitted: np.ndarray) -> pd.DataFrame:
    """Residuals of the mean regression, over the deviation that the model gives them."""
    on = np.flatnonzero(arrays.sampled)
    X, covariance = posterior.X[on], np.atleast_2d(np.cov(posterior.hyper["beta"].T))
    total = posterior.effects.mean(axis=0)[on] + arrays.D[on]
    left = np.maximum(total - np.einsum("mp,pq,mq->m", X, covariance, X), 1e-12 * total)
    residual = arrays.y[on] - fitted[on]
    return residual_table(
        arrays.order[on], arrays.names[on], fitted[on], residual, residual / np.sqrt(left), 1.0 - left / total
    )
