"""Transformations of the direct estimate: forward, variance, back without bias."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = ["TRANSFORMS", "Transform"]


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
    bounds : (float, float)
        Where h^-1 is monotone: interval ends are clipped to it.
    range : (float, float)
        Natural range of y.
    """

    name: str
    forward: Callable[[np.ndarray], np.ndarray]
    variance: Callable[[np.ndarray, np.ndarray], np.ndarray]
    inverse: Callable[[np.ndarray], np.ndarray]
    mean: Callable[[np.ndarray, np.ndarray], np.ndarray]
    slope: Callable[[np.ndarray, np.ndarray], np.ndarray]
    bounds: tuple[float, float]
    range: tuple[float, float]


def _arcsin_variance(y: np.ndarray, vardir: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return vardir / (4.0 * y * (1.0 - y))


# E sin²(T) = (1 - exp(-2 s²) cos 2t) / 2 needs no truncation: sin² is defined on the whole line.
TRANSFORMS = {
    "identity": Transform(
        "identity",
        lambda y: y,
        lambda y, vardir: vardir,
        lambda t: t,
        lambda t, s2: t + 0.0 * s2,
        lambda t, s2: np.ones_like(t),
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
        (0.0, 0.5 * np.pi),
        (0.0, 1.0),
    ),
}
