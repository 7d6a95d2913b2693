"""How a given total is spread: one frozen object per method."""

# ruff: noqa: D102 - the methods of a subclass are documented by `Method`

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sae.errors import SaeInputError, SaeSpecError
from sae.numerics.allocation.closed_form import (
    costa_weights,
    fill,
    longford_weights,
    molefe_clark,
    neyman_integer,
    power_weights,
    round_to_total,
)
from sae.numerics.allocation.rare_groups import kalton_anderson
from sae.planning.direct.strata import COUNT, StrataFrame

__all__ = [
    "CostOptimal",
    "Costa",
    "Density",
    "Equal",
    "Longford",
    "Method",
    "MolefeClark",
    "Neyman",
    "Power",
    "Proportional",
]


@dataclass(frozen=True)
class Method:
    """A rule that spreads a total, or a budget, over strata.

    The rules of thumb give weights; sizes are proportional to them within the bounds.
    """

    @property
    def text(self) -> str:
        """The method in words."""
        raise NotImplementedError

    def weights(self, strata: StrataFrame) -> np.ndarray:
        """Weights of the strata, shape (H,)."""
        raise NotImplementedError

    def sizes(
        self, strata: StrataFrame, money: float, unit: np.ndarray, low: np.ndarray, high: np.ndarray
    ) -> np.ndarray:
        """Real-valued sizes with Σ unit · n = money within the bounds."""
        return fill(self.weights(strata), money, low, high, unit)

    def whole(
        self,
        strata: StrataFrame,
        n: np.ndarray,
        money: float,
        unit: np.ndarray,
        low: np.ndarray,
        high: np.ndarray,
    ) -> np.ndarray:
        """Whole numbers near `n`: with the same total, or within the same budget."""
        if (unit == 1.0).all():
            return round_to_total(n, int(np.floor(money + 1e-9)), low, high)
        return _round_within(n, money, unit, low, high)


@dataclass(frozen=True)
class Proportional(Method):
    """n_h proportional to the population."""

    @property
    def text(self) -> str:
        return "proportional to population"

    def weights(self, strata: StrataFrame) -> np.ndarray:
        return strata.population


@dataclass(frozen=True)
class Equal(Method):
    """The same size in every stratum."""

    @property
    def text(self) -> str:
        return "equal"

    def weights(self, strata: StrataFrame) -> np.ndarray:
        return np.ones(len(strata))


@dataclass(frozen=True)
class Neyman(Method):
    """Smallest variance of the national mean of one indicator, for a total: exact in whole numbers."""

    indicator: str

    @property
    def text(self) -> str:
        return f"Neyman for {self.indicator}"

    def weights(self, strata: StrataFrame) -> np.ndarray:
        moments = strata.moments(self.indicator)
        return strata.population * moments.sd * np.sqrt(moments.deff)

    def whole(
        self,
        strata: StrataFrame,
        n: np.ndarray,
        money: float,
        unit: np.ndarray,
        low: np.ndarray,
        high: np.ndarray,
    ) -> np.ndarray:
        if (unit == 1.0).all():
            return neyman_integer(self.weights(strata), int(np.floor(money + 1e-9)), low, high)
        return _round_within(n, money, unit, low, high)


@dataclass(frozen=True)
class CostOptimal(Neyman):
    """Smallest variance of the national mean of one indicator, for a budget: n_h ∝ N_h S_h / √c_h."""

    @property
    def text(self) -> str:
        return f"cost-optimal for {self.indicator}"

    def weights(self, strata: StrataFrame) -> np.ndarray:
        return super().weights(strata) / np.sqrt(strata.cost)

    def whole(
        self,
        strata: StrataFrame,
        n: np.ndarray,
        money: float,
        unit: np.ndarray,
        low: np.ndarray,
        high: np.ndarray,
    ) -> np.ndarray:
        return Method.whole(self, strata, n, money, unit, low, high)


@dataclass(frozen=True)
class Power(Method):
    """Bankier's compromise: ``n_h ∝ X_h^q S_h / |ȳ_h|``.

    Parameters
    ----------
    indicator : str
    q : float
        0: equal CVs; usual values 0.3 to 0.5; 1 with X the total of the indicator: Neyman.
    size : str
        Column of X; the population if "".
    """

    indicator: str
    q: float = 0.5
    size: str = ""

    @property
    def text(self) -> str:
        return f"power q = {self.q:g} for {self.indicator}, X = {self.size or 'population'}"

    def weights(self, strata: StrataFrame) -> np.ndarray:
        moments = strata.moments(self.indicator)
        _need_mean(strata, moments.mean, self.indicator)
        size = strata.column(self.size, COUNT) if self.size else strata.population
        return power_weights(size, moments.sd * np.sqrt(moments.deff) / np.abs(moments.mean), self.q)


