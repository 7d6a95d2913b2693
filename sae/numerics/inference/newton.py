"""Maxima of many likelihoods with variances and correlations, in lock step: Newton on the exact gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["RHO_LIMIT", "Evaluate", "climb", "natural", "peaks"]

RHO_LIMIT = 0.999  # |rho| beyond this makes the covariances singular to working precision
FLOOR = 1e-9  # a variance of this many times the sampling variances: the model without it decides
_STEP = 1e-4  # of the differences that give the Hessian: its error only slows the last steps
_CLOSE = 0.1  # steps up to this keep the Hessian, updated by what the step did to the gradient
_LAST = 1e-8  # step after which nothing is evaluated any more,
_LAST_NEWTON = 1e-6  # or with a Hessian from differences: what is left is of the order of 1e-4 of the step
_ROUNDS = 80

Evaluate = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def natural(points: np.ndarray, free: tuple[int, ...], size: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Parameters from their unbounded scale, and their slopes, both of shape (k, size).

    Parameters at even positions are variances (logarithms), those at odd ones correlations (atanh).
    """
    theta, slopes = np.zeros((len(points), size)), np.zeros((len(points), size))
    for column, index in enumerate(free):
        u = points[:, column]
        if index % 2 == 0:
            theta[:, index] = slopes[:, index] = np.exp(u)
        else:
            limit = np.arctanh(RHO_LIMIT)
            theta[:, index] = np.tanh(np.clip(u, -limit, limit))
            slopes[:, index] = 1.0 - theta[:, index] ** 2
    return theta, slopes


def climb(
    evaluate: Evaluate, starts: np.ndarray, free: tuple[int, ...], unit: float
) -> tuple[np.ndarray, np.ndarray]:
    """Climb from m starting points to m maxima.

    Parameters
    ----------
    evaluate : callable
        (theta, shape (k, n); member, shape (k,)) -> values (k,) and slopes (k, n) of the member's criterion.
    starts : ndarray, shape (m, n)
        Variances at even positions, correlations at odd ones.
    free : tuple of int
        Parameters that move; the others are 0.
    unit : float
        Scale of the variances.

    Returns
    -------
    theta : ndarray, shape (m, n)
    value : ndarray, shape (m,)
    """
    columns, q, size = list(free), len(free), starts.shape[1]
    even = np.array([index % 2 == 0 for index in free])
    low = np.where(even, np.log(FLOOR * unit), -np.arctanh(RHO_LIMIT))
    high = np.where(even, np.log(unit / FLOOR), np.arctanh(RHO_LIMIT))
    chosen = starts[:, columns]
    base = np.where(even, np.log(np.where(even, chosen, 1.0)), np.arctanh(np.where(even, 0.0, chosen)))
    base = np.clip(base, low, high)
    point, step = base.copy(), np.zeros_like(base)
    value, gradient = np.full(len(starts), -np.inf), np.zeros_like(base)
    hessian = np.zeros((len(starts), q, q))
    shifts = _STEP * np.eye(q)
    active, fresh = np.arange(len(starts)), np.ones(len(starts), bool)
    for _ in range(_ROUNDS):
        member = np.concatenate([active, np.repeat(active[fresh[active]], q)])
        around = (point[active[fresh[active]], None] + shifts).reshape(-1, q)
        theta, scale = natural(np.concatenate([point[active], around]), free, size)
        values, slopes = evaluate(theta, member)
        values, slopes = values[: len(active)], (slopes * scale)[:, columns]
        here, beside = slopes[: len(active)], slopes[len(active) :].reshape(-1, q, q)
        changed = active[fresh[active]]
        differences = (beside - here[fresh[active], None]) / _STEP
        better = values >= value[active] - 1e-12 * np.maximum(1.0, np.abs(value[active]))
        back, on = active[~better], active[better]
        step[back] *= 0.25
        secant = on[~fresh[on]]
        hessian[secant] = _updated(
            hessian[secant], point[secant] - base[secant], here[better & ~fresh[active]] - gradient[secant]
        )
        hessian[changed] = 0.5 * (differences + np.swapaxes(differences, 1, 2))
        value[on], base[on], gradient[on] = values[better], point[on], here[better]
        step[on] = _newton(base[on], gradient[on], hessian[on], low, high)
        point[active] = np.clip(base[active] + step[active], low, high)
        moved = np.abs(point[active] - base[active]).max(axis=1)
        arrived = moved < np.where(fresh[active] & better, _LAST_NEWTON, _LAST)
        fresh[active] = (moved > _CLOSE) | ~better
        base[active[arrived]] = point[active[arrived]]
        active = active[~arrived]
        if not len(active):
            break
    return natural(base, free, size)[0], value


def _updated(hessian: np.ndarray, moved: np.ndarray, bent: np.ndarray) -> np.ndarray:
    """Symmetric rank-one update of k Hessians by what a step did to the gradient."""
    rest = bent - (hessian @ moved[..., None])[..., 0]
    along = (rest * moved).sum(axis=1)
    size = np.sqrt((rest**2).sum(axis=1) * (moved**2).sum(axis=1))
    usable = np.abs(along) > 1e-8 * size
    over = np.where(usable, along, 1.0)
    return hessian + np.where(usable, 1.0 / over, 0.0)[:, None, None] * rest[:, :, None] * rest[:, None, :]


def _newton(point: np.ndarray, gradient: np.ndarray, hessian: np.ndarray, low: Any, high: Any) -> np.ndarray:
    """Uphill steps of k points."""
    held = ((point <= low) & (gradient < 0)) | ((point >= high) & (gradient > 0))
    gradient = np.where(held, 0.0, gradient)
    cross = held[:, :, None] | held[:, None, :]
    hessian = np.where(cross, -np.eye(len(low)), hessian)
    eigen, vectors = np.linalg.eigh(hessian)
    along = np.einsum("kji,kj->ki", vectors, gradient) / np.maximum(np.abs(eigen), 1e-6)
    step = np.einsum("kij,kj->ki", vectors, along)
    longest = np.abs(step).max(axis=1, keepdims=True)
    return step * np.minimum(1.0, 2.0 / np.maximum(longest, 1e-300))


def peaks(table: np.ndarray) -> np.ndarray:
    """Flat positions of the local maxima of a grid, highest first."""
    padded = np.pad(table, 1, constant_values=-np.inf)
    higher = np.zeros(table.shape, bool)
    for shift in np.ndindex(*(3,) * table.ndim):
        window = tuple(slice(s, s + table.shape[axis]) for axis, s in enumerate(shift))
        higher |= padded[window] > table
    found = np.flatnonzero(~higher.ravel())
    return found[np.argsort(-table.ravel()[found], kind="stable")]
