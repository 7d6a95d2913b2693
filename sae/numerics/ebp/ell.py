"""The method of Elbers, Lanjouw and Lanjouw: indicators of populations that know the fit, and not the sample.

A draw takes coefficients and variances from the distribution of their estimates, an effect of every area from
its prior N(0, σu²), with or without a sample, and an error of every unit. The estimate is the mean of an
indicator over the draws, its MSE their variance. The units of an area say nothing of its effect: the
predictor is synthetic, and the empirical best predictor of the same fit never has a larger error but for what
estimation costs. It is here as a reference.

Drawn are β ~ N(β̂, cov β̂), and σu² and σe² from gamma distributions with the estimates for their means and
the inverse information for their variances, independent of each other. Errors are homoscedastic: there is no
alpha model. The parameter of a transformation is taken as known.

References
----------
Elbers, Lanjouw and Lanjouw (2003), Econometrica 71, 355-364; Molina and Rao (2010), Canadian J. Statist. 38,
369-385, section 4 (comparison).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sae.numerics.ebp.indicators import Indicators
from sae.numerics.ebp.population import Level, Parameters, Population
from sae.numerics.ebp.simulation import evaluate, welfare
from sae.numerics.ebp.transforms import Scale
from sae.numerics.nested_error.fit import NestedErrorFits
from sae.numerics.nested_error.mse import variance_information
from sae.numerics.random.streams import generator, normals, stream_keys
from sae.progress import counting

__all__ = ["ell_draws"]


def ell_draws(
    scale: Scale,
    fits: NestedErrorFits,
    n: np.ndarray,
    population: Population,
    indicators: Indicators,
    levels: Sequence[Level],
    labels: Sequence[str],
    draws: int,
    seed: int,
) -> np.ndarray:
    """Return the indicators of simulated populations.

    Parameters
    ----------
    scale : Scale
        On which the model was fitted.
    fits : NestedErrorFits
        One fit.
    n : ndarray of int, shape (D,)
        Units of the sample by area.
    population : Population
        Welfare that it knows is not used.
    indicators : Indicators
    levels : sequence of Level
    labels : sequence of str, length D
        Names of the areas: the names of their random streams.
    draws : int
    seed : int

    Returns
    -------
    ndarray, shape (draws, M)
        The figures of all levels, each raveled as of `prediction.predict`: mean and variance over the draws
        are the estimates and their mean squared errors.
    """
    whole = replace(population, known=None, linked=None)
    areas = np.arange(whole.areas)
    effects = normals(stream_keys(seed, "ELL area effect", labels), 0, draws)
    keys = stream_keys(seed, "ELL population", labels)
    out, step = [], counting("ELL", draws, "populations")
    for r in range(draws):
        beta, u2, e2 = _parameters(fits, n, generator(seed, "ELL parameters", r))
        drawn = Parameters.of_draw(scale, beta, u2, e2, np.sqrt(u2) * effects[r])
        y = welfare(whole, drawn, whole.scores(drawn), areas, keys, 0, 1, r)[0]
        out.append(np.concatenate([evaluate(whole, y, indicators, level).ravel() for level in levels]))
        step(1)
    return np.stack(out)


def _parameters(
    fits: NestedErrorFits, n: np.ndarray, stream: np.random.Generator
) -> tuple[np.ndarray, float, float]:
    """Draw coefficients and variances about their estimates."""
    u2, e2 = float(fits.sigma2_u[0]), float(fits.sigma2_e[0])
    beta = fits.coefficients[0] + fits.root[0] @ stream.normal(size=fits.root[0].shape[1])
    spread = np.diagonal(variance_information(n, n, u2, e2))
    drawn = [_gamma(mean, var, stream) for mean, var in zip((u2, e2), spread, strict=True)]
    return beta, drawn[0], drawn[1]


def _gamma(mean: float, variance: float, stream: np.random.Generator) -> float:
    """Draw from the gamma distribution with a mean and a variance; 0 where the mean is."""
    if mean <= 0.0:
        return 0.0
    return float(stream.gamma(mean * mean / variance, variance / mean))
