"""Sample sizes of areas whose estimates borrow strength: the error of the Fay–Herriot model turned round.

An interview in area d has sampling variance V_d (design effect times the variance of a person), n of the N
persons there ψ = V (1/n - 1/N), so that all of them leave nothing. With area effects of variance A and
B = ψ / (A + ψ) the predictor's error is

    MSE_d = A B + B² x'Qx + s B² / (A + ψ),   Q = (Σ x x' / (A + ψ))^-1,   s = 2 / Σ (A + ψ)^-2,

g1 + g2 + g3 of Prasad and Rao. g1 alone gives n = V (1/M - 1/A) for a target M in a large population: V / A
fewer than without the model. A is never one number here: it comes as nodes with weights, the posterior that a
fit leaves. The nested error model is the same with A = σu² and V = σe².

The expansion that gives g3 fails where A is small and one area has most of the interviews: it exceeds ψ up
to three times, while the predictor, which lies between the direct estimate and the regression, does not. The
error planned with is therefore min(MSE_d, ψ_d), so that no area needs more interviews than without the model.
It need not grow with A: a target to be met with a probability is judged node by node.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from sae.errors import SaeConvergenceError
from sae.numerics.allocation.crossing import crossing

__all__ = [
    "PlannedModel",
    "Reached",
    "best_sizes",
    "best_sizes_of_g1",
    "direct_size",
    "model_size",
    "needed_variance",
    "reach_targets",
    "total_and_gain",
]

_BISECTIONS = 60
_RANGE = 1e9  # the sampling variance that is looked for lies within this factor of the target and of A
_EDGE = 1e-9  # by which a target may be missed; the search for sizes leaves that and as much again
_ROUNDS = 200
_PLAIN, _SWINGS = 6, 40  # rounds before steps are halved; before sizes may only rise
_SETTLED = 1e-9
_LEAST_STEP = 1e-4
_FLAT = 1e-11  # relative fall of the total error in a round that is not worth another
_CENSUS = 1e-8  # sampling variances below this share of one interview's would make Q singular where A is 0
_KEPT = 1e-12  # nodes of less weight do not count


def direct_size(bound: np.ndarray, unit: np.ndarray, fixed: np.ndarray | float = 0.0) -> np.ndarray:
    """Return the interviews that a direct estimate of variance `bound` takes: V / (M + V/N).

    `fixed` is V/N; 0 is a population without end.

    Examples
    --------
    Of 99 persons all are needed for a variance of 0, half of them for V/99.

    >>> V = 0.25
    >>> direct_size(np.array([0.0, V / 99]), V, V / 99).round(6).tolist()
    [99.0, 49.5]
    """
    bound, unit = np.asarray(bound, dtype=float), np.asarray(unit, dtype=float)
    return np.asarray(unit / (bound + fixed))


def model_size(
    bound: np.ndarray,
    unit: np.ndarray,
    variance: np.ndarray | float,
    fixed: np.ndarray | float = 0.0,
) -> np.ndarray:
    """Return the interviews that g1 <= M takes: those of ψ = 1 / (1/M - 1/A), none where M >= A.

    In a population without end they are V (1/M - 1/A).

    Parameters
    ----------
    bound, unit : ndarray of float
        M and V, squared units.
    variance : ndarray of float or float
        A; all broadcast.
    fixed : ndarray of float or float
        V/N; 0 is a population without end.

    Examples
    --------
    The model saves the share M / A of the interviews of a direct estimate.

    >>> bound, unit = (0.10 * 0.25) ** 2, 1.8 * 0.16
    >>> round(float(model_size(bound, unit, 0.0009)), 1), round(float(direct_size(bound, unit)), 1)
    (140.8, 460.8)
    """
    with np.errstate(divide="ignore"):
        needed = 1.0 / np.asarray(bound, dtype=float) - 1.0 / np.asarray(variance, dtype=float)
        psi = np.where(needed > 0.0, 1.0 / np.where(needed > 0.0, needed, 1.0), np.inf)
    return direct_size(psi, unit, fixed)


@dataclass(frozen=True, eq=False)
class PlannedModel:
    """The model that the planned sample will be fitted with.

    Attributes
    ----------
    variance, weights : ndarray, shape (K,)
        Nodes of the model variance A > 0 and weights that sum to 1.
    X : ndarray, shape (p, D)
        Design of the areas, transposed.
    unit : ndarray, shape (D,)
        V: sampling variance of a direct estimate from one interview, squared units of the model's scale.
    assurance : float or None
        Probability over the nodes with which targets are to be met; None: on average over them.
    fixed : ndarray, shape (D,), or float
        V/N: what the finite population takes off a sampling variance.
    """

    variance: np.ndarray
    weights: np.ndarray
    X: np.ndarray
    unit: np.ndarray
    assurance: float | None = None
    fixed: np.ndarray | float = 0.0

    def thinned(self) -> PlannedModel:
        """Leave out the nodes without weight."""
        kept = self.weights > _KEPT
        weights = self.weights[kept]
        return replace(self, variance=self.variance[kept], weights=weights / weights.sum())

    def at(self, variance: float) -> PlannedModel:
        """Return the model with the one variance."""
        return replace(self, variance=np.array([variance]), weights=np.ones(1), assurance=None)

    def psi(self, n: np.ndarray) -> np.ndarray:
        """Return the sampling variances of n interviews in each area; infinite without any."""
        return np.maximum(self.unit * _inverse(n) - self.fixed, 0.0)

    def estimable(self, psi: np.ndarray) -> bool:
        """Whether the areas with a sample tell all coefficients."""
        return bool(np.linalg.matrix_rank(self.X[:, np.isfinite(psi)]) == len(self.X))

    def shared(self, psi: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return Q, shape (K, p, p), x'Qx, shape (K, D), and s, shape (K, 1), at sampling variances ψ.

        ψ is infinite in areas without a sample; with fewer sampled areas than coefficients x'Qx is infinite.
        """
        weight = 1.0 / (self.variance[:, None] + np.maximum(psi, _CENSUS * self.unit))
        p, (K, D) = len(self.X), weight.shape
        with np.errstate(divide="ignore"):
            spread = 2.0 / (weight * weight).sum(axis=1, keepdims=True)
        if not self.estimable(psi):
            return np.full((K, p, p), np.inf), np.full((K, D), np.inf), spread
        Q = np.linalg.inv((weight[:, None, :] * self.X) @ self.X.T)
        return Q, np.einsum("pd,kpd->kd", self.X, Q @ self.X), spread

    def mse_given(self, psi: np.ndarray, leverage: np.ndarray, spread: np.ndarray) -> np.ndarray:
        """Return g1 + g2 + g3, shape (K, D), at ψ of the area itself and x'Qx and s of all areas."""
        A = self.variance[:, None]
        weight = 1.0 / (A + psi)
        shrink = np.where(np.isfinite(psi), 1.0 - A * weight, 1.0)
        with np.errstate(invalid="ignore"):
            g3 = np.where(weight > 0.0, spread * shrink * shrink * weight, 0.0)
            return np.where(shrink > 0.0, A * shrink + shrink * shrink * leverage, 0.0) + g3

    def error(self, psi: np.ndarray, leverage: np.ndarray, spread: np.ndarray) -> np.ndarray:
        """Return `mse_given`, but no more than the direct estimate's own error, shape (K, D)."""
        return np.minimum(self.mse_given(psi, leverage, spread), psi)

    def mse(self, psi: np.ndarray) -> np.ndarray:
        """Return the error of every area at every node, shape (K, D)."""
        _, leverage, spread = self.shared(psi)
        return self.error(psi, leverage, spread)

    def expected(self, psi: np.ndarray) -> np.ndarray:
        """Return the error averaged over what is known of A, shape (D,)."""
        return self.weights @ self.mse(psi)

    def probability(self, psi: np.ndarray, bound: np.ndarray) -> np.ndarray:
        """Return the weight of the nodes at which the error stays within `bound`, shape (D,)."""
        return np.asarray(self.weights @ (self.mse(psi) <= bound * (1.0 + _EDGE)))

    def meets(self, mse: np.ndarray, bound: np.ndarray) -> np.ndarray:
        """Whether errors, shape (K, D), meet their targets, on average or with the probability asked for."""
        if self.assurance is None:
            return np.asarray(self.weights @ mse <= bound)
        return np.asarray(self.weights @ (mse <= bound) >= self.assurance - _EDGE)

    def excess(self, mse: np.ndarray, bound: np.ndarray) -> np.ndarray:
        """Return by how much errors, shape (K, D), exceed their targets: on average, or at the quantile."""
        if self.assurance is None:
            return np.asarray(self.weights @ mse - bound)
        nodes, wanted = len(self.weights), self.assurance - _EDGE
        if np.ptp(self.weights) <= 1e-15:
            place = max(int(np.ceil(nodes * wanted)), 1) - 1
            return np.asarray(np.partition(mse, place, axis=0)[place] - bound)
        order = np.argsort(mse, axis=0)
        reached = np.cumsum(self.weights[order], axis=0) >= wanted
        places = np.take_along_axis(order, reached.argmax(axis=0)[None], axis=0)
        return np.asarray(np.take_along_axis(mse, places, axis=0)[0] - bound)

    def met(self, psi: np.ndarray, bound: np.ndarray) -> np.ndarray:
        """Whether the areas meet their targets with sampling variances ψ, shape (D,)."""
        return self.meets(self.mse(psi), bound * (1.0 + _EDGE))


