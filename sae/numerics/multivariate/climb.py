"""The climb to the maximum of a (restricted) likelihood, from many starts or for many outcomes side by side.

Every lane k has a parameter, and an outcome or the one that all share. Sums over areas are products of
matrices: see `grams`.

References
----------
Benavent and Morales (2016), CSDA 94, 372-390: score and information.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sae.numerics.multivariate.areas import BlockAreas
from sae.numerics.multivariate.covariances import STRUCTURES, bend, bounds
from sae.numerics.multivariate.grams import block_inverses, own_columns, pair_products

__all__ = ["Designs", "Point", "ascend", "evaluate"]

_STEPS = 200
_HELD = 2_000_000  # products of columns held at once
Pair = tuple[int, int, tuple[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Designs:
    """Designs and sampling covariances of D areas, with which sums over areas are made."""

    areas: BlockAreas

    @cached_property
    def columns(self) -> list[np.ndarray]:
        """The columns that each component has."""
        return own_columns(self.areas.X)

    @cached_property
    def _parts(self) -> list[slice]:
        width = max(1, *(len(own) for own in self.columns)) ** 2
        step, count = max(1, _HELD // width), len(self.areas.y)
        return [slice(start, start + step) for start in range(0, count, step)]

    @cached_property
    def _whole(self) -> list[Pair]:
        return list(pair_products(self.areas.arrays.X, self.columns))

    def _pairs(self) -> Iterator[tuple[slice, Pair]]:
        for part in self._parts:
            pairs = self._whole if len(self._parts) == 1 else pair_products(self.areas.X[part], self.columns)
            for pair in pairs:
                yield part, pair

    def sums(self, weights: np.ndarray) -> np.ndarray:
        """Return Σ_d Σ_rs w_rs x_r x_s', shape (K, p, p), of symmetric weights of shape (R, R, D, K)."""
        p, K = self.areas.X.shape[2], weights.shape[3]
        total = np.zeros((p, p, K))
        for part, (r, s, (rows, columns), products) in self._pairs():
            block = (products @ weights[r, s, part]).reshape(rows.size, columns.size, K)
            total[rows, columns] += block
            if r != s:
                total[columns.T, rows.T] += block.swapaxes(0, 1)
        return np.ascontiguousarray(np.moveaxis(total, -1, 0))

    def forms(self, covariance: np.ndarray) -> np.ndarray:
        """Return x_r'Q_k x_s of every area, shape (R, R, D, K), of covariances Q of shape (K, p, p)."""
        D, R, _ = self.areas.X.shape
        out = np.empty((R, R, D, len(covariance)))
        for part, (r, s, (rows, columns), products) in self._pairs():
            out[r, s, part] = products.T @ covariance[:, rows, columns].reshape(len(covariance), -1).T
            out[s, r, part] = out[r, s, part]
        return out

    def fitted(self, beta: np.ndarray) -> np.ndarray:
        """Return x_r'β_k, shape (R, D, K)."""
        X = self.areas.X
        return np.stack([X[:, r, own] @ beta[:, own].T for r, own in enumerate(self.columns)])

    def pulled(self, values: np.ndarray) -> np.ndarray:
        """Return Σ_d Σ_r x_r v_r, shape (K, p), of values of shape (R, D, K)."""
        X, out = self.areas.X, np.zeros((values.shape[2], self.areas.X.shape[2]))
        for r, own in enumerate(self.columns):
            out[:, own] += (X[:, r, own].T @ values[r]).T
        return out


@dataclass(eq=False)
class Point:
    """Where K lanes are.

    Attributes
    ----------
    value, loglik : ndarray, shape (K,)
        The restricted log-likelihood or, for ML, the same as `loglik`, the full one; -inf where a covariance
        is not positive definite.
    score, information : ndarray, shapes (K, q), (K, q, q)
    gradient : ndarray, shape (K, R, R)
        Of the value by the covariance of the effects.
    beta, beta_cov : ndarray, shapes (K, p), (K, p, p)
    effect : ndarray, shape (R, D, K)
        Predicted effects V B^-1 (y - X beta).
    """

    value: np.ndarray
    loglik: np.ndarray
    score: np.ndarray
    information: np.ndarray
    gradient: np.ndarray
    beta: np.ndarray
    beta_cov: np.ndarray
    effect: np.ndarray


