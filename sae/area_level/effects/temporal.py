"""Effects over time within each area: AR1, RW1 and RW2 as components of a specification."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import pandas as pd

from sae.area_level.effects.periods import TimeAxis, time_axis
from sae.calls import Answering
from sae.errors import SaeSpecError
from sae.literals import TimeUnit
from sae.specs import one_of

__all__ = ["AR1", "RW1", "RW2", "RandomWalk", "TemporalEffect"]


class TemporalEffect(metaclass=Answering):
    """What effects over time share: the column of the periods, its unit, and sampling covariances."""

    column: str
    covariance: str | None
    unit: TimeUnit | None
    kind: ClassVar[str]
    options: ClassVar[frozenset[str]] = frozenset({"covariance", "unit"})
    order: ClassVar[int] = 0  # of differences: 0 is no random walk

    def __post_init__(self) -> None:
        if self.unit is not None:
            one_of("unit", self.unit, TimeUnit)

    def axis(self, periods: pd.Series) -> TimeAxis:
        """Place the periods, each once, on a regular axis: see `time_axis`."""
        return time_axis(periods, self.column, self.unit)

    @property
    def _options(self) -> dict[str, str]:
        """What the text says beside the column."""
        given = {"covariance": self.covariance, "unit": self.unit}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def text(self) -> str:
        """The component as it stands in a model file."""
        options = (f"{name} {value}" for name, value in self._options.items())
        return f"{self.kind}: " + ", ".join([self.column, *options])

    @classmethod
    def of_text(cls, text: str) -> Self:
        """Read "KIND: COLUMN", with ", OPTION VALUE" where wanted."""
        kind, _, rest = (part.strip() for part in text.partition(":"))
        column, *options = (part.strip() for part in rest.split(","))
        known: dict[str, Any] = dict(option.split(" ", 1) for option in options if " " in option)
        if kind.lower() != cls.kind or not column or len(known) < len(options) or set(known) - cls.options:
            raise SaeSpecError(f"temporal = {text!r} cannot be read.", hint=f'Write "{cls.kind}: COLUMN".')
        return cls(column, **cls._values(known))  # type: ignore[call-arg]

    @classmethod
    def _values(cls, known: dict[str, Any]) -> dict[str, Any]:
        return known


@dataclass(frozen=True)
class AR1(TemporalEffect):
    """Area-by-time effects v_t = ρ v_{t-1} + ε within each area, beside the area effect.

    Parameters
    ----------
    column : str
        The periods: years, quarters (2020Q4), months (2020-12), dates, or whole numbers 1, 2, 3. A period
        that all areas lack is a gap in time, and named.
    rho : {None, 0.0}
        Estimated, or fixed at 0: independent effects over time (model S of Marhuenda, Molina and Morales).
    covariance : str, optional
        Column of a plain frame: sampling covariance of the direct estimate with that of the same area one
        period before (overlap of a panel); further lags count as 0. `DirectEstimates.covariance` is used by
        itself.
    unit : {"step", "year", "half-year", "quarter", "month", "week", "day"}, optional
        Of the periods, where the column holds codes: 20204 is a quarter, 202012 a month.

    References
    ----------
    Rao and Yu (1994), Canadian J. Stat. 22, 511-528; Marhuenda, Molina and Morales (2013), CSDA 58, 308-325.

    Examples
    --------
    >>> sae.AR1("year", rho=0.0).text
    'ar1: year, rho 0'
    >>> sae.AR1("wave", unit="quarter").text
    'ar1: wave, unit quarter'
    """

    column: str
    rho: float | None = None
    covariance: str | None = None
    unit: TimeUnit | None = None
    kind: ClassVar[str] = "ar1"
    options: ClassVar[frozenset[str]] = TemporalEffect.options | {"rho"}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rho is not None and self.rho != 0:
            raise SaeSpecError(f"AR1(rho={self.rho}): rho is estimated (None) or 0.")

    @property
    def _options(self) -> dict[str, str]:
        return {**({} if self.rho is None else {"rho": "0"}), **super()._options}

    @classmethod
    def _values(cls, known: dict[str, Any]) -> dict[str, Any]:
        try:
            return {name: float(value) if name == "rho" else value for name, value in known.items()}
        except ValueError:
            raise SaeSpecError(f"rho = {known['rho']!r} is no number.", hint='Write "rho 0".') from None


@dataclass(frozen=True)
class RandomWalk(TemporalEffect):
    """What random walks over the periods share."""

    column: str
    covariance: str | None = None
    unit: TimeUnit | None = None


class RW1(RandomWalk):
    """Random walk over the periods within each area, beside the area effect: Δv_t ~ N(0, σ²).

    The level of each area's walk is taken out (the area effect and the covariates have it), and the walk is
    scaled so that its typical standard deviation is σ. Needs method="bayes".

    Parameters
    ----------
    column, covariance, unit : str
        As for `AR1`.

    References
    ----------
    Sørbye and Rue (2014), Spatial Statistics 8, 39-51 (scaling).

    Examples
    --------
    >>> sae.RW1("year").text
    'rw1: year'
    """

    kind: ClassVar[str] = "rw1"
    order: ClassVar[int] = 1


class RW2(RandomWalk):
    """Random walk of second order over the periods within each area: Δ²v_t ~ N(0, σ²).

    The straight line of each area's walk is taken out: its level is in the area effect, a common trend
    belongs into the formula. Scaled as `RW1`; needs three periods and method="bayes".

    Parameters
    ----------
    column, covariance, unit : str
        As for `AR1`.
    """

    kind: ClassVar[str] = "rw2"
    order: ClassVar[int] = 2
