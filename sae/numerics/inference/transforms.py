"""Transformations of the direct estimate: forward, variance, back without bias."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import scipy

__all__ = ["TRANSFORMS", "Transform", "normal_mean"]

_NODES = 61  # exact to 1e-8 for the logistic function up to a standard deviation of 1.5


@dataclass(frozen=True)
class Transform:
    """A transformation h of the direct estimate; every function works element by element.

    Attributes
    ----------
    name : str
    forward : callable
        z = h(y).
    variance : callable
        (y, D) -> variance of h(y) by the delta method.
    inverse : callable
        t -> h^-1(t) for any real t.
    mean : callable
        (t, s²) -> E h^-1(T) for T ~ N(t, s²): the back-transform without bias.
    slope : callable
        (t, s²) -> derivative of `mean` in t.
    square : callable
        (t, s²) -> E h^-1(T)² for the same T.
    bounds : (float, float)
        Where h^-1 is monotone: interval ends are clipped to it.
    range : (float, float)
        Natural range of y; an end at which h is infinite has no place on the model's scale.
    """

    name: str
    forward: Callable[[np.ndarray], np.ndarray]
    variance: Callable[[np.ndarray, np.ndarray], np.ndarray]
    inverse: Callable[[np.ndarray], np.ndarray]
    mean: Callable[[np.ndarray, np.ndarray], np.ndarray]
    slope: Callable[[np.ndarray, np.ndarray], np.ndarray]
    square: Callable[[np.ndarray, np.ndarray], np.ndarray]
    bounds: tuple[float, float]
    range: tuple[float, float]

    def __reduce__(self) -> tuple[Callable[..., Transform], tuple[str, bool]]:
        return _named, (self.name, self.mean is not TRANSFORMS[self.name].mean)

    def naive(self) -> Transform:
        """Return the same transformation whose way back is h^-1 of the prediction: biased where h bends."""
        low, high = self.bounds

        def mean(t: np.ndarray, s2: np.ndarray) -> np.ndarray:
            return self.inverse(np.clip(t, low, high)) + 0.0 * s2

        def slope(t: np.ndarray, s2: np.ndarray) -> np.ndarray:
            # without spread the unbiased way back is the inverse itself
            return np.where((t > low) & (t < high), self.slope(t, 0.0 * t), 0.0)

        return replace(self, mean=mean, slope=slope)


def normal_mean(function: Callable[[np.ndarray], np.ndarray], t: np.ndarray, s2: np.ndarray) -> np.ndarray:
    """Return E f(T) for T ~ N(t, s²), element by element, by Gauss–Hermite quadrature.

    Examples
    --------
    >>> round(float(normal_mean(np.exp, np.array(1.0), np.array(0.5)) / np.exp(1.25)), 10)
    1.0
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    spread = np.sqrt(s2)
    total = np.zeros(np.broadcast(t, s2).shape)
    for node, weight in zip(nodes, weights / weights.sum(), strict=True):
        total += weight * function(t + node * spread)
    return total


def _logit(p: np.ndarray) -> np.ndarray:
    return scipy.special.logit(p)


def _expit(t: np.ndarray) -> np.ndarray:
    return scipy.special.expit(t)


def _logistic_slope(t: np.ndarray) -> np.ndarray:
    p = _expit(t)
    return p * (1.0 - p)


def _arcsin_variance(y: np.ndarray, vardir: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return vardir / (4.0 * y * (1.0 - y))


def _sine_to_the_fourth(t: np.ndarray, s2: np.ndarray) -> np.ndarray:
    """Return E sin⁴(T): sin⁴ = 3/8 - cos(2T) / 2 + cos(4T) / 8, and E cos(kT) = exp(-k² s² / 2) cos kt."""
    twice, four = np.exp(-2.0 * s2) * np.cos(2.0 * t), np.exp(-8.0 * s2) * np.cos(4.0 * t)
    return np.asarray(0.375 - 0.5 * twice + 0.125 * four)


# E sin²(T) = (1 - exp(-2 s²) cos 2t) / 2 needs no truncation: sin² is defined on the whole line.
TRANSFORMS = {
    "identity": Transform(
        "identity",
        lambda y: y,
        lambda y, vardir: vardir,
        lambda t: t,
        lambda t, s2: t + 0.0 * s2,
        lambda t, s2: np.ones_like(t),
        lambda t, s2: t * t + s2,
        (-np.inf, np.inf),
        (-np.inf, np.inf),
    ),
    "arcsin": Transform(
        "arcsin",
        lambda y: np.arcsin(np.sqrt(y)),
        _arcsin_variance,
        lambda t: np.sin(t) ** 2,
        lambda t, s2: 0.5 * (1.0 - np.exp(-2.0 * s2) * np.cos(2.0 * t)),
        lambda t, s2: np.exp(-2.0 * s2) * np.sin(2.0 * t),
        _sine_to_the_fourth,
        (0.0, 0.5 * np.pi),
        (0.0, 1.0),
    ),
    "log": Transform(
        "log",
        np.log,
        lambda y, vardir: vardir / y**2,
        np.exp,
        lambda t, s2: np.exp(t + 0.5 * s2),
        lambda t, s2: np.exp(t + 0.5 * s2),
        lambda t, s2: np.exp(2.0 * (t + s2)),
        (-np.inf, np.inf),
        (0.0, np.inf),
    ),
    "logit": Transform(
        "logit",
        _logit,
        lambda y, vardir: vardir / (y * (1.0 - y)) ** 2,
        _expit,
        lambda t, s2: normal_mean(_expit, t, s2),
        lambda t, s2: normal_mean(_logistic_slope, t, s2),
        lambda t, s2: normal_mean(lambda value: _expit(value) ** 2, t, s2),
        (-np.inf, np.inf),
        (0.0, 1.0),
    ),
}


def _named(name: str, naive: bool) -> Transform:
    """Return a transformation from its name, as a pickle holds it."""
    return TRANSFORMS[name].naive() if naive else TRANSFORMS[name]
