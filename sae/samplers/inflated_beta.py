"""Zero/one-inflated beta shares with effects of areas, neighbours and periods: the PyMC model, its draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from scipy.special import expit, gammaln

from sae.numerics.glmm.inflated_beta import beta_parts, log_density
from sae.numerics.random.streams import generator
from sae.samplers.chains import COEFFICIENT_SD, other_areas
from sae.samplers.posterior import Sample
from sae.samplers.pymc import CHAINS, Chains, sample_chains, standard_prior

__all__ = ["SharePanel", "sample_inflated", "sample_of"]

_KEPT = ("beta", "sigma_u", "rho", "sigma_v", "rho_time", "eta")
_NUMBER: Mapping[str | None, int] = {None: 0, "ar1": 1, "rw1": 2}  # names the streams


@dataclass(frozen=True, eq=False)
class SharePanel:
    """M shares of D areas in T periods.

    Attributes
    ----------
    y, n : ndarray, shape (m,)
        Direct shares and effective sample sizes of the rows with a sample.
    sampled : ndarray of bool, shape (M,)
    X : ndarray, shape (M, p)
        Standardised.
    area, period : ndarray of int, shape (M,)
    root : ndarray, shape (D, r)
        Root of the covariance of the standardised effect over the map; no columns without a map.
    island : ndarray of bool, shape (D,)
        Areas without a neighbour.
    mixed : bool
        BYM2: an independent effect beside that over the map.
    temporal : {None, "ar1", "rw1"}
    walk : ndarray, shape (T, T)
        Root of the covariance of a random walk, its level taken out.
    """

    y: np.ndarray
    n: np.ndarray
    sampled: np.ndarray
    X: np.ndarray
    area: np.ndarray
    period: np.ndarray
    root: np.ndarray
    island: np.ndarray
    mixed: bool
    temporal: Literal["ar1", "rw1"] | None
    walk: np.ndarray

    def ordered(self, order: np.ndarray) -> SharePanel:
        """Return the rows in another order."""
        y, n = np.full((2, len(self.sampled)), np.nan)
        y[self.sampled], n[self.sampled] = self.y, self.n
        sampled = self.sampled[order]
        return replace(
            self,
            y=y[order][sampled],
            n=n[order][sampled],
            sampled=sampled,
            X=self.X[order],
            area=self.area[order],
            period=self.period[order],
        )


def sample_inflated(
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


def sample_of(draws: Mapping[str, np.ndarray], panel: SharePanel, seed: int) -> Sample:
    """Return the draws of `sample_inflated`, all chains joined, as shares with what they would have shown."""
    eta, on = draws["eta"], panel.sampled
    with np.errstate(over="ignore"):
        log_likelihood = log_density(eta[:, on], panel.y, panel.n, np, gammaln)
    fitted = draws["beta"] @ panel.X[on].T
    effect = np.take_along_axis(eta[:, on] - fitted, other_areas(int(on.sum()), len(eta), seed), axis=1)
    parameters = {name: values for name, values in draws.items() if name != "eta"}
    return Sample(
        expit(eta),
        parameters,
        log_likelihood,
        _shares(eta[:, on], panel.n, generator(seed, "replicated shares")),
        _shares(fitted + effect, panel.n, generator(seed, "fresh shares")),
    )


def _shares(eta: np.ndarray, n: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw direct shares at logits, shape (S, m)."""
    with np.errstate(over="ignore"):
        log_zero, log_one, _, a, b = beta_parts(eta, n, np)
    chance = rng.random(log_zero.shape)
    between = rng.beta(np.maximum(a, 1e-12), np.maximum(b, 1e-12))
    return np.where(chance < np.exp(log_zero), 0.0, np.where(chance > -np.expm1(log_one), 1.0, between))
