"""What units leave to a nested error model, and the profile of its likelihood.

y = x'β + u_d + e with u_d ~ N(0, σu²), e ~ N(0, σe² k²), the k known and mostly 1.

One pass over the units leaves area means and products within areas; everything after it costs the same for a
thousand units and for a million. The likelihood is profiled over β and σe²: with λ = σu²/σe² and
g_d = n_d / (1 + n_d λ), n_d = Σ k^-2,

    σe² X'V^-1X = M(λ) = W + Σ_d g_d x̄_d x̄_d',

a sum without cancellation; means and products are weighted by k^-2. Areas of the same n_d share g_d, so their
products are added up once.

References
----------
Battese, Harter and Fuller (1988), JASA 83, 28-36 (the model).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy import sparse

from sae.numerics.compile import compiled

__all__ = ["AreaSums", "Point", "Profile", "area_sums", "bordered", "weighted_means"]

_WITHIN = 1e-11  # share of a direction's sum of squares below which it does not vary within areas
_ROUNDING = 1e-14  # eigenvalue of correlations within areas that is rounding
_RANK = 1e-9  # share left of a column below which the earlier ones explain it


@dataclass(frozen=True, eq=False)
class AreaSums:
    """What the units of D areas leave: all that the model knows of them. R outcomes share a design.

    Attributes
    ----------
    n : ndarray of int, shape (D,)
        Units per area; 0 where there is no sample.
    x_mean : ndarray, shape (D, p)
        Area means of the covariates; 0 where there is no sample.
    y_mean : ndarray, shape (R, D)
    xx : ndarray, shape (D, p, p)
        Products of deviations from the area means, summed within each area.
    xy : ndarray, shape (R, D, p)
    yy : ndarray, shape (R, D)
    precision : ndarray of float, shape (D,)
        Σ k^-2: σe² over it is the variance of an area mean of errors. `n` by default.
    log_scale : ndarray of float, shape (D,)
        Σ log k; 0 by default.
    """

    n: np.ndarray
    x_mean: np.ndarray
    y_mean: np.ndarray
    xx: np.ndarray
    xy: np.ndarray
    yy: np.ndarray
    precision: np.ndarray = field(default_factory=lambda: np.empty(0))
    log_scale: np.ndarray = field(default_factory=lambda: np.empty(0))

    def __post_init__(self) -> None:
        if not len(self.precision):
            object.__setattr__(self, "precision", self.n.astype(float))
            object.__setattr__(self, "log_scale", np.zeros(len(self.n)))


@compiled
def _pass(y, X, area, n, shift, sums, products, deviation):
    """Add up the units of each area, as deviations from its first unit."""
    p = X.shape[1]
    for i in range(len(y)):
        d = area[i]
        if n[d] == 0:
            for j in range(p):
                shift[d, j] = X[i, j]
            shift[d, p] = y[i]
        n[d] += 1
        for j in range(p):
            deviation[j] = X[i, j] - shift[d, j]
        deviation[p] = y[i] - shift[d, p]
        row = 0
        for j in range(p + 1):
            sums[d, j] += deviation[j]
            for k in range(j + 1):
                products[d, row] += deviation[j] * deviation[k]
                row += 1


def area_sums(
    y: np.ndarray, X: np.ndarray, area: np.ndarray, areas: int, k: np.ndarray | None = None
) -> AreaSums:
    """Read the units once.

    Parameters
    ----------
    y : ndarray of float, shape (n,)
    X : ndarray of float, shape (n, p)
        Read as it stands: no copy is made of a C-ordered design.
    area : ndarray of int, shape (n,)
        0 to areas - 1; areas may have no unit.
    areas : int
    k : ndarray of float, shape (n,), optional
        Known factors of the errors' standard deviations.

    Examples
    --------
    >>> sums = area_sums(np.array([1.0, 3.0, 5.0]), np.ones((3, 1)), np.array([0, 0, 1]), 2)
    >>> sums.n.tolist(), sums.y_mean.tolist(), sums.yy.tolist()
    ([2, 1], [[2.0, 5.0]], [[2.0, 0.0]])
    """
    if k is not None:
        return _scaled_sums(y, X, area, areas, k)
    q = X.shape[1] + 1
    n, shift, sums = np.zeros(areas, dtype=np.int64), np.zeros((areas, q)), np.zeros((areas, q))
    products = np.zeros((areas, q * (q + 1) // 2))
    _pass(
        np.ascontiguousarray(y, dtype=np.float64),
        np.ascontiguousarray(X, dtype=np.float64),
        np.ascontiguousarray(area, dtype=np.int64),
        n,
        shift,
        sums,
        products,
        np.empty(q),
    )
    count = np.maximum(n, 1)[:, None]
    rows, columns = np.tril_indices(q)
    products -= sums[:, rows] * sums[:, columns] / count
    mean = shift + sums / count
    within = np.empty((areas, q, q))
    within[:, rows, columns] = within[:, columns, rows] = products
    xx, xy, yy = within[:, :-1, :-1], within[:, -1, :-1], within[:, -1, -1]
    return AreaSums(n, mean[:, :-1], mean[None, :, -1], xx, xy[None], yy[None])


def _scaled_sums(y: np.ndarray, X: np.ndarray, area: np.ndarray, areas: int, k: np.ndarray) -> AreaSums:
    weight = k**-2.0
    precision, mean = weighted_means(np.column_stack([X, y]), area, areas, weight)
    apart = np.column_stack([X, y]) - mean[area]
    q = apart.shape[1]
    within = np.empty((areas, q, q))
    for i in range(q):
        for j in range(i + 1):
            products = np.bincount(area, weight * apart[:, i] * apart[:, j], areas)
            within[:, i, j] = within[:, j, i] = products
    return AreaSums(
        np.bincount(area, minlength=areas),
        mean[:, :-1],
        mean[None, :, -1],
        within[:, :-1, :-1],
        within[None, :, -1, :-1],
        within[None, :, -1, -1],
        precision,
        np.bincount(area, np.log(k), areas),
    )


def weighted_means(
    values: np.ndarray, area: np.ndarray, areas: int, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the sums of the weights of each area, shape (D,), and the weighted means of columns, (D, q).

    Examples
    --------
    >>> weighted_means(np.array([[1.0], [4.0], [5.0]]), np.array([0, 0, 1]), 3, np.array([2.0, 1.0, 1.0]))
    (array([3., 1., 0.]), array([[2.],
           [5.],
           [0.]]))
    """
    total = np.bincount(area, weight, areas)
    sums = [np.bincount(area, weight * column, areas) for column in values.T]
    return total, np.column_stack(sums) / np.where(total > 0.0, total, 1.0)[:, None]


