"""Zero/one-inflated beta shares with effects of areas, neighbours and periods: chains side by side.

All of the model is a function of standard normals (`EffectField`). Trajectories are steered by tables of the
slopes of each row's log density; the exact density decides on their ends. The metric is the information at
the mean of all chains, read anew while they tune.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.special import expit, gammaln

from sae.numerics.glmm.effect_field import EffectField
from sae.numerics.glmm.effect_moves import interwoven
from sae.numerics.glmm.inflated_beta import Slopes, beta_parts, log_density
from sae.numerics.glmm.lockstep import Lockstep, Metric, times
from sae.numerics.random.streams import generator
from sae.samplers.chains import COEFFICIENT_SD, other_areas
from sae.samplers.posterior import Sample
from sae.samplers.pymc import R_HAT_WARNING, Chains

__all__ = ["CHAINS", "SharePanel", "numbers", "sample_inflated", "sample_of"]

CHAINS = 8  # side by side: one call of numpy serves all
_TUNING = (60, 60, 100)  # sweeps before each new metric; the first number again before the draws
_SHORTEST = 500  # draws of a chain, where there can be fewer chains than CHAINS
_LONGEST = 16  # sweeps between kept draws
_SCORING = 6  # steps to the first centre


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


def numbers(draws: int) -> dict[str, int]:
    """Return length and number of chains with at least so many draws together, as `sample_inflated` has them.

    Examples
    --------
    >>> numbers(4000), numbers(1200)
    ({'draws': 500, 'chains': 8}, {'draws': 300, 'chains': 4})
    """
    chains = min(max(draws // _SHORTEST, 4), CHAINS)
    return {"draws": -(-draws // chains), "chains": chains}


def sample_inflated(
    panel: SharePanel,
    prior: tuple[int, float],
    *,
    seed: int,
    wide: float = COEFFICIENT_SD,
    draws: int = 500,
    chains: int = CHAINS,
) -> Chains:
    """Draw logits of all rows and the parameters.

    Parameters
    ----------
    panel : SharePanel
    prior : (code, scale)
        Of the standard deviations, a proper one: see `sae.numerics.inference.priors`.
    wide : float
        Standard deviation of the normal prior of the coefficients.
    draws : int
        Of each chain.

    Returns
    -------
    Chains
        beta, sigma_u and eta; rho, sigma_v and rho_time where there are such effects.
    """
    live = np.unique(panel.area[panel.sampled])
    field = _field(panel, prior, wide, live, panel.sampled)
    rng = generator(seed, "inflated beta")
    slopes = Slopes.of(panel.y, panel.n)

    def log_likelihood(q: np.ndarray) -> np.ndarray:
        return log_density(field.predict(q)[0], panel.y, panel.n, np, gammaln).sum(axis=1)

    def steer(q: np.ndarray) -> np.ndarray:
        eta, pull = field.predict(q)
        return pull(slopes.at(eta))

    centre, metric = _first(field, panel.y, panel.n, slopes)
    start = centre + times(rng.standard_normal((chains, field.size)), Metric.of(metric.covariance).root.T)
    run = Lockstep(log_likelihood, steer, interwoven(field, start, rng), rng)

    def block(length: int, stride: int = 1, *, tune: bool = False) -> np.ndarray:
        kept = np.empty((length, chains, field.size))
        for k in range(length):
            for _ in range(stride):
                run.sweep(metric, tune=tune)
                run.replace(interwoven(field, run.points, rng))
            kept[k] = run.points
        return kept

    for length in _TUNING:
        run.restart()
        seen = block(length, tune=True)
        run.settle()
        metric = _metric(field, seen[length // 2 :].reshape(-1, field.size), slopes)
    run.restart()
    block(_TUNING[0], tune=True)
    run.settle()
    every = _field(panel, prior, wide, np.arange(len(panel.root)), np.ones(len(panel.area), dtype=bool))

    def judged(kept: np.ndarray, stride: int) -> Chains:
        q = kept.transpose(1, 0, 2).reshape(-1, field.size)
        values = {**field.parameters(q), "eta": every.predict(_completed(q, field, every, live, rng))[0]}
        shaped = {name: value.reshape(chains, draws, *value.shape[1:]) for name, value in values.items()}
        return Chains.of(shaped, -(-run.divergences // stride))

    stride, kept = 1, block(draws)
    found = judged(kept, stride)
    while stride < _LONGEST and not found.r_hat <= R_HAT_WARNING:
        stride *= 2  # what went before was too short to be more than tuning
        metric = _metric(field, kept.reshape(-1, field.size), slopes)
        run.divergences = 0
        kept = block(draws, stride)
        found = judged(kept, stride)
    return found


def _field(
    panel: SharePanel, prior: tuple[int, float], wide: float, areas: np.ndarray, rows: np.ndarray
) -> EffectField:
    """Return the predictor of some rows, whose areas are among `areas`."""
    place = np.searchsorted(areas, panel.area[rows])
    return EffectField(
        panel.X[rows],
        panel.period[rows] * len(areas) + place,
        panel.root[areas],
        np.where(panel.island[areas], 0.0, 1.0),
        panel.mixed,
        panel.temporal,
        panel.walk,
        prior,
        wide,
    )


def _completed(
    q: np.ndarray, field: EffectField, every: EffectField, live: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return points with normals of the areas without a sample as well: nothing is known of them."""
    out = np.empty((len(q), every.size))
    for name, where in every.places.items():
        given = q[:, field.places[name]]
        if name not in ("area", "time") or where.stop == where.start:
            out[:, where] = given
            continue
        full = rng.standard_normal((len(q), (where.stop - where.start) // len(every.root), len(every.root)))
        full[:, :, live] = given.reshape(len(q), -1, len(live))
        out[:, where] = full.reshape(len(q), -1)
    return out


def _first(field: EffectField, y: np.ndarray, n: np.ndarray, slopes: Slopes) -> tuple[np.ndarray, Metric]:
    """Return a centre by scoring at middling standard deviations, and the metric there."""
    q = np.zeros(field.size)
    for name in ("sigma_u", "sigma_v"):
        q[field.places[name]] = 0.5
    held = field.curved
    for _ in range(_SCORING):
        J = field.jacobian(q)
        eta, pull = field.predict(q[None])
        theta = np.clip(expit(eta[0]), 0.5 / n, 1.0 - 0.5 / n)
        weight = n * theta * (1.0 - theta)
        information = times(J * weight, J.T) + np.eye(field.size)
        force = pull(slopes.at(eta))[0] - q
        J[held], information[held], information[:, held], force[held] = 0.0, 0.0, 0.0, 0.0
        information[held, held] = 1.0
        move = times(force[None], Metric.of(information).covariance)[0]
        q = q + move / max(1.0, np.abs(times(move[None], J)).max())  # no logit moves by more than 1
    return q, _metric(field, q[None], slopes)


def _metric(field: EffectField, points: np.ndarray, slopes: Slopes) -> Metric:
    """Return the information at the mean of points, (n, d).

    That of standard deviations and correlations, over which the others vary as the information says, is what
    their draws show.
    """
    centre = points.mean(axis=0)
    weight = slopes.information(field.predict(points[-256:])[0])
    J = field.jacobian(centre)
    information = times(J * weight, J.T) + np.eye(field.size)
    if len(points) > 1:
        few = field.curved
        block = np.ix_(few, few)
        known = Metric.of(information).covariance[block]
        spread = np.cov(points[:, few], rowvar=False).reshape(len(few), len(few))
        information[block] += np.linalg.inv(spread) - np.linalg.inv(known)
    return Metric.of(information)


def sample_of(draws: Mapping[str, np.ndarray], panel: SharePanel, seed: int) -> Sample:
    """Return the draws of `sample_inflated`, all chains joined, as shares with what they would have shown."""
    eta, on = draws["eta"], panel.sampled
    with np.errstate(over="ignore"):
        log_likelihood = log_density(eta[:, on], panel.y, panel.n, np, gammaln)
    fitted = times(draws["beta"], panel.X[on].T)
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
