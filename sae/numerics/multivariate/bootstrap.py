"""Parametric bootstrap of the multivariate Fay-Herriot predictor: MSE matrices of all areas."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sae.numerics.inference.tally import Tally
from sae.numerics.multivariate.areas import BlockAreas
from sae.numerics.multivariate.climb import Designs, ascend, evaluate
from sae.numerics.multivariate.covariances import in_units
from sae.numerics.multivariate.fit import BlockFit, BlockMse, in_own_units, root_of
from sae.numerics.random.streams import normals, stream_keys

__all__ = ["bootstrap_blocks"]

_ROUGH = 1e-8  # gain that ends a climb: a ten-thousandth of a standard error
_ELEMENTS = 200_000  # numbers of one array over areas and replicates


def bootstrap_blocks(
    fit: BlockFit,
    errors: BlockMse,
    y: np.ndarray,
    X: np.ndarray,
    psi: np.ndarray,
    labels: Sequence[object],
    *,
    replicates: int | None,
    seed: int,
) -> tuple[np.ndarray, Tally]:
    """Mean squared error matrices of the predictions, shape (D, R, R).

    Each replicate draws true values and direct estimates about X beta and climbs from the parameters that it
    is drawn from. The error of the best linear predictor at these is g1 + g2, and independent of what
    estimating them changes (Kackar and Harville 1984), so that only the mean square of that change is
    simulated.

    Parameters
    ----------
    fit : BlockFit
    errors : BlockMse
        Of it: g1 and g2 are read.
    y, X, psi : ndarray, shapes (D, R), (D, R, p), (D, R, R)
        As in `fit_blocks`.
    labels : sequence, length D R
        Names of area and component: the name of their random streams.
    replicates : int or None
        None takes as many as bring the error of every variance to `GOAL`.
    seed : int

    Returns
    -------
    mse : ndarray, shape (D, R, R)
    tally : Tally
        Of its diagonals, shape (D, R).

    References
    ----------
    González-Manteiga, Lombardía, Molina, Morales and Santamaría (2008), CSDA 52, 5242-5252;
    Kackar and Harville (1984), JASA 79, 853-862.
    """
    areas = BlockAreas(y, X, psi)
    unit, scaled = in_own_units(areas, fit.structure)
    designs, seen = Designs(scaled), areas.seen
    noise = root_of(areas.arrays.psi) / unit[:, None]
    spread = root_of(fit.covariance) / unit[:, None]
    theta = in_units(fit.structure, fit.theta, 1.0 / unit)
    streams = [stream_keys(seed, what, labels) for what in ("area effect", "sampling error")]
    known = (errors.g1 + errors.g2) / (unit[:, None] * unit)
    tally, total = Tally(np.einsum("drr->dr", known), replicates), np.zeros(known.shape)
    for first, last in tally.blocks(_ELEMENTS // y.size):
        z, e = (normals(keys, first, last - first).reshape(-1, *y.shape) for keys in streams)
        drawn = (z @ spread.T + np.einsum("drs,kds->kdr", noise, e)) * seen
        outcome = np.ascontiguousarray(drawn.T)
        given = np.repeat(theta[None], last - first, axis=0)
        method = fit.method == "reml"
        _, refit = ascend(designs, outcome, fit.structure, given, method, _ROUGH)
        best = evaluate(designs, outcome, fit.structure, given, method)
        moved = designs.fitted(refit.beta - best.beta) + refit.effect - best.effect  # (R, D, K)
        total += np.einsum("rdk,sdk->drs", moved, moved)
        tally.add(moved.T**2)
    return (known + total / tally.count) * (unit[:, None] * unit), tally
