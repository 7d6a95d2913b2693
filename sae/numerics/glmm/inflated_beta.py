"""Density of direct shares that may be exactly 0 or 1: atoms as of a share of n persons, beta between.

Given θ and the effective size n, the share is 0 with probability (1 - θ)^n and 1 with θ^n; in between it is
beta with the mean and the variance that leave E y = θ and var y = θ (1 - θ) / n.

References
----------
Ospina and Ferrari (2010), Statistical Papers 51, 111-126.
"""

from __future__ import annotations

from typing import Any

__all__ = ["FEWEST", "beta_parts", "log_density"]

FEWEST = 2.0  # effective persons at which shares strictly between 0 and 1 have no variance left
_NARROW = 1e-9  # smallest variance between 0 and 1, as a share of the largest possible


def beta_parts(eta: Any, n: Any, xp: Any) -> tuple[Any, Any, Any, Any, Any]:
    """Return log P(0), log P(1), P(between) and the parameters of the beta between, from logit θ and n.

    Parameters
    ----------
    eta, n : array
    xp : module
        `numpy`, or `pytensor.tensor` with its arrays.

    Examples
    --------
    >>> log_zero, log_one, *_ = beta_parts(np.array(0.0), 4.0, np)
    >>> round(float(np.exp(log_zero)), 4)  # (1 - 0.5)^4
    0.0625
    """
    theta = 1.0 / (1.0 + xp.exp(-eta))
    log_one = -n * xp.log1p(xp.exp(-eta))
    log_zero = -n * xp.log1p(xp.exp(eta))
    one = xp.exp(log_one)
    between = xp.maximum(-xp.expm1(log_zero) - one, 1e-300)
    mean = (theta - one) / between
    second = (theta * theta + theta * (1.0 - theta) / n - one) / between
    largest = mean * (1.0 - mean)
    variance = xp.maximum(second - mean * mean, _NARROW * largest)
    precision = largest / variance - 1.0
    return log_zero, log_one, between, mean * precision, (1.0 - mean) * precision


def log_density(eta: Any, y: Any, n: Any, xp: Any, log_gamma: Any) -> Any:
    """Return log densities of direct shares y; see `beta_parts`.

    0.5 stands in for 0 and 1 where the beta is not wanted, so that its gradient is finite there too.
    """
    log_zero, log_one, between, a, b = beta_parts(eta, n, xp)
    inside = xp.where((y > 0) & (y < 1), y, 0.5)
    beta = (
        xp.log(between)
        + log_gamma(a + b)
        - log_gamma(a)
        - log_gamma(b)
        + (a - 1.0) * xp.log(inside)
        + (b - 1.0) * xp.log1p(-inside)
    )
    return xp.where(y <= 0, log_zero, xp.where(y >= 1, log_one, beta))
