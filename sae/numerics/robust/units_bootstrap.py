"""Parametric bootstrap of the robust predictors of area means from units, without outliers.

References
----------
Sinha and Rao (2009), Canadian Journal of Statistics 37, 381-399, section 4.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sae.numerics.inference.tally import SLOW, STAGES, Tally
from sae.numerics.nested_error.mse import AreaMeans
from sae.numerics.random.streams import by_content, normals, stream_keys
from sae.numerics.robust.units import RobustUnits, UnitFit, predict_units

__all__ = ["bootstrap_units"]

_ELEMENTS = 4_000_000  # numbers held at a time: replicates are drawn in blocks


def bootstrap_units(
    fit: UnitFit,
    X: np.ndarray,
    area: np.ndarray,
    means: AreaMeans,
    labels: Sequence[object],
    *,
    corrected: bool,
    replicates: int | None,
    seed: int,
) -> Tally:
    """Parametric bootstrap of a robust predictor P, from the normal model without outliers.

    Given its units the truth θ of a replicate is normal: E (P - θ)² = g1 + E (P - E θ)², of which only the
    last term is simulated.

    Parameters
    ----------
    fit : UnitFit
    X : ndarray, shape (n, p)
    area : ndarray of int, shape (n,)
    means : AreaMeans
    labels : sequence, length D
        Names of the areas: the names of their random streams, and with a number of those of their units.
    corrected : bool
        Whether P has the bias correction.
    replicates : int or None
        None takes as many as bring the error of every area to `GOAL`.
    seed : int
    """
    areas, u, e = len(labels), np.sqrt(fit.sigma2_u), np.sqrt(fit.sigma2_e)
    anything = np.random.default_rng(0).normal(size=len(X))  # only the design is read
    units = RobustUnits.of(anything, X, area, areas)
    n = np.zeros(areas)
    n[units.seen] = np.diff(units.first)
    owner = np.repeat(units.seen, np.diff(units.first))
    names = [f"{labels[d]}\x1f{i}" for d, size in enumerate(n.astype(int)) for i in range(size)]
    effect_keys, unit_keys = (
        stream_keys(seed, "area effect", labels),
        stream_keys(seed, "unit error", names),
    )
    place = np.argsort(by_content(area, X))  # which of the units of its area, whatever the order of the rows
    unit_keys = unit_keys[place[units.order]]
    f = n / means.units
    gamma = n * fit.sigma2_u / (fit.sigma2_e + n * fit.sigma2_u)
    weight = f + (1.0 - f) * gamma
    known = (1.0 - f) ** 2 * fit.sigma2_u * (1.0 - gamma) + (1.0 - f) * fit.sigma2_e / means.units
    tally = Tally(known, replicates, SLOW)
    for start, stop in tally.blocks(min(STAGES[0], max(1, _ELEMENTS // len(X)))):
        effects = u * normals(effect_keys, start, stop - start)
        rest = effects[:, owner] + e * normals(unit_keys, start, stop - start)  # the regression is 0
        beta, record = units.solve(rest, fit.k)
        effect, correction = predict_units(units, rest, beta, record, areas, fit.k, fit.c)
        mean = np.zeros((len(rest), areas))
        mean[:, units.seen] = np.add.reduceat(rest, units.first[:-1], axis=1) / n[units.seen]
        moved = beta @ units.root.T
        x_mean = np.zeros((areas, X.shape[1]))
        x_mean[units.seen] = units.x_mean @ np.linalg.inv(units.root)
        gap = np.where(n > 0, mean - moved @ x_mean.T, 0.0)
        predicted = moved @ means.x_mean.T + f * gap
        predicted += (1.0 - f) * (effect + (correction if corrected else 0.0))
        tally.add((predicted - weight * mean) ** 2)
    return tally