@dataclass(frozen=True)
class Costa(Method):
    """Costa, Satorra and Ventura: k parts proportional, 1 - k parts equal."""

    k: float = 0.5

    def __post_init__(self) -> None:
        _between("k", self.k, 0.0, 1.0)

    @property
    def text(self) -> str:
        return f"Costa–Satorra–Ventura k = {self.k:g}"

    def weights(self, strata: StrataFrame) -> np.ndarray:
        return costa_weights(strata.population, self.k)


@dataclass(frozen=True)
class Longford(Method):
    """Longford's priorities: domains by N^q, the nation by G."""

    indicator: str
    q: float = 1.0
    national: float = 1.0

    @property
    def text(self) -> str:
        return f"Longford q = {self.q:g}, G = {self.national:g} for {self.indicator}"

    def weights(self, strata: StrataFrame) -> np.ndarray:
        moments = strata.moments(self.indicator)
        return longford_weights(
            strata.population, moments.sd * np.sqrt(moments.deff), self.q, self.national
        ) / np.sqrt(strata.cost)


@dataclass(frozen=True)
class MolefeClark(Method):
    """Smallest weighted MSE of composite estimators, strata being the domains; n_h may be 0."""

    rho: float
    q: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.rho < 1:
            raise SaeSpecError(f"rho = {self.rho!r} is no intra-domain correlation.", hint="Between 0 and 1.")

    @property
    def text(self) -> str:
        return f"Molefe–Clark ρ = {self.rho:g}, q = {self.q:g}"

    def sizes(
        self, strata: StrataFrame, money: float, unit: np.ndarray, low: np.ndarray, high: np.ndarray
    ) -> np.ndarray:
        if (unit != 1.0).any():
            raise SaeSpecError(
                "Molefe–Clark spreads a number of interviews, not a budget.", hint="Give total=, not budget=."
            )
        return molefe_clark(strata.population**self.q, money, self.rho, low, high)


@dataclass(frozen=True)
class Density(Method):
    """Kalton and Anderson: screening rates for a rare group by its density; n counts people screened.

    Parameters
    ----------
    group : str
        The frame holds ``density_<group>``.
    cost_ratio : float
        Cost of a screened and interviewed member over the cost of screening alone.
    indicator : str
        Whose spread within the group counts; the same everywhere if "".
    """

    group: str
    cost_ratio: float
    indicator: str = ""

    def __post_init__(self) -> None:
        _between("cost_ratio", self.cost_ratio, 1.0, np.inf)

    @property
    def text(self) -> str:
        return f"density strata for {self.group}, cost ratio {self.cost_ratio:g}"

    def weights(self, strata: StrataFrame) -> np.ndarray:
        density = strata.density_of(self.group)
        sd = strata.moments(self.indicator, self.group).sd if self.indicator else None
        return strata.population * kalton_anderson(density, self.cost_ratio, sd)


def _round_within(
    n: np.ndarray, money: float, unit: np.ndarray, low: np.ndarray, high: np.ndarray
) -> np.ndarray:
    """Round down, then give what is left to the largest remainders that it pays for."""
    whole = np.clip(np.floor(n + 1e-9), low, high).astype(np.int64)
    left = money - float(unit @ whole)
    for h in np.argsort(-(n - whole), kind="stable"):
        if whole[h] < high[h] and n[h] > whole[h] and unit[h] <= left * (1.0 + 1e-12):
            whole[h] += 1
            left -= unit[h]
    return whole


def _between(name: str, value: Any, least: float, most: float) -> None:
    if not least <= value <= most:
        raise SaeSpecError(f"{name} = {value!r} is not between {least:g} and {most:g}.")


def _need_mean(strata: StrataFrame, mean: np.ndarray, indicator: str) -> None:
    names = [label for label, value in zip(strata.labels, mean, strict=True) if value == 0]
    if names:
        raise SaeInputError(
            f"{indicator} has mean 0, so no CV, in {len(names)} strata: {', '.join(names[:5])}.", areas=names
        )
