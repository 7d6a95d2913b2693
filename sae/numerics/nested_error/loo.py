"""Leave one area out: how well the others foretell all outcomes of an area, by the nodes of the posterior.

References
----------
Gelfand, Dey and Chang (1992), in Bayesian Statistics 4, 147-167.
"""

from __future__ import annotations

import math

import numpy as np

from sae.numerics.nested_error.posterior import NestedErrorPosterior
from sae.numerics.nested_error.profile import AreaSums, Profile, bordered

__all__ = ["leave_area_out"]

_ELEMENTS = 2_000_000  # numbers held at a time


def leave_area_out(posterior: NestedErrorPosterior, sums: AreaSums) -> np.ndarray:
    """Return log p(outcomes of area d | the other areas) of every area with a sample, by quadrature.

    1 / p(y_d | y_-d) is the posterior mean of p(y_-d | τ) / p(y | τ), β and σe integrated out in both. NaN
    where the other areas do not tell all coefficients.
    """
    profile, point = posterior.profile, posterior.point
    p, K = len(profile.root), len(posterior.tau)
    seen = np.flatnonzero(sums.n > 0)
    ratio = posterior.tau**2
    whole = posterior.given_tau()[0]
    whole -= 0.5 * (point.log_det_m + point.log_det_v)
    full = np.empty((K, p + 1, p + 1))
    full[:] = bordered(profile.xx, profile.xy[0], profile.yy[0])
    full += np.einsum("ku,uab->kab", point.g, bordered(profile.bxx, profile.bxy[0], profile.byy[0]))
    pivots, _ = _pivots(full)
    out = np.empty(len(seen))
    size = max(1, _ELEMENTS // (K * 65))
    for start in range(0, len(seen), size):
        areas = seen[start : start + size]
        n, units = sums.precision[areas], sums.n[areas]
        own, mean = _own_products(profile, sums, areas)
        g = n[:, None] / (1.0 + n[:, None] * ratio)
        less = full - own[:, None] - g[:, :, None, None] * (mean[:, None, :, None] * mean[:, None, None, :])
        left, rss = _pivots(less)
        known = np.all(left > 1e-9 * pivots, axis=2)
        with np.errstate(invalid="ignore", divide="ignore"):
            log_det = np.log(left).sum(axis=2)
        part = np.full(rss.shape, np.nan)
        for count in np.unique(units):
            rows = units == count
            inside = np.maximum(rss[rows], 1e-300)
            logs = posterior.given_tau(inside, left_out=int(count))[0]
            part[rows] = logs.reshape(-1, K) - 0.5 * (point.log_det_v - np.log1p(n[rows, None] * ratio))
        part += (
            units[:, None] * (math.log(posterior.unit) + 0.5 * math.log(2.0 * math.pi))
            - 0.5 * log_det
            - whole
            + sums.log_scale[areas, None]
        )
        top = part.max(axis=1)
        value = -(top + np.log(np.exp(part - top[:, None]) @ posterior.weights))
        out[start : start + size] = np.where(known.all(axis=1), value, np.nan)
    return out


def _own_products(profile: Profile, sums: AreaSums, areas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the bordered products within each area and its bordered mean, in the profile's coordinates."""
    root, start = profile.root, profile.start[0]
    xx, xy, yy = sums.xx[areas], sums.xy[0, areas], sums.yy[0, areas]
    rest = xy - xx @ start
    square = yy - xy @ start - rest @ start
    mean = np.column_stack([sums.x_mean[areas] @ root, sums.y_mean[0, areas] - sums.x_mean[areas] @ start])
    return bordered(root.T @ xx @ root, rest @ root, square), mean


def _pivots(matrices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the pivots of the design and what is left of the last diagonal, the residual sum of squares."""
    left = matrices.copy()
    q = left.shape[-1]
    pivots = np.empty(left.shape[:-1])
    with np.errstate(divide="ignore", invalid="ignore"):
        for j in range(q):
            pivots[..., j] = left[..., j, j]
            column = left[..., j + 1 :, j].copy()
            left[..., j + 1 :, j + 1 :] -= (
                column[..., :, None] * column[..., None, :] / pivots[..., j, None, None]
            )
    return pivots[..., :-1], pivots[..., -1]
