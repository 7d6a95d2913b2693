"""The posterior of area effects under a likelihood that is not normal, with its tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace

import numpy as np
import pandas as pd

from sae.area_level.priors import check_proper, resolved_prior
from sae.area_level.rows import AreaRows, each_fit
from sae.errors import SaeConvergenceError, SaeInputError, name_some
from sae.numerics.glmm.likelihoods import Likelihood
from sae.numerics.glmm.separation import separating
from sae.numerics.inference.joint_error import JointError
from sae.numerics.inference.transforms import Transform
from sae.results import (
    FitTables,
    FittedData,
    PosteriorFit,
    coefficient_index,
    compressed,
    covariate_messages,
    credible_table,
    explained_share,
    parameter_columns,
    posterior_joint,
    residual_table,
    weighted_summary,
)
from sae.samplers.grid import GridPosterior
from sae.samplers.grid_fits import GridFits
from sae.specs.priors import Prior

__all__ = ["arrays_of", "fit_area_effects"]


def fit_area_effects(
    likelihood: Likelihood,
    data: FittedData,
    rows: AreaRows,
    *,
    link: Transform,
    ends: np.ndarray,
    prior: Prior | str | None,
    coefficient_sd: float,
    more_priors: Sequence[str],
    level: float,
    posterior_class: Callable[..., GridPosterior],
) -> PosteriorFit:
    """Integrate the model of every fit.

    Parameters
    ----------
    likelihood : Likelihood
        Of the rows with a sample.
    data : FittedData
        Direct estimates on the reported scale, designs, which rows have a sample.
    rows : AreaRows
        Names of the rows' random streams, and of the fits.
    link : Transform
    ends : ndarray of int, shape (n_sampled,)
        -1 and 1 where the likelihood is largest at the lower or upper end of the scale, else 0.
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
        If the posterior of a fit is improper.
    SaeConvergenceError
        If the weights of the hyperparameters of a fit are not to be trusted.
    """
    X, sampled, fits = data.X, data.sampled, range(len(rows.fits))
    members = [np.flatnonzero(rows.fit == k) for k in fits]
    observed = [np.flatnonzero(rows.fit[sampled] == k) for k in fits]
    likelihoods = [_some(likelihood, places) for places in observed]
    priors = [resolved_prior(prior, one.guess()) for one in likelihoods]

    def proper(k: int) -> None:
        here, resolved = ends[observed[k]], priors[k]
        inside = here == 0  # a proper prior of σ asks for no more than data that are not separated
        few = int(inside.sum() if resolved.spare else len(here))
        check_proper(resolved, few, X.shape[1], rows.where(k))
        if np.isinf(coefficient_sd):
            _refuse_separated(X[sampled][observed[k]], here, data.columns, rows.where(k))

    each_fit(len(fits), proper)
    parts = [
        posterior_class(
            likelihoods[k], X[here], sampled[here], priors[k].code, link, rows.labels[here], coefficient_sd
        )
        for k, here in enumerate(members)
    ]
    tails = np.array([0.5 * (1.0 - level), 1.0 - 0.5 * (1.0 - level)])
    each_fit(len(fits), lambda k: _integrated(parts[k], rows.where(k), tails))
    texts = ["; ".join([one.text, *more_priors]) for one in priors]
    fit = rows.fit if len(fits) > 1 else None
    messages = covariate_messages(X, data.columns, sampled, data.labels, fit)
    tables = _tables(data, rows, parts, members, level)
    if rows.index is None:
        posterior, text = parts[0], texts[0]
        joint = posterior_joint(posterior.moments()[1] ** 2, posterior.shared())
        return PosteriorFit(posterior, joint, text, tables, bounds=link.range, messages=tuple(messages))
    together = GridFits(parts, [rows.where(k).removeprefix(" in ") for k in fits], members)
    names = np.repeat(np.array(texts, dtype=object), [len(here) for here in members])[together.order]
    return PosteriorFit(
        together, _joint(together), names, tables, bounds=link.range, messages=tuple(messages)
    )


def arrays_of(likelihood: Likelihood) -> list[tuple[str, np.ndarray]]:
    """Return what a likelihood holds of every area, by name."""
    names = [field.name for field in fields(likelihood)]  # type: ignore[arg-type]
    values = [(name, getattr(likelihood, name)) for name in names]
    return [(name, value) for name, value in values if isinstance(value, np.ndarray)]


def _some(likelihood: Likelihood, places: np.ndarray) -> Likelihood:
    """Return the likelihood of some of the areas."""
    taken = {name: value[places] for name, value in arrays_of(likelihood)}
    return replace(likelihood, **taken)  # type: ignore[type-var]


def _integrated(posterior: GridPosterior, where: str, tails: np.ndarray) -> None:
    """Integrate; of one fit of several keep what its table needs, and say which one it is that cannot be."""
    if not where:
        posterior.moments()
        return
    try:
        posterior.settle(tails)
    except SaeConvergenceError as error:
        what = f"{error.what.removesuffix('.')}{where}."
        raise SaeConvergenceError(what, hint=error.hint, areas=error.areas) from error


def _joint(together: GridFits) -> JointError:
    """Posterior covariance of independent fits."""
    _, sd = together.moments()
    shared = [part.shared() for part in together.parts]
    order, places = together.order, np.concatenate(together.members)

    def made() -> JointError:
        return JointError.of_fits(sd[places] ** 2, [compressed(one).T for one in shared]).reordered(order)

    return JointError.later(made)


def _refuse_separated(X: np.ndarray, ends: np.ndarray, columns: tuple[str, ...], where: str) -> None:
    """Refuse a design along which the likelihood never falls: with flat coefficients nothing is proper."""
    direction = separating(X, ends)
    if direction is None:
        return
    guilty = [column for column, weight in zip(columns, direction, strict=True) if abs(weight) > 1e-6]
    raise SaeInputError(
        f"The posterior is improper{where}: along {name_some(guilty)} the data are separated, all areas with "
        "observations strictly inside the scale lying on one side or apart.",
        hint="Leave these columns out, join levels, or check an outcome that is 0 or all everywhere.",
        column=guilty[0],
    )


def _tables(
    data: FittedData,
    rows: AreaRows,
    parts: Sequence[GridPosterior],
    members: Sequence[np.ndarray],
    level: float,
) -> FitTables:
    """Return the tables of all fits; one row or block per fit where they have names."""
    probabilities = np.array([0.5 * (1.0 - level), 0.5, 0.5 * (1.0 + level)])
    coefficients, components, diagnostics = [], [], []
    for posterior, here in zip(parts, members, strict=True):
        beta, sigma, weights = posterior.parameters()
        mean, deviation, quantiles = weighted_summary(beta, weights, probabilities)
        variance = weighted_summary(sigma[:, None] ** 2, weights, probabilities)
        values: dict[str, tuple[np.ndarray | float, np.ndarray | float, np.ndarray]] = {
            "sigma2_u": variance,
            "sigma_u": weighted_summary(sigma[:, None], weights, probabilities),
            **posterior.further(probabilities),
        }
        columns: dict[str, float] = {}
        for name, (value, spread, ends) in values.items():
            columns |= parameter_columns(name, *map(float, np.hstack([value, spread, ends.ravel()])))
        explained = float(np.var(data.X[here][data.sampled[here]] @ mean, ddof=1))
        coefficients.append((mean, deviation, quantiles))
        components.append(columns)
        diagnostics.append(
            {
                "areas": len(here),
                "sampled": int(data.sampled[here].sum()),
                "coefficients": len(mean),
                "r2_marginal": explained_share(explained, float(variance[0][0])),
                **posterior.diagnostics,
            }
        )
    means, deviations, quantiles = (np.array(values) for values in zip(*coefficients, strict=True))
    residuals = [_residuals(data, part, here) for part, here in zip(parts, members, strict=True)]
    return FitTables(
        credible_table(
            means, deviations, quantiles.swapaxes(0, 1), coefficient_index(data.columns, rows.fits)
        ),
        pd.Series(components[0]) if rows.index is None else pd.DataFrame(components, index=rows.index),
        pd.DataFrame(diagnostics, index=rows.index),
        residuals[0] if rows.index is None else pd.concat(residuals).sort_index(),
    )


def _residuals(data: FittedData, posterior: GridPosterior, members: np.ndarray) -> pd.DataFrame:
    """Direct estimates less what the model says of an area without one, on the reported scale."""
    rows = members[data.sampled[members]]
    fitted, sd = posterior.synthetic()
    residual = data.outcome[rows] - fitted
    standardised = residual / np.sqrt(sd**2 + posterior.noise(fitted))
    return residual_table(rows, data.labels[rows], fitted, residual, standardised, np.nan)
