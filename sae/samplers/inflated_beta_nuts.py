"""Zero/one-inflated beta shares by NUTS: PyMC's model, to compare with `sae.samplers.inflated_beta`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sae.numerics.glmm.inflated_beta import log_density
from sae.samplers.chains import COEFFICIENT_SD
from sae.samplers.inflated_beta import SharePanel
from sae.samplers.pymc import CHAINS, Chains, sample_chains, standard_prior

__all__ = ["sample_by_nuts"]

_KEPT = ("beta", "sigma_u", "rho", "sigma_v", "rho_time", "eta")
_NUMBER: Mapping[str | None, int] = {None: 0, "ar1": 1, "rw1": 2}  # names the streams


def sample_by_nuts(
    panel: SharePanel,
    prior: tuple[int, float],
    *,
    seed: int,
    wide: float = COEFFICIENT_SD,
    draws: int = 1000,
    tune: int = 1000,
    chains: int = CHAINS,
) -> Chains:
    """Draw logits of all rows and the parameters.

    Parameters
    ----------
    panel : SharePanel
    prior : (code, scale)
        Of the standard deviations: see `sae.numerics.inference.priors`.
    wide : float
        Standard deviation of the normal prior of the coefficients.

    Returns
    -------
    Chains
        beta, sigma_u and eta; rho, sigma_v and rho_time where there are such effects.
    """
    code, unit = prior
    n_areas, rank = panel.root.shape  # rank 0 without a map
    T, p = len(panel.walk), panel.X.shape[1]

    def build(data: Mapping[str, Any]) -> None:
        import pymc as pm
        import pytensor.tensor as pt

        base = standard_prior(code)
        unit_ = data["unit"][0]
        beta = pm.Normal("beta", 0.0, wide, shape=p)  # chains start within a logit of 0
        sigma = pm.Deterministic("sigma_u", base("sd_u", 1.0) * unit_)
        effect = 0.0
        if rank:
            effect = data["root"] @ pm.Normal("s", 0.0, 1.0, shape=rank)
        if panel.mixed or not rank:
            alone = pm.Normal("v", 0.0, 1.0, shape=n_areas)
            if rank:
                share = pm.Uniform("rho", 0.0, 1.0)
                alone = data["inland"] * pt.sqrt(1.0 - share) * alone
                scale = data["inland"] * pt.sqrt(share) + (1.0 - data["inland"])
                effect = alone + scale * effect
            else:
                effect = alone
        eta = data["X"] @ beta + (sigma * effect)[data["area"]]
        if panel.temporal is not None:
            sd = pm.Deterministic("sigma_v", base("sd_v", 1.0) * unit_)
            z = pm.Normal("t", 0.0, 1.0, shape=(n_areas, T))
            walk = _autoregression(T) if panel.temporal == "ar1" else data["walk"]
            eta = eta + sd * (z @ walk.T)[data["area"], data["period"]]
        pm.Deterministic("eta", eta)
        here = eta[data["sampled"]]
        pm.Potential("likelihood", log_density(here, data["y"], data["n"], pt, pt.gammaln).sum())

    data = {
        "X": panel.X,
        "area": panel.area.astype(np.int64),
        "period": panel.period.astype(np.int64),
        "sampled": np.flatnonzero(panel.sampled).astype(np.int64),
        "y": panel.y,
        "n": panel.n,
        "unit": np.array([unit]),
        "root": panel.root,
        "walk": panel.walk,
        "inland": np.where(panel.island, 0.0, 1.0),
    }
    key = (
        f"inflated beta, prior {code}, map {rank > 0}, mixed {panel.mixed}, time {_NUMBER[panel.temporal]}"
        + ("" if wide == COEFFICIENT_SD else f", coefficients {wide:g}")
    )
    found = sample_chains(build, key, data, seed=seed, draws=draws, tune=tune, chains=chains, acceptance=0.95)
    kept = {name: found.draws[name] for name in _KEPT if name in found.draws}
    return Chains.of(kept, found.divergences)


def _autoregression(T: int) -> Any:
    """Root of the correlation of a stationary AR(1) over T periods, whose ρ is a parameter of the model."""
    import pymc as pm
    import pytensor.tensor as pt

    phi = pm.Uniform("rho_time", -1.0, 1.0)
    lag = np.arange(T)[:, None] - np.arange(T)[None, :]
    power = pt.stack([phi**k if k else pt.ones(()) for k in range(T)])
    first = np.where(np.arange(T) == 0, 1.0, 0.0)
    columns = first + (1.0 - first) * pt.sqrt(1.0 - phi * phi)
    return power[np.maximum(lag, 0)] * (lag >= 0) * columns[None, :]
