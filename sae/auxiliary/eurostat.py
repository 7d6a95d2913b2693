"""Tables of Eurostat: one long frame of figures with their flags, and where they come from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.tables import joined_labels, labels, pandas_frame, require, to_numbers
from sae.tables.base import Table

__all__ = ["FLAGS", "EurostatTable", "check_figures", "decimals_of", "refuse_attributes", "spelt"]

# Eurostat's lists of statuses: small letters of the observation, capitals of its confidentiality (since
# January 2025, when s became i, z became m and c became C)
FLAGS: Mapping[str, str] = {
    "b": "break in time series",
    "c": "confidential",
    "d": "definition differs",
    "e": "estimated",
    "f": "forecast",
    "i": "imputed by the receiving agency",
    "m": "data cannot exist",
    "n": "not significant",
    "p": "provisional",
    "r": "revised",
    "s": "Eurostat estimate",
    "u": "low reliability",
    "z": "not applicable",
    "C": "confidential",
    "N": "not for publication",
    "P": "under other secrecy arrangements",
}
_OWN = ("time", "value", "decimals", "flag")


@dataclass(frozen=True, eq=False, repr=False)
class EurostatTable(Table):
    """A table as Eurostat disseminates it, one row per figure.

    Attributes
    ----------
    frame : DataFrame
        The dimensions and ``time`` as text, ``value`` (missing where the source prints ``:``), ``decimals``
        (of the source's spelling, so that 61.0 is written as such; missing where it is not known), ``flag``
        (letters of `FLAGS`, "" for none), then the attributes.
    dimensions : tuple of str
        Without the time.
    dataflow : str
        Such as ``ESTAT:ILC_LI41(1.0)``; "" where the file does not name it.
    updated : str
        When the source was last updated: ISO 8601, or as the source spells it.
    title : str
    labels : mapping of str to mapping of str to str
        Of each dimension, its codes in the order of the source and what they are called.
    dimension_labels : mapping of str to str
        What the dimensions are called.
    attributes : tuple of str
        Further columns of the figures, kept as text: SE, CI_LOW, CI_HIGH.
    header : tuple of str
        Columns of the SDMX-CSV file that the table was read from; it is written with the same.

    Examples
    --------
    >>> frame = pd.DataFrame({"geo": ["AT11", "AT12"], "time": "2022", "value": [6.1, None]})
    >>> frame["flag"] = ["", "u"]
    >>> table = sae.auxiliary.EurostatTable(frame, ("geo",), dataflow="ESTAT:ILC_LI41(1.0)")
    >>> table.code, table.observed()["flag"].tolist()
    ('ilc_li41', ['', 'u'])
    """

    frame: pd.DataFrame
    dimensions: tuple[str, ...]
    dataflow: str = ""
    updated: str = ""
    title: str = ""
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    dimension_labels: Mapping[str, str] = field(default_factory=dict)
    attributes: tuple[str, ...] = ()
    header: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        frame = pandas_frame(self.frame, "The figures")
        require(frame, [*self.dimensions, "time", "value", *self.attributes], "The figures have")
        clash = [name for name in (*self.dimensions, *self.attributes) if name in _OWN]
        if clash or not self.dimensions:
            raise SaeSpecError(
                f"The dimensions {name_some(clash)} bear names of the table's own columns."
                if clash
                else "A table of Eurostat has at least one dimension besides the time."
            )
        out = {name: labels(frame[name]) for name in (*self.dimensions, "time")}
        out["value"] = pd.Series(to_numbers(frame, "value"), index=frame.index)
        out["decimals"] = (
            frame["decimals"] if "decimals" in frame else pd.Series(pd.NA, frame.index)
        ).astype("Int64")
        for name in ("flag", *self.attributes):
            column = frame[name] if name in frame else pd.Series("", frame.index)
            out[name] = labels(column, keep_missing=True).fillna("")
        object.__setattr__(self, "frame", pd.DataFrame(out).reset_index(drop=True))

    @property
    def code(self) -> str:
        """Code of the data set in small letters, such as ``ilc_li41``; "" where it is not known."""
        return self.dataflow.partition(":")[2].partition("(")[0].lower() or self.dataflow.lower()

    def select(self, **levels: str | Iterable[str]) -> EurostatTable:
        """Return the figures of some levels, by dimension; ``time`` is one of them.

        Raises
        ------
        SaeSpecError
            If there is no such dimension, or a level does not occur.

        Examples
        --------
        >>> frame = pd.DataFrame({"geo": ["AT", "BE"], "time": "2022", "value": [1.0, 2.0]})
        >>> sae.auxiliary.EurostatTable(frame, ("geo",)).select(geo="BE")["value"].tolist()
        [2.0]
        """
        rows = np.ones(len(self), dtype=bool)
        for name, given in levels.items():
            wanted = [given] if isinstance(given, str) else list(given)
            if name not in (*self.dimensions, "time"):
                raise SaeSpecError(
                    f"{self.name} has no dimension {name!r}.",
                    hint=f"It has {name_some((*self.dimensions, 'time'), 12)}.",
                )
            held = self.frame[name].unique()
            absent = [level for level in wanted if level not in held]
            if absent:
                raise SaeSpecError(
                    f"{self.name} has no {name} {name_some(map(repr, absent))}.",
                    hint=f"It has {name_some(held, 12)}.",
                )
            rows &= self.frame[name].isin(wanted).to_numpy(dtype=bool)
        return replace(self, frame=self.frame[rows])

    def observed(self) -> EurostatTable:
        """Return the table without the cells of which there is neither a value nor a flag."""
        empty = self.frame["value"].isna() & self.frame["flag"].eq("")
        return replace(self, frame=self.frame[~empty])

    @property
    def name(self) -> str:
        """What the table is called in messages."""
        return self.code or "The table"

    def _heading(self) -> str:
        missing = int(self.frame["value"].isna().sum())
        return f"EurostatTable {self.code or '(no code)'}: {len(self)} figures, {missing} missing" + (
            f"; updated {self.updated}" if self.updated else ""
        )

    def _shown(self) -> pd.DataFrame:
        return self.frame.drop(columns="decimals")


def check_figures(
    table: EurostatTable, file: str, places: Callable[[np.ndarray], Sequence[str]] | None = None
) -> None:
    """Refuse codes that are empty, unknown flags and keys that stand more than once.

    Parameters
    ----------
    table : EurostatTable
    file : str
        Where the figures stand or shall stand, for messages.
    places : callable, optional
        From numbers of rows to where these stand in the file.

    Raises
    ------
    SaeInputError
        With counts and the first places.
    """
    where = places or (lambda rows: [f"row {row + 1}" for row in rows])
    keys = [*table.dimensions, "time"]
    for name in keys:
        empty = np.flatnonzero(table.frame[name].eq("").to_numpy(dtype=bool))
        if len(empty):
            raise SaeInputError(
                f"{name} is empty for {len(empty)} figures of {file}: {_some(where(empty[:5]), len(empty))}.",
                hint="Every figure needs its codes.",
                column=name,
            )
    flags = table.frame["flag"]
    known = {flag for flag in flags.unique() if set(flag) <= FLAGS.keys()}
    bad = np.flatnonzero(~flags.isin(known).to_numpy(dtype=bool))
    if len(bad):
        shown = [f"{flags[row]!r} ({place})" for row, place in zip(bad[:5], where(bad[:5]), strict=True)]
        raise SaeInputError(
            f"{len(bad)} figures of {file} bear unknown flags: {_some(shown, len(bad))}.",
            hint=f"Known are {', '.join(f'{letter} ({text})' for letter, text in FLAGS.items())}.",
            column="flag",
        )
    twice = table.frame.duplicated(keys, keep=False)
    if twice.any():
        again = np.flatnonzero(table.frame.duplicated(keys).to_numpy())
        names = joined_labels(table.frame.iloc[again], keys).unique()
        rows = np.flatnonzero(twice.to_numpy())
        raise SaeInputError(
            f"{file} has more than one figure for {len(names)} keys: {name_some(names)} "
            f"({_some(where(rows[:5]), len(rows))}).",
            hint="Each combination of dimensions and time stands once; keep one of each.",
            areas=names,
        )


def refuse_attributes(table: EurostatTable, file: str) -> None:
    """Refuse a table with attributes for a file of a format without a place for them.

    Raises
    ------
    SaeInputError
    """
    if table.attributes:
        raise SaeInputError(
            f"{file} has no place for the attributes {name_some(table.attributes)}.",
            hint='Write it with format="sdmx-csv", or make the table without them.',
        )


def _some(shown: Sequence[str], count: int) -> str:
    rest = count - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest > 0 else "")


def decimals_of(texts: Sequence[str]) -> list[int | None]:
    """Return how many decimals spell each number as the text does; None where no number of them does.

    Examples
    --------
    >>> from sae.auxiliary.eurostat import decimals_of
    >>> decimals_of(["61.0", "7", "", "1e3"])
    [1, 0, None, None]
    """
    known: dict[str, int | None] = {"": None}
    for text in texts:
        if text not in known:
            decimals = len(text.partition(".")[2])
            known[text] = decimals if f"{float(text):.{decimals}f}" == text else None
    return [known[text] for text in texts]


def spelt(table: EurostatTable) -> list[str]:
    """Return each value as text with its decimals, or with as many as it needs; "" where it is missing.

    Examples
    --------
    >>> from sae.auxiliary.eurostat import spelt
    >>> frame = pd.DataFrame({"geo": ["A", "B"], "time": "1", "value": [61.0, 61.25], "decimals": 1})
    >>> spelt(sae.auxiliary.EurostatTable(frame, ("geo",)))
    ['61.0', '61.25']
    """
    values = table.frame["value"].tolist()
    decimals = table.frame["decimals"].fillna(-1).tolist()
    if not np.isfinite(values).all() and np.isinf(values).any():
        raise SaeInputError("An infinite value has no spelling in a file.", column="value")
    return [
        "" if value != value else _spelt(value, places)
        for value, places in zip(values, decimals, strict=True)
    ]


def _spelt(value: float, decimals: int) -> str:
    if decimals >= 0:
        text = f"{value:.{decimals}f}"
        if float(text) == value:
            return text
    return np.format_float_positional(value, trim="-")
