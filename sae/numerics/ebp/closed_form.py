"""Expectations of indicators without simulation: means over units of what each is expected to be.

Given the sample, h(y) of a unit is normal about its score with one standard deviation in an area. So the head
count is a normal distribution function at the transformed threshold, whatever h is. With h the identity or a
logarithm the mean, gap and severity have closed forms too; with a power they are integrals of analytic
functions over one line, which Gauss–Legendre nodes give to ten digits.
"""

from __future__ import annotations

import math
from functools import cache, partial

import numpy as np
from scipy.special import ndtr

from sae.numerics.ebp.cell_table import CellTable
from sae.numerics.ebp.indicators import ADDITIVE
from sae.numerics.ebp.mixture_table import MixtureTable
from sae.numerics.ebp.population import Level, Parameters, Population
from sae.numerics.ebp.power import raise_all
from sae.numerics.ebp.transforms import Scale

__all__ = ["additive", "expected", "expected_about", "share_at_top", "unit_values", "weighted"]

_FAR = 8.5  # standard deviations beyond which nothing is left: 1e-17 of a probability
_NODES = {"mean": 32, "gap": 20, "severity": 20}
_UNITS = 1 << 12  # held at a time
_COST = {"head_count": 1, "gap": 20, "severity": 20}  # evaluations for a unit and a point
_MANY = 40_000  # of them for each point, from which on a table is quicker
_WIDTHS = 16  # terms of a series in the width of a density
_STEP = 0.75  # of a trapezoid, in standard deviations: an error of 1e-15 where what it sees is smooth
_TOPPED = 0.2  # the same where welfare has a top, whose corner costs 1e-5


def expected(
    scale: Scale, score: np.ndarray, sd: np.ndarray | float, name: str, threshold: float
) -> np.ndarray:
    """Return E k(y) of units with h(y) ~ N(score, sd²), shape (N,).

    Parameters
    ----------
    scale : Scale
    score : ndarray of float, shape (N,)
    sd : float or ndarray of float, shape (N,)
    name : {"mean", "head_count", "gap", "severity"}
        k(y) is y, or (1 - y / z)^α for y < z with α = 0, 1, 2.
    threshold : float
        z.

    References
    ----------
    Foster, Greer and Thorbecke (1984), Econometrica 52, 761–766; Molina and Rao (2010).

    Examples
    --------
    >>> expected(Scale("log"), np.array([0.0]), 1.0, "mean", 1.0).round(4).tolist()
    [1.6487]
    """
    if name == "mean":
        return _mean(scale, score, sd)
    top = float(scale.forward(np.array(threshold)))
    a = (top - score) / sd
    below = ndtr(a)
    if name == "head_count":
        return np.asarray(below)
    if scale.name not in ("none", "log", "log-shift"):
        return _quadrature(scale, score, sd, name, np.minimum(a, _FAR), threshold)
    first, second = _partial_moments(scale, score, sd, a, below)
    gap = below - first / threshold
    return gap if name == "gap" else gap - first / threshold + second / threshold**2


def _mean(scale: Scale, score: np.ndarray, sd: np.ndarray | float) -> np.ndarray:
    if scale.name == "none":
        return score + 0.0
    if scale.name in ("log", "log-shift"):
        return np.exp(score + 0.5 * np.square(sd)) + scale.bottom
    return _quadrature(scale, score, sd, "mean", np.full(len(score), _FAR), math.nan)


