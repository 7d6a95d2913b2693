"""The EBP's model with clusters, fitted to many replicates of one sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from sae.numerics.ebp.clusters import SampleClusters
from sae.numerics.ebp.empirical import NORMAL
from sae.numerics.ebp.parameter import estimate_parameters
from sae.numerics.ebp.population import Parameters
from sae.numerics.ebp.transforms import ESTIMATED, Scale, forward
from sae.numerics.nested_error.two_fold import TwoFoldFits, fit_two_fold

__all__ = ["fit_on_scales", "fit_replicates"]


def fit_replicates(clusters: SampleClusters, Y: np.ndarray, at: Parameters, method: str) -> list[Parameters]:
    """Fit R replicates, (R, n), the parameter of the transformation included.

    It maximises the likelihood at the ratios of the variances of `at`, then at those that each replicate has
    there: two steps up the likelihood of all of them, whose two directions hardly depend on each other.

    Parameters
    ----------
    clusters : SampleClusters
    Y : ndarray of float, shape (R, n)
        Welfare, in the order of the units.
    at : Parameters
        Of the fit to the data; where its errors are residuals, those of the replicates are.
    method : {"reml", "ml"}
    """
    scale, units = at.scale, clusters.units
    values = np.full(len(Y), scale.parameter)
    if scale.name in ESTIMATED:
        of = partial(estimate_parameters, units, name=scale.name, shift=scale.shift, method=method)
        values = of(Y=Y, height=partial(clusters.loglik, method=method, ratios=_drawn_with(at)))
        Z = forward(scale.name, Y, values[:, None], scale.shift)
        fits = fit_two_fold(clusters.two(Z), method, _start(at))
        heights = [partial(clusters.loglik, method=method, ratios=one) for one in _ratios(fits)]
        values = np.array([of(Y=y[None], height=one)[0] for y, one in zip(Y, heights, strict=True)])
    scales = [replace(scale, parameter=float(value)) for value in values]
    Z = forward(scale.name, Y, values[:, None], scale.shift)
    made = fit_on_scales(clusters, scales, Z, at, method)
    if not len(at.errors.points):
        return made
    units = replace(units, area=clusters.area[units.area])
    left = [one.residuals(z, units, clusters) for one, z in zip(made, Z, strict=True)]
    return [replace(one, errors=NORMAL.of_residuals(e)) for one, e in zip(made, left, strict=True)]


def fit_on_scales(
    clusters: SampleClusters, scales: Sequence[Scale], Z: np.ndarray, at: Parameters, method: str
) -> list[Parameters]:
    """Fit R outcomes on scales that are known, (R, n), drawn with what `at` has."""
    two = clusters.two(Z)
    fits = fit_two_fold(two, method, _start(at))
    return [Parameters.of_two_folds(scale, fits, two, r) for r, scale in enumerate(scales)]


def _drawn_with(at: Parameters) -> np.ndarray:
    return np.array([at.sigma2_u, at.sigma2_v]) / at.sigma2_e


def _start(at: Parameters) -> np.ndarray | None:
    """Return ratios from which to climb, None where a boundary has them."""
    ratios = _drawn_with(at)
    return ratios if ratios.min() > 0.0 else None


def _ratios(fits: TwoFoldFits) -> np.ndarray:
    """Return the variances of areas and clusters over σe² of R fits, shape (R, 2)."""
    return np.stack([fits.sigma2_v, fits.sigma2_u], axis=1) / fits.sigma2_e[:, None]
