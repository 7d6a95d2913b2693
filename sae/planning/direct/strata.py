"""The frame of strata: one reader and one vocabulary for all plans."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, SaeWarning, name_some
from sae.tables import labels, pandas_frame, require, to_numbers

__all__ = [
    "ANY",
    "COUNT",
    "INTERVIEWS",
    "LIMIT",
    "PEOPLE",
    "POSITIVE",
    "PREFIXES",
    "PRICE",
    "RATE",
    "SHARE",
    "TODAY",
    "Moments",
    "Range",
    "StrataFrame",
    "announce_unread",
]


_FRAME = "The frame of strata has"
_MOST = 1e12  # persons or interviews; more are no count of either
_LEAST_RATE = 1e-9  # one in a thousand million: less is 0
_NEAR = 0.8  # likeness from which a name that no plan reads is taken for a misspelt one
_OF_AN_INDICATOR = ("deff", "sd", "share", "mean", "rho")  # <name>_<indicator>: one column for each
PREFIXES = (*(f"{name}_" for name in _OF_AN_INDICATOR), "density_")  # no table of a plan carries them on


@dataclass(frozen=True)
class Range:
    """Where the figures of a column may lie.

    Attributes
    ----------
    text : str
        The range in words, after "is not".
    least, most : float
    open : bool
        Whether `least` itself is outside.
    endless, missing : bool
        Whether infinity may stand for "no limit", and NaN for "not known".
    whole : bool
        Whether only whole numbers are in the range.
    """

    text: str
    least: float = -np.inf
    most: float = np.inf
    open: bool = False
    endless: bool = False
    missing: bool = False
    whole: bool = False

    def holds(self, values: np.ndarray) -> np.ndarray:
        """Return which values lie in the range."""
        inside = (values > self.least if self.open else values >= self.least) & (values <= self.most)
        if self.whole:
            inside &= (values == np.floor(values)) | np.isinf(values)
        return (inside & (np.isfinite(values) | self.endless)) | (np.isnan(values) & self.missing)


ANY = Range("a finite number")
COUNT = Range("0 or more", 0.0)
INTERVIEWS = Range("a whole number, 0 or more", 0.0, _MOST, whole=True)
PEOPLE = Range("at least 1", 1.0, _MOST)
POSITIVE = Range("positive", 0.0, open=True)
PRICE = Range("positive (1e-9 to 1e12)", 1e-9, _MOST)
SHARE = Range("in [0, 1]", 0.0, 1.0)
RATE = Range("in (0, 1]", _LEAST_RATE, 1.0)
LIMIT = Range("a whole number, 0 or more, or infinite", 0.0, endless=True, whole=True)
TODAY = Range("a whole number, 0 or more", 0.0, _MOST, missing=True, whole=True)


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
class StrataFrame:
    """The checked frame: one row per stratum, or per stratum and domain (a cell).

    Of ``density``, ``deff`` and ``sd`` the column with the name of the group or the indicator comes first
    (``deff_rate``), the plain one stands for all others.

    Attributes
    ----------
    frame : DataFrame
        As given, index reset.
    labels : list of str, length H
        Names of the rows.
    rows : str
        What they are called: "strata" or "cells".
    population, cost, response : ndarray, shape (H,)
        N_h; cost of one completed interview; share of issued addresses that yield one.
    deff : mapping of str to ndarray
        Design effects that stand in for those of the frame, by indicator.
    columns : tuple
        Names of the columns as they were given.
    """

    frame: pd.DataFrame
    labels: list[str]
    rows: str
    population: np.ndarray = field(init=False)
    cost: np.ndarray = field(init=False)
    response: np.ndarray = field(init=False)
    deff: dict[str, np.ndarray] = field(default_factory=dict)
    columns: tuple[Hashable, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "population", self.column("population", PEOPLE))
        object.__setattr__(self, "cost", self.column("cost", PRICE, default=1.0))
        object.__setattr__(self, "response", self.column("response", RATE, default=1.0))

    @classmethod
    def of_strata(cls, frame: pd.DataFrame) -> StrataFrame:
        """Check a frame with one row per stratum.

        Parameters
        ----------
        frame : DataFrame
            ``stratum`` (unique), ``population``; optional ``cost`` and ``response`` (1 if absent), ``deff``,
            and the columns of domains and indicators.

        Raises
        ------
        SaeInputError
            Naming the strata and the column at fault.
        """
        frame = _required(
            frame, ["stratum", "population"], "Give one row per stratum with stratum and population."
        )
        strata = _names(frame, "stratum")
        twice = strata[strata.duplicated()].unique()
        if len(twice):
            raise SaeInputError(
                f"{len(twice)} strata stand more than once: {name_some(twice)}.",
                areas=twice,
                column="stratum",
            )
        return cls(frame, strata.tolist(), "strata", columns=tuple(frame))

    @classmethod
    def of_cells(cls, frame: pd.DataFrame, domains: Sequence[str]) -> StrataFrame:
        """Check a frame with one row per stratum and domain.

        Parameters
        ----------
        frame : DataFrame
            ``domain``, ``stratum`` (the domain itself if absent), ``population``, and what `of_strata` takes.
        domains : sequence of str
            Those that there are.

        Raises
        ------
        SaeInputError
            If a column or figure is missing or out of range, a cell appears twice, or a domain is unknown;
            names are given.
        """
        frame = _required(
            frame,
            ["domain", "population"],
            "Give one row per stratum and domain with domain, population and, of a rare group, density.",
        )
        domain = _names(frame, "domain").astype(object)
        stratum = _names(frame, "stratum").astype(object) if "stratum" in frame else domain
        given = tuple(frame)
        frame = frame.assign(domain=domain, stratum=stratum)
        cell = stratum + " × " + domain
        if cell.duplicated().any():
            twice = list(dict.fromkeys(cell[cell.duplicated()]))
            raise SaeInputError(f"Cells of the frame appear twice: {name_some(twice)}.", areas=twice)
        strange = [name for name in dict.fromkeys(domain) if name not in set(domains)]
        if strange:
            raise SaeInputError(
                f"{len(strange)} domains of the frame are not in the fit: {name_some(strange)}.",
                hint=f"The fit has {name_some(domains)}.",
                areas=strange,
                column="domain",
            )
        return cls(frame, cell.tolist(), "cells", columns=given)

    def __len__(self) -> int:
        return len(self.frame)

    def refuse_misspelt(self, names: Collection[str], used: Collection[str] = ()) -> list[str]:
        """Refuse columns that no plan reads but whose name comes near one that it would, and return the rest.

        Parameters
        ----------
        names : collection of str
            What the plan reads where the frame has it.
        used : collection of str
            Columns that a target or an option names.

        Raises
        ------
        SaeInputError
            Naming the columns, and those that may be meant.
        """
        absent = [name for name in names if name not in self.columns]
        unread = [str(name) for name in self.columns if name not in names and name not in used]
        near = {name: meant for name in unread if (meant := self._meant(name, absent))}
        if near:
            raise SaeInputError(
                f"The plan does not read {len(near)} columns of the frame of strata: {name_some(near)}.",
                hint="Did you mean "
                + "; ".join(f"{meant} (for {name})" for name, meant in near.items())
                + "? Rename or drop "
                + ("them." if len(near) > 1 else "it."),
                column=next(iter(near)),
            )
        return unread

    def _meant(self, name: str, absent: list[str]) -> str:
        plain = re.sub(r"[\s.\-]+", "_", name.strip().lower())
        if plain in absent:
            return plain
        kind, _, rest = plain.partition("_")
        if kind in _OF_AN_INDICATOR and (self.has(f"share_{rest}") or self.has(f"mean_{rest}")):
            return ""  # of another indicator of the same frame
        longer = [
            one
            for one in absent
            if one not in _OF_AN_INDICATOR and (plain.startswith(f"{one}_") or plain.endswith(f"_{one}"))
        ]
        return next(iter([*get_close_matches(plain, absent, 1, _NEAR), *longer]), "")

    def has(self, name: str) -> bool:
        """Whether the frame has this column."""
        return name in self.frame

    def column(
        self, name: str, allowed: Range = ANY, *, default: float | None = None, hint: str = ""
    ) -> np.ndarray:
        """Return a numeric column, or refuse it by the names of its rows at fault.

        `default` fills a column that the frame lacks; without one, it is refused.
        """
        if default is not None and not self.has(name):
            return np.full(len(self), default)
        values = to_numbers(self.frame, name, names=self.labels, what=_FRAME)
        bad = ~allowed.holds(values)
        if bad.any():
            names = [label for label, wrong in zip(self.labels, bad, strict=True) if wrong]
            raise SaeInputError(
                f"{name} is not {allowed.text} in {len(names)} of {len(self)} {self.rows}: "
                f"{name_some(names)}.",
                hint=hint,
                areas=names,
                column=name,
            )
        return values

    def named(self, kind: str, name: str) -> str | None:
        """Return the column of a kind for an indicator or a group: its own, else the one for all, or None.

        Examples
        --------
        >>> from sae.planning.direct.strata import StrataFrame
        >>> frame = pd.DataFrame({"stratum": ["a"], "population": [900], "deff": [1.5], "deff_rate": [2.0]})
        >>> strata = StrataFrame.of_strata(frame)
        >>> strata.named("deff", "rate"), strata.named("deff", "other"), strata.named("sd", "rate")
        ('deff_rate', 'deff', None)
        """
        return next((column for column in (f"{kind}_{name}", kind) if self.has(column)), None)

    def density_of(self, group: str) -> np.ndarray:
        """Return the share of a group; it may be absent from some strata."""
        return self.column(self.named("density", group) or f"density_{group}", SHARE)

    def deff_of(self, indicator: str) -> np.ndarray | None:
        """Return design effects of an indicator; None where neither the plan nor the frame tells them."""
        if indicator in self.deff:
            return self.deff[indicator]
        column = self.named("deff", indicator)
        return self.column(column, POSITIVE) if column else None

    def sd_of(self, indicator: str) -> np.ndarray | None:
        """Return standard deviations between persons; None where the frame does not tell them."""
        column = self.named("sd", indicator)
        return self.column(column, COUNT) if column else None

    def moments(self, indicator: str, group: str = "") -> Moments:
        """Return size, mean, sd and design effect of an indicator, from the columns that bear its name."""
        density = self.density_of(group) if group else np.ones(len(self))
        own = f"{indicator}_{group}"
        name = own if group and (self.has(f"share_{own}") or self.has(f"mean_{own}")) else indicator
        if not (self.has(f"share_{name}") or self.has(f"mean_{name}")):
            raise SaeInputError(
                f"The frame of strata says nothing of {indicator!r}.",
                hint=f"Give share_{indicator}, or mean_{indicator} and sd_{indicator}: a guess from the last "
                "survey or from a similar one will do.",
                column=f"share_{indicator}",
            )
        is_share = self.has(f"share_{name}")
        mean = self.column(f"share_{name}", SHARE) if is_share else self.column(f"mean_{name}")
        sd = self.sd_of(name)
        if sd is None:
            sd = np.sqrt(mean * (1.0 - mean)) if is_share else self.column(f"sd_{name}", COUNT)
        deff = self.deff_of(indicator)
        return Moments(
            self.population * density, mean, sd, density, np.ones(len(self)) if deff is None else deff
        )


def announce_unread(columns: Sequence[str]) -> None:
    """Warn of columns of the frame that the plan does not read."""
    if columns:
        warnings.warn(
            f"The plan does not read {len(columns)} columns of the frame of strata: {name_some(columns)}.",
            SaeWarning,
            stacklevel=4,
        )


def _names(frame: pd.DataFrame, column: str) -> pd.Series:
    """Return the labels of a column; every row has one."""
    names = labels(frame[column], keep_missing=True)
    empty = np.flatnonzero((names.isna() | (names.str.strip() == "")).to_numpy(dtype=bool))
    if len(empty):
        raise SaeInputError(
            f"{len(empty)} rows of the frame of strata have no {column}: row {name_some(empty + 1)}.",
            hint="Give every row its label, or take it out.",
            column=column,
        )
    return names


def _required(frame: pd.DataFrame, names: Sequence[str], hint: str) -> pd.DataFrame:
    """Return the rows of a frame of any library; refuse one that is empty or lacks a column."""
    frame = pandas_frame(frame, "The strata")
    if len(frame) == 0:
        raise SaeInputError("The frame of strata is empty.")
    require(frame, names, _FRAME, hint=hint)
    return frame.reset_index(drop=True)
