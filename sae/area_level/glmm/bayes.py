"""The posterior of area effects under a likelihood that is not normal, with its tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from sae.area_level.priors import check_proper, resolved_prior
from sae.errors import SaeInputError, name_some
from sae.numerics.glmm.likelihoods import Likelihood
from sae.numerics.glmm.separation import separating
from sae.numerics.inference.transforms import Transform
from sae.results import (
    FitTables,
    FittedData,
    PosteriorFit,
    coefficient_index,
    covariate_messages,
    credible_table,
    explained_share,
    parameter_columns,
    posterior_joint,
    residual_table,
    weighted_summary,
)
from sae.samplers.grid import GridPosterior
from sae.specs.priors import Prior

__all__ = ["fit_area_effects"]


def fit_area_effects(
    likelihood: Likelihood,
    data: FittedData,
    *,
    link: Transform,
    ends: np.ndarray,
    labels: Sequence[str],
    prior: Prior | str | None,
    coefficient_sd: float,
    more_priors: Sequence[str],
    level: float,
    posterior_class: Callable[..., GridPosterior],
) -> PosteriorFit:
    """Integrate the model.

    Parameters
    ----------
    likelihood : Likelihood
        Of the rows with a sample.
    data : FittedData
        Direct estimates on the reported scale, designs, which rows have a sample.
    link : Transform
    ends : ndarray of int, shape (n_sampled,)
        -1 and 1 where the likelihood is largest at the lower or upper end of the scale, else 0.
    labels : sequence of str
        Names of the rows' random streams.
    prior : Prior, str or None
        Of the standard deviation of the area effects, as a specification has it.
    coefficient_sd : float
        Of the prior of the coefficients on centred and scaled columns; infinite is flat.
    more_priors : sequence of str
        Texts of further priors.
    level : float
        Of the intervals.
    posterior_class : callable
        `GridPosterior`, or one that takes the same arguments.

    Raises
    ------
    SaeInputError
        If the posterior is improper.
    SaeConvergenceError
        If the weights of the hyperparameters are not to be trusted.
    """
    X, sampled = data.X, data.sampled
    resolved = resolved_prior(prior, likelihood.guess())
    inside = ends == 0  # a proper prior of σ asks for no more than data that are not separated
    check_proper(resolved, int(inside.sum() if resolved.spare else len(ends)), X.shape[1])
    if np.isinf(coefficient_sd):
        _refuse_separated(X[sampled], ends, data.columns)
    posterior = posterior_class(likelihood, X, sampled, resolved.code, link, labels, coefficient_sd)
    _, sd = posterior.moments()
    return PosteriorFit(
        posterior,
        posterior_joint(sd**2, posterior.shared()),
        "; ".join([resolved.text, *more_priors]),
        _tables(data, posterior, level),
        bounds=link.range,
        messages=tuple(covariate_messages(X, data.columns, sampled, data.labels)),
    )


def _refuse_separated(X: np.ndarray, ends: np.ndarray, columns: tuple[str, ...]) -> None:
    """Refuse a design along which the likelihood never falls: with flat coefficients nothing is proper."""
    direction = separating(X, ends)
    if direction is None:
        return
    guilty = [column for column, weight in zip(columns, direction, strict=True) if abs(weight) > 1e-6]
    raise SaeInputError(
        f"The posterior is improper: along {name_some(guilty)} the data are separated, all areas with "
        "observations strictly inside the scale lying on one side or apart.",
        hint="Leave these columns out, join levels, or check an outcome that is 0 or all everywhere.",
        column=guilty[0],
    )


def _tables(data: FittedData, posterior: GridPosterior, level: float) -> FitTables:
    beta, sigma, weights = posterior.parameters()
    probabilities = np.array([0.5 * (1.0 - level), 0.5, 0.5 * (1.0 + level)])
    mean, deviation, quantiles = weighted_summary(beta, weights, probabilities)
    variance = weighted_summary(sigma[:, None] ** 2, weights, probabilities)
    components: dict[str, tuple[np.ndarray | float, np.ndarray | float, np.ndarray]] = {
        "sigma2_u": variance,
        "sigma_u": weighted_summary(sigma[:, None], weights, probabilities),
        **posterior.further(probabilities),
    }
    columns: dict[str, float] = {}
    for name, (value, spread, ends) in components.items():
        columns |= parameter_columns(name, *map(float, np.hstack([value, spread, ends.ravel()])))
    explained = float(np.var(data.X[data.sampled] @ mean, ddof=1))
    diagnostics = {
        "areas": len(data.sampled),
        "sampled": int(data.sampled.sum()),
        "coefficients": len(mean),
        "r2_marginal": explained_share(explained, float(variance[0][0])),
    }
    return FitTables(
        credible_table(mean, deviation, quantiles, coefficient_index(data.columns)),
        pd.Series(columns),
        pd.DataFrame([diagnostics]),
        _residuals(data, posterior),
    )


def _residuals(data: FittedData, posterior: GridPosterior) -> pd.DataFrame:
    """Direct estimates less what the model says of an area without one, on the reported scale."""
    rows = np.flatnonzero(data.sampled)
    fitted, sd = posterior.synthetic()
    residual = data.outcome[rows] - fitted
    standardised = residual / np.sqrt(sd**2 + posterior.noise(fitted))
    return residual_table(rows, data.labels[rows], fitted, residual, standardised, np.nan)
