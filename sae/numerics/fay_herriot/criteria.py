"""Bootstrap information criteria of Fay–Herriot models, many candidates in one kernel call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sae.numerics.fay_herriot.fit import FayHerriotFits, fit_batch
from sae.numerics.random.streams import normals, stream_keys

__all__ = ["Penalties", "bootstrap_penalties"]

_ELEMENTS = 4_000_000  # numbers held at a time: replicates are drawn in blocks


@dataclass(frozen=True)
class Penalties:
    """Bootstrap penalties of P problems, to be added to -2 loglik; each with its Monte Carlo error.

    Attributes
    ----------
    aicc, aicb1, aicb2, kullback : ndarray, shape (P,)
        AICc, AICb1, AICb2, and what a Kullback criterion adds to each.
    aicc_error, aicb1_error, aicb2_error, kullback_error : ndarray, shape (P,)
    """

    aicc: np.ndarray
    aicb1: np.ndarray
    aicb2: np.ndarray
    kullback: np.ndarray
    aicc_error: np.ndarray
    aicb1_error: np.ndarray
    aicb2_error: np.ndarray
    kullback_error: np.ndarray


def bootstrap_penalties(
    fits: FayHerriotFits,
    y: np.ndarray,
    vardir: np.ndarray,
    X: np.ndarray,
    offsets: np.ndarray,
    labels: Sequence[object],
    *,
    method: str,
    replicates: int,
    seed: int,
) -> Penalties:
    """Estimate by parametric bootstrap how much too well each model fits its own data.

    With φ̂ the fit to y, y* drawn from it, φ̂* the fit to y* and ℓ the full log-likelihood: AICb1 adds
    E* [2ℓ(φ̂*; y*) - 2ℓ(φ̂*; y)] and AICb2 adds 2 E* [2ℓ(φ̂; y) - 2ℓ(φ̂*; y)]. AICc is AICb1 with the mean
    over new data of φ̂ in place of y: E* Σ [V / V* + (x'β̂* - x'β̂)² / V* - (y* - x'β̂*)² / V*], V = A + D.
    A Kullback criterion, which measures the divergence in both directions, adds E* of twice the divergence of
    φ̂ from φ̂*: Σ [log (V / V*) + V* / V - 1 + (x'β̂* - x'β̂)² / V].

    Parameters
    ----------
    fits : FayHerriotFits
        Fits of P problems to the data (one replicate), with log-likelihoods.
    y, vardir : ndarray of float, shape (N,)
    X : ndarray of float, shape (p, N)
    offsets : ndarray of int64, shape (P + 1,)
    labels : sequence, length N
        Names of the areas' random streams; candidates of one data set share them, which takes most of the
        noise out of their differences.
    method : str
        As in `fit_batch`.
    replicates : int
    seed : int

    References
    ----------
    Marhuenda, Morales and Pardo (2014), CSDA 70, 268–280; Shang and Cavanaugh (2008), CSDA 52, 2004–2021.
    """
    keys = stream_keys(seed, "selection", labels)
    starts, problem = offsets[:-1], np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    V = fits.variance[0][problem] + vardir
    fitted = np.einsum("np,pn->n", fits.coefficients[0][problem], X)
    values: list[np.ndarray] = []
    block = max(1, min(replicates, _ELEMENTS // len(y)))
    for start in range(0, replicates, block):
        count = min(block, replicates - start)
        drawn = fitted + np.sqrt(V) * normals(keys, start, count)
        refit = fit_batch(drawn, vardir, X, offsets, method)
        again = np.einsum("rnp,pn->rn", refit.coefficients[:, problem], X)
        V_again = refit.variance[:, problem] + vardir
        logs = np.log(V_again)
        on_data = -0.5 * np.add.reduceat(
            np.log(2.0 * np.pi) + logs + (y - again) ** 2 / V_again, starts, axis=1
        )
        moved = (again - fitted) ** 2
        apart = np.log(V) - logs + V_again / V - 1.0 + moved / V
        optimism = (V + moved - (drawn - again) ** 2) / V_again
        values.append(
            np.stack(
                [
                    np.add.reduceat(optimism, starts, axis=1),
                    2.0 * (refit.loglik - on_data),
                    4.0 * (fits.loglik - on_data),
                    np.add.reduceat(apart, starts, axis=1),
                ]
            )
        )
    all_values = np.concatenate(values, axis=1)
    means = all_values.mean(axis=1)
    errors = all_values.std(axis=1, ddof=1) / np.sqrt(replicates)
    return Penalties(*means, *errors)
