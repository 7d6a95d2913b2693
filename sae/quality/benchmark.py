"""Benchmarking: estimates adjusted so that they meet known figures, exactly or as well as these are known.

One map for all methods: θ moves with its derivative A = (I - G S') diag(scale), the targets with G.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from sae.errors import SaeConvergenceError, SaeInputError, SaeSpecError, name_some
from sae.literals import PLAUSIBLE, BenchmarkMethod
from sae.numerics.random.streams import normals, seed_of, stream_keys
from sae.quality.adjust import linear_gain, link_gain, moved, rake
from sae.quality.constraints import Constraints, constraints_of, independent, unreachable
from sae.specs import one_of
from sae.tables import labels, to_numbers

__all__ = ["Benchmark", "benchmark_estimates"]

_LINKS = ("ratio", "logit")
_NAMED = 12  # groups that a message names


@dataclass(frozen=True, eq=False)
class Benchmark:
    """Benchmarked estimates and the map that makes draws and MSE respect the same constraints.

    Attributes
    ----------
    estimate : ndarray of float, shape (n_areas,)
        The benchmarked estimates: S'θ = t, unless `soft`.
    adjustment : ndarray of float, shape (n_areas,)
        The factor ("ratio"), the shift of the logit ("logit"), or the amount added.
    method : str
    labels : tuple of str
        Names of all targets.
    target : ndarray of float
        The figures of `labels`.
    constraints : Constraints
        The K linearly independent ones, with S as ``constraints.weights``: a figure that follows from others
        is not among them.
    scale : ndarray of float, shape (n_areas,)
        Derivative of each link-shifted estimate by its own old value; 1 for the linear methods.
    gain : sparse array of float, shape (n_areas, K)
        G: change of the estimates by a change of the targets.
    groups : DataFrame
        One row per label: rows, the figure before and after, and the factor between them.
    soft : bool
        Whether targets are weighed by their variance, not met.
    """

    estimate: np.ndarray
    adjustment: np.ndarray
    method: BenchmarkMethod
    labels: tuple[str, ...]
    target: np.ndarray
    constraints: Constraints
    scale: np.ndarray
    gain: sparse.csr_array
    groups: pd.DataFrame
    soft: bool = False

    @property
    def moved_text(self) -> str:
        """Which groups were moved, by what factor, and how many rows each has."""
        named = [
            f"{label} × {factor:.4g} ({rows} rows)"
            for label, rows, factor in zip(
                self.groups.index, self.groups["rows"], self.groups["factor"], strict=True
            )
        ]
        spread = ""
        if len(named) > _NAMED:
            low, high = self.groups["factor"].min(), self.groups["factor"].max()
            spread = f", factors {low:.4g} to {high:.4g}"
        return f"Benchmarked by {self.method}: {name_some(named, _NAMED)}{spread}."

    @property
    def left_text(self) -> str:
        """Which groups have no target and stay as they are; empty where all have one."""
        named = [f"{label} ({rows} rows)" for label, rows in self.constraints.left.items()]
        return f"No target is given for {name_some(named, _NAMED)}: left as estimated." if named else ""

    @property
    def target_variance(self) -> np.ndarray:
        """Variances of the K independent targets, shape (K,)."""
        return self.constraints.variance

    def draws(self, theta: np.ndarray, seed: int | np.random.Generator | None = None) -> np.ndarray:
        """Benchmark each draw by the same method, so that every one meets the targets.

        Parameters
        ----------
        theta : ndarray of float, shape (n_draws, n_areas)
        seed : int or Generator, optional
            Needed where the targets have variances: each draw then meets targets drawn with their own errors
            (for "optimal" and `soft` this draws from the posterior given the targets).

        Returns
        -------
        ndarray of float, shape (n_draws, n_areas)

        Raises
        ------
        SaeSpecError
            If the targets have variances and there is no seed.
        SaeInputError
            If a draw cannot be moved by this method: outside 0 to 1 for "logit", not positive for "ratio"
            with several constraints on an area.
        """
        theta = np.asarray(theta, dtype=float)
        S = self.constraints.weights
        target = np.broadcast_to(self.constraints.target, (len(theta), S.shape[1]))
        noisy = self.target_variance > 0
        if noisy.any():
            if seed is None:
                raise SaeSpecError(
                    "Draws that carry the targets' own errors need a seed.", hint="Call draws(theta, seed=1)."
                )
            keys = stream_keys(seed_of(seed), "benchmark target", self.constraints.labels)
            target = target + np.sqrt(self.target_variance) * normals(keys, 0, len(theta))
        if self.method not in _LINKS:
            return moved(theta, S, target, self.gain)
        return _link_moved(theta, S, target, self.method)[0]

    def matrix(self) -> np.ndarray:
        """Return A of the map θ → A θ + b, shape (n_areas, n_areas); S'A = 0 unless `soft`.

        For "ratio" and "logit" it is the derivative of the benchmarked estimates.
        """
        return self._mapped(np.eye(len(self.scale)))

    def covariance(self, mse: np.ndarray, gap: np.ndarray | None = None) -> np.ndarray:
        """Return the joint MSE of the benchmarked estimates.

        Without `gap` the targets are outside figures whose errors, with variances T, are independent of the
        estimates: A M A' + G T G'. With `gap` the targets are the survey's own weighted direct estimates, so
        that the adjustment is a function of the same data: M + G V G' (Steorts and Ghosh 2013).

        Both are exact for the linear methods with weights Ω that are known (and, with `gap`, where t - S'θ is
        uncorrelated with the errors, as for a best predictor), first order for "ratio" and "logit". Not
        included: the estimation of Ω where it is an MSE, a covariance between targets or between a target and
        the estimates, the bias of the model that a large adjustment points to.

        Parameters
        ----------
        mse : ndarray of float, shape (n_areas, n_areas)
            M, the joint MSE matrix of the estimates; a diagonal matrix where only the MSEs are known.
        gap : ndarray of float, shape (K, K), optional
            V, the variance of t - S'θ before benchmarking; for a Fay–Herriot model see `gap_variance`.

        Returns
        -------
        ndarray of float, shape (n_areas, n_areas)

        References
        ----------
        Pfeffermann and Barnard (1991), J. Bus. Econ. Stat. 9, 73–84; Datta, Ghosh, Steorts and Maples (2011),
        Test 20, 574–588; Steorts and Ghosh (2013), Statistica Sinica 23, 749–767.
        """
        if gap is None:
            of_targets = (self.gain.multiply(self.target_variance[None, :]) @ self.gain.T).toarray()
            return self._mapped(self._mapped(mse).T).T + of_targets
        if self.target_variance.any():
            raise SaeSpecError(
                "gap= is for targets from the same direct estimates; these have variances of their own.",
                hint="Give either target_variance or gap.",
            )
        return mse + self.gain @ (self.gain @ gap).T

    def _mapped(self, columns: np.ndarray) -> np.ndarray:
        scaled = self.scale[:, None] * columns
        return scaled - self.gain @ (self.constraints.weights.T @ scaled)


def benchmark_estimates(
    estimate: np.ndarray,
    weights: np.ndarray,
    groups: Mapping[str, Any] | Sequence[object] | np.ndarray | pd.Series | pd.DataFrame,
    targets: Mapping[Any, Any] | pd.Series,
    *,
    domains: Sequence[object] | np.ndarray | pd.Series,
    method: BenchmarkMethod = "ratio",
    mean: bool = True,
    bounds: tuple[float | np.ndarray, float | np.ndarray] | None = None,
    mse: np.ndarray | None = None,
    target_variance: Mapping[Any, Any] | pd.Series | None = None,
    soft: bool = False,
    factor_range: tuple[float, float] = PLAUSIBLE,
) -> Benchmark:
    """Adjust estimates so that their weighted means, or sums, equal known figures.

    Parameters
    ----------
    estimate : ndarray of float, shape (n_areas,)
    weights : ndarray of float, shape (n_areas,)
        w: population of each area for means and rates; 1 for totals. Strictly positive in every group with a
        figure.
    groups : sequence, or mapping or DataFrame of several columns
        Label of the group of each area, such as its region. With several columns, such as region, country and
        sex, all their targets are met at once.
    targets : mapping of label to float, or Series
        The known figures by labels of `groups`. With several columns a mapping of column to such a mapping.
        The areas of a group without a figure stay as they are; see `Benchmark.left_text`.
    domains : sequence, shape (n_areas,)
        Names of the areas, for messages.
    method : {"ratio", "difference", "mse", "optimal", "logit"}
        "ratio": one factor per target, θ t / Σ w θ for a single one. "logit": one shift of the logit per
        target, so that shares stay between 0 and 1. The others move along θ + ΩS (S'ΩS)^-1 (t - S'θ):
        "difference" with Ω = 1/w (the same amount for all areas of a group), "mse" with Ω = MSE/w (an amount
        in proportion to the MSE), "optimal" with Ω the joint MSE matrix (the smallest MSE).
    mean : bool
        Whether targets are means or rates (weights are divided by their sum within the group) or totals.
    bounds : (float, float), or two ndarrays of float, shape (n_areas,), optional
        The natural range, (0, 1) for shares; an estimate that benchmarking would push outside is refused.
    mse : ndarray of float, shape (n_areas,) or (n_areas, n_areas), optional
        For "mse" and "optimal"; for "optimal" the whole matrix if it is known. Squared units.
    target_variance : mapping of label to float, or Series, optional
        Variances of the figures' own errors, of the same form as `targets`; carried into MSE and draws.
    soft : bool
        Weigh the figures by their variance against the MSE instead of meeting them ("optimal" only); a figure
        with variance 0 is met.
    factor_range : (float, float)
        What the figure of a group may be multiplied by: beyond it a target is taken for one of another scale
        or group, and refused. Widen it where such a change is meant.

    Raises
    ------
    SaeInputError
        If an estimate, weight, label or target is missing or no number, a weight is not positive, a target
        has no group, figures contradict each other or cannot be met, a figure would change by a factor
        outside `factor_range`, or a result leaves `bounds`; names what is at fault.
    SaeSpecError
        If the method is unknown or options do not belong together.

    References
    ----------
    Pfeffermann and Barnard (1991), J. Bus. Econ. Stat. 9, 73–84; Datta, Ghosh, Steorts and Maples (2011),
    Test 20, 574–588.

    Examples
    --------
    >>> final = sae.quality.benchmark_estimates(
    ...     np.array([0.4, 0.6]), np.array([1.0, 3.0]), ["AT", "AT"], {"AT": 0.583},
    ...     domains=["East", "West"], bounds=(0, 1),
    ... )
    >>> round(float(final.estimate @ [0.25, 0.75]), 12)
    0.583
    """
    _check_options(method, mse, target_variance, soft, factor_range)
    listed = domains if isinstance(domains, pd.Series) else pd.Series(list(domains), dtype="object")
    names = labels(listed).to_numpy(dtype=object)
    estimate, weights = _vector(estimate, "estimate", names), _vector(weights, "weight", names)
    everything = constraints_of(weights, groups, targets, target_variance, names, mean=mean)
    touched = everything.touched
    _refuse(
        touched & ~np.isfinite(estimate),
        names,
        "have no estimate",
        "Give every area of a benchmarked group an estimate.",
    )
    _refuse(touched & ~np.isfinite(weights), names, "have no weight", "Give every area its population.")
    _refuse(
        touched & (weights <= 0),
        names,
        "have a weight that is not positive",
        "Benchmarking needs weights > 0.",
    )
    low, high = (np.broadcast_to(end, len(names)) for end in (bounds or (-np.inf, np.inf)))
    share = everything.weights.T @ ~((low == 0) & (high == 1)) == 0  # targets of shares alone
    outside = everything.target[share & ((everything.target < 0) | (everything.target > 1))]
    if mean and len(outside):
        raise SaeInputError(
            f"{len(outside)} of {len(everything.target)} targets are no shares from 0 to 1: "
            f"{name_some(f'{target:g}' for target in outside)}.",
            hint=f"The estimates are shares: write {outside[0] / 100:g} for {outside[0]:g} %.",
        )
    kept = independent(everything, soft=soft)
    if method in _LINKS:
        result, adjustment, scale, gain = _by_link(estimate, kept, names, method)
    else:
        result, adjustment, scale, gain = _by_line(estimate, weights, kept, names, method, mse, soft)
    beyond = touched & ((result < low) | (result > high))
    if beyond.any():
        worst = int(np.argmax(np.where(beyond, np.maximum(low - result, result - high), -np.inf)))
        ends = (low[worst], high[worst])
        _refuse(
            beyond,
            names,
            f"would leave the range {ends[0]:g} to {ends[1]:g} (reaching {result[worst]:.4g})",
            'Use method="logit", or check that the target is on the same scale.'
            if ends == (0, 1)
            else "Check that the target is on the same scale.",
        )
    moves = _moves(everything, estimate, result, by_factor=method == "ratio")
    _check_factors(moves, factor_range, mean)
    return Benchmark(
        result, adjustment, method, everything.labels, everything.target, kept, scale, gain, moves, soft
    )


def _moves(
    constraints: Constraints, estimate: np.ndarray, result: np.ndarray, *, by_factor: bool
) -> pd.DataFrame:
    """Return the figure of each group before and after, and the factor between them.

    Where a group holds estimates of both signs its figure may be near 0: the change then counts by the mean
    size of the estimates, which is the same where all have one sign.
    """
    S = constraints.weights.T.tocsr()
    before, after, size = S @ estimate, S @ result, S @ np.abs(estimate)
    whole = np.abs(before) if by_factor else size
    change = np.sign(before) * (after - before)
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.where(change == 0.0, 1.0, 1.0 + change / whole)
    columns = {"rows": np.diff(S.indptr), "before": before, "after": after, "factor": factor}
    return pd.DataFrame(columns, index=pd.Index(constraints.labels, name="group"))


def _check_factors(moves: pd.DataFrame, factor_range: tuple[float, float], mean: bool) -> None:
    factor = moves["factor"].to_numpy()
    beyond = ~((factor >= factor_range[0]) & (factor <= factor_range[1]))
    if not beyond.any():
        return
    bad = moves[beyond]
    named = [
        f"{label} from {before:.4g} to {after:.4g} (× {factor:.3g}, {rows} rows)"
        for label, rows, before, after, factor in bad.itertuples(name=None)
    ]
    what = "weighted mean" if mean else "sum"
    raise SaeInputError(
        f"The targets would move the {what} of {len(bad)} of {len(moves)} groups by a factor outside "
        f"{factor_range[0]:g} to {factor_range[1]:g}: {name_some(named)}.",
        hint="Check that targets and estimates are of the same scale and groups"
        + ("" if mean else ", and that the figures are totals: a mean needs weights")
        + ". If the change is meant, give factor_range=(low, high).",
        areas=bad.index,
    )


def _vector(values: Any, what: str, names: np.ndarray) -> np.ndarray:
    """Return one number per area, missing ones as nan."""
    column = values if isinstance(values, np.ndarray) else pd.Series(values).reset_index(drop=True)
    if len(column) != len(names):
        raise SaeInputError(f"There are {len(names)} areas, but {len(column)} values of the {what}.")
    if isinstance(column, np.ndarray):
        if column.dtype == np.float64 and column.ndim == 1:
            return column
        column = pd.Series(column)
    return to_numbers(column.to_frame(what), what, names=names)


def _disjoint(S: sparse.csr_array) -> bool:
    return bool((np.diff(S.indptr) <= 1).all())


def _link_moved(
    theta: np.ndarray, S: sparse.csr_array, target: np.ndarray, method: BenchmarkMethod
) -> tuple[np.ndarray, np.ndarray]:
    """Rake each row; one factor per group has a closed form, which takes estimates of any sign."""
    if method == "ratio" and _disjoint(S):
        factor = np.ones_like(theta)
        factor[:, np.diff(S.indptr) > 0] = (target / (S.T @ theta.T).T)[:, S.indices]
        return theta * factor, factor
    still = np.diff(S.indptr) == 0
    allowed = still | (theta > 0 if method == "ratio" else (theta >= 0) & (theta <= 1))
    if not allowed.all():
        raise SaeInputError(
            f"{int((~allowed).any(axis=1).sum())} of {len(theta)} draws hold values "
            f"{'not above 0' if method == 'ratio' else 'outside 0 to 1'}: no {method} can move them.",
            hint="Fit on a transformed scale, whose draws keep the range, or benchmark by another method.",
        )
    result, shift = rake(theta, S, target, method)
    result[:, still] = theta[:, still]
    return result, np.exp(shift) if method == "ratio" else shift


def _by_link(
    estimate: np.ndarray, constraints: Constraints, names: np.ndarray, method: BenchmarkMethod
) -> tuple[np.ndarray, np.ndarray, np.ndarray, sparse.csr_array]:
    """Return estimates, adjustments, derivatives by the old estimates, and the gain."""
    S, target, touched = constraints.weights, constraints.target, constraints.touched
    if method == "ratio" and _disjoint(S):
        bad = [
            label
            for label, ok in zip(constraints.labels, (S.T @ estimate) * target > 0, strict=True)
            if not ok
        ]
        if bad:
            raise SaeInputError(
                f"The estimates of {name_some(bad)} cannot be scaled to the target by a positive factor.",
                hint='Use method="difference", or check the sign of the target.',
                areas=bad,
            )
    elif method == "ratio":
        _refuse(
            touched & (estimate <= 0),
            names,
            "have an estimate that is not positive",
            'Use method="difference" or "optimal".',
        )
    else:
        _refuse(
            touched & ((estimate < 0) | (estimate > 1)),
            names,
            "have an estimate outside 0 to 1",
            "The logit needs shares.",
        )
    high = np.ones_like(estimate) if method == "logit" else np.full_like(estimate, np.inf)
    low = np.zeros_like(estimate)
    if method == "logit":  # shares of exactly 0 or 1 stay
        low, high = np.where(estimate == 1, 1.0, low), np.where(estimate == 0, 0.0, high)
    try:
        moved_, adjustment = _link_moved(estimate[None], S, target[None], method)
    except SaeConvergenceError:
        error = unreachable(constraints, low, high, "between 0 and 1" if method == "logit" else "above 0")
        raise (error or SaeConvergenceError("The benchmark did not converge.")) from None
    result, adjustment = moved_[0], adjustment[0]
    try:
        gain = link_gain(S, result if method == "ratio" else result * (1 - result))
    except np.linalg.LinAlgError:
        fixed = touched & ((result == 0) | (result == 1))
        raise SaeInputError(
            f"Shares of exactly 0 or 1 cannot be shifted: {name_some(names[fixed])}.",
            hint='Use method="difference" or "optimal".',
            areas=names[fixed],
        ) from None
    if method == "ratio":
        return result, adjustment, adjustment, gain
    # d/dθ of θ f / (1 - θ + θ f), which holds at 0 and 1 too
    half = np.exp(-0.5 * np.abs(adjustment))
    other = np.where(adjustment >= 0, (1 - estimate) * half**2 + estimate, 1 - estimate + estimate * half**2)
    return result, adjustment, np.where(touched, (half / other) ** 2, 1.0), gain


def _by_line(
    estimate: np.ndarray,
    weights: np.ndarray,
    constraints: Constraints,
    names: np.ndarray,
    method: BenchmarkMethod,
    mse: np.ndarray | None,
    soft: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, sparse.csr_array]:
    """As `_by_link`, for the methods that add amounts."""
    S, touched = constraints.weights, constraints.touched
    weights = np.where(touched, weights, 1.0)
    if method == "difference":
        direction = _rows_scaled(S, 1 / weights)
    else:
        mse = np.asarray(mse, dtype=float)
        own = np.diagonal(mse) if mse.ndim == 2 else mse
        if own.shape != estimate.shape or (mse.ndim == 2 and len(mse) != len(estimate)):
            raise SaeInputError(
                f"The MSE has shape {mse.shape}, but there are {len(estimate)} areas.", column="mse"
            )
        _refuse(touched & ~(own >= 0), names, "have no MSE, or a negative one", "Give every area its MSE.")
        if method == "optimal" and mse.ndim == 2:
            direction = np.where(touched[:, None], (S.T @ mse).T, 0.0)
        else:
            direction = _rows_scaled(S, own if method == "optimal" else own / weights)
    try:
        gain = linear_gain(S, direction, constraints.variance if soft else np.zeros(len(constraints.target)))
    except np.linalg.LinAlgError:
        raise SaeInputError(
            f"The estimates of {name_some(constraints.labels)} cannot be moved: their MSE is zero.",
            hint='Give positive MSEs, or use method="difference".',
            areas=constraints.labels,
        ) from None
    result = moved(estimate[None], S, constraints.target[None], gain)
    if not soft:  # a second step takes away the rounding of the first
        result = moved(result, S, constraints.target[None], gain)
    return result[0], result[0] - estimate, np.ones_like(estimate), gain


def _rows_scaled(S: sparse.csr_array, factor: np.ndarray) -> sparse.csr_array:
    values = S.data * np.repeat(factor, np.diff(S.indptr))
    return sparse.csr_array((values, S.indices, S.indptr), shape=S.shape)


def _check_options(
    method: BenchmarkMethod,
    mse: object,
    target_variance: object,
    soft: bool,
    factor_range: tuple[float, float],
) -> None:
    one_of("method", method, BenchmarkMethod)
    pair = factor_range if isinstance(factor_range, list | tuple) and len(factor_range) == 2 else (2, 0)
    if not all(isinstance(end, Real) for end in pair) or not 0 <= pair[0] <= 1 <= pair[1]:
        raise SaeSpecError(
            f"factor_range = {factor_range!r} is no range of factors.",
            hint="Give two numbers around 1, such as (0.5, 2): the smallest and the largest factor.",
        )
    if method in ("mse", "optimal") and mse is None:
        raise SaeSpecError(f"method={method!r} spreads the adjustment by MSE, but mse= is not given.")
    if soft and (method != "optimal" or target_variance is None):
        raise SaeSpecError(
            "soft=True weighs the targets' variance against the MSE of the estimates.",
            hint='Use it with method="optimal" and target_variance.',
        )


def _refuse(bad: np.ndarray, names: np.ndarray, what: str, hint: str) -> None:
    if bad.any():
        raise SaeInputError(
            f"{int(bad.sum())} of {len(names)} areas {what}: {name_some(names[bad])}.",
            hint=hint,
            areas=names[bad],
        )
