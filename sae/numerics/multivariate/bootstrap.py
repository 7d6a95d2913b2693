"""Parametric bootstrap of the multivariate Fay-Herriot predictor: MSE matrices of all areas."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sae.numerics.multivariate.fit import BlockFit, fit_blocks, root_of
from sae.numerics.random.streams import normals, stream_keys

__all__ = ["bootstrap_blocks"]


def bootstrap_blocks(
    fit: BlockFit,
    y: np.ndarray,
    X: np.ndarray,
    psi: np.ndarray,
    labels: Sequence[object],
    *,
    replicates: int,
    seed: int,
) -> np.ndarray:
    """Mean squared error matrices of the predictions, shape (D, R, R).

    Each replicate draws true values X beta + u* and direct estimates with their sampling covariances where
    there are some, refits from the parameters found, and compares predictions with truth.

    Parameters
    ----------
    fit : BlockFit
    y, X, psi : ndarray, shapes (D, R), (D, R, p), (D, R, R)
        As in `fit_blocks`.
    labels : sequence, length D R
        Names of area and component: the name of their random streams.
    replicates, seed : int

    References
    ----------
    González-Manteiga, Lombardía, Molina, Morales and Santamaría (2008), CSDA 52, 5242-5252.
    """
    seen = np.isfinite(y)
    both = seen[:, :, None] & seen[:, None, :]
    noise = root_of(np.where(both, psi, 0.0))
    spread = root_of(fit.covariance)
    fitted = X @ fit.beta
    streams = [stream_keys(seed, what, labels) for what in ("area effect", "sampling error")]
    total = np.zeros(psi.shape)
    for b in range(replicates):
        z, e = (normals(keys, b, 1).reshape(y.shape) for keys in streams)
        truth = fitted + z @ spread.T
        drawn = np.where(seen, truth + np.einsum("drs,ds->dr", noise, e), np.nan)
        again = fit_blocks(drawn, X, psi, fit.structure, method=fit.method, start=fit.theta)
        gap = again.eblup - truth
        total += gap[:, :, None] * gap[:, None, :]
    return total / replicates
