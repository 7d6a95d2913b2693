"""How far areas are from the fitted distribution of welfare, beyond chance, and what that adds to errors.

What the units of area d show of an additive figure is r_d = Σ a k(y) - Σ a E k(y), with E given û_d. Were the
model true, its variance would be

    v_d = Σ a² Var(k | u_d) - (Σ a f)² Var(u_d | y),   f = dE k / du,

for the predicted effect has taken its part of the errors already: k = E k + f e + ε to first order, and the
residual of a best linear predictor has the variance R V⁻¹ R = R - Var(u | y). Effects of clusters are errors
here that their units share. Where r_d varies by more,

    r_d = s_d (b + δ_d) + error,   E δ_d² = τ²,   s_d = p (1 - p) of shares, and a mean itself:

shifts of the logit, or of the logarithm. b is seen of all units (`checks`), τ² between areas. Each counts
where chance would give as much once in a hundred samples; then b² and τ² are in the MSE of every area, b as
an error that all share, so that a benchmark takes it out. The model is this package's; decision 19 has what
it is worth.

References
----------
Paule and Mandel (1982), J. Res. Natl. Bur. Stand. 87, 377–385, and DerSimonian and Kacker (2007), Contemp.
Clin. Trials 28, 105–114 (moment equations of a variance between); Robinson (1991), Statist. Sci. 6, 15–32
(variances of best linear predictors).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import scipy
from scipy.special import gammaincc

from sae.errors import SaeWarning
from sae.numerics.ebp.closed_form import weighted
from sae.numerics.ebp.indicators import Indicators
from sae.numerics.ebp.population import Population
from sae.numerics.ebp.streamed import StreamedPopulation
from sae.results import Message
from sae.unit_level.ebp.checks import (
    CHANCE,
    Comparison,
    outcome_nodes,
    unit_figures,
    unit_scores,
    unit_weights,
)
from sae.unit_level.ebp.rows import TOTAL, FigureRows
from sae.unit_level.ebp.sample import EbpArrays
from sae.unit_level.ebp.scale import EbpFit

__all__ = ["Misfit", "area_misfits", "misfit_messages", "misfit_root", "variance_between"]

_STEP = 1e-3  # of an area effect, in standard deviations of a unit
_ROUNDS = 100
_EFFECTS = 3  # nodes
_UNITS = 1 << 12  # held at a time


@dataclass(frozen=True)
class Misfit:
    """What one figure of areas differs from the fit.

    Attributes
    ----------
    indicator : str
    common : float
        |b|, its estimation error taken off; 0 where chance gives as much.
    between : float
        τ, as estimated.
    chance : float
        Probability of areas as different, were the model true.
    size : float
        s of the median area.
    """

    indicator: str
    common: float
    between: float
    chance: float
    size: float

    @property
    def apart(self) -> bool:
        """Whether areas differ beyond chance."""
        return self.chance < CHANCE and self.between > 0.0

    @property
    def counts(self) -> bool:
        """Whether there is anything to be added to an error."""
        return self.apart or self.common > 0.0

    @property
    def record(self) -> dict[str, float]:
        """Standard deviations of areas in the units of the figure."""
        return {
            "common": self.common * self.size,
            "between": self.between * self.size,
            "chance": self.chance,
        }


def area_misfits(
    arrays: EbpArrays, fit: EbpFit, indicators: Indicators, comparisons: Sequence[Comparison]
) -> list[Misfit]:
    """Measure how far areas are from the fit, for each additive figure of which all units were compared.

    Parameters
    ----------
    arrays : EbpArrays
    fit : EbpFit
    indicators : Indicators
    comparisons : sequence of Comparison
        Of all units, `compare_units`.
    """
    figures = unit_figures(arrays, fit, indicators)
    if not figures:
        return []
    area, areas = arrays.units.area, arrays.units.areas
    a = unit_weights(arrays)
    whole = np.bincount(area, a, areas)
    share, sampled = a / whole[area], whole > 0.0
    model, v, fourth = _under_the_model(arrays, fit, tuple(figures), indicators.threshold, share)
    differences = {one.indicator: one for one in comparisons}
    out = []
    for k, (name, (values, expected)) in enumerate(figures.items()):
        size = _sizes(name, model[k][sampled])
        if not (np.isfinite(v[k]).all() and (size > 0.0).all() and (v[k][sampled] > 0.0).all()):
            continue  # a mean of 0 or less has no logarithm, nor does an infinite one
        r = np.bincount(area, share * (values - expected), areas)
        tau2, chance = variance_between(r[sampled], v[k][sampled], size, fourth[k][sampled])
        one, total = differences[name], float(whole[sampled] @ size) / float(whole.sum())
        b2 = ((one.model - one.units) ** 2 - one.se**2) / total**2 if one.apart else 0.0
        common = float(np.sqrt(max(b2, 0.0)))
        out.append(Misfit(name, common, float(np.sqrt(tau2)), chance, float(np.median(size))))
    return out


def variance_between(r: np.ndarray, v: np.ndarray, s: np.ndarray, fourth: np.ndarray) -> tuple[float, float]:
    """Return τ² of r_d = s_d (b + δ_d) + error, and how probable so much is where τ² = 0.

    τ² is the root of Σ w ((r - b s)² - E(τ²)) = 0, where w are inverse variances of the squares: a moment
    equation as Paule and Mandel's, with weights for which areas of few units, or with hardly a poor one, do
    not count as much as others. At τ² = 0 the sum is the score statistic, whose distribution is taken for a
    gamma with its variance and skewness.

    Parameters
    ----------
    r, v, s : ndarray of float, shape (m,)
        Differences, their variances, and their sizes.
    fourth : ndarray of float, shape (m,)
        Fourth cumulants of the differences.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> one = np.ones(400)
    >>> tau2, chance = variance_between(rng.normal(size=400) * 1.5, one, one, 0.0 * one)
    >>> round(tau2, 1), chance < 1e-6
    (0.9, True)
    """
    if len(r) < 3:
        return 0.0, 1.0
    square, tau2, chance = s * s, 0.0, 1.0
    for round_ in range(_ROUNDS):
        total = v + tau2 * square
        information = float((square / total).sum())
        b = float((s * r / total).sum()) / information
        excess = ((r - b * s) ** 2 - v + square / information) / square
        weight = square**2 / np.maximum(2.0 * total**2 + fourth, total**2)
        if round_ == 0:
            z = float(weight @ excess) / np.sqrt(weight.sum())
            skewness = float((8.0 * (weight * v / square) ** 3).sum()) / weight.sum() ** 1.5
            shape = 4.0 / skewness**2
            chance = float(gammaincc(shape, max(shape + z * np.sqrt(shape), 0.0)))
        before, tau2 = tau2, max(float(weight @ excess) / float(weight.sum()), 0.0)
        if abs(tau2 - before) <= 1e-8 * tau2:
            break
    return tau2, chance


def misfit_root(
    misfits: Sequence[Misfit], arrays: EbpArrays, rows: FigureRows, estimate: np.ndarray
) -> tuple[scipy.sparse.csr_array, tuple[str, ...]]:
    """Return what misfits add to the joint error of the rows: a column for each source, and their names.

    Units of the sample whose welfare is known have no such error. Figures of several areas have those of
    their areas.

    Parameters
    ----------
    misfits : sequence of Misfit
    arrays : EbpArrays
    rows : FigureRows
    estimate : ndarray of float, shape (M,)
    """
    own = np.flatnonzero(rows.area >= 0)
    area, M = rows.area[own], len(estimate)
    column = pd.Index([TOTAL, *arrays.people.groups]).get_indexer(pd.Index(rows.group[own]))
    unknown = _unknown(arrays.people.population)[area, column]
    together = _together(arrays, rows, own)
    columns, labels = [], []
    for one in misfits:
        size = np.where(
            rows.indicator[own] == one.indicator, unknown * _sizes(one.indicator, estimate[own]), 0.0
        )
        if one.common:
            columns.append(together @ scipy.sparse.csr_array(one.common * size[:, None]))
            labels.append(f"misfit of {one.indicator}")
        if one.apart:
            shape = len(own), len(arrays.names)
            of_area = scipy.sparse.csr_array((one.between * size, (np.arange(len(own)), area)), shape=shape)
            columns.append(together @ of_area)
            labels += [f"misfit of {one.indicator}, {name}" for name in arrays.names]
    if not columns:
        return scipy.sparse.csr_array((M, 0)), ()
    return scipy.sparse.csr_array(scipy.sparse.hstack(columns)), tuple(labels)


def misfit_messages(misfits: Sequence[Misfit], *, added: bool) -> list[Message]:
    """Name the figures of which areas differ beyond chance.

    Parameters
    ----------
    misfits : sequence of Misfit
    added : bool
        Whether the MSE has it.
    """
    apart = [one for one in misfits if one.apart]
    if not apart:
        return []
    sizes = [
        f"{one.indicator} by {100.0 * one.between:.2g} %"
        if one.indicator == "mean"
        else f"{one.indicator} by {100.0 * one.between * one.size:.2g} points"
        for one in apart
    ]
    text = f"Areas differ from the model beyond chance: {', '.join(sizes)} (standard deviation)"
    if added:
        return [Message(f"{text}, which is in the MSE.")]
    return [Message(f"{text}, which the errors do not hold.", SaeWarning)]


def _sizes(name: str, figure: np.ndarray) -> np.ndarray:
    return figure + 0.0 if name == "mean" else np.maximum(figure * (1.0 - figure), 0.0)


def _under_the_model(
    arrays: EbpArrays, fit: EbpFit, names: tuple[str, ...], threshold: float, share: np.ndarray
) -> np.ndarray:
    """Return the figures of areas, and variances and fourth cumulants of their differences, (3, K, D).

    Over all û_d that there may be: those of the fit have seen the differences.
    """
    at, area, areas = fit.parameters, arrays.units.area, arrays.units.areas
    sample = replace(arrays.sampled_population, weight=None)
    step = _STEP * float(np.sqrt(at.sigma2_e))
    predicted = np.sqrt(np.maximum(at.sigma2_u - at.spread**2, 0.0))
    out = np.zeros((3, len(names), areas))
    for node, chance in zip(*_normal_nodes(), strict=True):
        here = replace(fit, parameters=replace(at, effect=node * predicted))
        high, low = (
            weighted(sample, replace(at, effect=node * predicted + one), names, threshold)
            for one in (step, -step)
        )
        centre = 0.5 * (high + low)
        variances, cumulants = _moments(arrays, here, names, centre, threshold)
        for k, (expected, variance, fourth) in enumerate(zip(centre, variances, cumulants, strict=True)):
            slope = (high[k] - low[k]) / (2.0 * step)
            given = np.maximum(variance - slope**2 * (at.spread[area] ** 2 + at.sigma2_v), 0.0)
            own = np.asarray(np.bincount(area, share**2 * given, areas), dtype=float)
            own -= (np.bincount(area, share * slope, areas) * at.spread) ** 2
            if arrays.clusters is not None:
                whole = np.bincount(arrays.clusters.units.area, share * slope) ** 2
                own += at.sigma2_v * np.bincount(arrays.clusters.area, whole, areas)
            out[0, k] += chance * np.bincount(area, share * expected, areas)
            out[1, k] += chance * own
            out[2, k] += chance * (np.bincount(area, share**4 * fourth, areas) + 3.0 * own**2)
    out[2] -= 3.0 * out[1] ** 2
    return out


def _normal_nodes() -> tuple[np.ndarray, np.ndarray]:
    x, weights = np.polynomial.hermite_e.hermegauss(_EFFECTS)
    return x, weights / weights.sum()


def _moments(
    arrays: EbpArrays, fit: EbpFit, names: tuple[str, ...], expected: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return variances and fourth cumulants of what each unit adds, (K, n) each."""
    variance = expected * (1.0 - expected)  # of 0 and 1
    fourth = variance * (1.0 - 6.0 * variance)
    others = [k for k, name in enumerate(names) if name != "head_count"]
    for start in range(0, expected.shape[1] if others else 0, _UNITS):
        part = slice(start, start + _UNITS)
        values, mass = outcome_nodes(arrays, fit, part)
        for k in others:
            one = unit_scores(names[k], values, threshold)
            square = np.square(one - (one @ mass)[:, None])
            variance[k, part] = square @ mass
            fourth[k, part] = np.square(square) @ mass - 3.0 * variance[k, part] ** 2
    return variance, fourth


