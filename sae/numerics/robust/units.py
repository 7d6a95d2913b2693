"""Robust nested error model: Huber estimating equations of units in areas, and robust predictors.

    y = x'β + u_d + e,  u ~ (0, σu²),  e ~ (0, σe²),  V = σu² 11' + σe² I within an area
    t = √s ψ((y - x'β) / √s),  s = σu² + σe²: residuals clipped at k standard deviations

    X'V^-1 t = 0,    t'V^-1 (∂V) V^-1 t = K tr[V^-1 ∂V] for both variances,    K = E ψ(Z)²

With λ = σu²/σe² both equations of the variances together give t'(V/σe²)^-1 t = K n σe², which is solved for β
and σe² at each λ; the one of σu² is then scanned over λ as far as it can change its sign.

References
----------
Sinha and Rao (2009), Canadian Journal of Statistics 37, 381-399; Chambers, Chandra, Salvati and Tzavidis
(2014), JRSS B 76, 47-69.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sae.numerics.compile import compiled, inlined
from sae.numerics.linalg.small import factor_small, solve_small
from sae.numerics.nested_error.mse import AreaMeans
from sae.numerics.nested_error.profile import Profile, area_sums
from sae.numerics.robust.fit import HUBER_K, huber_variance

__all__ = ["RobustUnits", "UnitFit", "fit_units", "predict_units"]

_SETTLED = 1e-13  # relative step after which β and σe² stand
_STEPS = 1000
_TOLERANCE = 1e-12  # of λ
_RATIO = 2.0  # of the scan


@dataclass(frozen=True, eq=False)
class RobustUnits:
    """Units in the order of their areas, in coordinates in which X'X is the identity.

    Attributes
    ----------
    X : ndarray, shape (n, p)
    first : ndarray of int, shape (m + 1,)
        Where the units of each area with a sample begin.
    x_mean : ndarray, shape (m, p)
    within : ndarray, shape (p, p)
        Products of deviations from area means.
    root : ndarray, shape (p, p)
        X in these coordinates is X root.
    order, seen : ndarray of int, shape (n,) and (m,)
        Units as they were given, in this order; the areas with a sample.
    """

    X: np.ndarray
    first: np.ndarray
    x_mean: np.ndarray
    within: np.ndarray
    root: np.ndarray
    order: np.ndarray
    seen: np.ndarray

    @classmethod
    def of(cls, y: np.ndarray, X: np.ndarray, area: np.ndarray, areas: int) -> RobustUnits:
        """Sort the units; raises as `Profile.of`, and as `fit_nested_error` where σe² cannot be told."""
        sums = area_sums(y, X, area, areas)
        profile = Profile.of(sums)
        if profile.within_freedom < 1:
            raise ValueError("no degree of freedom is left within areas", -1)
        total = profile.yy + (profile.n * profile.byy).sum(axis=1)
        if profile.within_rss()[0] <= 1e-20 * total[0]:
            raise ValueError("the outcome does not vary within areas", -2)
        if profile.areas <= profile.between:
            raise ValueError("no more areas than coefficients told by area means alone", -3)
        order, seen = np.argsort(area, kind="stable"), np.flatnonzero(sums.n > 0)
        first = np.concatenate([[0], np.cumsum(sums.n[seen])])
        ours = np.ascontiguousarray((X @ profile.root)[order])
        return cls(ours, first, sums.x_mean[seen] @ profile.root, profile.xx, profile.root, order, seen)

    def solve(self, y: np.ndarray, k: float) -> tuple[np.ndarray, np.ndarray]:
        """Solve the equations for outcomes, shape (R, n), in the order of these units.

        Returns
        -------
        beta : ndarray, shape (R, p)
            In these coordinates.
        record : ndarray, shape (R, 4)
            λ, σe², number of solutions met (0 where none was), the largest equation left, relative to its
            terms.
        """
        starts = y @ self.X
        betas, records = np.empty_like(starts), np.empty((len(y), 4))
        _solve_all(
            np.ascontiguousarray(y),
            self.X,
            self.first,
            self.x_mean,
            self.within,
            starts,
            _scales(y - starts @ self.X.T, self.first),
            k,
            huber_variance(k),
            betas,
            records,
        )
        return betas, records


def _scales(residual: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Return first guesses of σe², shape (R,): median squares about the medians of areas."""
    owner = np.repeat(np.arange(len(first) - 1), np.diff(first))
    out = np.empty(len(residual))
    for row, rest in enumerate(residual):
        middles = np.array([np.median(rest[a:b]) for a, b in pairwise(first)])
        apart = (rest - middles[owner])[np.diff(first)[owner] > 1]
        mad = 1.4826 * np.median(np.abs(apart))
        out[row] = mad**2 if mad > 0.0 else (apart**2).mean()
    return out


