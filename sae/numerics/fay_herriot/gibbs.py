"""Gibbs sampler of Fay-Herriot models whose effects or coefficients are scale mixtures of normals.

    y_d = x_d'β + u_d + e_d,   u_d ~ N(0, σ² λ_d),   e_d ~ N(0, D_d),   β_j ~ N(0, 1 / P_j)

Student's t effects have 1/λ_d ~ gamma(ν/2, ν/2); the horseshoe has 1/P_j = τ² κ_j² with half-Cauchy κ_j and
τ. Given λ and P the model is Fay-Herriot with known factors: σ is drawn with β and u integrated out, then
β, u and the factors in turn.

References
----------
Geweke (1993), J. Appl. Econometrics 8, S19-S40 (t); Makalic and Schmidt (2016), IEEE Signal Process. Lett.
23, 179-182 (horseshoe); Neal (2003), Ann. Stat. 31, 705-767 (slice sampling).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sae.numerics.compile import compiled, inlined
from sae.numerics.inference.priors import log_prior_sd
from sae.numerics.random.normals import gamma, new_stream, normal, uniform

__all__ = ["DF_FLOOR", "DF_RATE", "DF_SHAPE", "MixtureChain", "run_chain"]

DF_FLOOR, DF_SHAPE, DF_RATE = 2.0, 2.0, 0.1  # ν = 2 + gamma(2, 0.1): effects have a variance
_LEFT, _RIGHT = -30.0, 30.0  # of log σ over the scale of the data, and log of ν less its floor
_TINY, _HUGE = 1e-280, 1e280


@dataclass(frozen=True, eq=False)
class MixtureChain:
    """Draws of one chain.

    Attributes
    ----------
    sd, df, tau : ndarray, shape (n,)
    beta : ndarray, shape (n, p)
    factor : ndarray, shape (n, m)
        λ of the m areas.
    """

    sd: np.ndarray
    df: np.ndarray
    tau: np.ndarray
    beta: np.ndarray
    factor: np.ndarray


def run_chain(
    y: np.ndarray,
    D: np.ndarray,
    X: np.ndarray,
    prior: tuple[int, float],
    key: np.uint64,
    *,
    df: float = np.inf,
    shrunk: np.ndarray | None = None,
    precision: np.ndarray | None = None,
    tau: float = np.nan,
    tau_scale: float = 1.0,
    draws: int = 1000,
    tune: int = 500,
    thin: int = 1,
) -> MixtureChain:
    """Run one chain.

    Parameters
    ----------
    y, D : ndarray, shape (m,)
    X : ndarray, shape (m, p)
    prior : (code, scale)
        Of σ: see `priors.log_prior`.
    key : uint64
        Of the chain's stream.
    df : float
        Degrees of freedom of the effects; NaN where they are to be drawn, inf for normal effects.
    shrunk : ndarray of bool, shape (p,)
        Coefficients under the horseshoe; none by default.
    precision : ndarray, shape (p,)
        P of the others; 0, that is flat, by default.
    tau, tau_scale : float
        The common scale of the horseshoe where it is fixed, else the scale of its half-Cauchy prior.
    draws, tune, thin : int
        Kept draws; iterations before them; iterations per kept draw.
    """
    p = X.shape[1]
    off = np.zeros(p, dtype=bool) if shrunk is None else np.asarray(shrunk, dtype=bool)
    flat = np.zeros(p) if precision is None else np.asarray(precision, dtype=float)
    code, scale = prior
    return MixtureChain(
        *_run(
            np.ascontiguousarray(y),
            np.ascontiguousarray(D),
            np.ascontiguousarray(X),
            code,
            float(scale),
            key,
            float(df),
            off,
            flat,
            float(tau),
            float(tau_scale),
            draws,
            tune,
            thin,
        )
    )


@inlined
def _clipped(value):
    return min(max(value, _TINY), _HUGE)


@inlined
def _inverse_gamma(state, shape, rate):
    return _clipped(rate / max(gamma(state, shape), _TINY))


@inlined
def _gls(sd, y, D, X, factor, precision, gram):
    """Fill `gram` with the factor of [X y]'V^-1[X y] + P; return log p(y | σ, λ, P), β integrated out."""
    m, p = X.shape
    value = 0.0
    for j in range(p + 1):
        for k in range(j):
            gram[j, k] = 0.0
        gram[j, j] = precision[j] if j < p else 0.0
    for d in range(m):
        variance = sd * sd * factor[d] + D[d]
        w = 1.0 / variance
        value -= 0.5 * math.log(variance)
        for j in range(p):
            wx = w * X[d, j]
            for k in range(j + 1):
                gram[j, k] += wx * X[d, k]
            gram[p, j] += wx * y[d]
        gram[p, p] += w * y[d] * y[d]
    for j in range(p + 1):
        for k in range(j + 1):
            total = gram[j, k]
            for s in range(k):
                total -= gram[j, s] * gram[k, s]
            if k < j:
                gram[j, k] = total / gram[k, k]
            elif j < p:
                gram[j, j] = math.sqrt(max(total, _TINY))
                value -= math.log(gram[j, j])
            else:
                value -= 0.5 * total
    return value


