"""The exact posterior of a nested error model."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sae.numerics.inference.joint_error import JointError
from sae.numerics.inference.priors import data_unit
from sae.numerics.nested_error.posterior import NestedErrorPosterior
from sae.numerics.nested_error.posterior_means import coefficient_mixture, sd_quantiles
from sae.results import (
    FitTables,
    PosteriorFit,
    coefficient_index,
    credible_table,
    parameter_columns,
    posterior_joint,
)
from sae.samplers.nested_error import ExactNestedError
from sae.specs.priors import Prior
from sae.unit_level.nested_error.arrays import UnitArrays
from sae.unit_level.nested_error.tables import area_residuals, shares
from sae.unit_level.priors import hyper_prior, unit_prior

__all__ = ["fit_bayes"]


def fit_bayes(arrays: UnitArrays, *, prior: Prior | str | None, level: float) -> PosteriorFit:
    """Integrate the posterior.

    Parameters
    ----------
    arrays : UnitArrays
    prior : Prior, str or None
        Of σu, as a specification has it.
    level : float
        Of the intervals.

    Raises
    ------
    SaeInputError
        If the units cannot tell the model, or the posterior is improper.
    """
    sums, n, sampled = arrays.sums, arrays.sums.precision, arrays.sampled
    resolved = unit_prior(prior).scaled(data_unit(arrays.y))
    try:
        exact = ExactNestedError.of(sums, arrays.means, hyper_prior(resolved), list(arrays.names))
    except ValueError as error:
        arrays.refuse(error, resolved.text)
    posterior = exact.posterior
    tail = 0.5 * (1.0 - level)
    probabilities = np.array([tail, 0.5, 1.0 - tail])
    coefficients, root = posterior.coefficients()
    ratio = posterior.tau[:, None] ** 2
    gamma = posterior.weights @ (n * ratio / (1.0 + n * ratio))
    sigma2_u, sigma2_e = posterior.mean(2, 2), posterior.mean(0, 2)
    diagnostics = {
        "areas": len(n),
        "sampled": int(sampled.sum()),
        "units": len(arrays.y),
        "coefficients": len(coefficients),
        **shares(arrays, coefficients, sigma2_u, sigma2_e),
        "gamma_median": float(np.median(gamma[sampled])),
    }
    mixture = coefficient_mixture(posterior)
    index = coefficient_index(arrays.design.columns)
    return PosteriorFit(
        exact,
        _joint(exact),
        resolved.text,
        FitTables(
            credible_table(*mixture.moments(), mixture.quantiles(probabilities), index),
            _variances(posterior, probabilities),
            pd.DataFrame([diagnostics]),
            area_residuals(arrays, coefficients, root, sigma2_u, sigma2_e, _effects(exact)),
        ),
        np.where(sampled, gamma, np.nan),
        messages=tuple(arrays.messages()),
    )


def _effects(exact: ExactNestedError) -> np.ndarray:
    """Posterior means of the area effects, shape (D,)."""
    posterior, sums = exact.posterior, exact.sums
    ratio = posterior.tau[:, None] ** 2
    gamma = sums.precision * ratio / (1.0 + sums.precision * ratio)
    beta = posterior.profile.start[0] + posterior.point.delta @ posterior.profile.root.T
    return np.asarray(posterior.weights @ (gamma * (sums.y_mean[0] - beta @ sums.x_mean.T)))


def _joint(exact: ExactNestedError) -> JointError:
    """Posterior covariance of the area means: what the nodes and the coefficients make them share."""
    posterior, mixture = exact.posterior, exact.mixture
    sums, means, profile = exact.sums, exact.means, posterior.profile
    mean, sd = mixture.moments()
    n, f = sums.precision, means.sampled(sums.n)
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


def _variances(posterior: NestedErrorPosterior, probabilities: np.ndarray) -> pd.Series:
    columns: dict[str, np.ndarray] = {}
    for name, power in (("u", 1), ("e", 0)):
        ends = sd_quantiles(posterior, probabilities, tau_power=power)
        for title, scale in ((f"sigma2_{name}", 2), (f"sigma_{name}", 1)):
            mean, square = (posterior.mean(times * power, times) for times in (scale, 2 * scale))
            sd = np.sqrt(max(square - mean**2, 0.0))
            columns.update(parameter_columns(title, np.array(mean), np.array(sd), *(ends**scale)))
    return pd.Series({name: float(value) for name, value in columns.items()})