def _partial_moments(
    scale: Scale, score: np.ndarray, sd: np.ndarray | float, a: np.ndarray, below: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return E y and E y² over what lies below a standard deviations."""
    if scale.name == "none":
        height = np.exp(-0.5 * a * a) / math.sqrt(2.0 * math.pi)
        first = score * below - sd * height
        return first, (score**2 + np.square(sd)) * below - sd * (2.0 * score + sd * a) * height
    c = -scale.bottom
    once = np.exp(score + 0.5 * np.square(sd)) * ndtr(a - sd)
    twice = np.exp(2.0 * (score + np.square(sd))) * ndtr(a - 2.0 * sd)
    return once - c * below, twice - 2.0 * c * once + c * c * below


def _quadrature(
    scale: Scale,
    score: np.ndarray,
    sd: np.ndarray | float,
    name: str,
    top: np.ndarray,
    threshold: float,
) -> np.ndarray:
    """Integrate k(h^-1(score + sd x)) φ(x) from the end of the scale, or far below, to `top`."""
    low, high = ((end - score) / sd for end in scale.ends)
    start = np.clip(low, -_FAR, top)
    width = np.maximum(np.minimum(top, high) - start, 0.0)
    ndtr_low = ndtr(start)  # what is not reached has the least welfare
    nodes, weights = _legendre(_NODES[name])
    power = {"gap": 1, "severity": 2}.get(name)
    x = start + width * nodes
    y = _welfare(scale, score + sd * x)
    if power is not None:
        y = (1.0 - y / threshold) ** power
    total = (weights * y * np.exp(-0.5 * x * x)).sum(axis=0)
    total *= width / math.sqrt(2.0 * math.pi)
    if power is None and scale.topped:
        total += scale.top * ndtr(-high)
    bottom = scale.bottom if power is None else (1.0 - scale.bottom / threshold) ** power
    return np.asarray(total + np.where(np.isfinite(low), bottom * ndtr_low, 0.0))


@cache
def _legendre(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return Gauss–Legendre nodes and weights of [0, 1], shape (count, 1)."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return 0.5 * (nodes[:, None] + 1.0), 0.5 * weights[:, None]


def _welfare(scale: Scale, t: np.ndarray) -> np.ndarray:
    """Return h^-1(t), quicker than `Scale.inverse` where no digit is lost by it."""
    if scale.name != "box-cox" or abs(scale.parameter) < 1e-3:
        return scale.inverse(t)
    y = scale.parameter * t
    y += 1.0
    y = raise_all(np.maximum(y, 1e-300, out=y), 1.0 / scale.parameter, scale.shift)
    return np.minimum(y, scale.top, out=y) if scale.topped else y


def share_at_top(population: Population, parameters: Parameters) -> float:
    """Return the share of a population that is expected beyond the top of a scale, and has the top itself."""
    if not parameters.scale.topped:
        return 0.0
    everybody = Level(np.zeros(population.areas, dtype=np.int64), 1)
    below = additive(population, parameters, ("head_count",), parameters.scale.top, everybody)
    return max(1.0 - float(below[0, 0, 0]), 0.0)


def additive(
    population: Population,
    parameters: Parameters,
    names: tuple[str, ...],
    threshold: float,
    level: Level,
) -> np.ndarray:
    """Return expected indicators of the parts of a level and of their groups.

    Parameters
    ----------
    population : Population
    parameters : Parameters
    names : tuple of str
        Of `ADDITIVE`.
    threshold : float
    level : Level

    Returns
    -------
    ndarray, shape (level.size, 1 + groups, K)
        As of `simulation.simulate`; nan where there is no unit.
    """
    columns = max(population.groups, 1)
    cells = np.repeat(level.part, population.sizes) * columns
    if population.group is not None:
        cells = cells + population.group
    size = level.size * columns
    weight = population.mass
    totals = np.stack(
        [np.bincount(cells, values, size) for values in weighted(population, parameters, names, threshold)]
        + [np.bincount(cells, weight, size)],
        axis=1,
    ).reshape(level.size, columns, -1)
    whole = totals.sum(axis=1, keepdims=True)
    totals = np.concatenate([whole, totals], axis=1) if population.groups else whole
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(totals[:, :, :-1] / totals[:, :, -1:])


def _expected(at: Parameters, name: str, threshold: float, score: np.ndarray, sd: np.ndarray) -> np.ndarray:
    if not len(at.errors.points):
        return expected(at.scale, score, sd, name, threshold)
    return expected_about(at, score, sd, np.ones(len(score)), name, threshold)


def expected_about(
    at: Parameters, score: np.ndarray, sd: np.ndarray, size: np.ndarray, name: str, threshold: float
) -> np.ndarray:
    """Return E k(y) of units whose errors are normal about one of several points, shape (N,).

    Parameters
    ----------
    at : Parameters
    score, sd : ndarray of float, shape (N,)
        sd² is the variance of the area effect and of the error about its point.
    size : ndarray of float, shape (N,)
        Of the errors, in units of σe.
    name : str
    threshold : float
    """
    step = np.sqrt(at.sigma2_e) * size
    if name == "mean" and at.scale.name in ("box-cox", "dual-power"):
        return _mean_about(at, score, sd, step)
    if name == "head_count":
        apart = float(at.scale.forward(np.array(threshold))) - score
        below = (apart[:, None] - step[:, None] * at.errors.points) / sd[:, None]
        return np.asarray(ndtr(below).mean(axis=1))
    total = np.zeros(len(score))
    for point in at.errors.points:
        total += expected(at.scale, score + point * step, sd, name, threshold)
    return total / len(at.errors.points)


def _mean_about(at: Parameters, score: np.ndarray, sd: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Return E y by one trapezoid through the density of the whole error, a smooth function of its width.

    Widths differ by unit: the density is a polynomial in their logarithm, to ten digits.
    """
    points, width = at.errors.points, np.log(sd / step)
    low, half = float(width.min()), 0.5 * float(np.ptp(width))
    terms = _WIDTHS if half > 0.0 else 1
    nodes = np.cos(np.pi * (np.arange(terms) + 0.5) / terms)
    widths = np.exp(low + half * (1.0 + nodes))
    step_x = (_TOPPED if at.scale.topped else _STEP) * np.exp(low)
    x = np.arange(points.min() - _FAR * widths.max(), points.max() + _FAR * widths.max(), step_x)
    density = np.exp(-0.5 * ((x[:, None, None] - points) / widths[:, None]) ** 2).sum(axis=2)
    at_nodes = _welfare(at.scale, score[:, None] + step[:, None] * x) @ (density / density.sum(axis=0))
    place = (width - low) / half - 1.0 if half > 0.0 else np.zeros(len(width))
    vander = np.polynomial.chebyshev.chebvander
    basis = vander(place, terms - 1) @ np.linalg.inv(vander(nodes, terms - 1))
    return np.asarray((at_nodes * basis).sum(axis=1))


def weighted(
    population: Population, parameters: Parameters, names: tuple[str, ...], threshold: float
) -> np.ndarray:
    """Return weight times expected value of every row, shape (K, N)."""
    out = unit_values(population, parameters, names, threshold)
    return out if population.mass is None else out * population.mass


def unit_values(
    population: Population, parameters: Parameters, names: tuple[str, ...], threshold: float
) -> np.ndarray:
    """Return what every unit is expected to add to the mean that an indicator is, shape (K, N)."""
    assert set(names) <= set(ADDITIVE)
    score, (own, rows) = population.scores(parameters), population.sds(parameters)
    sd = np.repeat(own, rows)
    out = np.empty((len(names), len(score)))
    if parameters.errors.alpha is not None:
        out[:] = _sized_values(population, parameters, names, threshold, score, sd)
    else:
        table = CellTable.of(score, sd, own, rows)
        for k, name in enumerate(names):
            of_unit = partial(_expected, parameters, name, threshold)
            if table is not None:
                table.fill(of_unit, out[k])
                continue
            for start in range(0, len(score), _UNITS):
                part = slice(start, start + _UNITS)
                out[k, part] = of_unit(score[part], sd[part])
    if population.known is not None:
        seen = np.flatnonzero(~np.isnan(population.known))
        y = population.known[seen]
        for k, name in enumerate(names):
            power = {"head_count": 0, "gap": 1, "severity": 2}.get(name)
            poor = np.where(y < threshold, 1.0 - y / threshold, 0.0)
            out[k, seen] = y if power is None else np.where(y < threshold, poor**power, 0.0)
    return out


def _sized_values(
    population: Population,
    parameters: Parameters,
    names: tuple[str, ...],
    threshold: float,
    score: np.ndarray,
    sd: np.ndarray,
) -> np.ndarray:
    """Return what units are expected to be whose errors have sizes, one of those alike for all, (K, N)."""
    rows, kind = population.alike
    size = parameters.errors.sizes(population.X[rows])
    own = parameters.errors.width**2 * parameters.sigma2_e
    score, sd = score[rows], np.sqrt(sd[rows] ** 2 + (size**2 - 1.0) * own)
    out, scale = np.empty((len(names), len(rows))), parameters.scale
    step = np.sqrt(parameters.sigma2_e) * size
    table = None
    if len(rows) * sum(_COST.get(name, 0) for name in names) > _MANY:
        table = MixtureTable.of(parameters.errors.points, sd / step)
    for k, name in enumerate(names):
        for start in range(0, len(rows), _UNITS):
            part = slice(start, start + _UNITS)
            if table is None or name == "mean":
                out[k, part] = expected_about(parameters, score[part], sd[part], size[part], name, threshold)
                continue
            at = score[part], step[part], sd[part] / step[part]
            if name == "head_count":
                top = scale.forward(np.array(threshold))
                out[k, part] = table.below((top - at[0]) / at[1], at[2])
            else:
                out[k, part] = table.short(scale, *at, {"gap": 1, "severity": 2}[name], threshold)
    return out[:, kind]
