"""The exact posterior of Fay–Herriot models."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sae.area_level.arrays import AreaArrays
from sae.area_level.fay_herriot.tables import one_or_many
from sae.area_level.priors import check_proper, resolved_prior
from sae.area_level.rows import each_fit
from sae.numerics.fay_herriot.mixture import area_mixture, shared_columns
from sae.numerics.fay_herriot.posterior import Areas
from sae.numerics.inference.joint_error import JointError
from sae.numerics.inference.transforms import Transform
from sae.results import (
    FitTables,
    Message,
    PosteriorFit,
    coefficient_index,
    compressed,
    credible_table,
    explained_share,
    parameter_columns,
    residual_table,
)
from sae.samplers.fay_herriot import FayHerriotPosterior
from sae.specs.priors import Prior

__all__ = ["fit_bayes"]


def fit_bayes(
    arrays: AreaArrays, transform: Transform, *, prior: Prior | str | None, level: float
) -> PosteriorFit:
    """Integrate all fits at once.

    Parameters
    ----------
    arrays : AreaArrays
    transform : Transform
    prior : Prior, str or None
        As a specification has it.
    level : float
        Of the intervals.

    Returns
    -------
    PosteriorFit
        In the order of the table.
    """
    rows, order = arrays.rows, arrays.in_order
    priors = [resolved_prior(prior, arrays.y[inside]) for inside in arrays.inside]
    each_fit(
        len(priors),
        lambda k: check_proper(priors[k], len(arrays.inside[k]), arrays.X.shape[1], rows.where(k)),
    )
    areas = Areas.of(arrays.y, arrays.D, np.ascontiguousarray(arrays.X.T), arrays.sampled, arrays.offsets)
    posterior = FayHerriotPosterior(
        areas,
        [one.code for one in priors],
        transform,
        arrays.labels,
        [rows.where(k).removeprefix(" in ") for k in range(len(rows.fits))],
        order,
    )
    gammas = [_mean_weight(posterior, k) for k in range(len(priors))]
    _, sd = posterior.moments()
    return PosteriorFit(
        posterior,
        _joint(posterior, sd),
        np.repeat([one.text for one in priors], np.diff(arrays.offsets))[order],
        FitTables(
            _coefficients(arrays, posterior, level),
            _variances(arrays, posterior, level),
            _diagnostics(arrays, posterior, gammas),
            _residuals(arrays, posterior),
        ),
        np.concatenate(gammas)[order],
        transform.range,
        (*arrays.messages(), *_endless(arrays, posterior)),
    )


def _mean_weight(posterior: FayHerriotPosterior, problem: int) -> np.ndarray:
    """Posterior mean of γ = σ² / (σ² + D) of every area of one fit."""
    place = posterior.nodes.of(problem)
    A, inside = posterior.nodes.sd[place, None] ** 2, posterior.areas.offsets[problem : problem + 2]
    return posterior.nodes.weights[place] @ (A / (A + posterior.areas.vardir[slice(*inside)]))


def _joint(posterior: FayHerriotPosterior, sd: np.ndarray) -> JointError:
    """Posterior covariance on the reported scale: on the model's, times the mean slope of the way back."""
    fits = range(len(posterior.priors))
    transform, order = posterior.transform, posterior.order
    factors = [compressed(shared_columns(posterior.nodes, posterior.areas, k)).T for k in fits]
    mixtures = [area_mixture(posterior.nodes, posterior.areas, k) for k in fits]
    variance = np.concatenate([mixture.moments()[1] ** 2 for mixture in mixtures])
    joint = JointError.of_fits(variance, factors)
    if transform.name == "identity":
        slope = np.ones_like(variance)
    else:
        slope = np.concatenate(
            [mixture.weights @ transform.slope(mixture.means, mixture.sds**2) for mixture in mixtures]
        )
    return joint.reordered(order).scaled(slope[order], sd**2)


def _coefficients(arrays: AreaArrays, posterior: FayHerriotPosterior, level: float) -> pd.DataFrame:
    beta = posterior.coefficients(_ends(level))
    index = coefficient_index(arrays.design.columns, arrays.rows.fits)
    return credible_table(beta.mean, beta.sd, beta.quantiles, index)


def _variances(arrays: AreaArrays, posterior: FayHerriotPosterior, level: float) -> pd.Series | pd.DataFrame:
    deviation = posterior.deviations(_ends(level))
    mean, sd = posterior.variances()
    columns = {
        **parameter_columns("sigma2_u", mean, sd, *deviation.quantiles**2),
        **parameter_columns("sigma_u", deviation.mean, deviation.sd, *deviation.quantiles),
    }
    return one_or_many(arrays, columns)


def _ends(level: float) -> tuple[float, float, float]:
    return 0.5 * (1.0 - level), 0.5, 0.5 * (1.0 + level)


def _diagnostics(
    arrays: AreaArrays, posterior: FayHerriotPosterior, gammas: list[np.ndarray]
) -> pd.DataFrame:
    """One row per fit: sizes, share of the variance explained, median gamma, nodes and their error."""
    lines = []
    variances, _ = posterior.variances()
    for k, inside in enumerate(arrays.inside):
        place = posterior.nodes.of(k)
        beta = posterior.nodes.weights[place] @ posterior.nodes.coefficients[place]
        explained = float(np.var(beta @ np.ascontiguousarray(arrays.X[inside].T), ddof=1))
        lines.append(
            {
                "areas": len(gammas[k]),
                "sampled": len(inside),
                "coefficients": len(arrays.design.columns),
                "r2_marginal": explained_share(explained, variances[k]),
                "gamma_median": float(np.median(gammas[k][inside - arrays.offsets[k]])),
                "nodes": place.stop - place.start,
                "quadrature_error": posterior.errors[k],
            }
        )
    return pd.DataFrame(lines, index=arrays.rows.index)


def _residuals(arrays: AreaArrays, posterior: FayHerriotPosterior) -> pd.DataFrame:
    """Residuals of the mean regression; their variance σ² + D - x'Qx averaged over σ."""
    frames = []
    for k, areas in enumerate(arrays.inside):
        place = posterior.nodes.of(k)
        weights, X, D = (
            posterior.nodes.weights[place],
            np.ascontiguousarray(arrays.X[areas].T),
            arrays.D[areas],
        )
        fitted = (weights @ posterior.nodes.coefficients[place]) @ X
        half = np.einsum("kqp,qm->kpm", posterior.nodes.roots[place], X)
        total = posterior.nodes.sd[place, None] ** 2 + D
        left = weights @ np.maximum(total - (half * half).sum(axis=1), 1e-12 * total)
        residual = arrays.y[areas] - fitted
        frames.append(
            residual_table(
                arrays.order[areas],
                arrays.names[areas],
                fitted,
                residual,
                residual / np.sqrt(left),
                1.0 - left / (weights @ total),
            )
        )
    return pd.concat(frames).sort_index()


def _endless(arrays: AreaArrays, posterior: FayHerriotPosterior) -> list[Message]:
    """Name the fits with so few areas that the variance has no posterior mean."""
    endless = [arrays.rows.where(int(k)) for k in np.flatnonzero(~posterior.nodes.finite)]
    if not endless:
        return []
    text = (
        "There are so few areas that the posterior mean of the variance does not exist"
        f"{' (' + ','.join(endless).strip() + ')' if endless[0] else ''}: areas without a sample have no "
        "finite variance; their intervals are valid."
    )
    return [Message(text)]
