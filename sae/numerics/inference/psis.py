"""Checks of weighted and of dependent draws: Pareto-smoothed weights, effective sample size, R-hat.

References
----------
Vehtari, Simpson, Gelman, Yao and Gabry (2024), J. Mach. Learn. Res. 25(72), Pareto smoothed importance
sampling; Zhang and Stephens (2009), Technometrics 51, 316-325; Vehtari, Gelman, Simpson, Carpenter and
Bürkner (2021), Bayesian Analysis 16, 667-718; Vehtari, Gelman and Gabry (2017), Stat. Comput. 27, 1413-1432.
"""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp, ndtri

__all__ = ["K_LIMIT", "effective_draws", "ess", "fit_pareto", "psis", "psis_loo", "r_hat"]

K_LIMIT = 0.7  # above it the smoothed weights are not to be trusted
_PRIOR_DRAWS = 10  # weight of the prior that pulls k towards 0.5
_FEWEST_IN_TAIL = 5


def fit_pareto(exceedances: np.ndarray) -> tuple[float, float]:
    """Fit a generalised Pareto distribution to sorted exceedances.

    Parameters
    ----------
    exceedances : ndarray, shape (M,)
        Ascending, positive.

    Returns
    -------
    k, sigma : float
        Shape (heavy tail when positive) and scale, by the profile of Zhang and Stephens (2009).
    """
    x = np.asarray(exceedances, dtype=float)
    size = len(x)
    count = 30 + int(np.sqrt(size))
    quarter = x[int(size / 4 + 0.5) - 1]
    theta = 1.0 / x[-1] + (1.0 - np.sqrt(count / (np.arange(1, count + 1) - 0.5))) / (3.0 * quarter)
    k = np.log1p(-theta[:, None] * x).mean(axis=1)
    profile = size * (np.log(-theta / k) - k - 1.0)
    weights = np.exp(profile - logsumexp(profile))
    best = float(weights @ theta)
    shape = float(np.log1p(-best * x).mean())
    return shape, -shape / best


def psis(log_weights: np.ndarray) -> tuple[np.ndarray, float]:
    """Smooth importance weights by a generalised Pareto tail.

    Parameters
    ----------
    log_weights : ndarray, shape (S,)
        Up to a constant.

    Returns
    -------
    smoothed : ndarray, shape (S,)
        Log weights that sum to one.
    k : float
        Shape of the tail; above 0.7 the weights are not to be trusted. -inf when all weights are equal, inf
        when the tail has too few draws to be judged.

    Examples
    --------
    >>> draws = np.random.default_rng(1).normal(size=4000)
    >>> smoothed, k = psis(-0.5 * (draws - 0.3) ** 2 + 0.5 * draws**2)
    >>> bool(k < 0.5), round(float(np.exp(smoothed) @ draws), 1)
    (True, 0.3)
    """
    raw = np.asarray(log_weights, dtype=float)
    size = len(raw)
    values = raw - raw.max()
    if values.min() == 0.0:
        return np.full(size, -np.log(size)), -np.inf
    tail = int(np.ceil(min(0.2 * size, 3.0 * np.sqrt(size))))
    if tail < _FEWEST_IN_TAIL:
        return values - logsumexp(values), np.inf
    order = np.argsort(values, kind="stable")
    inside, cut = order[-tail:], np.exp(values[order[-tail - 1]])
    above = np.exp(values[inside]) - cut
    if above[0] <= 0.0 or above[-1] - above[0] <= 1e-12 * above[-1]:  # a flat tail needs no smoothing
        return values - logsumexp(values), -np.inf
    shape, scale = fit_pareto(above)
    shape = (shape * tail + 0.5 * _PRIOR_DRAWS) / (tail + _PRIOR_DRAWS)
    if not np.isfinite(shape):
        return values - logsumexp(values), np.inf
    upper = 1.0 - (np.arange(1, tail + 1) - 0.5) / tail
    quantile = (
        -np.log(upper) * scale if abs(shape) < 1e-12 else scale * np.expm1(-shape * np.log(upper)) / shape
    )
    values[inside] = np.minimum(np.log(quantile + cut), 0.0)
    return values - logsumexp(values), float(shape)