def _unknown(population: Population | StreamedPopulation) -> np.ndarray:
    """Return the share of persons whose welfare is not known, by area and group, all persons first."""
    persons = population.persons
    if isinstance(population, StreamedPopulation) or population.known is None:
        return np.ones_like(persons)
    mass = np.ones(len(population.X)) if population.mass is None else population.mass
    hidden = replace(population, weight=mass * np.isnan(population.known), count=None).persons
    return np.divide(hidden, persons, out=np.zeros_like(persons), where=persons > 0.0)


def _together(arrays: EbpArrays, rows: FigureRows, own: np.ndarray) -> scipy.sparse.csr_array:
    """Return the matrix that makes all rows of those of areas, (M, len(own)): means over persons."""
    place, source = [own], [np.arange(len(own))]
    for name, (level, parts) in list(arrays.people.levels.items())[1:]:
        mine = np.flatnonzero(rows.level == name)
        keys = pd.MultiIndex.from_arrays([rows.part[mine], rows.group[mine], rows.indicator[mine]])
        part = parts[level.part[rows.area[own]]]
        theirs = pd.MultiIndex.from_arrays([part, rows.group[own], rows.indicator[own]])
        place.append(mine[keys.get_indexer(theirs)])
        source.append(np.arange(len(own)))
    row, column = np.concatenate(place), np.concatenate(source)
    weight = rows.size[own[column]] / rows.size[row]
    return scipy.sparse.csr_array((weight, (row, column)), shape=(len(rows.size), len(own)))
