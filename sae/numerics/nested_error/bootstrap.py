"""Parametric bootstrap of predicted area means under the nested error model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sae.numerics.inference.tally import Tally
from sae.numerics.nested_error.fit import NestedErrorFits, fit_nested_error
from sae.numerics.nested_error.mse import AreaMeans, bootstrap_targets, predict
from sae.numerics.nested_error.profile import AreaSums, Profile
from sae.numerics.random.streams import generator, normals, stream_keys

__all__ = ["bootstrap_mse", "simulate", "within_products"]

_ELEMENTS = 4_000_000  # numbers held at a time: replicates are drawn in blocks


def simulate(
    fits: NestedErrorFits,
    sums: AreaSums,
    means: AreaMeans,
    labels: Sequence[object],
    start: int,
    count: int,
    seed: int,
) -> tuple[AreaSums, np.ndarray]:
    """Draw replicates from a fit: what their units leave, and their true area means.

    The sums of a replicate are drawn as such, with the distribution that they would have from units: area
    means of errors are normal; products with the covariates within areas are normal with covariance
    σe² Σ (x - x̄)(x - x̄)'; the sum of squares beyond them is σe² χ². Each replicate costs the same for any
    number of units.

    Returns
    -------
    AreaSums
        Of `count` outcomes; see `within_products`.
    ndarray, shape (count, D)
        True means: of the N_d units of each area, or x̄'β + u where N_d is infinite.
    """
    u, e = np.sqrt(fits.sigma2_u[0]), np.sqrt(fits.sigma2_e[0])
    beta = fits.coefficients[0]
    n, seen = sums.precision, sums.n > 0
    keys = {
        what: stream_keys(seed, what, labels) for what in ("area effect", "sampling error", "error outside")
    }
    effect = u * normals(keys["area effect"], start, count)
    error = np.zeros_like(effect)
    error[:, seen] = e / np.sqrt(n[seen]) * normals(keys["sampling error"][seen], start, count)
    y_mean = np.where(seen, sums.x_mean @ beta + effect + error, 0.0)
    truth = means.x_mean @ beta + effect
    f = means.sampled(sums.n)
    finite = np.isfinite(means.units)
    if finite.any():
        outside = np.sqrt((1.0 - f[finite]) / means.units[finite])
        drawn = e * normals(keys["error outside"][finite], start, count)
        truth[:, finite] += f[finite] * error[:, finite] + outside * drawn
    xy, yy = within_products(sums, beta, float(e), start, count, seed)
    drawn = AreaSums(sums.n, sums.x_mean, y_mean, sums.xx, xy, yy, sums.precision, sums.log_scale)
    return drawn, truth


def within_products(
    sums: AreaSums, beta: np.ndarray, e: float, start: int, count: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw products within areas of replicates, `xy` and `yy` of `AreaSums`: all in the first with a sample.

    Parameters
    ----------
    sums : AreaSums
        Of the design.
    beta : ndarray, shape (p,)
    e : float
        Standard deviation of errors.
    start, count, seed : int
    """
    seen = sums.n > 0
    xx = sums.xx.sum(axis=0)
    values, vectors = np.linalg.eigh(xx / np.outer(_norms(xx), _norms(xx)))
    keep = values > 1e-11
    half = _norms(xx)[:, None] * vectors[:, keep] * np.sqrt(values[keep])
    freedom = int(sums.n.sum()) - int(seen.sum()) - int(keep.sum())
    first = int(np.flatnonzero(seen)[0])
    xy, yy = np.zeros((count, *sums.x_mean.shape)), np.zeros((count, len(sums.n)))
    z = np.empty((count, int(keep.sum())))
    rest = np.empty(count)
    for r in range(count):  # named by the replicate, so that more of them change none
        stream = generator(seed, "errors within areas", start + r)
        z[r], rest[r] = stream.normal(size=z.shape[1]), stream.chisquare(freedom)
    cross = e * z @ half.T
    xy[:, first] = cross + xx @ beta
    yy[:, first] = e * e * (rest + (z * z).sum(axis=1)) + 2.0 * cross @ beta + beta @ xx @ beta
    return xy, yy


def _norms(xx: np.ndarray) -> np.ndarray:
    scale = np.sqrt(np.diagonal(xx))
    return np.where(scale > 0.0, scale, 1.0)


def bootstrap_mse(
    fits: NestedErrorFits,
    sums: AreaSums,
    means: AreaMeans,
    labels: Sequence[object],
    *,
    method: str,
    replicates: int | None,
    seed: int,
) -> Tally:
    """Mean squared error of every predicted area mean, refitting each replicate.

    Given its units the truth of a replicate is normal: E (P - θ)² = g1 + E (P - E θ)², of which only the last
    term is simulated.

    Parameters
    ----------
    fits : NestedErrorFits
        The fit to the data (one outcome).
    sums : AreaSums
    means : AreaMeans
    labels : sequence, length D
        Names of the areas: the names of their random streams.
    method : {"reml", "ml"}
    replicates : int or None
        None takes as many as bring the error of every area to `GOAL`.
    seed : int

    Returns
    -------
    Tally
        Of the D areas, squared units.

    References
    ----------
    González-Manteiga, Lombardía, Molina, Morales and Santamaría (2008), J. Stat. Comput. Simul. 78, 443–462.
    """
    tally = Tally(predict(fits, sums, means, method).g1, replicates)
    ratio, beta = fits.sigma2_u[:1] / fits.sigma2_e[:1], fits.coefficients[:1]
    for start, stop in tally.blocks(_ELEMENTS // (len(sums.n) * (sums.x_mean.shape[1] + 4))):
        drawn, _ = simulate(fits, sums, means, labels, start, stop - start, seed)
        refit = fit_nested_error(Profile.of(drawn), method)
        predicted, best = (
            bootstrap_targets(*at, sums, drawn.y_mean, means)
            for at in ((refit.sigma2_u / refit.sigma2_e, refit.coefficients), (ratio, beta))
        )
        tally.add((predicted - best) ** 2)
    return tally
