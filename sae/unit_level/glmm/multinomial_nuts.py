"""The multinomial with correlated area effects as a PyMC model: what the own sampler is held against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sae.samplers.chains import COEFFICIENT_SD
from sae.samplers.pymc import CHAINS, Chains, sample_chains, standard_prior

__all__ = ["sample_by_nuts"]


def sample_by_nuts(
    counts: np.ndarray,
    X: np.ndarray,
    code: int,
    units: np.ndarray,
    *,
    seed: int,
    wide: float = COEFFICIENT_SD,
    draws: int = 1000,
    tune: int = 1000,
    chains: int = CHAINS,
) -> Chains:
    """Draw from the posterior of coefficients and effects.

    Parameters
    ----------
    counts : ndarray, shape (D, K)
    X : ndarray, shape (D, p)
        Standardised.
    code : int
        Kind of the prior of the standard deviations: see `sae.numerics.inference.priors`.
    units : ndarray, shape (K - 1,)
        Its scales.
    wide : float
        Standard deviation of the normal prior of the coefficients.

    Returns
    -------
    Chains
        beta, shape (..., p, K - 1); effect, shape (..., D, K - 1); sigma, (..., K - 1); correlation.
    """
    free = counts.shape[1] - 1

    def build(data: Mapping[str, Any]) -> None:
        import pymc as pm
        import pytensor.tensor as pt

        base = standard_prior(code)
        beta = pm.Normal("beta", 0.0, data["wide"][0], shape=(X.shape[1], free))
        root, correlation, sd = pm.LKJCholeskyCov(
            "covariance", n=free, eta=1.0, sd_dist=base.dist(1.0, shape=free), compute_corr=True
        )
        z = pm.Normal("z", 0.0, 1.0, shape=(counts.shape[0], free))
        effect = pm.Deterministic("effect", (z @ root.T) * data["units"])
        pm.Deterministic("sigma", sd * data["units"])
        pm.Deterministic("correlation", correlation[np.tril_indices(free, -1)])
        eta = pt.concatenate([data["X"] @ beta + effect, pt.zeros((counts.shape[0], 1))], axis=1)
        log_p = eta - pt.logsumexp(eta, axis=1, keepdims=True)
        pm.Potential("likelihood", (data["counts"] * log_p).sum())

    sampled = sample_chains(
        build,
        f"multinomial, prior {code}",
        {"counts": counts, "X": X, "units": units, "wide": np.array([wide])},
        seed=seed,
        draws=draws,
        tune=tune,
        chains=chains,
    )
    kept = {name: sampled.draws[name] for name in ("beta", "effect", "sigma", "correlation")}
    return Chains.of(kept, sampled.divergences)
