"""Effects over time within each area: AR1, RW1 and RW2 as components of a specification."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, SaeSpecError

__all__ = ["AR1", "RW1", "RW2", "RandomWalk", "positions"]


@dataclass(frozen=True)
class AR1:
    """Area-by-time effects v_t = ρ v_{t-1} + ε within each area, beside the area effect.

    Parameters
    ----------
    column : str
        The periods: whole numbers (a gap is a gap in time), or text that sorts by time, taken as equally
        spaced.
    rho : {None, 0.0}
        Estimated, or fixed at 0: independent effects over time (model S of Marhuenda, Molina and Morales).
    covariance : str, optional
        Column of a plain frame: sampling covariance of the direct estimate with that of the same area one
        period before (overlap of a panel); further lags count as 0. `DirectEstimates.covariance` is used by
        itself.

    References
    ----------
    Rao and Yu (1994), Canadian J. Stat. 22, 511-528; Marhuenda, Molina and Morales (2013), CSDA 58, 308-325.

    Examples
    --------
    >>> sae.AR1("year", rho=0.0).text
    'ar1: year, rho 0'
    """

    column: str
    rho: float | None = None
    covariance: str | None = None
    order: ClassVar[int] = 0  # of differences: it is no random walk

    def __post_init__(self) -> None:
        if self.rho is not None and self.rho != 0:
            raise SaeSpecError(f"AR1(rho={self.rho}): rho is estimated (None) or 0.")

    @property
    def text(self) -> str:
        """The component as it stands in a model file."""
        fixed = ", rho 0" if self.rho is not None else ""
        return f"ar1: {self.column}{fixed}" + (f", covariance {self.covariance}" if self.covariance else "")

    @classmethod
    def of_text(cls, text: str) -> AR1:
        """Read "ar1: COLUMN", with ", rho 0" and ", covariance COLUMN" where wanted."""
        kind, _, rest = (part.strip() for part in text.partition(":"))
        column, *options = (part.strip() for part in rest.split(","))
        known: dict[str, Any] = {}
        for option in options:
            name, _, value = option.partition(" ")
            known[name] = float(value) if name == "rho" else value
        if kind.lower() != "ar1" or not column or set(known) - {"rho", "covariance"}:
            raise SaeSpecError(f"temporal = {text!r} cannot be read.", hint='Write "ar1: COLUMN".')
        return cls(column, **known)


@dataclass(frozen=True)
class RandomWalk:
    """What random walks over the periods share."""

    column: str
    covariance: str | None = None
    order: ClassVar[int]

    @property
    def text(self) -> str:
        """The component as it stands in a model file."""
        return f"rw{self.order}: {self.column}" + (
            f", covariance {self.covariance}" if self.covariance else ""
        )

    @classmethod
    def of_text(cls, text: str) -> Self:
        """Read "rw1: COLUMN", with ", covariance COLUMN" where wanted."""
        kind, _, rest = (part.strip() for part in text.partition(":"))
        column, *options = (part.strip() for part in rest.split(","))
        known = dict(option.split(" ", 1) for option in options if " " in option)
        if (
            kind.lower() != f"rw{cls.order}"
            or not column
            or len(known) < len(options)
            or set(known) - {"covariance"}
        ):
            raise SaeSpecError(f"temporal = {text!r} cannot be read.", hint=f'Write "rw{cls.order}: COLUMN".')
        return cls(column, **known)


class RW1(RandomWalk):
    """Random walk over the periods within each area, beside the area effect: Δv_t ~ N(0, σ²).

    The level of each area's walk is taken out (the area effect and the covariates have it), and the walk is
    scaled so that its typical standard deviation is σ. Needs method="bayes".

    Parameters
    ----------
    column, covariance : str
        As for `AR1`.

    References
    ----------
    Sørbye and Rue (2014), Spatial Statistics 8, 39-51 (scaling).

    Examples
    --------
    >>> sae.RW1("year").text
    'rw1: year'
    """

    order: ClassVar[int] = 1


class RW2(RandomWalk):
    """Random walk of second order over the periods within each area: Δ²v_t ~ N(0, σ²).

    The straight line of each area's walk is taken out: its level is in the area effect, a common trend
    belongs into the formula. Scaled as `RW1`; needs three periods and method="bayes".

    Parameters
    ----------
    column, covariance : str
        As for `AR1`.
    """

    order: ClassVar[int] = 2


def positions(labels: pd.Series, column: str) -> np.ndarray:
    """Place each period on a regular time axis, 0 the first; a gap of whole numbers is a gap in time.

    Parameters
    ----------
    labels : Series
        The periods, each once, sorted: whole numbers, or what is taken as equally spaced.
    column : str
        Their name, for the message.

    Raises
    ------
    SaeInputError
        If there is one period only.

    Examples
    --------
    >>> from sae.area_level.effects.temporal import positions
    >>> positions(pd.Series([2014, 2016, 2020]), "year").tolist()
    [0, 1, 3]
    """
    if len(labels) < 2:
        raise SaeInputError(f"{column} has one period only ({labels.iloc[0]}).", column=column)
    values = pd.to_numeric(labels, errors="coerce").to_numpy(dtype=float)
    if np.isfinite(values).all() and (values == np.round(values)).all():
        gaps = np.diff(values).astype(np.int64)
        return np.concatenate([[0], np.cumsum(gaps // np.gcd.reduce(gaps))])
    return np.arange(len(labels))