@inlined
def _equation(y, X, first, x_mean, within, ratio, k, K, beta, state, H, g):
    """Settle β and σe² at λ and return the equation of σu², over its second part; state: σe², its residual.

    β moves by (X'V^-1X)^-1 X'V^-1 t, which shrinks what is left by the share of units that are clipped.
    """
    n, p, m = len(y), X.shape[1], len(first) - 1
    for a in range(p):
        for b in range(p):
            H[a, b] = within[a, b]
    below = 0.0
    for d in range(m):
        size = first[d + 1] - first[d]
        weight = size / (1.0 + size * ratio)
        below += weight
        for a in range(p):
            for b in range(p):
                H[a, b] += weight * x_mean[d, a] * x_mean[d, b]
    factor_small(H)
    above = 0.0
    for _ in range(_STEPS):
        bound = k * np.sqrt(state[0] * (1.0 + ratio))
        square = above = 0.0
        for a in range(p):
            g[a] = 0.0
        for d in range(m):
            size = first[d + 1] - first[d]
            total = squares = 0.0
            for i in range(first[d], first[d + 1]):
                e = y[i]
                for a in range(p):
                    e -= X[i, a] * beta[a]
                t = min(max(e, -bound), bound)
                total += t
                squares += t * t
                for a in range(p):
                    g[a] += X[i, a] * t
            left = 1.0 / (1.0 + size * ratio)
            square += max(squares - total * total / size, 0.0) + total * total / size * left
            above += (total * left) ** 2
            for a in range(p):
                g[a] -= size * ratio * left * total * x_mean[d, a]
        now = square / (K * n)
        solve_small(H, g)
        moved = 0.0
        for a in range(p):
            beta[a] += g[a]
            moved += g[a] * g[a]
        off = max(abs(now / state[0] - 1.0), moved / (now * n))
        state[0] = now
        state[1] = off
        if off < _SETTLED:
            break
    return above / (state[0] * K * below) - 1.0


@inlined
def _solve(y, X, first, x_mean, within, k, K, beta, record, state, H, g):
    """Scan the equation in λ, close every fall through 0 and keep the best: see `fit_units`."""
    m = len(first) - 1
    largest = 0
    for d in range(m):
        largest = max(largest, first[d + 1] - first[d])
    low, high = 0.0, 0.25 / largest
    f_low = _equation(y, X, first, x_mean, within, 0.0, k, K, beta, state, H, g)
    best, solutions, gain, best_gain = 0.0, 0, 0.0, 0.0
    if f_low <= 0.0:
        solutions = 1
    spread = 0.0
    for i in range(len(y)):
        spread = max(spread, y[i] * y[i])
    while True:
        f_high = _equation(y, X, first, x_mean, within, high, k, K, beta, state, H, g)
        if solutions > 0:  # the equation integrated between solutions, as a likelihood ratio
            gain += 0.5 * (f_low + f_high) * (high - low) / (1.0 / largest + 0.5 * (low + high))
        if f_low > 0.0 and f_high <= 0.0:
            a, b, fa, fb = low, high, f_low, f_high
            for step in range(200):
                c = (a * fb - b * fa) / (fb - fa)
                if step % 3 == 2 or not a < c < b:
                    c = 0.5 * (a + b)
                fc = _equation(y, X, first, x_mean, within, c, k, K, beta, state, H, g)
                if fc > 0.0:
                    a, fa = c, fc
                else:
                    b, fb = c, fc
                if fc == 0.0 or b - a <= _TOLERANCE * b:
                    break
            solutions += 1
            if solutions == 1 or gain > best_gain:
                best, best_gain = b, gain
            if solutions == 1:
                best_gain = gain = 0.0
        # |t| stays below the residuals, whose sum over n (1 + n λ)² falls below K n σe² / (1 + n λ) at last
        if f_high <= 0.0 and high * K * state[0] > 16.0 * spread:
            break
        low, f_low = high, f_high
        high *= _RATIO
        if high > 1e15:
            break
    f = _equation(y, X, first, x_mean, within, best, k, K, beta, state, H, g)
    record[0], record[1], record[2] = best, state[0], solutions
    record[3] = max(state[1], 0.0 if best == 0.0 else abs(f))


@compiled
def _solve_all(y, X, first, x_mean, within, starts, scales, k, K, betas, records):
    p = X.shape[1]
    H, g, state = np.empty((p, p)), np.empty(p), np.empty(2)
    for row in range(len(y)):
        for a in range(p):
            betas[row, a] = starts[row, a]
        state[0] = scales[row]
        _solve(y[row], X, first, x_mean, within, k, K, betas[row], records[row], state, H, g)


@compiled
def _effects(rest, first, k, ratios, sigma2_e, effects):
    """Robust effects: Σ ψ((e - u) / σe) / σe = ψ(u / σu) / σu, by bisection; both sides are monotone."""
    for row in range(len(rest)):
        se, su = np.sqrt(sigma2_e[row]), np.sqrt(ratios[row] * sigma2_e[row])
        for d in range(len(first) - 1):
            low = high = 0.0
            for i in range(first[d], first[d + 1]):
                low, high = min(low, rest[row, i]), max(high, rest[row, i])
            if su == 0.0:
                low = high = 0.0
            for _ in range(80):
                u = 0.5 * (low + high)
                value = -min(max(u / su, -k), k) / su if su > 0.0 else 0.0
                for i in range(first[d], first[d + 1]):
                    value += min(max((rest[row, i] - u) / se, -k), k) / se
                if value > 0.0:
                    low = u
                else:
                    high = u
            effects[row, d] = 0.5 * (low + high)


