"""The Fay–Herriot model of areas that several sources estimate, each source but one with a bias of its own.

y_ds = x_d'β + b_s + u_d + e_ds, u_d ~ N(0, A), e_ds ~ N(0, D_ds) independent. With w = 1 / D the direct
estimates of an area are their precision-weighted mean and the contrasts to it. The means follow a plain
Fay–Herriot model with variances D_d = 1 / Σ_s w_ds, in which an area has a share of each bias; the
contrasts tell of the biases whatever A is, by sums that are taken once. So an evaluation at A costs what it
costs in the plain model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq

from sae.errors import SaeConvergenceError
from sae.numerics.fay_herriot.fit import FayHerriotFits
from sae.numerics.fay_herriot.mse import Predictions, predict
from sae.numerics.inference.joint_mixture import JointMixture
from sae.numerics.inference.priors import FLAT_SD, FLAT_VARIANCE, log_prior
from sae.numerics.linalg.basis import Basis, orthonormal_basis

__all__ = ["SourceProblem", "fit_sources", "predict_sources", "reduce_sources", "source_posterior"]

_RATIO = 3.0  # of the scan for maxima of the profile: see `fit`
_MOST_FINE, _STEP, _DEEP, _LIGHT = 7, 0.25, 40.0, 1e-14  # halvings, spacing in log σ, nats, share of a node
_TOLERANCE = 1e-6  # of a posterior deviation, by which half of the nodes may differ
_NEEDED = {FLAT_VARIANCE: 4, FLAT_SD: 3}  # spare areas that must be exceeded for E σ² to exist


@dataclass(frozen=True, eq=False)
class SourceProblem:
    """Areas as precision-weighted means of their sources, and what the contrasts between these tell.

    Attributes
    ----------
    y, vardir : ndarray, shape (m,)
        Weighted means and their sampling variances.
    X : ndarray, shape (p, m)
        Weighted means of the rows of the design, transposed: covariates, then shares of the sources.
    Z : ndarray, shape (p + 1, m)
        The same with the covariates in the coordinates of `basis`, and last what is left of the outcome.
        Shares stay apart from covariates: where A is large, only the contrasts count for them.
    gram : ndarray, shape (p + 1, p + 1)
        Weighted squares and products of the contrasts, in these coordinates.
    log_det : float
        Sum of log D over the rows, less that over the areas.
    rows : int
        Number of direct estimates.
    basis : Basis
    """

    y: np.ndarray
    vardir: np.ndarray
    X: np.ndarray
    Z: np.ndarray
    gram: np.ndarray
    log_det: float
    rows: int
    basis: Basis

    def natural(self, beta: np.ndarray) -> np.ndarray:
        """Return coefficients of the columns as they are, shape (p,)."""
        q = len(self.basis.fitted)
        return np.concatenate([self.basis.natural(beta[:q]), beta[q:]])

    def natural_root(self, root: np.ndarray) -> np.ndarray:
        """Return a root of the covariance of the natural coefficients from one here, shape (p, p)."""
        q = len(self.basis.fitted)
        return np.vstack([self.basis.natural_root(root[:q]), root[q:]])


class _Profile(NamedTuple):
    """The profile at one A: twice its slope, its value, coefficients, and the root of their covariance."""

    slope: float
    value: float
    beta: np.ndarray
    root: np.ndarray
    loglik: float


def reduce_sources(
    y: np.ndarray, vardir: np.ndarray, X: np.ndarray, source: np.ndarray, area: np.ndarray
) -> SourceProblem:
    """Take the rows of every area together.

    Parameters
    ----------
    y, vardir : ndarray of float, shape (n,)
        Direct estimates and sampling variances.
    X : ndarray of float, shape (n, q)
        Covariates of the area of each row, of full column rank.
    source : ndarray of float, shape (n, p - q)
        Indicators of the sources that have a bias.
    area : ndarray of int, shape (n,)
        From 0 to m - 1; every area has a row.

    Examples
    --------
    >>> two = reduce_sources(np.array([1.0, 4.0]), np.array([1.0, 2.0]), np.ones((2, 1)), np.eye(2)[:, 1:],
    ...                      np.array([0, 0]))
    >>> two.y.round(6).tolist(), two.vardir.round(6).tolist()
    ([2.0], [0.666667])
    """
    basis = orthonormal_basis(X, y)
    rows = np.column_stack([basis.of(X), source, y - X @ basis.fitted])
    weight = 1.0 / vardir
    total = np.bincount(area, weight)

    def mean(columns: np.ndarray) -> np.ndarray:
        return np.array([np.bincount(area, weight * column) for column in columns.T]) / total

    means = mean(rows)
    contrast = rows - means.T[area]
    return SourceProblem(
        mean(y[:, None])[0],
        1.0 / total,
        mean(np.column_stack([X, source])),
        means,
        (contrast.T * weight) @ contrast,
        float(np.log(vardir).sum() + np.log(total).sum()),
        len(y),
        basis,
    )


def _profile(problem: SourceProblem, A: float, restricted: bool) -> _Profile:
    """Evaluate the profile; `value` is the (restricted) log-likelihood up to a constant."""
    p = len(problem.X)
    w = 1.0 / (A + problem.vardir)
    scaled = problem.Z * w
    gram = problem.gram + scaled @ problem.Z.T
    lower = np.linalg.cholesky(gram[:p, :p])
    inverse = np.linalg.inv(lower)
    half = inverse @ gram[:p, p]
    beta = inverse.T @ half
    left = problem.Z[p] - beta @ problem.Z[:p]
    slope = float(((w * left) ** 2).sum() - w.sum())
    quadratic = float(gram[p, p] - half @ half)
    value = 0.5 * (float(np.log(w).sum()) - quadratic)
    loglik = value - 0.5 * (problem.rows * math.log(2.0 * math.pi) + problem.log_det)
    if restricted:
        slope += float(((inverse @ scaled[:p]) ** 2).sum())
        value -= float(np.log(np.diag(lower)).sum())
    return _Profile(slope, value, beta, inverse.T, loglik)


def _top(problem: SourceProblem) -> float:
    """Return a variance beyond which the profile falls, or 0.

    With S = y'PZZ'Py and T = tr Z'PZ the slope has the sign of S - T. The coefficients that fit the contrasts
    best, and given these the means, leave rss; so S <= rss / (A + min D)², and T >= (m - p) / (A + max D), as
    in the plain model.
    """
    p, m = problem.X.shape
    smallest, largest = problem.vardir.min(), problem.vardir.max()
    square = problem.Z[:p] @ problem.Z[:p].T
    size = float(np.trace(problem.gram[:p, :p]))
    small = 1e-8 * size / float(np.trace(square)) if size > 0.0 else 1.0
    beta = np.linalg.solve(
        problem.gram[:p, :p] + small * square, problem.gram[:p, p] + small * (problem.Z[:p] @ problem.Z[p])
    )
    rss = 2.0 * float(((problem.Z[p] - beta @ problem.Z[:p]) ** 2).sum())  # twice: `beta` is not quite there
    s = rss / (m - p)
    return float(0.5 * (s + math.sqrt(s * s + 4.0 * s * (largest - smallest))) - smallest)


def fit_sources(problem: SourceProblem, method: str) -> FayHerriotFits:
    """Fit one problem: every maximum of the profile is found, and the highest one wins.

    Parameters
    ----------
    problem : SourceProblem
        With more areas than coefficients.
    method : {"reml", "ml"}

    Returns
    -------
    FayHerriotFits
        Of one problem and one replicate.
    """
    restricted = method == "reml"
    top = _top(problem)
    points = [0.0]
    if top > 0.0:
        A = min(0.5 * float(problem.vardir.min()), 0.5 * top)
        while top > A:
            points.append(A)
            A *= _RATIO
        points.append(top)

    def slope(A: float) -> float:
        return _profile(problem, A, restricted).slope

    slopes = [slope(A) for A in points]
    maxima = [0.0] if slopes[0] <= 0.0 or len(points) == 1 else []
    for k in range(len(points) - 1):
        if slopes[k] > 0.0 >= slopes[k + 1]:
            maxima.append(brentq(slope, points[k], points[k + 1], xtol=1e-300, rtol=1e-14))
    A = max(maxima, key=lambda A: _profile(problem, A, restricted).value)
    best = _profile(problem, A, restricted)
    return FayHerriotFits(
        np.array([[A]]),
        problem.natural(best.beta)[None, None],
        problem.natural_root(best.root)[None, None],
        np.array([[best.loglik]]),
        np.array([[len(maxima)]]),
    )


def predict_sources(
    A: float,
    beta: np.ndarray,
    root: np.ndarray,
    y: np.ndarray,
    vardir: np.ndarray,
    X: np.ndarray,
    target: np.ndarray,
    sampled: np.ndarray,
    method: str,
) -> Predictions:
    """Predict every area free of the biases of the sources, with second-order mean squared errors.

    g1 and g3 are those of the plain model of the means; g2 is (t - γ x)'Q (t - γ x) with the design x of the
    mean and t of the area, for which the bias of no source counts.

    Parameters
    ----------
    A : float
        Model variance.
    beta, root : ndarray of float, shapes (p,) and (p, p)
        Coefficients and the root of their covariance.
    y, vardir : ndarray of float, shape (M,)
        Weighted means; read only where `sampled`.
    X, target : ndarray of float, shape (p, M)
        Designs of the means and of the areas, transposed.
    sampled : ndarray of bool, shape (M,)
    method : {"reml", "ml"}

    References
    ----------
    Datta and Lahiri (2000), Statistica Sinica 10, 613–627, of which this is a case: REML and ML in a linear
    mixed model with block-diagonal variance; Rao and Molina (2015), section 5.3.
    """
    plain = predict(A, beta, root, y, vardir, X, sampled, method)
    away = target - X
    factor = plain.factor + root.T @ away
    g2 = (factor * factor).sum(axis=0)
    return replace(
        plain,
        estimate=plain.estimate + beta @ away,
        fitted=beta @ target,
        g2=g2,
        mse=plain.mse - plain.g2 + g2,
        factor=factor,
    )


def source_posterior(
    problem: SourceProblem,
    prior: int,
    spare: int,
    y: np.ndarray,
    vardir: np.ndarray,
    X: np.ndarray,
    target: np.ndarray,
    sampled: np.ndarray,
) -> JointMixture:
    """Return the exact posterior of every area, coefficients and biases flat, by nodes of σ = √A.

    Parameters
    ----------
    problem : SourceProblem
    prior : int
        Of σ: `FLAT_VARIANCE` or `FLAT_SD`.
    spare : int
        Areas beyond the coefficients of their covariates.
    y, vardir, X, target, sampled
        As of `predict_sources`.

    Raises
    ------
    SaeConvergenceError
        If halving the distance of the nodes goes on changing the posterior.
    """
    unit = 0.5 * math.sqrt(float(np.median(problem.vardir)))
    endless = None if spare > _NEEDED[prior] else ~sampled

    def density(t: np.ndarray) -> np.ndarray:
        sd = unit * np.exp(t - np.exp(-t))
        value = np.array([_profile(problem, s * s, True).value for s in sd])
        return value + log_prior((prior, 1.0), sd) + np.log(sd) + np.log1p(np.exp(-t))

    def mixture(t: np.ndarray, height: np.ndarray) -> JointMixture:
        weight = np.exp(height - height.max())
        weight /= weight.sum()
        kept = weight > _LIGHT
        nodes = [_node(problem, A, y, vardir, X, target, sampled) for A in _squares(unit, t[kept])]
        means, own, loadings = (np.array(part) for part in zip(*nodes, strict=True))
        return JointMixture(weight[kept] / weight[kept].sum(), means, own[:, :, None], loadings, endless)

    t = np.arange(-4.0, 4.0, _STEP)
    height = density(t)
    while height[-1] > height.max() - _DEEP:
        more = t[-1] + _STEP * np.arange(1, 17)
        t, height = np.concatenate([t, more]), np.concatenate([height, density(more)])
    inside = np.flatnonzero(height > height.max() - _DEEP)
    low, high = t[max(inside[0] - 1, 0)], t[min(inside[-1] + 1, len(t) - 1)]
    before = mixture(t, height)
    for halving in range(1, _MOST_FINE + 1):
        t = np.arange(low, high + 1e-9, _STEP / 2**halving)
        now = mixture(t, density(t))
        (mean, sd), (old_mean, old_sd) = (_moments(joint) for joint in (now, before))
        if max(np.abs(mean - old_mean).max(), np.abs(sd - old_sd).max()) <= _TOLERANCE * sd.max():
            return now
        before = now
    raise SaeConvergenceError(
        "The posterior of the model variance was not found: its nodes do not converge.",
        hint="Look for sampling variances or covariates many orders apart.",
    )


def _squares(unit: float, t: np.ndarray) -> list[float]:
    return [float(A) for A in (unit * np.exp(t - np.exp(-t))) ** 2]


def _node(
    problem: SourceProblem,
    A: float,
    y: np.ndarray,
    vardir: np.ndarray,
    X: np.ndarray,
    target: np.ndarray,
    sampled: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means, own deviations and loadings on the coefficients of all areas, given A."""
    at = _profile(problem, A, True)
    beta, root = problem.natural(at.beta), problem.natural_root(at.root)
    D = np.where(sampled, vardir, 1.0)
    gamma = np.where(sampled, A / (A + D), 0.0)
    mean = beta @ target + gamma * np.where(sampled, y - beta @ X, 0.0)
    own = np.sqrt(np.where(sampled, gamma * D, A))
    return mean, own, (target - gamma * X).T @ root


def _moments(joint: JointMixture) -> tuple[np.ndarray, np.ndarray]:
    """Means, and geometric means of the deviations: these exist whatever the tail of σ."""
    mean = joint.weights @ joint.means
    sd = np.exp(0.5 * (joint.weights @ np.log(joint.variances + (joint.means - mean) ** 2)))
    return mean, sd