def evaluate(designs: Designs, y: np.ndarray, name: str, theta: np.ndarray, reml: bool) -> Point:
    """Return likelihood, slopes and predictions of K lanes.

    Parameters
    ----------
    designs : Designs
    y : ndarray, shape (R, D, K) or (R, D, 1)
        0 where there is no direct estimate.
    name : str
        Of the structure.
    theta : ndarray, shape (K, q)
    """
    _, _, psi, seen = designs.areas.arrays
    R, (K, q) = len(y), theta.shape
    V, slopes = STRUCTURES[name](theta, R)
    W, logdets = block_inverses(V, psi, seen)
    logdet = logdets.sum(axis=0)
    lost = ~np.isfinite(logdet)
    if lost.any():
        W[..., lost] = 0.0
    gram = designs.sums(W)
    p = gram.shape[1]
    gram[lost] = np.eye(p)
    beta_cov = np.linalg.inv(gram)
    beta = (beta_cov @ designs.pulled((W * y).sum(axis=1))[..., None])[..., 0]
    residual = (y - designs.fitted(beta)) * seen.T[:, :, None]
    solved = (W * residual).sum(axis=1)
    loglik = -0.5 * (seen.sum() * np.log(2 * np.pi) + logdet + (residual * solved).sum(axis=(0, 1)))
    loglik[lost] = -np.inf
    value = loglik.copy()
    if reml:
        value += 0.5 * (np.linalg.slogdet(beta_cov)[1] + p * np.log(2 * np.pi))
    gradient = (solved[:, None] * solved - W).sum(axis=2)
    wide, flat = np.repeat(W, q, axis=3), np.moveaxis(slopes.reshape(K * q, R, R), 0, -1)[:, :, None]
    half = _product(flat, wide)  # V_a B^-1 of lane and parameter
    turned = _product(wide, half)
    sums = 0.5 * turned.sum(axis=2)
    if reml:
        H = _product(_product(W, designs.forms(beta_cov)), W)  # B^-1 X Q X'B^-1
        gradient += H.sum(axis=2)
        sums -= _product(np.repeat(H, q, axis=3), half).sum(axis=2)
    information = sums.reshape(R * R, K, q).transpose(1, 2, 0) @ slopes.swapaxes(2, 3).reshape(
        K, q, R * R
    ).swapaxes(1, 2)
    if reml:
        small = beta_cov[:, None] @ designs.sums(turned).reshape(K, q, p, p)
        other = small.swapaxes(2, 3).reshape(K, q, p * p).swapaxes(1, 2)
        information += 0.5 * small.reshape(K, q, p * p) @ other
    by_lane = 0.5 * np.moveaxis(gradient, -1, 0)
    score = (slopes.reshape(K, q, R * R) @ by_lane.reshape(K, R * R, 1))[..., 0]
    effect = (np.moveaxis(V, 0, -1)[:, :, None] * solved).sum(axis=1)
    return Point(value, loglik, score, information, by_lane, beta, beta_cov, effect)


def _product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return products of R x R matrices, both of shape (R, R, D or 1, K)."""
    return np.asarray((left[:, :, None] * right).sum(axis=1))


def ascend(
    designs: Designs, y: np.ndarray, name: str, start: np.ndarray, reml: bool, gain: float
) -> tuple[np.ndarray, Point]:
    """Fisher scoring with halved steps; a parameter at a bound that wants to leave the range stays there.

    Parameters
    ----------
    designs, y, name, reml
        As of `evaluate`.
    start : ndarray, shape (K, q)
    gain : float
        Expected gain in log-likelihood, squared steps in standard errors, that ends a climb.

    Returns
    -------
    theta : ndarray, shape (K, q)
    point : Point
    """
    low, high = bounds(name, len(y))
    theta = np.clip(start, low, high)
    point = evaluate(designs, y, name, theta, reml)
    step, length = np.zeros_like(theta), np.ones(len(theta))
    turn, going = np.ones(len(theta), dtype=bool), np.isfinite(point.value)
    for _ in range(_STEPS):
        fresh = np.flatnonzero(going & turn)
        if len(fresh):
            step[fresh] = _steps(name, theta[fresh], _of(point, fresh), low, high)
            length[fresh] = 1.0
            going[fresh] = (step[fresh] * point.score[fresh]).sum(axis=1) >= gain
        lanes = np.flatnonzero(going)
        if not len(lanes):
            break
        tried = np.clip(theta[lanes] + length[lanes, None] * step[lanes], low, high)
        ahead = evaluate(designs, y if y.shape[2] == 1 else y[..., lanes], name, tried, reml)
        here = point.value[lanes]
        up = ahead.value >= here - 1e-12 * np.maximum(1.0, np.abs(here))
        moved, stuck = lanes[up], lanes[~up]
        size = np.maximum(np.abs(theta[moved]), 1e-8 * np.abs(theta[moved]).max(axis=1, initial=0.0)[:, None])
        change = (np.abs(tried[up] - theta[moved]) / (size + 1e-300)).max(axis=1)
        theta[moved] = tried[up]
        _place(point, moved, ahead, up)
        turn[:] = False
        turn[moved] = True
        going[moved] = change >= 1e-12
        length[stuck] *= 0.5
        going[stuck] = length[stuck] > 1e-10
    return theta, point


def _steps(name: str, theta: np.ndarray, point: Point, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return the steps of Fisher scoring, shape (K, q), 0 for parameters held at a bound."""
    held = ((theta <= low) & (point.score <= 0)) | ((theta >= high) & (point.score >= 0))
    free = np.where(held, 0.0, 1.0)
    bowl = (point.information + bend(name, point.gradient)) * free[:, :, None] * free[:, None, :]
    step = np.linalg.pinv(bowl, rcond=1e-12, hermitian=True) @ (point.score * free)[..., None]
    return np.asarray(step[..., 0] * free)


def _of(point: Point, lanes: np.ndarray) -> Point:
    return Point(
        **{
            name: values[..., lanes] if name == "effect" else values[lanes]
            for name, values in vars(point).items()
        }
    )


def _place(point: Point, lanes: np.ndarray, ahead: Point, which: np.ndarray) -> None:
    for name, values in vars(ahead).items():
        if name == "effect":
            point.effect[..., lanes] = values[..., which]
        else:
            getattr(point, name)[lanes] = values[which]
