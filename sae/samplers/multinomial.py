"""Draws of a multinomial model with correlated area effects, by elliptical slices of a linear model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sae.numerics.glmm.lockstep import shrunk
from sae.numerics.glmm.multinomial import Given, Parabolas, root_of, split_root
from sae.numerics.random.streams import generator, normals, stream_keys
from sae.samplers.chains import COEFFICIENT_SD
from sae.samplers.pymc import Chains

__all__ = ["CHAINS", "sample_multinomial"]

CHAINS = 8
_THIN = 2  # steps per kept draw
_TUNING = (30, 50, 100)  # steps of each round
_FREEDOM = 5.0  # of the t that x is held against: where little is known its tails are longer than a normal's
_WIDER = 1.1  # standard deviations of the t of x over those of the draws that it is learnt from
_APART = 2.0  # the same of where the chains start
_STEP = 0.05  # of numerical derivatives, in standard deviations of the prior
_FRACTIONS = 0.5 ** np.arange(12)  # of a Newton step
_NEWTON, _CLOSE = 30, 1e-2
_ROUNDS = 100  # of a slice while tuning: it is narrower than rounding then
_OWN_ROUNDS = 3  # of the areas, at least: some have flat likelihoods though most have not
_STAYING = 0.1  # share of the chains, or areas, that may stay where they are in a step


def sample_multinomial(
    counts: np.ndarray,
    X: np.ndarray,
    code: int,
    units: np.ndarray,
    *,
    seed: int,
    names: Sequence[object] | None = None,
    wide: float = COEFFICIENT_SD,
    draws: int = 500,
    chains: int = CHAINS,
) -> Chains:
    """Draw from the posterior of coefficients, covariance and effects.

    Parameters
    ----------
    counts : ndarray, shape (D, K)
        Zeros for an area without a sample.
    X : ndarray, shape (D, p)
        Standardised.
    code : int
        Kind of the prior of the standard deviations: see `sae.numerics.inference.priors`.
    units : ndarray, shape (K - 1,)
        Its scales.
    seed : int
    names : sequence, optional
        Of the areas; they name the streams of those without a sample.
    wide : float
        Standard deviation of the normal prior of the coefficients.
    draws, chains : int
        Per chain; number of chains.

    Returns
    -------
    Chains
        beta, shape (..., p, K - 1); effect, shape (..., D, K - 1); sigma, (..., K - 1); correlation.
        Not judged yet: see `Chains.checked`.

    Notes
    -----
    The covariance is a function of scores x that are N(0, 1) a priori. With parabolas in place of the log
    likelihood everything else is a known map of standard normals, beside which its density varies little;
    x is held against a t, for elliptical slices as of Nishihara, Murray and Adams (2014, J. Mach. Learn. Res.
    15, 2087-2112). An elliptical slice (Murray, Adams and MacKay
    2010, AISTATS 9, 541-548) moves x and coefficients together, and then one the effects of every area by
    itself; neither has a step size. Parabolas and t are learnt from the draws of the tuning rounds.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> counts = rng.multinomial(40, (0.6, 0.1, 0.3), size=12).astype(float)
    >>> chains = sample_multinomial(counts, np.ones((12, 1)), 2, np.ones(2), seed=1, draws=50)
    >>> chains.draws["effect"].shape
    (8, 50, 12, 2)
    """
    on = counts.sum(axis=1) > 0
    rng = generator(seed, "chains of a multinomial")
    walk = _Walk.start(counts[on].T.copy(), X[on].T.copy(), (code, units), wide, chains, rng)
    for steps in _TUNING:
        walk = walk.tuned(steps, rng)
    most = np.array([walk.step(rng) for _ in range(_TUNING[0])])
    shared, own = np.ceil(most.mean(axis=0)).astype(int)
    walk.rounds = int(shared), max(int(own), _OWN_ROUNDS)
    k = counts.shape[1] - 1
    root, beta = np.empty((chains, draws, k, k)), np.empty((chains, draws, X.shape[1], k))
    effect = np.empty((chains, draws, len(X), k))
    for t in range(draws):
        for _ in range(_THIN):
            walk.step(rng)
        root[:, t], beta[:, t] = walk.given.root, np.swapaxes(walk.given.beta, 1, 2)
        effect[:, t, on] = np.swapaxes(walk.eta - walk.given.fixed, 1, 2)
    if not on.all():
        keys = stream_keys(
            seed,
            "effects of areas without a sample",
            np.arange(len(on))[~on] if names is None else np.asarray(names)[~on],
        )
        z = normals(keys, 0, chains * draws * k).reshape(chains, draws, k, -1)
        effect[:, :, ~on] = np.einsum("ctij,ctjd->ctdi", root, z)
    sigma, correlation = split_root(root)
    return Chains.of({"beta": beta, "effect": effect, "sigma": sigma, "correlation": correlation})


@dataclass(eq=False)
class _Walk:
    """Chains in step, known by the standard normals that stand for what they are at.

    x is `centre` + `spread` e_x; `white` has e_x and those of the coefficients, `e` those of the effects.
    `log_density` is that of x and coefficients beside a t and these normals, without the remainder.
    """

    linear: Parabolas
    prior: tuple[int, np.ndarray]
    centre: np.ndarray
    spread: np.ndarray
    white: np.ndarray
    e: np.ndarray
    given: Given
    eta: np.ndarray
    remainder: np.ndarray
    log_density: np.ndarray
    rounds: tuple[int, int] = (_ROUNDS, _ROUNDS)

    @classmethod
    def start(
        cls,
        counts: np.ndarray,
        X: np.ndarray,
        prior: tuple[int, np.ndarray],
        wide: float,
        n_chains: int,
        rng: np.random.Generator,
    ) -> _Walk:
        """Return chains that start from a normal at the mode of the linear model, wider than it."""
        k, all_areas = len(counts) - 1, counts.sum(axis=1, keepdims=True) + 0.5
        logs = np.log(counts + 2.0 * all_areas / all_areas.sum())
        eta = (logs[:-1] - logs[-1])[None]
        x = np.zeros(k * (k + 1) // 2)
        for _ in range(4):
            linear = Parabolas.at(counts, X, eta, wide)
            x, spread = _mode(linear, prior, x)
            given = linear.given(root_of(x[None], *prior), np.zeros((1, k * len(X))))
            eta = given.logits(np.zeros((1, k, X.shape[1])))
        e_x = _APART * rng.standard_normal((n_chains, len(x)))
        return cls._at(linear, prior, x, _WIDER * spread, x + e_x @ spread.T, rng)

    @classmethod
    def _at(
        cls,
        linear: Parabolas,
        prior: tuple[int, np.ndarray],
        centre: np.ndarray,
        spread: np.ndarray,
        x: np.ndarray,
        rng: np.random.Generator,
    ) -> _Walk:
        """Return chains at x, all else drawn in the linear model."""
        (k, D), p = linear.slope.shape, len(linear.X)
        e_x = np.linalg.solve(spread, (x - centre).T).T
        white = np.concatenate([e_x, rng.standard_normal((len(x), k * p))], axis=1)
        e = rng.standard_normal((len(x), k, D))
        empty = np.empty(0)
        walk = cls(linear, prior, centre, spread, white, e, *[empty] * 4)  # type: ignore[arg-type]
        walk.given, walk.eta, walk.remainder, walk.log_density = walk._evaluated(white, e)
        return walk

    def tuned(self, steps: int, rng: np.random.Generator) -> _Walk:
        """Return the chains after some steps, with the linear model and the t of x that these suggest."""
        seen = []
        for _ in range(steps):
            self.step(rng)
            seen.append((self.x, self.eta.copy()))
        x, eta = (np.concatenate(each) for each in zip(*seen[steps // 2 :], strict=True))
        weight = len(x) / (len(x) + 20.0 * x.shape[1])
        apart = x - x.mean(axis=0)
        covariance = weight * np.einsum("si,sj->ij", apart, apart) / len(x)  # the same on any threads
        covariance += (1.0 - weight) * self.spread @ self.spread.T / _WIDER**2
        linear = Parabolas.at(self.linear.counts, self.linear.X, eta, self.linear.wide)
        spread = _WIDER * np.linalg.cholesky(covariance)
        return self._at(linear, self.prior, x.mean(axis=0), spread, self.x, rng)

    def step(self, rng: np.random.Generator) -> tuple[int, int]:
        """Move every chain; return the rounds within which most had moved x, and most areas."""
        shared = self._move_shared(rng)
        self._move_areas(rng)  # twice: it is cheap, and areas with few counts are slow
        return shared, self._move_areas(rng)

    @property
    def x(self) -> np.ndarray:
        """Scores of the covariance, shape (C, q)."""
        return self._x(self.white)

    def _x(self, white: np.ndarray) -> np.ndarray:
        q = len(self.centre)
        return np.asarray(self.centre + white[:, :q] @ self.spread.T)

    def _evaluated(
        self, white: np.ndarray, e: np.ndarray
    ) -> tuple[Given, np.ndarray, np.ndarray, np.ndarray]:
        q, x = len(self.centre), self._x(white)
        given = self.linear.given(root_of(x, *self.prior), white[:, q:])
        eta = given.logits(e)
        log_density = given.log_evidence - 0.5 * (x**2).sum(axis=1)
        log_density += 0.5 * (_FREEDOM + q) * np.log1p((white[:, :q] ** 2).sum(axis=1) / _FREEDOM)
        return given, eta, self.linear.remainder(eta), log_density

    def _move_shared(self, rng: np.random.Generator) -> int:
        """One elliptical slice of x and the coefficients, the normals of the effects held.

        Chains that found nothing within the rounds stay: the step is reversible for each number of rounds,
        so for all up to a last. Returns the rounds within which most would have moved.
        """
        other, q = rng.standard_normal(self.white.shape), len(self.centre)
        size = (_FREEDOM + (self.white[:, :q] ** 2).sum(axis=1)) / rng.chisquare(_FREEDOM + q, len(other))
        other[:, :q] *= np.sqrt(size)[:, None]
        level = self.log_density + self.remainder.sum(axis=1) - rng.standard_exponential(len(other))
        angle = rng.uniform(0.0, 2.0 * np.pi, len(other))
        low, high = angle - 2.0 * np.pi, angle.copy()
        left, start, most = np.arange(len(other)), self.white.copy(), 0
        for turns in range(1, self.rounds[0] + 1):
            turn = angle[left, None]
            white = np.cos(turn) * start[left] + np.sin(turn) * other[left]
            given, eta, remainder, log_density = self._evaluated(white, self.e[left])
            good = log_density + remainder.sum(axis=1) > level[left]
            moved = left[good]
            self.white[moved], self.log_density[moved] = white[good], log_density[good]
            self.eta[moved], self.remainder[moved] = eta[good], remainder[good]
            self.given.put(moved, given, good)
            left = left[~good]
            if not most and len(left) <= _STAYING * len(other):
                most = turns
            if not len(left):
                break
            shrunk(low, high, angle, left, rng)
        return most or self.rounds[0]

    def _move_areas(self, rng: np.random.Generator) -> int:
        """Slices of the effects of every area by itself, as those of x."""
        start, other = self.e.copy(), rng.standard_normal(self.e.shape)
        level = self.remainder - rng.standard_exponential(self.remainder.shape)
        angle = rng.uniform(0.0, 2.0 * np.pi, level.shape)
        low, high = angle - 2.0 * np.pi, angle.copy()
        bad, most = np.ones(level.shape, dtype=bool), 0
        for turns in range(1, self.rounds[1] + 1):
            turn = angle[:, None]
            e = np.cos(turn) * start + np.sin(turn) * other
            eta = self.given.logits(e)
            remainder = self.linear.remainder(eta)
            good = bad & (remainder > level)
            np.copyto(self.e, e, where=good[:, None])
            np.copyto(self.eta, eta, where=good[:, None])
            np.copyto(self.remainder, remainder, where=good)
            bad &= ~good
            if not most and bad.sum() <= _STAYING * bad.size:
                most = turns
            if turns == self.rounds[1] or not bad.any():
                break
            shrunk(low, high, angle, bad, rng)
        return most or self.rounds[1]


def _mode(linear: Parabolas, prior: tuple[int, np.ndarray], x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mode of x in the linear model, and a root of the inverse curvature there."""
    q, none = len(x), linear.slope.shape[0] * len(linear.X)

    def value(points: np.ndarray) -> np.ndarray:
        given = linear.given(root_of(points, *prior), np.zeros((len(points), none)))
        return np.asarray(given.log_evidence - 0.5 * (points**2).sum(axis=1))

    row, column = np.tril_indices(q, -1)
    unit = _STEP * np.eye(q)
    shifts = np.concatenate([np.zeros((1, q)), unit, -unit, unit[row] + unit[column]])
    for _ in range(_NEWTON):
        f = value(x + shifts)
        up, down = f[1 : q + 1], f[q + 1 : 2 * q + 1]
        slope, curvature = (up - down) / (2.0 * _STEP), np.diag(2.0 * f[0] - up - down)
        curvature[row, column] = f[0] - f[2 * q + 1 :] + up[row] + up[column] - f[0] * 2.0
        curvature = np.tril(curvature) + np.tril(curvature, -1).T
        roots, vectors = np.linalg.eigh(curvature / _STEP**2)
        roots = np.maximum(roots, 0.5)  # the prior's is 1
        move = vectors @ (vectors.T @ slope / roots)
        move *= min(1.0, 2.0 / np.abs(move).max(initial=1e-300))
        tried = value(x + _FRACTIONS[:, None] * move)
        best = int(np.argmax(tried))
        gain = tried[best] - f[0]
        if gain > 0.0:
            x = x + _FRACTIONS[best] * move
        if gain < _CLOSE:
            break
    return x, vectors / np.sqrt(roots)
