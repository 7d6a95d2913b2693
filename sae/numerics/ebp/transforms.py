"""Transformations of welfare: forward, inverse, Jacobian.

The parameter broadcasts against the values: one λ for each replicate, (R, 1), or one for all. Near λ = 0 both
powers are the logarithm to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["ESTIMATED", "NAMES", "Scale", "forward", "inverse", "log_slope"]

NAMES = ("none", "log", "log-shift", "box-cox", "dual-power")
ESTIMATED = ("log-shift", "box-cox", "dual-power")  # those with a parameter
_NEAR = 1e-3  # |λ| below which a difference of exponentials loses digits
_FLAT = 1e-12  # λ below which a power is the logarithm to rounding


def forward(name: str, y: np.ndarray, parameter: np.ndarray | float = 0.0, shift: float = 0.0) -> np.ndarray:
    """Return h(y).

    none y; log ln(y + c); log-shift ln(y + s); box-cox ((y + c)^λ - 1) / λ;
    dual-power ((y + c)^λ - (y + c)^-λ) / (2 λ).

    Parameters
    ----------
    name : str
        One of `NAMES`.
    y : ndarray of float
    parameter : float or ndarray
        λ; of log-shift the shift s.
    shift : float
        c, added before a transformation with a fixed shift.

    References
    ----------
    Box and Cox (1964), JRSS B 26, 211–252; Yang (2006), Economics Letters 92, 14–19 (dual power);
    Rojas-Perilla, Pannier, Schmid and Tzavidis (2020), JRSS A 183, 121–148.

    Examples
    --------
    >>> forward("box-cox", np.array([1.0, 4.0]), 0.5).tolist()
    [0.0, 2.0]
    """
    if name == "none":
        return np.asarray(y, dtype=float)
    x = np.log(y + (parameter if name == "log-shift" else shift))
    if name in ("log", "log-shift"):
        return np.asarray(x)
    power = np.where(np.abs(parameter) < _FLAT, _FLAT, parameter)
    if np.abs(power).min() < _NEAR:
        return np.asarray((np.expm1(power * x) if name == "box-cox" else np.sinh(power * x)) / power)
    x = np.asarray(power * x)  # from here on as good as expm1 and sinh, and many times faster
    np.exp(x, out=x)
    return np.asarray((x - 1.0) / power if name == "box-cox" else (x - 1.0 / x) / (2.0 * power))


def inverse(name: str, t: np.ndarray, parameter: np.ndarray | float = 0.0, shift: float = 0.0) -> np.ndarray:
    """Return h^-1(t).

    Box–Cox reaches not the whole line: with λ > 0 all t below -1/λ give -c, with λ < 0 all above it inf.

    Examples
    --------
    >>> inverse("box-cox", np.array([-3.0, 0.0, 2.0]), 0.5).tolist()
    [0.0, 1.0, 4.0]
    """
    if name == "none":
        return np.asarray(t, dtype=float)
    if name in ("log", "log-shift"):
        return np.asarray(np.exp(t) - (parameter if name == "log-shift" else shift))
    power = np.where(np.abs(parameter) < _FLAT, _FLAT, parameter)
    if name == "dual-power":
        return np.asarray(np.exp(np.arcsinh(power * t) / power) - shift)
    with np.errstate(divide="ignore"):
        return np.asarray(np.exp(np.log1p(np.maximum(power * t, -1.0)) / power) - shift)


def log_slope(
    name: str, y: np.ndarray, parameter: np.ndarray | float = 0.0, shift: float = 0.0
) -> np.ndarray:
    """Return ln h'(y), whose sum is the logarithm of the Jacobian.

    Examples
    --------
    >>> log_slope("box-cox", np.array([4.0]), 0.5).round(6).tolist()  # ln of 4^-0.5
    [-0.693147]
    """
    if name == "none":
        return np.zeros(np.shape(y))
    x = np.log(y + (parameter if name == "log-shift" else shift))
    if name in ("log", "log-shift"):
        return np.asarray(-x)
    if name == "box-cox":
        return np.asarray((parameter - 1.0) * x)
    ax = np.abs(parameter * x)
    return np.asarray(ax + np.log1p(np.exp(-2.0 * ax)) - np.log(2.0) - x)  # ln cosh without overflow


@dataclass(frozen=True)
class Scale:
    """A transformation with its parameter: the scale on which welfare follows the model.

    Attributes
    ----------
    name : str
        One of `NAMES`.
    parameter : float
        λ, or the shift of log-shift; 0 where there is none.
    shift : float
        Constant added to welfare before the transformation.
    top : float
        Largest welfare of Box–Cox with λ < 0, of all that lies beyond: the tail it has otherwise ends in
        infinite welfare, and has no mean.

    Examples
    --------
    >>> scale = Scale("dual-power", 0.3)
    >>> scale.inverse(scale.forward(np.array([2.0, 50.0]))).round(9).tolist()
    [2.0, 50.0]
    >>> Scale("box-cox", -0.5, top=100.0).inverse(np.array([1.0, 3.0])).tolist()
    [4.0, 100.0]
    """

    name: str
    parameter: float = 0.0
    shift: float = 0.0
    top: float = np.inf

    def forward(self, y: np.ndarray) -> np.ndarray:
        """Return h(y); -inf for welfare below its range."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(np.asarray(y) > self.bottom, self._forward(y), -np.inf)

    def _forward(self, y: np.ndarray) -> np.ndarray:
        return forward(self.name, y, self.parameter, self.shift)

    def inverse(self, t: np.ndarray) -> np.ndarray:
        """Return h^-1(t)."""
        y = inverse(self.name, t, self.parameter, self.shift)
        return np.minimum(y, self.top) if self.topped else y

    def log_slope(self, y: np.ndarray) -> np.ndarray:
        """Return ln h'(y)."""
        return log_slope(self.name, y, self.parameter, self.shift)

    @property
    def topped(self) -> bool:
        """Whether welfare has a top."""
        return self.name == "box-cox" and self.parameter <= -_FLAT and self.top < np.inf

    @property
    def bottom(self) -> float:
        """Welfare below which the transformation is not defined."""
        if self.name == "none":
            return -np.inf
        return -self.parameter if self.name == "log-shift" else -self.shift

    @property
    def ends(self) -> tuple[float, float]:
        """The images of the bottom and of the top, if finite: what lies beyond has that welfare."""
        if self.topped:
            return -np.inf, float(self.forward(np.array(self.top)))
        if self.name != "box-cox" or abs(self.parameter) < _FLAT:
            return -np.inf, np.inf
        edge = -1.0 / self.parameter
        return (edge, np.inf) if self.parameter > 0 else (-np.inf, edge)
