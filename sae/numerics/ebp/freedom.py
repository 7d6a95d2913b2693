"""Degrees of freedom of a mean squared error that is made of two estimated variances.

On the transformed scale the error of an area's mean has the variance

    M(σu², σe²) = (1 - γ) σu² + σe² / N + a'Qa,    a = X̄ - γ x̄,

and with V the asymptotic covariance of the two estimates 2 M² / (∇M' V ∇M) degrees of freedom, as
Satterthwaite has it: few where little but σu² counts, many in areas with many units. An indicator on the
scale of welfare is taken to have those of the mean of its part.

References
----------
Satterthwaite (1946), Biometrics Bulletin 2, 110–114; Kenward and Roger (1997), Biometrics 53, 983–997.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sae.numerics.ebp.population import Level, Population
from sae.numerics.ebp.streamed import StreamedPopulation
from sae.numerics.nested_error.mse import variance_information
from sae.numerics.nested_error.profile import AreaSums, Profile

__all__ = ["error_freedom"]

_STEP = 1e-4  # of λ + 1 / n


def error_freedom(
    population: Population | StreamedPopulation,
    sums: AreaSums,
    levels: Sequence[Level],
    sigma2_u: float,
    sigma2_e: float,
) -> list[np.ndarray]:
    """Return the degrees of freedom of the parts of levels, one array for each; nan of parts without units.

    Parameters
    ----------
    population : Population or StreamedPopulation
        For the means of one that is streamed those of its sample stand.
    sums : AreaSums
        Of the sample, on the scale of the model.
    levels : sequence of Level
    sigma2_u, sigma2_e : float
    """
    size, n, mean = population.persons[:, 0], sums.precision, _means(population, sums)
    ratio = sigma2_u / sigma2_e
    step = _STEP * (ratio + 1.0 / float(n.max()))
    ratios = np.array([ratio, ratio + step])
    profile = Profile.of(sums)
    inverse = profile.at(ratios).inverse
    spread = variance_information(sums.n, n, sigma2_u, sigma2_e)
    out = []
    for level in levels:
        whole = np.bincount(level.part, size, level.size)
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.where(size > 0.0, size / whole[level.part], 0.0)
            own = np.where(population.units > 0, 1.0 / population.units, 0.0)
            values = []
            for one, half in zip(ratios, inverse, strict=True):
                gamma = n * one / (1.0 + n * one)
                alone = np.bincount(level.part, share**2 * ((1.0 - gamma) * one + own), level.size)
                a = share[:, None] * (mean - gamma[:, None] * sums.x_mean)
                gap = np.stack([np.bincount(level.part, column, level.size) for column in a.T], axis=1)
                alone += ((gap @ profile.root @ half.T) ** 2).sum(axis=1)
                values.append(alone)
            m, by_u = values[0], (values[1] - values[0]) / step
            by_e = m - ratio * by_u  # M is σe² m(λ)
            variance = spread[0, 0] * by_u**2 + 2.0 * spread[0, 1] * by_u * by_e + spread[1, 1] * by_e**2
            out.append(np.where(whole > 0.0, 2.0 * (sigma2_e * m) ** 2 / variance, np.nan))
    return out


def _means(population: Population | StreamedPopulation, sums: AreaSums) -> np.ndarray:
    """Return the means of the design over the persons of each area, (D, p)."""
    if isinstance(population, StreamedPopulation):
        overall = sums.n @ sums.x_mean / sums.n.sum()
        return np.where(sums.n[:, None] > 0, sums.x_mean, overall)
    mass = np.ones(len(population.X)) if population.mass is None else population.mass
    area = np.repeat(np.arange(population.areas), population.sizes)
    columns = [np.bincount(area, mass * column, population.areas) for column in population.X.T]
    size = population.persons[:, :1]
    return np.stack(columns, axis=1) / np.where(size > 0.0, size, 1.0)