@dataclass(frozen=True, eq=False)
class UnitFit:
    """Robust estimates and predictions.

    Attributes
    ----------
    sigma2_u, sigma2_e : float
        The former exactly 0 where no positive solution is better.
    coefficients : ndarray, shape (p,)
    root : ndarray, shape (p, p)
        Root of (X'V^-1X)^-1, the covariance at the model without outliers.
    effect, correction : ndarray, shape (D,)
        Robust area effects, and what the bias correction adds: the mean of the residuals beyond the effect,
        each clipped at c σe. 0 without a sample.
    estimate : ndarray, shape (D,)
    solutions : int
        Met in λ, the boundary included.
    residual : float
        Of the equations at the solution, relative to their terms.
    k, c : float
    """

    sigma2_u: float
    sigma2_e: float
    coefficients: np.ndarray
    root: np.ndarray
    effect: np.ndarray
    correction: np.ndarray
    estimate: np.ndarray
    solutions: int
    residual: float
    k: float
    c: float


def fit_units(
    y: np.ndarray,
    X: np.ndarray,
    area: np.ndarray,
    means: AreaMeans,
    *,
    k: float = HUBER_K,
    c: float = 3.0,
    corrected: bool = False,
) -> UnitFit:
    """Fit the robust nested error model and predict the mean of every area.

    Parameters
    ----------
    y : ndarray, shape (n,)
    X : ndarray, shape (n, p)
    area : ndarray of int, shape (n,)
    means : AreaMeans
        Of the D areas.
    k : float
        Tuning constant of Huber's ψ; a large one gives maximum likelihood and the EBLUP.
    c : float
        Tuning constant of the bias correction, in σe.
    corrected : bool
        Whether predictions have the bias correction.

    Raises
    ------
    ValueError
        As `fit_nested_error`.

    Examples
    --------
    >>> y = np.array([1.0, 2.0, 6.0, 7.0, 2.0, 3.0, 4.0, 5.0, 5.0, 60.0])
    >>> means = AreaMeans(np.ones((5, 1)), np.full(5, np.inf))
    >>> fit_units(y, np.ones((10, 1)), np.repeat(np.arange(5), 2), means).coefficients.round(0)
    array([4.])
    """
    areas = len(means.units)
    units = RobustUnits.of(y, X, area, areas)
    start = units.root @ (units.X.T @ y[units.order])
    rest = (y - X @ start)[units.order]
    beta, record = units.solve(rest[None], k)
    ratio, sigma2_e, solutions, residual = record[0]
    coefficients = start + units.root @ beta[0]
    effect, correction = predict_units(units, rest[None], beta, record, areas, k, c)
    n = np.diff(units.first)
    M = units.within + (units.x_mean * (n / (1.0 + n * ratio))[:, None]).T @ units.x_mean
    f = np.zeros(areas)
    f[units.seen] = n / means.units[units.seen]
    sums = area_sums(y, X, area, areas)
    gap = np.where(sums.n > 0, sums.y_mean[0] - sums.x_mean @ coefficients, 0.0)
    added = effect[0] + (correction[0] if corrected else 0.0)
    return UnitFit(
        float(ratio * sigma2_e),
        float(sigma2_e),
        coefficients,
        np.sqrt(sigma2_e) * units.root @ np.linalg.inv(np.linalg.cholesky(M)).T,
        effect[0],
        correction[0],
        means.x_mean @ coefficients + f * gap + (1.0 - f) * added,
        int(solutions),
        float(residual),
        k,
        c,
    )


def predict_units(
    units: RobustUnits,
    rest: np.ndarray,
    beta: np.ndarray,
    record: np.ndarray,
    areas: int,
    k: float,
    c: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Return robust effects and bias corrections of R outcomes, both of shape (R, D).

    Parameters
    ----------
    units : RobustUnits
    rest : ndarray, shape (R, n)
        Outcomes, in the order of these units.
    beta, record : ndarray, shape (R, p) and (R, 4)
        From `RobustUnits.solve`.
    areas : int
        D.
    k, c : float
        Tuning constants of ψ and of the bias correction.
    """
    left = np.ascontiguousarray(rest - beta @ units.X.T)
    effects = np.empty((len(rest), len(units.seen)))
    _effects(left, units.first, k, record[:, 0], record[:, 1], effects)
    reach = c * np.sqrt(record[:, 1:2])
    n = np.diff(units.first)
    beyond = np.clip(left - np.repeat(effects, n, axis=1), -reach, reach)
    corrections = np.add.reduceat(beyond, units.first[:-1], axis=1) / n
    out = np.zeros((2, len(rest), areas))
    out[0][:, units.seen], out[1][:, units.seen] = effects, corrections
    return out[0], out[1]