@inlined
def _sd_density(log_sd, code, scale, y, D, X, factor, precision, gram):
    if log_sd < _LEFT or log_sd > _RIGHT:
        return -math.inf
    sd = math.exp(log_sd)
    return _gls(sd, y, D, X, factor, precision, gram) + log_prior_sd(code, scale, sd) + log_sd


@inlined
def _slice_sd(state, now, code, scale, y, D, X, factor, precision, gram):
    """One slice step of log σ; `gram` ends at the new value."""
    here = _sd_density(now, code, scale, y, D, X, factor, precision, gram)
    level = here + math.log(uniform(state))
    low = now - uniform(state)
    high = low + 1.0
    while _sd_density(low, code, scale, y, D, X, factor, precision, gram) > level:
        low -= 1.0
    while _sd_density(high, code, scale, y, D, X, factor, precision, gram) > level:
        high += 1.0
    while True:
        tried = low + (high - low) * uniform(state)
        if _sd_density(tried, code, scale, y, D, X, factor, precision, gram) >= level:
            return tried
        if high - low < 1e-12:
            _sd_density(now, code, scale, y, D, X, factor, precision, gram)
            return now
        if tried < now:
            low = tried
        else:
            high = tried


@inlined
def _df_density(t, squares):
    """Log density of t = log(ν - floor) given (u / σ)², the factors integrated out."""
    if t < _LEFT or t > _RIGHT:
        return -math.inf
    above = math.exp(t)
    nu = DF_FLOOR + above
    value = DF_SHAPE * t - DF_RATE * above
    value += len(squares) * (
        math.lgamma(0.5 * nu + 0.5) - math.lgamma(0.5 * nu) - 0.5 * math.log(math.pi * nu)
    )
    for square in squares:
        value -= 0.5 * (nu + 1.0) * math.log1p(square / nu)
    return value


@inlined
def _slice_df(state, now, squares):
    level = _df_density(now, squares) + math.log(uniform(state))
    low = now - 2.0 * uniform(state)
    high = low + 2.0
    while _df_density(low, squares) > level:
        low -= 2.0
    while _df_density(high, squares) > level:
        high += 2.0
    while True:
        tried = low + (high - low) * uniform(state)
        if _df_density(tried, squares) >= level or high - low < 1e-12:
            return tried
        if tried < now:
            low = tried
        else:
            high = tried


@inlined
def _draw_coefficients(state, gram, beta):
    """β given σ, λ and P, from the factor that `_gls` leaves."""
    p = len(beta)
    for j in range(p - 1, -1, -1):
        total = gram[p, j] + normal(state)
        for s in range(j + 1, p):
            total -= gram[s, j] * beta[s]
        beta[j] = total / gram[j, j]


