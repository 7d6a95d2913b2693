"""A plan as arrays: what it asks, the sizes that answer, and the errors at any sizes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cached_property

import numpy as np
from scipy import sparse

from sae.numerics.allocation.with_model import PlannedModel
from sae.planning.direct.changes import Change, change_of
from sae.planning.precision import PrecisionRule
from sae.planning.with_model.cells import Cells, sampling_variances
from sae.planning.with_model.fitted import FittedModel

__all__ = ["PlanArrays", "Reach", "Sizes"]


class Reach(Enum):
    """What becomes of the target of a domain; the values are what a reader is told."""

    NO_TARGET = "no target"
    NEVER = "no budget suffices"
    WITHOUT_SAMPLE = "no own sample needed: the model alone is precise enough"
    MISSED = "the target is missed: sizes that meet it were not found"
    MODEL_ONLY = "only with the model"
    MET = ""


@dataclass(frozen=True, eq=False)
class Sizes:
    """One answer to the targets: interviews of the group by stratum.

    Attributes
    ----------
    n : ndarray of int64, shape (H,)
    continuous : ndarray, shape (H,)
        The real-valued optimum.
    price : ndarray, shape (D,)
        What the cost falls by when a domain's `needed` is relaxed, per unit of relative relaxation.
    needed : ndarray, shape (D,)
        Sampling variance that each domain may have (reported scale); infinite without a demand.
    hopeless : ndarray of bool, shape (D,)
        Domains that no sample within the bounds makes precise enough; they make no demand.
    """

    n: np.ndarray
    continuous: np.ndarray
    price: np.ndarray
    needed: np.ndarray
    hopeless: np.ndarray


@dataclass(frozen=True, eq=False)
class PlanArrays:
    """Cells, demands and the two answers to them.

    Attributes
    ----------
    model : FittedModel
        What was taken from the fit.
    rows : ndarray of int, shape (D,)
        Rows of the fit that the plan is about, in the order of `cells.domains`.
    cells : Cells
    unit : ndarray, shape (D,)
        Sampling variance of one interview, reported scale.
    bound : ndarray, shape (D,)
        Mean squared error allowed, reported scale; infinite: no target.
    targets : tuple of PrecisionRule or None, length D
        The target of each domain.
    assurance : float or None
        Probability with which each target is to be met; None: on average over what is known of σu.
    direct, with_model : Sizes
    """

    model: FittedModel
    rows: np.ndarray
    cells: Cells
    unit: np.ndarray
    bound: np.ndarray
    targets: tuple[PrecisionRule | None, ...]
    assurance: float | None
    direct: Sizes
    with_model: Sizes

    @property
    def rules(self) -> tuple[str, ...]:
        """The target of each domain in words, "" without one."""
        return tuple("" if rule is None else rule.text for rule in self.targets)

    @property
    def slope2(self) -> np.ndarray:
        """What takes squared errors from the model's scale to the reported one, shape (D,)."""
        return np.asarray(self.model.slope[self.rows] ** 2)

    @property
    def estimate(self) -> np.ndarray:
        """Estimates of the fit, shape (D,)."""
        return self.model.estimate[self.rows]

    @property
    def has_target(self) -> np.ndarray:
        """Which domains have a target, shape (D,)."""
        return np.isfinite(self.bound)

    @cached_property
    def planned(self) -> PlannedModel:
        """The model with all that is known of σu, for the domains of the plan."""
        return self.model.planned(self.rows, self.unit, self.cells.of_domain)

    @cached_property
    def equally_likely(self) -> PlannedModel:
        """The same with equally likely values of σu, for probabilities."""
        return self.model.equally_likely(self.rows, self.unit, self.cells.of_domain, self.assurance)

    @property
    def held_at(self) -> float:
        """The model variance that a plan speaks of: its assured quantile, or its mean."""
        if self.assurance is None:
            return float(self.planned.weights @ self.planned.variance)
        return float(self.model.quantiles([self.assurance])[0])

    @cached_property
    def a(self) -> sparse.csr_matrix:
        """Sampling variances of direct estimates are a' (1/n) - fixed, shape (H, D), reported scale."""
        return self.cells.variances(self.unit)

    @cached_property
    def fixed(self) -> np.ndarray:
        """What the finite population takes off each of them, a' (1/M), shape (D,)."""
        return np.asarray(self.a.T @ (1.0 / self.cells.group))

    def psi(self, n: np.ndarray) -> np.ndarray:
        """Return the variance of each domain's direct estimate, reported scale; inf without a sample."""
        return sampling_variances(self.a, self.fixed, n)

    def mse(self, n: np.ndarray) -> np.ndarray:
        """Return the model's mean squared error at every node of σu, reported scale, shape (K, D)."""
        return self.planned.mse(self.psi(n) / self.slope2) * self.slope2

    def publishable(self, n: np.ndarray, *, with_model: bool) -> np.ndarray:
        """Return which domains meet their target with interviews n, shape (D,)."""
        if not with_model:
            return self.psi(n) + self.fixed <= (self.bound + self.fixed) * (1.0 + 1e-9)
        held = self.planned if self.assurance is None else self.equally_likely
        return held.met(self.psi(n) / self.slope2, self.bound / self.slope2)

    def mse_quantiles(self, n: np.ndarray, probabilities: list[float]) -> list[np.ndarray]:
        """Return quantiles of the mean squared error over what is known of σu, reported scale."""
        mse = np.sort(self.equally_likely.mse(self.psi(n) / self.slope2), axis=0) * self.slope2
        return [mse[int(np.ceil(p * len(mse) - 1e-9)) - 1] for p in probabilities]

    @cached_property
    def reach(self) -> tuple[Reach, ...]:
        """What becomes of each target."""
        met = self.publishable(self.with_model.n, with_model=True)
        return tuple(self._reach(d, bool(met[d])) for d in range(len(self.rows)))

    def _reach(self, d: int, met: bool) -> Reach:
        if not self.has_target[d]:
            return Reach.NO_TARGET
        if self.with_model.hopeless[d] and not met:
            return Reach.NEVER
        if not np.isfinite(self.with_model.needed[d]):
            return Reach.WITHOUT_SAMPLE
        if not met:
            return Reach.MISSED
        return Reach.MODEL_ONLY if self.direct.hopeless[d] else Reach.MET

    @cached_property
    def now(self) -> np.ndarray:
        """Interviews of today in each stratum, shape (H,)."""
        return np.asarray(self.cells.now.sum(axis=1)).ravel()

    @cached_property
    def now_of_domain(self) -> np.ndarray:
        """Interviews of today in each domain, shape (D,)."""
        return np.asarray(self.cells.now.sum(axis=0)).ravel()

    @cached_property
    def change(self) -> Change:
        """What the recommendation adds to today's interviews and takes away, stratum by stratum."""
        return change_of(self.with_model.n, self.now)

    @cached_property
    def n_direct(self) -> np.ndarray:
        """Interviews of each domain without the model; NaN where none within the bounds suffices."""
        return np.where(self.direct.hopeless, np.nan, self.cells.interviews(self.direct.n))

    def price_of_interview(self, sizes: Sizes) -> np.ndarray:
        """Return what one more interview in each stratum would save elsewhere, targets held."""
        demand = np.isfinite(sizes.needed) & (sizes.needed > 0)
        pull = self.a[:, demand] @ (sizes.price[demand] / sizes.needed[demand])
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(pull > 0, pull / sizes.continuous**2, 0.0)