def effective_draws(log_weights: np.ndarray) -> float:
    """Return the effective number of independent draws of weighted ones: 1 / Σ w²."""
    return float(np.exp(2.0 * logsumexp(log_weights) - logsumexp(2.0 * np.asarray(log_weights))))


def psis_loo(
    log_likelihood: np.ndarray, log_weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return log p(y_d | the others) and Pareto k for every observation.

    Parameters
    ----------
    log_likelihood : ndarray, shape (S, n)
        Log density of each observation given each draw.
    log_weights : ndarray, shape (S,), optional
        Of the draws; equal by default.

    Returns
    -------
    elpd, k : ndarray, shape (n,)
    """
    draws, n = log_likelihood.shape
    base = np.zeros(draws) if log_weights is None else np.asarray(log_weights, dtype=float)
    elpd, k = np.empty(n), np.empty(n)
    for d in range(n):
        smoothed, k[d] = psis(base - log_likelihood[:, d])
        elpd[d] = logsumexp(smoothed + log_likelihood[:, d])
    return elpd, k


def ess(chains: np.ndarray) -> float:
    """Return the effective sample size of the mean, from split, rank-normalised chains.

    Parameters
    ----------
    chains : ndarray, shape (chains, draws)
    """
    parts = _normal_scores(_split(chains))
    m, n = parts.shape
    if np.ptp(parts) == 0.0:
        return np.nan
    covariance = _autocovariance(parts)
    within = covariance[:, 0].mean() * n / (n - 1.0)
    total = within * (n - 1.0) / n + (parts.mean(axis=1).var(ddof=1) if m > 1 else 0.0)
    rho = 1.0 - (within - covariance.mean(axis=0) * n / (n - 1.0)) / total
    rho[0] = 1.0
    pairs = rho[: n // 2 * 2].reshape(-1, 2).sum(axis=1)
    stop = np.flatnonzero(pairs <= 0.0)
    pairs = np.minimum.accumulate(pairs[: stop[0] if len(stop) else len(pairs)])
    time = max(-1.0 + 2.0 * pairs.sum(), 1.0 / np.log10(m * n))
    return float(m * n / time)


def r_hat(chains: np.ndarray) -> float:
    """Return the larger of rank-normalised and folded split R-hat of chains, shape (chains, draws)."""
    parts = _split(chains)
    folded = np.abs(parts - np.median(parts))
    return max(_r_hat(_normal_scores(parts)), _r_hat(_normal_scores(folded)))


def _r_hat(parts: np.ndarray) -> float:
    n = parts.shape[1]
    within = parts.var(axis=1, ddof=1).mean()
    between = parts.mean(axis=1).var(ddof=1)
    return float(np.sqrt((n - 1.0) / n + between / within)) if within > 0 else np.nan


def _split(chains: np.ndarray) -> np.ndarray:
    chains = np.atleast_2d(np.asarray(chains, dtype=float))
    half = chains.shape[1] // 2
    if half < 4:
        raise ValueError(f"{chains.shape[1]} draws a chain are too few to judge")
    return np.vstack([chains[:, :half], chains[:, -half:]])


def _normal_scores(parts: np.ndarray) -> np.ndarray:
    from scipy.stats import rankdata

    return ndtri((rankdata(parts).reshape(parts.shape) - 0.375) / (parts.size + 0.25))


def _autocovariance(parts: np.ndarray) -> np.ndarray:
    n = parts.shape[1]
    centred = parts - parts.mean(axis=1, keepdims=True)
    spectrum = np.fft.rfft(centred, n=2 * n)
    return np.fft.irfft(spectrum * spectrum.conj(), n=2 * n)[:, :n] / n