def needed_variance(model: PlannedModel, bound: np.ndarray, psi: np.ndarray) -> np.ndarray:
    """Return the largest ψ of each area with which it meets its target `bound`.

    The other areas keep the sampling variances `psi`, shape (D,); what the area's own sample adds to Q and s
    changes with its own ψ. Infinite where no sample is needed, because A + x'Qx is within the bound already.
    Where a larger own sample may raise the error (g3), and the area misses its target with the ψ that it has,
    it is told a smaller one, never a larger. ψ = `bound` always is enough.
    """
    weight = 1.0 / (model.variance[:, None] + psi)
    _, leverage, spread = model.shared(psi)
    others = np.maximum(1.0 / leverage - weight, 0.0)  # 1 / x'Qx without the area's own sample
    others2 = np.maximum(2.0 / spread - weight * weight, 0.0)

    def error(own: np.ndarray) -> np.ndarray:
        w = 1.0 / (model.variance[:, None] + own)
        with np.errstate(divide="ignore"):
            return model.error(own, 1.0 / (others + w), 2.0 / (others2 + w * w))

    def fits(own: np.ndarray) -> np.ndarray:
        return model.meets(error(own), bound)

    now = fits(psi)
    low = np.log(bound)
    high = np.log(np.maximum(bound, model.variance.max()) * _RANGE)
    with np.errstate(divide="ignore"):
        high = np.where(now, high, np.maximum(np.minimum(high, np.log(psi)), low))
    largest = np.exp(crossing(lambda own: model.excess(error(np.exp(own)), bound), low, high))
    return np.where(now & fits(np.full(len(bound), np.inf)), np.inf, largest)