@dataclass(frozen=True, eq=False)
class Profile:
    """The profile of the likelihood of R outcomes, in coordinates in which X'X is the identity.

    β = start + root δ: residuals of ordinary least squares take the place of the outcomes.

    Attributes
    ----------
    n, counts : ndarray, shape (U,)
        The different Σ k^-2 of areas, their numbers of units as a rule, and how many areas have each.
    xx, xy, yy : ndarray, shape (p, p), (R, p), (R,)
        Products within areas, all areas together.
    bxx, bxy, byy : ndarray, shape (U, p, p), (R, U, p), (R, U)
        Products of area means, added up over the areas with the same number of units.
    start : ndarray, shape (R, p)
        Ordinary least squares.
    root : ndarray, shape (p, p)
        (X'X)^-1 = root root'.
    units : int
    log_scale : float
        Σ log k over all units.
    """

    n: np.ndarray
    counts: np.ndarray
    xx: np.ndarray
    xy: np.ndarray
    yy: np.ndarray
    bxx: np.ndarray
    bxy: np.ndarray
    byy: np.ndarray
    start: np.ndarray
    root: np.ndarray
    units: int
    log_scale: float

    @classmethod
    def of(cls, sums: AreaSums) -> Profile:
        """Prepare the profile.

        Raises
        ------
        ValueError
            If a column is explained by the ones before it; ``args[1]`` is its index.
        """
        n = sums.precision
        root = _root(sums.xx.sum(axis=0), sums.x_mean * np.sqrt(n)[:, None])
        x_mean = sums.x_mean @ root
        xx = root.T @ sums.xx.sum(axis=0) @ root
        Wxy = sums.xy.sum(axis=1) @ root
        fit = Wxy + (sums.y_mean * n) @ x_mean
        y_mean = sums.y_mean - fit @ x_mean.T
        xy = Wxy - fit @ xx
        yy = sums.yy.sum(axis=1) - (fit * (Wxy + xy)).sum(axis=1)
        unique, group, counts = np.unique(n[n > 0.0], return_inverse=True, return_counts=True)
        seen = np.flatnonzero(n > 0.0)
        gather = sparse.csr_array((np.ones(len(seen)), (group, seen)), shape=(len(unique), len(sums.n)))
        p = root.shape[0]
        bxx = (gather @ (x_mean[:, :, None] * x_mean[:, None, :]).reshape(-1, p * p)).reshape(-1, p, p)
        bxy = np.stack([(gather @ (y_mean * x_mean[:, j]).T).T for j in range(p)], axis=2)
        byy = (gather @ (y_mean * y_mean).T).T
        return cls(
            unique,
            counts.astype(float),
            xx,
            xy,
            np.maximum(yy, 0.0),
            bxx,
            bxy,
            byy,
            fit @ root.T,
            root,
            int(sums.n.sum()),
            float(sums.log_scale.sum()),
        )

    @property
    def outcomes(self) -> int:
        """How many outcomes share the design."""
        return len(self.yy)

    @property
    def areas(self) -> int:
        """Number of areas with a sample."""
        return int(self.counts.sum())

    @cached_property
    def _within(self) -> tuple[np.ndarray, np.ndarray]:
        """Directions of the design that vary within areas, and their sums of squares."""
        values, vectors = np.linalg.eigh(self.xx)
        keep = values > _WITHIN
        return vectors[:, keep], values[keep]

    @property
    def within_rank(self) -> int:
        """How many directions of the design vary within areas."""
        return len(self._within[1])

    @property
    def between(self) -> int:
        """How many coefficients only the area means tell about."""
        return len(self.root) - self.within_rank

    @property
    def within_freedom(self) -> int:
        """Degrees of freedom left within areas: what σe² is told by, whatever σu² is."""
        return self.units - self.areas - self.within_rank

    def within_coefficients(self) -> np.ndarray:
        """Return least squares within areas, shape (R, p), in the coordinates of the profile."""
        vectors, values = self._within
        return (self.xy @ vectors / values) @ vectors.T

    def within_rss(self) -> np.ndarray:
        """Return the residual sum of squares within areas, shape (R,): the limit of `rss` as λ grows."""
        vectors, values = self._within
        return np.maximum(self.yy - ((self.xy @ vectors) ** 2 / values).sum(axis=1), 0.0)

    def at(self, ratio: np.ndarray, rows: np.ndarray | int = 0) -> Point:
        """Evaluate at λ = `ratio`, shape (K,), each for the outcome in `rows`."""
        ratio = np.atleast_1d(np.asarray(ratio, dtype=float))
        rows = np.broadcast_to(np.asarray(rows), ratio.shape)
        g = self.n / (1.0 + self.n * ratio[:, None])
        p = len(self.root)
        M = self.xx + (g @ self.bxx.reshape(-1, p * p)).reshape(-1, p, p)
        if self.outcomes == 1:
            cross, square = self.xy[0] + g @ self.bxy[0], self.yy[0] + g @ self.byy[0]
        else:
            cross = self.xy[rows] + np.einsum("ku,kup->kp", g, self.bxy[rows])
            square = self.yy[rows] + np.einsum("ku,ku->k", g, self.byy[rows])
        inverse = np.linalg.inv(np.linalg.cholesky(M))
        half = np.einsum("kab,kb->ka", inverse, cross)
        delta = np.einsum("kab,ka->kb", inverse, half)
        return Point(
            ratio,
            rows,
            g,
            inverse,
            delta,
            square - (half * half).sum(axis=1),
            -2.0 * np.log(np.diagonal(inverse, axis1=1, axis2=2)).sum(axis=1),
            np.log1p(self.n * ratio[:, None]) @ self.counts,
        )

    def loglik(self, point: Point, restricted: bool) -> np.ndarray:
        """Return the profile log-likelihood up to a constant, shape (K,)."""
        freedom = self.units - (len(self.root) if restricted else 0)
        with np.errstate(divide="ignore"):
            value = point.log_det_v + freedom * np.log(point.rss)
        return -0.5 * (value + point.log_det_m if restricted else value)

    def score(self, point: Point, restricted: bool) -> np.ndarray:
        """Return the derivative of the profile with respect to λ, shape (K,)."""
        g2 = point.g * point.g
        p = len(self.root)
        M2 = (g2 @ self.bxx.reshape(-1, p * p)).reshape(-1, p, p)
        delta = point.delta
        if self.outcomes == 1:
            cross, square = g2 @ self.bxy[0], g2 @ self.byy[0]
        else:
            cross = np.einsum("ku,kup->kp", g2, self.bxy[point.rows])
            square = np.einsum("ku,ku->k", g2, self.byy[point.rows])
        gap = square - 2.0 * (delta * cross).sum(axis=1) + np.einsum("ka,kab,kb->k", delta, M2, delta)
        trace, freedom = point.g @ self.counts, self.units
        if restricted:
            trace = trace - np.einsum("kab,kcb,kac->k", point.inverse, M2, point.inverse)
            freedom -= p
        return -0.5 * (trace - freedom * gap / point.rss)


