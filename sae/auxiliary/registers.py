"""Long administrative tables: figures by area, year and group, each with its source and definition."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from sae.auxiliary.areas import code_texts, open_areas
from sae.calls import answered
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.tables import joined_labels, labels, pandas_frame, require, to_numbers
from sae.tables.covariates import year_of
from sae.tables.text_cells import looks_missing, missing_words

__all__ = ["PROVENANCE", "Register", "read_register"]

_ROLES = ("area", "year", "indicator", "source", "definition")
PROVENANCE = ("source", "definition")


@dataclass(frozen=True, eq=False)
class Register:
    """Figures of registers, one row each.

    Attributes
    ----------
    frame : DataFrame
        ``area, year``, the group columns, ``indicator, value, source, definition, rounding_error`` (the most
        by which rounding may have moved the value). A missing value is a figure that is not published.
    groups : tuple of str
        Names of the group columns.
    """

    frame: pd.DataFrame
    groups: tuple[str, ...] = ()

    @property
    def keys(self) -> list[str]:
        """The columns that say what a figure is about: area, year, groups, indicator."""
        return ["area", "year", *self.groups, "indicator"]

    def __len__(self) -> int:
        return len(self.frame)

    def __repr__(self) -> str:
        frame = self.frame
        years = sorted(frame["year"].unique())
        lines = [
            f"Register: {len(frame):,} figures of {frame['area'].nunique():,} areas, "
            f"{' to '.join(dict.fromkeys((years[0], years[-1])))}",
            *(f"  {name}: {name_some(frame[name].unique(), 8)}" for name in [*self.groups, "indicator"]),
            *(f"  {name}: {name_some(frame[name].unique(), 3)}" for name in PROVENANCE),
        ]
        if (frame["rounding_error"] > 0).any():
            lines.append(f"  rounded: values are off by at most {frame['rounding_error'].max():g}")
        if frame["value"].isna().any():
            lines.append(f"  not published: {int(frame['value'].isna().sum()):,} figures")
        breaks = self.breaks()
        lines += [
            f"  break in {row.year}: {row.indicator}, {row.before} → {row.after} ({row.figures:,} figures)"
            for row in breaks.itertuples()
        ]
        return "\n".join(lines)

    def levels(self, column: str) -> list[str]:
        """Return the labels of a column, in order of appearance."""
        require(self.frame, [column], "The register has")
        return list(self.frame[column].unique())

    def select(self, **levels: object) -> Register:
        """Return the figures with the given labels of the given columns.

        Parameters
        ----------
        **levels : label or collection of labels
            By column: ``year="2021", sex=["men", "women"], source="Census"``.

        Raises
        ------
        SaeInputError
            If a column or a label is unknown, or no figure bears all of them.

        Examples
        --------
        >>> frame = pd.DataFrame({"area": ["A", "B"], "year": ["2020", "2021"], "value": [3, 4]})
        >>> texts = {"indicator": "residents", "source": "Register", "definition": "31 December"}
        >>> len(sae.auxiliary.read_register(frame, **texts).select(year="2021"))
        1
        """
        kept = np.ones(len(self.frame), dtype=bool)
        for column, wanted in levels.items():
            known = self.levels(column)
            some = wanted if isinstance(wanted, Collection) and not isinstance(wanted, str) else [wanted]
            chosen = list(labels(pd.Series(list(some), dtype="object")))
            unknown = [label for label in chosen if label not in known]
            if unknown:
                raise SaeInputError(
                    f"The register has no {column} {name_some(map(repr, unknown))}.",
                    hint=f"It has {name_some(known, 12)}.",
                    areas=unknown if column == "area" else (),
                    column=column,
                )
            kept &= self.frame[column].isin(chosen).to_numpy()
        if not kept.any():
            shown = ", ".join(f"{column} {wanted!r}" for column, wanted in levels.items())
            raise SaeInputError(f"No figure of the register has {shown} together.")
        return replace(self, frame=self.frame[kept].reset_index(drop=True))

    def breaks(self) -> pd.DataFrame:
        """Return where a series goes on with another source or definition.

        Returns
        -------
        DataFrame
            One row per break: ``indicator, year`` (the first after it), ``before, after`` (source and
            definition), ``figures`` (how many series break there). Figures that stand beside others of
            the same area, year and group are no break; `single` refuses them.
        """
        frame = self.frame.assign(origin=joined_labels(self.frame, PROVENANCE, separator=": "))
        frame = frame[~frame.duplicated(self.keys, keep=False)].sort_values("year", kind="stable")
        series = [name for name in self.keys if name != "year"]
        before = frame.groupby(series, sort=False)["origin"].shift()
        broken = frame.assign(before=before)[before.notna() & (before != frame["origin"])]
        counts = broken.groupby(["indicator", "year", "before", "origin"]).size()
        return counts.rename("figures").reset_index().rename(columns={"origin": "after"})

    def single(self, what: str) -> Register:
        """Return the register itself; refuse several sources or definitions of one figure.

        Raises
        ------
        SaeInputError
            Naming the sources or definitions between which `what` has to choose.
        """
        twice = self.frame.duplicated(self.keys, keep=False)
        if twice.any():
            both = self.frame[twice]
            column = next(name for name in reversed(PROVENANCE) if both[name].nunique() > 1)
            names = joined_labels(both, self.keys).unique()
            raise SaeInputError(
                f"{what}: {len(names)} figures have several of {column}: "
                f"{name_some(map(repr, both[column].unique()))} for {name_some(names, 3)}.",
                hint=f"Choose one: register.select({column}=...).",
                areas=both["area"].unique(),
                column=column,
            )
        return self


@answered
def read_register(
    data: str | Path | pd.DataFrame,
    *,
    columns: Mapping[str, str] | None = None,
    groups: Sequence[str] | Mapping[str, str] = (),
    value: str | Mapping[str, str] = "value",
    across: str = "",
    year: str = "",
    indicator: str = "",
    source: str = "",
    definition: str = "",
    zero: Sequence[str] = (),
    missing: Sequence[str | float] = (),
    rounding: float = 0.0,
    areas: Collection[object] | None = None,
    encoding: str = "utf-8",
    separator: str | None = None,
    decimal: Literal[".", ","] = ".",
) -> Register:
    """Read a long table of administrative figures: naturalisations, permits, pupils, registered unemployed.

    Parameters
    ----------
    data : str, Path or DataFrame
        A text file or Parquet, as `read_areas` takes them, or a frame.
    columns : mapping of str to str
        What the columns ``area, year, indicator, source, definition`` are called in the file; by default by
        these names.
    groups : sequence of str, or mapping of str to str
        Group columns, such as ``["sex", "age"]``; a mapping renames them: ``{"citizenship": "nat"}``.
    value : str or mapping of str to str
        The column of the figures; or several, each with its label: ``{"men": "male", "women": "female"}``.
    across : str
        With several: what their labels are: a further group, "year" or "indicator".
    year, indicator, source, definition : str
        The same for all figures, where no column says it.
    zero : sequence of str
        Texts that mean 0, such as "-".
    missing : sequence of str or number
        Texts that mean a figure that is not published, besides the usual words such as ":" and "NA".
    rounding : float
        The figures are rounded to multiples of it: each is off by up to half of it.
    areas : collection of labels, optional
        The known areas; others are refused.
    encoding, separator, decimal
        Of a text file: see `read_areas`.

    Returns
    -------
    Register

    Raises
    ------
    SaeInputError
        If a column is absent, a label missing, a year none, an area unknown, a value no number, or a
        figure stands twice.
    SaeSpecError
        If the same is said twice or not at all.

    Examples
    --------
    >>> frame = pd.DataFrame({"ags": ["01001", "01002"], "men": ["15", "-"], "women": ["10", "5"]})
    >>> register = sae.auxiliary.read_register(
    ...     frame,
    ...     columns={"area": "ags"},
    ...     value={"men": "male", "women": "female"},
    ...     across="sex",
    ...     year="2020",
    ...     indicator="foreigners",
    ...     source="Central Register of Foreigners",
    ...     definition="foreign citizens, 31 December",
    ...     zero=["-"],
    ...     rounding=5,
    ... )
    >>> register.frame["value"].tolist(), register.frame["sex"].tolist()
    ([15.0, 0.0, 10.0, 5.0], ['male', 'male', 'female', 'female'])
    """
    if not isinstance(data, str | Path):
        name, cells = "the register", pandas_frame(data, "The figures").reset_index(drop=True)
        typed: Mapping[str, pd.Series] = {}
    else:
        file = open_areas(data, encoding=encoding, separator=separator, decimal=decimal, missing=missing)
        name, cells, typed = file.name, file.cells, file.numbers
    constants = {"year": year, "indicator": indicator, "source": source, "definition": definition}
    listed = [groups] if isinstance(groups, str) else groups
    named = dict(listed) if isinstance(listed, Mapping) else {group: group for group in listed}
    values = {value: ""} if isinstance(value, str) else dict(value)
    if (across != "") == isinstance(value, str):
        raise SaeSpecError(
            "across= says what the labels of several value columns are, and only there.",
            hint='For example value={"men": "male", "women": "female"}, across="sex".',
        )
    if across in ("area", *PROVENANCE, *named, "value", "rounding_error") or not 0 <= rounding < np.inf:
        raise SaeSpecError(
            f"across={across!r} with rounding={rounding!r} cannot be.",
            hint='across= names a further group, "year" or "indicator"; rounding is a number of at least 0.',
        )
    keys = _keys(cells, name, columns or {}, constants, named, across)
    require(cells, list(values), f"{name} has", "(of value=)")
    parts = []
    for column, label in values.items():
        numbers = _figures(cells, column, typed, zero, missing, decimal, name)
        parts.append(keys.assign(**({across: label} if across else {}), value=numbers))
    frame = pd.concat(parts, ignore_index=True)
    names = list(dict.fromkeys([*named, *([across] if across not in ("", *_ROLES) else [])]))
    frame = frame.assign(rounding_error=np.where(frame["value"].isna(), 0.0, rounding / 2))
    order = ["area", "year", *names, "indicator", "value", *PROVENANCE, "rounding_error"]
    texts = {column: "string" for column in order if column not in ("value", "rounding_error")}
    register = Register(frame[order].astype(texts), tuple(names))
    used = {*keys, *(columns or {}).values(), *named.values(), *values}
    _check(register, name, areas, [column for column in map(str, cells) if column not in used])
    return register


def _keys(
    cells: pd.DataFrame,
    name: str,
    columns: Mapping[str, str],
    constants: Mapping[str, str],
    groups: Mapping[str, str],
    across: str,
) -> pd.DataFrame:
    """Return the columns that say what the figures are, as text."""
    unknown = [role for role in columns if role not in _ROLES]
    if unknown:
        raise SaeSpecError(
            f"columns= names {name_some(map(repr, unknown))}, which is no part of a register.",
            hint=f"It names {', '.join(_ROLES)}; groups= names the others.",
        )
    reserved = [group for group in groups if group in (*_ROLES, "value", "rounding_error")]
    if reserved:
        raise SaeSpecError(
            f"A group cannot be called {name_some(reserved)}: the register has a column of that name.",
            hint=f'Rename it: groups={{"{reserved[0]}_group": "{groups[reserved[0]]}"}}.',
        )
    out: dict[str, Any] = {}
    for role in _ROLES:
        column = columns.get(role, role)
        text = constants.get(role, "")
        given = [
            f"the column {column!r}" if role in columns or (column in cells and role != across) else "",
            repr(text) if text else "",
            "the labels of value=" if role == across else "",
        ]
        if sum(map(bool, given)) > 1:
            raise SaeSpecError(
                f"The {role} is given twice: by {' and '.join(filter(None, given))}.", hint="Give it once."
            )
        if role == across:
            continue
        if text:
            out[role] = text
            continue
        if column not in cells and role != "area":
            raise SaeSpecError(
                f"{name} has no column {column!r}, and nothing else says the {role} of its figures.",
                hint=f'columns={{"{role}": ...}} names the column, {role}="..." says it of all figures.',
                column=column,
            )
        require(cells, [column], f"{name} has", f"(the {role})", hint='columns={"area": ...} names it.')
        out[role] = _texts(cells, column)
    for group, column in groups.items():
        require(cells, [column], f"{name} has", "(of groups=)")
        out[group] = _texts(cells, column)
    return pd.DataFrame(out, index=cells.index)


def _texts(cells: pd.DataFrame, column: str) -> pd.Series:
    """Return a column of labels as text; refuse gaps."""
    texts = code_texts(cells[column])
    return labels(texts.mask(texts == "")) if texts.isna().any() or (texts == "").any() else texts


def _figures(
    cells: pd.DataFrame,
    column: str,
    typed: Mapping[str, pd.Series],
    zero: Sequence[str],
    missing: Sequence[str | float],
    decimal: str,
    name: str,
) -> np.ndarray:
    if column in typed:
        return to_numbers(typed[column].to_frame(column), column)
    values, unpublished = cells[column], missing_words(missing)
    if unpublished:
        values = values.mask(code_texts(values).isin(unpublished))
    if not pd.api.types.is_numeric_dtype(values.dtype):
        values = values.astype("object")
        values = values.mask(values.isin([zero] if isinstance(zero, str) else list(zero)), "0")
        values = values.mask(values.map(lambda cell: isinstance(cell, str) and looks_missing(cell)))
        if decimal == ",":
            values = _with_points(values, column, name)
    numbers = to_numbers(
        values.to_frame(),
        column,
        what=f"{name} has",
        hint="Say what the texts mean: zero= for 0, missing= for a figure that is not published.",
    )
    if np.isinf(numbers).any():
        raise SaeInputError(f"{column} of {name} is infinite in {int(np.isinf(numbers).sum())} rows.")
    return numbers


def _with_points(values: pd.Series, column: str, name: str) -> pd.Series:
    """Return decimal commas as points; refuse points, which stand between thousands beside such commas."""
    cells = [cell if isinstance(cell, str) else "" for cell in values]
    pointed = [f"{cell!r} (row {row})" for row, cell in enumerate(cells, 1) if "." in cell]
    if pointed:
        raise SaeInputError(
            f"{column} of {name} holds points beside decimal commas in {len(pointed)} rows: "
            f"{name_some(pointed)}.",
            hint="Write thousands without a separator.",
            column=column,
        )
    return values.map(lambda cell: cell.replace(",", ".") if isinstance(cell, str) else cell)


def _check(register: Register, name: str, areas: Collection[object] | None, others: Sequence[str]) -> None:
    """Refuse years that are none, unknown areas, and figures that stand twice."""
    frame = register.frame
    odd = [year for year in frame["year"].unique() if year_of(year) is None]
    if odd:
        raise SaeInputError(
            f"The year of {name} begins with no year in {name_some(map(repr, odd))}.",
            hint='Expected "2020", "2020-01-01", "2020Q4" or the like.',
            column="year",
        )
    if areas is not None:
        known = set(labels(pd.Series(list(areas), dtype="object")))
        unknown = [area for area in frame["area"].unique() if area not in known]
        if unknown:
            raise SaeInputError(
                f"{name} has figures of {len(unknown)} unknown areas: {name_some(unknown)}.",
                hint="Add them to areas=, or take their figures out; other vintages need a crosswalk.",
                areas=unknown,
                column="area",
            )
    twice = frame.duplicated([*register.keys, *PROVENANCE])
    if twice.any():
        names = joined_labels(frame[twice], register.keys).unique()
        tell = f" Perhaps {name_some(others)} tells them apart: name it in groups=." if others else ""
        raise SaeInputError(
            f"{int(twice.sum()):,} figures of {name} stand twice: {name_some(names, 3)}.",
            hint=f"One figure for each {' × '.join(register.keys)} and definition.{tell}",
            areas=frame.loc[twice, "area"].unique(),
            column="area",
        )
