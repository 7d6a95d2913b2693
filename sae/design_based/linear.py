"""Means, shares, ratios and totals by domain, with linearised, replicate or Poisson variances.

A ratio R_d = Σ_d w y / Σ_d w x has the linearised variable z = 1(d) (y - R_d x) / Σ_d w x, a total 1(d) y:
zero outside the domain, with every sampling unit of the full design counted.

References
----------
Särndal, Swensson and Wretman (1992), ch. 5.5 to 5.8 and 10; Woodruff (1971), JASA 66, 411-414.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from sae.design_based.design import Design, UnitScores
from sae.design_based.estimates import ROUNDING, PlainEstimates
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.indicators import IndicatorArrays
from sae.numerics.design.replicates import replicate_deviations, replicate_totals
from sae.numerics.design.units import domain_moments
from sae.survey import Replicates

__all__ = [
    "LinearSums",
    "estimates_of_sums",
    "linear_estimates",
    "poisson_estimates",
    "replicate_variance",
]

_NOTHING = np.empty((0, 0))


@dataclass(frozen=True, eq=False)
class LinearSums:
    """What the records have to say of a linear indicator.

    Attributes
    ----------
    cells : tuple of ndarray, shape (n_cells, 3), one per level
        Σwy, Σwx and the records in the universe of each unit × domain cell.
    moments : ndarray, shape (n_domains, 8)
        n, Σw, Σw², Σwy, Σwx, Σwyy, Σwxy, Σwxx of each domain.
    share, total : bool
        Whether the estimates are shares, or totals.
    unit : str
    """

    cells: tuple[np.ndarray, ...]
    moments: np.ndarray
    share: bool
    total: bool
    unit: str


def linear_estimates(design: Design, data: IndicatorArrays, replicates: Replicates | None) -> PlainEstimates:
    """Estimate a ratio or a total in every domain, with its linearised or replicate variance.

    Parameters
    ----------
    design : Design
    data : IndicatorArrays
        Of an indicator of kind "ratio", "mean" or "total".
    replicates : Replicates or None
        Without them the variance is linearised.
    """
    y, x, inside = data.numerator, data.denominator, data.inside
    passes = [
        domain_moments(cells.record, cells.domain, design.n_domains, design.weights, y, x, inside)
        for cells in design.cells
    ]
    sums = LinearSums(
        tuple(of_cells for of_cells, _ in passes),
        passes[0][1],
        data.share,
        data.indicator.kind == "total",
        data.unit,
    )
    if replicates is None:
        return _linearised(design, sums, data)
    shared, _, _ = _points(sums)
    tops, bottoms = replicate_totals(replicates.weights, design.domain, inside, y, x, design.n_domains)
    with np.errstate(divide="ignore", invalid="ignore"):
        theta = tops if sums.total else tops / bottoms
    return PlainEstimates(**shared, **replicate_variance(theta, shared["estimate"], replicates))


def estimates_of_sums(design: Design, sums: LinearSums) -> PlainEstimates:
    """Estimate from sums alone, with the linearised variance; the design is not calibrated."""
    return _linearised(design, sums, None)


def _linearised(design: Design, sums: LinearSums, data: IndicatorArrays | None) -> PlainEstimates:
    shared, ratio, scale = _points(sums)
    scores = _scores(design, data, sums.cells, ratio, scale)
    variance = np.where(np.isfinite(shared["estimate"]), design.variance(scores), np.nan)
    return PlainEstimates(**shared, scores=scores, variance=variance)


def _points(sums: LinearSums) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """Fields of `PlainEstimates` but the variance; the ratio, and the scale of the linearised variable."""
    total = sums.total
    n, w, _, wy, wx, wyy, wxy, wxx = sums.moments.T
    with np.errstate(divide="ignore", invalid="ignore"):
        defined = (n > 0) if total else (n > 0) & (wx != 0)
        ratio = np.where(defined & (not total), wy / wx, 0.0)
        scale = np.where(defined, 1.0 if total else 1.0 / wx, 0.0)
        estimate = np.where(defined, wy if total else ratio, np.nan)
        # N Σ w z² / (n - 1); a total is judged around its own mean: its domain size is not what is sampled
        square = wyy - wy**2 / w if total else wyy - 2.0 * ratio * wxy + ratio**2 * wxx
        square = np.where(square > ROUNDING * wyy, square, 0.0)  # what does not vary in the domain
        srs = np.where(defined & (n > 1), w * square * scale**2 / (n - 1.0), np.nan)
    shared = {
        "estimate": estimate,
        "moments": sums.moments[:, :3],
        "counts": sums.cells[0][:, 2],
        "srs_variance": srs,
        "share": sums.share,
        "unit": sums.unit,
        "centred": not total,
    }
    return shared, ratio, scale


def _scores(
    design: Design,
    data: IndicatorArrays | None,
    sums: tuple[np.ndarray, ...],
    ratio: np.ndarray,
    scale: np.ndarray,
) -> UnitScores:
    """Sum w (y - ratio x) scale to units, from the cells; only calibration goes back to the records."""
    totals = tuple(
        (part[:, 0] - ratio[cells.domain] * part[:, 1]) * scale[cells.domain]
        for part, cells in zip(sums, design.cells, strict=True)
    )
    plain = UnitScores(totals, tuple(part[:, 2] for part in sums))
    if design.calibration is None:
        return plain
    assert data is not None
    local = data.numerator - ratio[design.domain] * data.denominator  # domain -1 carries no weight later
    local *= scale[design.domain] * data.inside
    return design.with_shared(plain, local, np.empty((local.size, 0)), _NOTHING)


def replicate_variance(theta: np.ndarray, estimate: np.ndarray, replicates: Replicates) -> dict[str, Any]:
    """Fields of `PlainEstimates` that come from replicates: variance, deviations, replicates that are empty.

    Parameters
    ----------
    theta : ndarray of float, shape (n_domains, R)
    estimate : ndarray of float, shape (n_domains,)
    replicates : Replicates
    """
    theta = np.where(np.isfinite(estimate)[:, None], theta, np.nan)
    rscales = np.asarray(replicates.rscales, dtype=float)
    deviations, empty = replicate_deviations(
        theta, estimate, scale=replicates.scale, rscales=rscales, centre=replicates.centre
    )
    return {
        "factors": deviations,
        "variance": np.sum(deviations**2, axis=1),
        "empty_replicates": empty,
        "replicates": rscales.size,
    }


def poisson_estimates(design: Design, data: IndicatorArrays, sizes: np.ndarray | None) -> PlainEstimates:
    """Horvitz-Thompson mean over a known domain size (or total), with the variance of a Poisson sample.

    Σ w y / N_d, with 1/N_d² Σ w (w - 1) y²: records included independently with probability 1/w.

    Parameters
    ----------
    design : Design
    data : IndicatorArrays
        Of a mean or share over its universe, or a total.
    sizes : ndarray of float, shape (n_domains,), or None
        Known number of persons of the universe in each domain.

    Raises
    ------
    SaeSpecError
        If the indicator is a ratio of two totals or of an income distribution, or sizes are missing.
    SaeInputError
        If a weight is below 1: its inverse is no inclusion probability.
    """
    indicator = data.indicator
    total = indicator.kind == "total"
    if indicator.distributional or indicator.denominator is not None:
        raise SaeSpecError(
            f"variance='poisson' divides by a known size, but {indicator.name!r} is no mean of its universe.",
            hint="Use the linearised or a replicate variance.",
        )
    if sizes is None and not total:
        raise SaeSpecError(
            "variance='poisson' needs the known sizes of the domains.",
            hint="Give domain_sizes={label: number of persons, ...}.",
        )
    use = data.inside & (design.domain >= 0)
    low = np.flatnonzero(use & (design.weights < 1.0))
    if low.size:
        raise SaeInputError(
            f"{low.size} records have a weight below 1, which is no inverse of an inclusion probability: "
            f"records {name_some(low)}.",
            hint="variance='poisson' takes design weights; use the linearised variance for rescaled ones.",
            areas=low,
        )
    domain = design.domain[use]
    w, y = design.weights[use], data.numerator[use].astype(float)
    divisor = np.ones(design.n_domains) if sizes is None or total else sizes
    root = np.sqrt(w * (w - 1.0)) * y / divisor[domain]
    factors = sparse.csr_matrix((root, (domain, np.arange(domain.size))), (design.n_domains, domain.size))
    moments = design.sizes(data.inside)
    n, weight = moments[:, 0], moments[:, 1]
    estimate = np.bincount(domain, w * y, design.n_domains) / divisor
    variance = np.bincount(domain, root**2, design.n_domains)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.bincount(domain, w * y, design.n_domains) / weight
        square = np.bincount(domain, w * (y - mean[domain]) ** 2, design.n_domains)
        srs = np.where(n > 1, square / (n - 1.0) * (weight if total else 1.0 / weight), np.nan)
    held = design.cells[0].record >= 0
    counts = np.bincount(design.cells[0].record[held], data.inside[held], design.cells[0].domain.size)
    return PlainEstimates(
        estimate=np.where(n > 0, estimate, np.nan),
        variance=np.where(n > 0, variance, np.nan),
        moments=moments,
        counts=counts,
        srs_variance=srs,
        factors=factors,
        share=data.share,
        unit=data.unit,
        centred=False,
    )