@dataclass(frozen=True, eq=False)
class Point:
    """A profile at K values of λ: weights g, (K, U); M^-1 = inverse' inverse; δ, (K, p); log determinants."""

    ratio: np.ndarray
    rows: np.ndarray
    g: np.ndarray
    inverse: np.ndarray
    delta: np.ndarray
    rss: np.ndarray
    log_det_m: np.ndarray
    log_det_v: np.ndarray


def bordered(xx: np.ndarray, xy: np.ndarray, yy: np.ndarray | float) -> np.ndarray:
    """Border matrices, shape (..., p, p), by vectors and numbers."""
    p = xx.shape[-1]
    out = np.empty((*xx.shape[:-2], p + 1, p + 1))
    out[..., :p, :p] = xx
    out[..., p, :p] = out[..., :p, p] = xy
    out[..., p, p] = yy
    return out


def _root(within: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Return an upper triangular root of (X'X)^-1, X'X = within + means' means, which is never added up.

    In the sum a column of mean 1e8 would lose what it varies by.
    """
    apart = np.sqrt(np.diagonal(within))
    spread = np.where(apart > 0.0, apart, 1.0)
    values, vectors = np.linalg.eigh(within / np.outer(spread, spread))
    values = np.where(values > _ROUNDING, values, 0.0)  # whose root would look like a column of its own
    rows = np.vstack([means, (vectors * np.sqrt(values)).T * spread])
    scale = np.sqrt((rows**2).sum(axis=0))
    if not np.all(scale > 0.0):
        raise ValueError("a column of the design is 0", int(np.flatnonzero(~(scale > 0.0))[0]))
    R = np.linalg.qr(rows / scale, mode="r")
    left = np.diagonal(R)
    if not np.all(np.abs(left) > _RANK):
        raise ValueError("a design is rank deficient", int(np.flatnonzero(~(np.abs(left) > _RANK))[0]))
    return np.linalg.inv(R) * np.sign(left) / scale[:, None]
