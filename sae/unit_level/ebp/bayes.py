"""The posterior predictive EBP: indicators of populations simulated from the exact posterior."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
from numba import config

from sae.errors import BoundaryVarianceWarning, SaeConvergenceError, name_some
from sae.numerics.ebp.closed_form import share_at_top
from sae.numerics.ebp.drawn_populations import simulate_draws
from sae.numerics.ebp.indicators import Indicators
from sae.numerics.ebp.population import Level, Parameters, Population
from sae.numerics.ebp.posterior import ParameterDraws, ScalePosterior, scale_posterior
from sae.numerics.inference.priors import data_unit
from sae.numerics.nested_error.posterior import NestedErrorPosterior
from sae.numerics.nested_error.posterior_means import coefficient_mixture
from sae.numerics.random.streams import stream_keys
from sae.results import (
    FitTables,
    Message,
    PosteriorFit,
    coefficient_index,
    credible_table,
    explained_share,
    parameter_row,
    posterior_joint,
)
from sae.samplers.ebp import EbpPosterior
from sae.samplers.posterior import Sample
from sae.specs.priors import Prior
from sae.unit_level.ebp.fit import MANY, population_notes
from sae.unit_level.ebp.learnt import area_residuals, shape_note, shapes, transformation
from sae.unit_level.ebp.reach import FINITE, reach_messages
from sae.unit_level.ebp.rows import FigureRows
from sae.unit_level.ebp.sample import EbpArrays
from sae.unit_level.ebp.scale import EbpFit
from sae.unit_level.priors import hyper_prior, unit_prior

__all__ = ["fit_bayes"]

_LARGEST_ERROR = 0.1  # of the moments of a share, with which a posterior is refused
_FEW_UNITS = 30  # degrees of freedom of σe from which a mean on a logarithmic scale is what draws show


def fit_bayes(
    arrays: EbpArrays,
    fit: EbpFit,
    indicators: Indicators,
    rows: FigureRows,
    *,
    prior: Prior | str | None,
    level: float,
    draws: int,
    seed: int,
) -> PosteriorFit:
    """Integrate the posterior, draw populations from it, and take their figures.

    Parameters
    ----------
    arrays : EbpArrays
    fit : EbpFit
        By restricted likelihood: where the prior of σu has its scale and the table its coefficients.
    indicators : Indicators
    rows : FigureRows
        The rows of the table.
    prior : Prior, str or None
        Of σu, as a specification has it.
    level : float
        Of the intervals.
    draws, seed : int

    Raises
    ------
    SaeInputError
        If the posterior is improper.
    SaeConvergenceError
        If figures of simulated populations are not finite.
    """
    z = fit.scale.forward(arrays.y)
    resolved = unit_prior(prior).scaled(data_unit(z))
    try:
        model = scale_posterior(arrays.units, arrays.y, fit.scale, hyper_prior(resolved))
    except ValueError as reason:
        arrays.refuse(reason, resolved.text)
    if not model.error <= _LARGEST_ERROR:
        raise SaeConvergenceError(
            f"The posterior of σu/σe was not found: moments from two rules of nodes differ by "
            f"{model.error:.2f}.",
            hint="Use a proper prior, or more areas.",
        )
    at_top = _share_at_top(arrays, fit, model)
    apart = reach_messages(indicators, fit.scale, arrays.y, at_top, posterior=True)
    posterior = _posterior(arrays, model, indicators, rows, draws, seed)
    values = posterior.sample.values
    bad = ~np.isfinite(values)
    where = f"{int(bad.any(axis=1).sum())} of {draws} populations drawn from the posterior, of "
    rows.refuse_infinite(bad.any(axis=0), indicators, where)
    at = model.centre
    posterior_scale = _parameters(arrays, fit, at)
    fitted = replace(fit, parameters=posterior_scale)
    diagnostics = _diagnostics(arrays, posterior_scale, at, z)
    tail = 0.5 * (1.0 - level)
    mixture = coefficient_mixture(at)
    index = coefficient_index(arrays.design.columns)
    tables = FitTables(
        credible_table(*mixture.moments(), mixture.quantiles(np.array([tail, 0.5, 1.0 - tail])), index),
        _variances(model, at, level),
        diagnostics,
        area_residuals(arrays, fitted, rows),
    )
    gamma = np.where(arrays.units.n > 0, _gamma(arrays, at), np.nan)
    shares = np.isin(rows.indicator, [*FINITE, "gini"]).all()
    messages = [m for m in fit.messages if m.category is not BoundaryVarianceWarning]
    messages += [
        *apart,
        *population_notes(arrays, rows),
        *_heavy(arrays, fit, indicators),
        shape_note(diagnostics.iloc[0]),
    ]
    return PosteriorFit(
        posterior,
        posterior_joint(posterior.moments()[1] ** 2, posterior.shared()),
        _prior_text(model, fit, resolved),
        tables,
        np.where(rows.area >= 0, gamma[rows.area], np.nan),
        (0.0, 1.0) if shares else (-np.inf, np.inf),
        tuple(messages),
        {"transformation": transformation(fit), "threshold": indicators.threshold},
    )


def _posterior(
    arrays: EbpArrays,
    model: ScalePosterior,
    indicators: Indicators,
    rows: FigureRows,
    draws: int,
    seed: int,
) -> EbpPosterior:
    names = list(arrays.names)
    levels = [one for one, _ in arrays.people.levels.values()]
    drawn = model.draw(names, draws, seed)
    population, sample = arrays.people.rows, arrays.sampled_population
    threads = int(config.NUMBA_NUM_THREADS) if int(population.unit_offsets[-1]) * draws >= MANY else 1
    keys = stream_keys(seed, "welfare", names)
    figures = rows.flat(simulate_draws(population, drawn, indicators, levels, keys, threads=threads))
    seen = np.flatnonzero(rows.sampled)
    own = stream_keys(seed, "welfare of a sample", names)
    order = np.cumsum(arrays.units.n > 0) - 1
    area = rows.area[seen]
    first = (area >= 0) & (rows.first_of_area[area] == seen)
    parameters = {"sigma_u": drawn.sigma_u, "sigma_e": drawn.sigma_e, "beta": drawn.coefficients}
    if len(model.scales) > 1:
        parameters[model.parameter] = drawn.parameter
    source = f"exact posterior, {draws} independent draws of the population"
    if len(model.scales) > 1:
        source += f", {len(model.scales)} nodes of {model.parameter}"
    return EbpPosterior(
        Sample(figures, parameters),
        source,
        {"quadrature_error": model.error},
        model,
        drawn,
        partial(_observed, sample, indicators, levels, own, rows, seen),
        partial(drawn.fresh, names, seed),
        np.where(first, order[area], -1),
    )


def _observed(
    sample: Population,
    indicators: Indicators,
    levels: list[Level],
    keys: np.ndarray,
    rows: FigureRows,
    seen: np.ndarray,
    drawn: ParameterDraws,
) -> np.ndarray:
    """Return the figures of samples simulated from draws, (S, n)."""
    return rows.flat(simulate_draws(sample, drawn, indicators, levels, keys))[:, seen]


def _parameters(arrays: EbpArrays, fit: EbpFit, at: NestedErrorPosterior) -> Parameters:
    """Return posterior means at the parameter of the fit, with the effects that they predict."""
    beta, _ = at.coefficients()
    gamma, sums = _gamma(arrays, at), fit.sums
    gap = np.where(sums.n > 0, sums.y_mean[0] - sums.x_mean @ beta, 0.0)
    return Parameters(
        fit.scale, beta, at.mean(2, 2), at.mean(0, 2), gamma * gap, np.sqrt(at.mean(2, 2) * (1.0 - gamma))
    )


def _share_at_top(arrays: EbpArrays, fit: EbpFit, model: ScalePosterior) -> float:
    """Return the share of the population beyond the top of the scale, at the means of every node of λ."""
    share, population = 0.0, arrays.people.rows
    for scale, weight, at in zip(model.scales, model.weights, model.posteriors, strict=True):
        if scale.topped:
            moved = replace(fit, scale=scale, sums=arrays.units.sums(scale.forward(arrays.y)[None]))
            share += float(weight) * share_at_top(population, _parameters(arrays, moved, at))
    return share


def _gamma(arrays: EbpArrays, at: NestedErrorPosterior) -> np.ndarray:
    n, ratio = arrays.units.n, at.tau[:, None] ** 2
    return np.asarray(at.weights @ (n * ratio / (1.0 + n * ratio)))


def _variances(model: ScalePosterior, at: NestedErrorPosterior, level: float) -> pd.Series:
    sigma = {"sigma_u": at.tau[:, None] * at.sigma_e, "sigma_e": at.sigma_e}
    weights = (at.weights[:, None] * at.inner).ravel()
    row = parameter_row({name: values.ravel() for name, values in sigma.items()}, weights, level)
    if len(model.scales) > 1:
        nodes = np.array([scale.parameter for scale in model.scales])
        row |= parameter_row({model.parameter: nodes}, model.weights, level)
    return pd.Series(row)


def _diagnostics(
    arrays: EbpArrays, parameters: Parameters, at: NestedErrorPosterior, z: np.ndarray
) -> pd.DataFrame:
    units, seen = arrays.units, arrays.units.n > 0
    explained = float(np.var(units.X @ parameters.coefficients, ddof=1))
    u2, e2 = parameters.sigma2_u, parameters.sigma2_e
    return pd.DataFrame(
        [
            {
                "areas": arrays.people.present,
                "sampled": int(seen.sum()),
                "units": len(arrays.y),
                "population": int(arrays.people.population.unit_offsets[-1]),
                "coefficients": units.X.shape[1],
                "r2_marginal": explained_share(explained, u2 + e2),
                "r2_conditional": explained_share(explained + u2, e2),
                "icc": float(at.weights @ (at.tau**2 / (1.0 + at.tau**2))),
                "gamma_median": float(np.median(_gamma(arrays, at)[seen])),
                **shapes(parameters.effect[seen], parameters.residuals(z, units)),
            }
        ]
    )


def _prior_text(model: ScalePosterior, fit: EbpFit, prior: Prior) -> str:
    if len(model.scales) == 1:
        return prior.text
    name = "log of the least shifted welfare" if fit.scale.name == "log-shift" else model.parameter
    return f"{prior.text} at {model.parameter} = {fit.scale.parameter:.4g}; {name} flat"


def _heavy(arrays: EbpArrays, fit: EbpFit, indicators: Indicators) -> list[Message]:
    """Say where a mean is one of a distribution with too heavy a tail for it."""
    freedom = len(arrays.y) - arrays.units.X.shape[1]
    heavy = [name for name in indicators.names if name == "mean"] if fit.scale.name != "none" else []
    if not heavy or freedom >= _FEW_UNITS:
        return []
    return [
        Message(
            f"{name_some(heavy)}: with {freedom} degrees of freedom of σe the tail of welfare on the scale "
            f"{fit.scale.name} is too heavy for a posterior mean; the ends of the intervals hold."
        )
    ]