@inlined
def _draw_effects(state, sd, y, D, X, beta, factor, squares):
    """Fill `squares` with (u / σ)², the effects given β, σ and λ."""
    m, p = X.shape
    for d in range(m):
        rest = y[d]
        for j in range(p):
            rest -= X[d, j] * beta[j]
        ratio = sd * sd * factor[d]
        weight = ratio / (ratio + D[d])
        u = weight * rest + math.sqrt(weight * D[d]) * normal(state)
        squares[d] = u * u / (sd * sd)


@inlined
def _draw_factors(state, nu, squares, factor):
    """λ given the effects and ν: inverse gammas."""
    for d in range(len(factor)):
        factor[d] = _inverse_gamma(state, 0.5 * (nu + 1.0), 0.5 * (nu + squares[d]))


@inlined
def _draw_local_scales(state, beta, tau2, shrunk, kappa2, xi):
    """κ² given β and τ, with auxiliary ξ (Makalic and Schmidt, section 2); return Σ β² / 2 κ²."""
    total = 0.0
    for j in range(len(beta)):
        if shrunk[j]:
            kappa2[j] = _inverse_gamma(state, 1.0, 1.0 / xi[j] + 0.5 * beta[j] ** 2 / tau2)
            xi[j] = _inverse_gamma(state, 1.0, 1.0 + 1.0 / kappa2[j])
            total += 0.5 * beta[j] ** 2 / kappa2[j]
    return total


@inlined
def _draw_common_scale(state, total, count, zeta, tau_scale):
    """τ² given κ, with auxiliary ζ."""
    tau2 = _inverse_gamma(state, 0.5 * (count + 1.0), 1.0 / zeta + total)
    return tau2, _inverse_gamma(state, 1.0, 1.0 / tau_scale**2 + 1.0 / tau2)


@compiled
def _run(y, D, X, code, scale, key, df, shrunk, flat, tau, tau_scale, draws, tune, thin):
    m, p = X.shape
    state = new_stream(key, 0)
    free, robust, common = math.isnan(df), not math.isinf(df), math.isnan(tau)
    nu = DF_FLOOR + DF_SHAPE / DF_RATE if free else df
    q = 0
    for j in range(p):
        q += shrunk[j]
    tau2, zeta = tau_scale**2 if common else tau * tau, 1.0
    kappa2, xi, precision = np.ones(p), np.ones(p), flat.copy()
    for j in range(p):
        if shrunk[j]:
            precision[j] = 1.0 / tau2
    factor, squares = np.ones(m), np.empty(m)
    gram, beta = np.empty((p + 1, p + 1)), np.empty(p)
    out_sd, out_df, out_tau = np.empty(draws), np.empty(draws), np.empty(draws)
    out_beta, out_factor = np.empty((draws, p)), np.empty((draws, m))
    spread = 0.0
    for d in range(m):
        spread += D[d] / m
    log_sd = 0.5 * math.log(spread) + 2.0 * (uniform(state) - 0.5)
    for step in range(tune + draws * thin):
        log_sd = _slice_sd(state, log_sd, code, scale, y, D, X, factor, precision, gram)
        sd = math.exp(log_sd)
        _draw_coefficients(state, gram, beta)
        if robust:
            _draw_effects(state, sd, y, D, X, beta, factor, squares)
            if free:
                nu = DF_FLOOR + math.exp(_slice_df(state, math.log(nu - DF_FLOOR), squares))
            _draw_factors(state, nu, squares, factor)
        if q:
            total = _draw_local_scales(state, beta, tau2, shrunk, kappa2, xi)
            if common:
                tau2, zeta = _draw_common_scale(state, total, q, zeta, tau_scale)
            for j in range(p):
                if shrunk[j]:
                    precision[j] = 1.0 / _clipped(tau2 * kappa2[j])
        place = (step - tune) // thin
        if step >= tune and (step - tune) % thin == thin - 1:
            out_sd[place], out_df[place], out_tau[place] = sd, nu, math.sqrt(tau2)
            for j in range(p):  # loops: numba takes long over slices
                out_beta[place, j] = beta[j]
            for d in range(m):
                out_factor[place, d] = factor[d]
    return out_sd, out_df, out_tau, out_beta, out_factor
