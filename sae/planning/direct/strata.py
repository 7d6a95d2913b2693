"""The frame of strata: one row per stratum, its columns found by name and checked once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, name_some

__all__ = ["Moments", "Strata", "strata_of"]


@dataclass(frozen=True, eq=False)
class Moments:
    """One indicator (of one group) in every stratum, arrays of shape (H,).

    Attributes
    ----------
    size : ndarray
        People whom the estimate is about: N_h, or N_h P_h for a group.
    mean, sd : ndarray
        Mean and standard deviation among them.
    density : ndarray
        P_h; 1 for everybody.
    deff : ndarray
        Design effect within the stratum.
    """

    size: np.ndarray
    mean: np.ndarray
    sd: np.ndarray
    density: np.ndarray
    deff: np.ndarray


@dataclass(frozen=True, eq=False)
class Strata:
    """The checked frame.

    Attributes
    ----------
    frame : DataFrame
        As given, index reset.
    population, cost, response : ndarray, shape (H,)
        N_h; cost of one completed interview; share of issued addresses that yield one.
    deff : mapping of str to ndarray
        Design effects that stand in for those of the frame, by indicator.
    """

    frame: pd.DataFrame
    population: np.ndarray
    cost: np.ndarray
    response: np.ndarray
    deff: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def labels(self) -> list[str]:
        """Names of the strata."""
        return [str(label) for label in self.frame["stratum"]]

    def column(self, name: str, *, least: float = -np.inf, most: float = np.inf) -> np.ndarray:
        """Return a numeric column, or refuse it by the names of its strata at fault."""
        if name not in self.frame:
            raise SaeInputError(
                f"The frame of strata has no column {name!r}; it has {name_some(self.frame, 20)}.",
                column=name,
            )
        values = pd.to_numeric(self.frame[name], errors="coerce").to_numpy(float, na_value=np.nan)
        bad = ~(np.isfinite(values) & (values >= least) & (values <= most))
        if bad.any():
            names = [label for label, wrong in zip(self.labels, bad, strict=True) if wrong]
            within = f"from {least:g} to {most:g}" if np.isfinite(most) else f"of at least {least:g}"
            what = "a finite number" + (f" {within}" if np.isfinite(least) else "")
            raise SaeInputError(
                f"{name} is not {what} in {len(names)} strata: {name_some(names)}.", areas=names, column=name
            )
        return values

    def has(self, name: str) -> bool:
        """Whether the frame has this column."""
        return name in self.frame

    def moments(self, indicator: str, group: str = "") -> Moments:
        """Return size, mean, sd and design effect of an indicator, from the columns that bear its name."""
        density = self.column(f"density_{group}", least=0.0, most=1.0) if group else np.ones(len(self))
        own = f"{indicator}_{group}"
        name = own if group and (self.has(f"share_{own}") or self.has(f"mean_{own}")) else indicator
        if self.has(f"share_{name}"):
            mean = self.column(f"share_{name}", least=0.0, most=1.0)
            sd = np.sqrt(mean * (1.0 - mean))
            if self.has(f"sd_{name}"):
                sd = self.column(f"sd_{name}", least=0.0)
        elif self.has(f"mean_{name}"):
            mean, sd = self.column(f"mean_{name}"), self.column(f"sd_{name}", least=0.0)
        else:
            raise SaeInputError(
                f"The frame of strata says nothing of {indicator!r}.",
                hint=f"Give share_{indicator}, or mean_{indicator} and sd_{indicator}: a guess from the last "
                "survey or from a similar one will do.",
                column=f"share_{indicator}",
            )
        if indicator in self.deff:
            deff = self.deff[indicator]
        else:
            column = next((c for c in (f"deff_{indicator}", "deff") if self.has(c)), None)
            deff = self.column(column, least=1e-6) if column else np.ones(len(self))
        return Moments(self.population * density, mean, sd, density, deff)


def strata_of(frame: pd.DataFrame) -> Strata:
    """Check a frame of strata.

    Parameters
    ----------
    frame : DataFrame
        One row per stratum: ``stratum`` (unique), ``population``; optional ``cost`` and ``response`` (1 if
        absent), ``deff``, and the columns of domains and indicators.

    Raises
    ------
    SaeInputError
        Naming the strata and the column at fault.
    """
    if len(frame) == 0:
        raise SaeInputError("The frame of strata is empty.")
    if "stratum" not in frame:
        raise SaeInputError(
            f"The frame of strata has no column 'stratum'; it has {name_some(frame, 20)}.", column="stratum"
        )
    frame = frame.reset_index(drop=True)
    empty = np.flatnonzero(frame["stratum"].isna().to_numpy())
    if len(empty):
        raise SaeInputError(f"Rows without a stratum: {name_some(empty + 1)}.", column="stratum")
    twice = frame.loc[frame["stratum"].duplicated(), "stratum"].unique()
    if len(twice):
        raise SaeInputError(
            f"{len(twice)} strata stand more than once: {name_some(twice)}.", areas=twice, column="stratum"
        )
    ones = np.ones(len(frame))
    bare = Strata(frame, ones, ones, ones, {})
    return Strata(
        frame,
        bare.column("population", least=1.0),
        bare.column("cost", least=1e-12) if bare.has("cost") else ones,
        bare.column("response", least=1e-6, most=1.0) if bare.has("response") else ones,
        {},
    )
