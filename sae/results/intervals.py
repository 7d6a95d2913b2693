"""Intervals of predictions: on the MSE where many areas carry it, else from errors or a posterior."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property, partial
from typing import TYPE_CHECKING, Protocol

import numpy as np
import scipy

from sae.errors import SaeConvergenceError
from sae.numerics.inference.joint_error import JointError
from sae.numerics.inference.priors import FLAT_SD, FLAT_VARIANCE, SPARE
from sae.numerics.inference.tails import student_quantile

if TYPE_CHECKING:
    from sae.numerics.fay_herriot.posterior import Areas, Nodes
    from sae.numerics.inference.joint_mixture import JointMixture
    from sae.numerics.inference.mixture import Mixture
    from sae.numerics.spacetime.area_field import AreaField
    from sae.samplers.gaussian_field import GaussianField

__all__ = [
    "FEW_AREAS",
    "Interval",
    "IntervalKind",
    "JointPosterior",
    "area_intervals",
    "field_intervals",
    "holding",
    "interval_name",
    "posterior_intervals",
    "t_interval",
]

FEW_AREAS = 50  # with fewer, the error of the variance and of the MSE itself is no longer small


_FLAT = (("flat-variance", FLAT_VARIANCE), ("flat-sd", FLAT_SD))  # the second where the first is improper


class JointPosterior(Protocol):
    """The joint posterior that intervals are quantiles of: `JointMixture`, or that of a field."""

    def sums(self, weights: scipy.sparse.csr_array) -> Mixture:
        """Return the posterior of weighted sums of rows."""

    def error(self, centre: np.ndarray) -> JointError:
        """Return the second moments of the rows about predictions."""

    def values(self, n: int, seed: int, labels: Sequence[str]) -> np.ndarray:
        """Return n joint draws of the rows, whose names name the streams."""


class IntervalKind(Enum):
    """What the ends of an interval rest on; the value is how a table names it."""

    T = "t on the MSE"
    POSTERIOR = "posterior"
    VARIANCE_POSTERIOR = "posterior of the variance"
    CREDIBLE = "credible, equal-tailed"
    NONE = "none: too few areas"


@dataclass(frozen=True, eq=False)
class Interval:
    """Ends of intervals, shape (M,), and what they rest on.

    Attributes
    ----------
    low, high : ndarray of float, shape (M,)
        Missing where `kind` is ``IntervalKind.NONE``.
    kind : IntervalKind
    prior : str
        Of a posterior.
    details : tuple of str
        What else a table says of them, such as the scale of their ends.
    posterior : callable, optional
        Returns the joint posterior whose quantiles the ends are, on the model's scale; it may be large, and
        is made anew at each call.
    """

    low: np.ndarray
    high: np.ndarray
    kind: IntervalKind
    prior: str = ""
    details: tuple[str, ...] = ()
    posterior: Callable[[], JointPosterior] | None = None

    @property
    def text(self) -> str:
        """How a table names the interval.

        Examples
        --------
        >>> from sae.results.intervals import Interval, IntervalKind
        >>> zero = np.zeros(1)
        >>> Interval(zero, zero, IntervalKind.POSTERIOR, "flat-sd", details=("log scale",)).text
        'posterior, flat-sd prior, log scale'
        """
        return interval_name(self.kind, self.prior, self.details)

    def detailed(self, *details: str) -> Interval:
        """Return the same ends with more said of them."""
        return replace(self, details=(*self.details, *details))


def interval_name(kind: IntervalKind, prior: str = "", details: Sequence[str] = ()) -> str:
    """Return how a table names an interval; see `Interval`."""
    parts = [kind.value]
    if prior:
        parts.append(f"{prior} prior")
    return ", ".join([*parts, *details])


def t_interval(estimate: np.ndarray, mse: np.ndarray, freedom: int, level: float) -> Interval:
    """Student's t on the MSE.

    Parameters
    ----------
    estimate, mse : ndarray of float, shape (M,)
    freedom : int
        Areas with a sample less coefficients.
    level : float
    """
    half = student_quantile(1.0 - 0.5 * (1.0 - level), freedom) * np.sqrt(mse)
    return Interval(estimate - half, estimate + half, IntervalKind.T)


def holding(
    estimate: np.ndarray, low: np.ndarray, high: np.ndarray, name: str | np.ndarray
) -> tuple[np.ndarray, np.ndarray, str | np.ndarray]:
    """Move the ends of intervals that do not hold their estimate to it, and say so in their names.

    Equal tails hold the median; an estimate at one value of the variance, or the mean of a skew posterior,
    can lie outside a narrow one. No interval becomes shorter.

    Parameters
    ----------
    estimate, low, high : ndarray of float, shape (M,)
        Missing ends stay missing.
    name : str or ndarray of str, shape (M,)

    Returns
    -------
    low, high : ndarray, shape (M,)
    name : str or ndarray, shape (M,)
        As it was given, where no interval is moved.
    """
    with np.errstate(invalid="ignore"):
        below, above = estimate < low, estimate > high
    if not (below.any() or above.any()):
        return low, high, name
    names = np.full(len(estimate), name, dtype=object) if isinstance(name, str) else name
    return (
        np.where(below, estimate, low),
        np.where(above, estimate, high),
        np.where(below | above, names + ", widened to the estimate", names),
    )


def area_intervals(
    A: float,
    estimate: np.ndarray,
    mse: np.ndarray,
    y: np.ndarray,
    vardir: np.ndarray,
    X: np.ndarray,
    sampled: np.ndarray,
    level: float,
    rest_variance: np.ndarray | float = 0.0,
) -> Interval:
    """Intervals of all areas of one Fay–Herriot fit.

    With 50 areas or more and a positive variance: Student's t with m - p degrees of freedom on the MSE.
    Else quantiles of the exact posterior with a flat prior on the variance, which knows that the variance is
    not known, and gives no zero width at the boundary; with p + 2 areas, where that prior is improper, a flat
    prior on its square root; with p + 1 areas none at all, and the ends are missing.

    Parameters
    ----------
    A : float
        Estimated model variance.
    estimate, mse, y, vardir : ndarray of float, shape (M,)
        On the model's scale.
    X : ndarray of float, shape (p, M)
    sampled : ndarray of bool, shape (M,)
    level : float
        Such as 0.95.
    rest_variance : ndarray of float, shape (M,)
        Variance of what the truth has beyond the area's rate: of the mean of those not asked.
    """
    p, m = X.shape[0], int(sampled.sum())
    if m >= FEW_AREAS and A > 0.0:
        return t_interval(estimate, mse + rest_variance, m - p, level)
    return posterior_intervals(y, vardir, X, sampled, level, rest_variance)


def posterior_intervals(
    y: np.ndarray,
    vardir: np.ndarray,
    X: np.ndarray,
    sampled: np.ndarray,
    level: float,
    rest_variance: np.ndarray | float = 0.0,
) -> Interval:
    """Intervals of all areas of one Fay–Herriot fit from its exact posterior, however many areas there are.

    Arguments are as of `area_intervals`.
    """
    from sae.numerics.fay_herriot.mixture import area_mixture
    from sae.numerics.fay_herriot.posterior import Areas, place_nodes

    p, m = X.shape[0], int(sampled.sum())
    tail = 0.5 * (1.0 - level)
    for prior, code in _FLAT:
        if m < p + SPARE[code]:
            continue
        areas = Areas.of(y, vardir, X, sampled)
        nodes = place_nodes(areas, [(code, 1.0)])
        mixture = area_mixture(nodes, areas)
        mixture = replace(mixture, sds=np.sqrt(mixture.sds**2 + rest_variance))
        ends = mixture.quantile(tail), mixture.quantile(1.0 - tail)
        joint = partial(_joint, nodes, areas, rest_variance)
        return Interval(*ends, IntervalKind.POSTERIOR, prior, posterior=joint)
    missing = np.full(len(y), np.nan)
    return Interval(missing, missing, IntervalKind.NONE)


def _joint(nodes: Nodes, areas: Areas, rest_variance: np.ndarray | float) -> JointMixture:
    from sae.numerics.fay_herriot.mixture import joint_mixture

    joint = joint_mixture(nodes, areas)
    return joint.widened(np.broadcast_to(rest_variance, joint.means.shape[1:]))


def field_intervals(
    build: Callable[[tuple[int, float]], AreaField],
    X: np.ndarray,
    area: np.ndarray,
    sampled: np.ndarray,
    level: float,
) -> Interval:
    """Intervals of all rows of a model with several effects: its exact posterior, priors flat.

    Where the sampled areas, less the coefficients that only areas tell, are too few for a flat prior of the
    variance between areas, there are none.

    Parameters
    ----------
    build : callable
        A prior (code, scale) of every standard deviation to the field with it.
    X : ndarray of float, shape (M, p)
    area : ndarray of int, shape (M,)
    sampled : ndarray of bool, shape (M,)
    level : float
    """
    from sae.samplers.gaussian_field import gaussian_field

    freedom = _between_freedom(X[sampled], area[sampled])
    tails = np.array([0.5 * (1.0 - level), 0.5 * (1.0 + level)])
    for prior, code in _FLAT:
        if freedom < SPARE[code]:
            continue
        try:
            field = gaussian_field(build((code, 1.0)))
        except SaeConvergenceError:
            continue
        low, high = field.quantiles(tails)
        return Interval(low, high, IntervalKind.POSTERIOR, prior, posterior=_Field(field).itself)
    missing = np.full(len(X), np.nan)
    return Interval(missing, missing, IntervalKind.NONE)


def _between_freedom(X: np.ndarray, area: np.ndarray) -> int:
    """Areas less the directions of X that are constant within every area."""
    _, place, count = np.unique(area, return_inverse=True, return_counts=True)
    sums = np.zeros((len(count), X.shape[1]))
    np.add.at(sums, place, X)
    size = np.sqrt((X**2).sum(axis=0))
    within = np.linalg.matrix_rank((X - (sums / count[:, None])[place]) / size, tol=1e-9)
    return int(len(count) - (X.shape[1] - within))


@dataclass(frozen=True, eq=False)
class _Field:
    """The posterior of a field: normal sums, with its exact moments."""

    field: GaussianField

    def itself(self) -> _Field:
        return self

    @cached_property
    def covariance_root(self) -> np.ndarray:
        return self.field.shared()

    def sums(self, weights: scipy.sparse.csr_array) -> Mixture:
        from sae.numerics.inference.mixture import Mixture

        mean, _ = self.field.moments()
        sd = np.sqrt(((weights @ self.covariance_root) ** 2).sum(axis=1))
        return Mixture(np.ones(1), (weights @ mean)[None], sd[None])

    def error(self, centre: np.ndarray) -> JointError:
        mean, sd = self.field.moments()
        root = np.column_stack([self.covariance_root, mean - centre])
        return JointError.of_root(scipy.sparse.csr_array(root), sd**2 + (mean - centre) ** 2)

    def values(self, n: int, seed: int, labels: Sequence[str]) -> np.ndarray:
        return self.field.values(n, seed)