@dataclass(frozen=True, eq=False)
class Reached:
    """Sampling variances that meet every target which can be met.

    Attributes
    ----------
    needed : ndarray, shape (D,)
        Largest sampling variance that each area may have; infinite: no own sample needed.
    psi : ndarray, shape (D,)
        What the allocation gives.
    mse : ndarray, shape (D,)
        Mean error over the nodes of `model`.
    rounds : int
    """

    needed: np.ndarray
    psi: np.ndarray
    mse: np.ndarray
    rounds: int


def reach_targets(
    model: PlannedModel, bound: np.ndarray, allocate: Callable[[np.ndarray], np.ndarray]
) -> Reached:
    """Find what each area needs while g2 and g3 depend on the samples of all.

    Round after round each area gets what it needs given the others. Where that swings, because an area needs
    no sample only as long as others have one, sizes from then on only rise: all targets are met, perhaps
    with a few interviews too many.

    Parameters
    ----------
    model : PlannedModel
        Its `assurance` tells whether targets are met on average over the nodes or with a probability.
    bound : ndarray, shape (D,)
        Targets M_d; infinite where there is none.
    allocate : callable
        From sampling variances that may not be exceeded, infinite without a demand, to those of the
        cheapest sample: smaller where other demands give more.

    Raises
    ------
    SaeConvergenceError
        If the rounds do not settle.

    Examples
    --------
    >>> model = PlannedModel(np.array([0.0009]), np.ones(1), np.ones((1, 50)), np.full(50, 0.288))
    >>> found = reach_targets(model, np.full(50, 0.000625), lambda psi: psi)
    >>> (0.288 / found.psi[:2]).round(1).tolist()  # 140.8 by g1 alone
    [187.9, 187.9]
    """
    model, asked = model.thinned(), np.isfinite(bound)
    demand = np.where(asked, bound * (1.0 - _EDGE), 1.0)
    precision = np.where(asked, np.maximum(1.0 / demand - 1.0 / (model.weights @ model.variance), 0.0), 0.0)
    for rounds in range(1, _ROUNDS + 1):
        psi = allocate(_inverse(precision))
        tried = psi if model.estimable(psi) else np.minimum(psi, model.unit)  # one interview each
        wanted = np.where(asked, 1.0 / needed_variance(model, demand, tried), 0.0)
        short = (wanted - precision) * demand
        settled = short.max() if rounds > _SWINGS else np.abs(short).max()
        if tried is psi and settled < _SETTLED:
            return Reached(_inverse(precision), psi, model.expected(psi), rounds)
        if rounds > _SWINGS:
            precision = precision + 0.5 * np.maximum(wanted - precision, 0.0)  # others rise too
            if tried is not psi:  # somebody must be asked, or there is no model
                precision = np.maximum(precision, 1.0 / model.unit)
        else:
            precision = precision + (1.0 if rounds <= _PLAIN else 0.5) * (wanted - precision)
    raise SaeConvergenceError(f"The sample sizes did not settle in {_ROUNDS} rounds.")


def _inverse(values: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.asarray(1.0 / values)


def total_and_gain(model: PlannedModel, n: np.ndarray, importance: np.ndarray) -> tuple[float, np.ndarray]:
    """Return Σ w_d E(MSE_d) at sample sizes n, and what one more interview in each area takes off it.

    The gain, shape (D,), is the exact derivative: what an interview teaches of the coefficients and of A
    counts in all areas.
    """
    model = model.thinned()
    psi, A = model.psi(n), model.variance[:, None]
    Q, leverage, spread = model.shared(psi)
    total = float(model.weights @ (model.mse_given(psi, leverage, spread) @ importance))
    weight = 1.0 / (A + psi)
    shrink = np.where(np.isfinite(psi), 1.0 - A * weight, 1.0)
    weighted = importance * shrink * shrink
    reach = np.einsum("pd,kpd->kd", model.X, Q @ (weighted[:, None, :] * model.X) @ model.X.T @ Q @ model.X)
    own = A * A + 2.0 * shrink * A * leverage + spread * shrink * (2.0 * A * weight - shrink)
    others = reach + spread**2 * (weighted * weight).sum(axis=1, keepdims=True) * weight
    slope = model.unit / ((A - model.fixed) * n + model.unit) ** 2
    return total, model.weights @ ((importance * own + others) * slope)


def best_sizes(
    model: PlannedModel,
    importance: np.ndarray,
    cost: np.ndarray,
    budget: float,
    lower: np.ndarray,
    upper: np.ndarray,
) -> np.ndarray:
    """Return the sizes, shape (D,), that minimise Σ w_d E(MSE_d) with Σ c_d n_d = budget, l <= n <= u.

    With g1 and one A the answer is n = (S √(w / (λ c)) - S²/A) within its bounds (S² = V). Round after round
    w is replaced so that g1 has the slope of the whole error, and the step goes as far as the error falls;
    at the end the conditions of Karush, Kuhn and Tucker hold. In a finite population of fewer than V/A
    persons the error is not convex in n; there the sizes are a local optimum.

    Parameters
    ----------
    model : PlannedModel
    importance, cost : ndarray, shape (D,)
        w_d >= 0 and c_d > 0.
    budget : float
        Between the costs of `lower` and of `upper`; beyond them a bound is returned.
    lower, upper : ndarray, shape (D,)

    Raises
    ------
    SaeConvergenceError
        If the weights do not settle.

    Examples
    --------
    >>> model = PlannedModel(np.array([1.0]), np.ones(1), np.ones((1, 3)), np.array([4.0, 4.0, 16.0]))
    >>> best_sizes(model, np.ones(3), np.ones(3), 60.0, np.zeros(3), np.full(3, 1e6)).round(1).tolist()
    [16.5, 16.5, 27.1]
    """
    model = model.thinned()
    if budget <= cost @ lower:
        return lower.astype(float)
    if budget >= cost @ upper:
        return upper.astype(float)
    n = best_sizes_of_g1(model, importance, cost, budget, lower, upper)
    total, gain = total_and_gain(model, n, importance)
    for _ in range(_ROUNDS):
        # g1 so weighted has the slope of the whole error here and is convex: its optimum lies downhill
        weights = np.maximum(gain, 0.0) / _slope(model, n)
        way = best_sizes_of_g1(model, weights, cost, budget, lower, upper) - n
        step = 1.0
        while step > _LEAST_STEP:
            fresh, fresh_gain = total_and_gain(model, n + step * way, importance)
            if fresh < total:
                break
            step *= 0.5
        else:
            return n
        fall = total - fresh
        n, total, gain = n + step * way, fresh, fresh_gain
        if fall <= _FLAT * total:
            return n
    raise SaeConvergenceError(f"The best sample sizes did not settle in {_ROUNDS} rounds.")


def _slope(model: PlannedModel, n: np.ndarray) -> np.ndarray:
    """Return -d E(g1) / dn = E A² V / (A n + V)², shape (D,)."""
    A = model.variance[:, None]
    return np.asarray(model.weights @ (A * A * model.unit / (A * n + model.unit) ** 2))


def best_sizes_of_g1(
    model: PlannedModel,
    importance: np.ndarray,
    cost: np.ndarray,
    budget: float,
    lower: np.ndarray,
    upper: np.ndarray,
) -> np.ndarray:
    """Return the best sizes for g1 alone: every area up to where its gain per cost meets the common price.

    References
    ----------
    Molefe and Clark (2015), Survey Methodology 41, 377–387: with equal variances, costs and no bounds.

    Examples
    --------
    With ρ = A / (A + V): n_d = n s_d + (1 - ρ) / ρ · (D s_d - 1), s_d = √w_d / Σ √w.

    >>> model = PlannedModel(np.array([0.05]), np.ones(1), np.ones((1, 4)), np.full(4, 0.95))
    >>> persons = np.array([1e6, 4e5, 1e5, 5e4])
    >>> best_sizes_of_g1(model, persons, np.ones(4), 1000.0, np.zeros(4), persons).round(2).tolist()
    [476.33, 294.27, 137.64, 91.76]
    """
    rate = np.maximum(importance / cost, 1e-300)
    # n is nearly linear in the inverse root of the price
    low = 1.0 / np.sqrt(float((rate * _slope(model, lower)).max()))
    high, n = low, lower.astype(float)
    under, over = float(cost @ n) - budget, -1.0
    while over < 0.0:
        high *= 2.0
        n = np.clip(_sizes_at(model, 1.0 / (rate * high * high), n), lower, upper)
        over = float(cost @ n) - budget
    for _ in range(_BISECTIONS):
        at = high - over * (high - low) / (over - under)
        n = np.clip(_sizes_at(model, 1.0 / (rate * at * at), n), lower, upper)
        left = float(cost @ n) - budget
        if abs(left) <= 1e-12 * budget:
            break
        if left < 0.0:
            low, under, over = at, left, 0.5 * over
        else:
            high, over, under = at, left, 0.5 * under
    return n


def _sizes_at(model: PlannedModel, price: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Solve -d E(g1)/dn = price: the inverse root of the slope is nearly linear in n, which suits Newton."""
    A, V = model.variance[:, None], model.unit
    n, goal = np.maximum(start, 0.0), 1.0 / np.sqrt(price)
    for _ in range(40):
        base = A * n + V
        slope = model.weights @ (A * A * V / base**2)
        bend = model.weights @ (2.0 * A**3 * V / base**3)
        root = 1.0 / np.sqrt(slope)
        step = (goal - root) / (0.5 * bend * root / slope)
        fresh = np.maximum(n + step, 0.0)
        moved = np.abs(fresh - n).max()
        n = fresh
        if moved <= 1e-12 * max(1.0, float(n.max())):
            break
    return n
