"""Totals and their parts: areas that make regions, groups that make everybody, within the stated rounding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from sae.auxiliary.registers import PROVENANCE, Register
from sae.calls import answered
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.tables import joined_labels

__all__ = ["check_totals", "compare_totals", "regroup"]

_EXACT = 1e-9  # relative: sums of the same decimals in another order
_MOST = 0.5  # of the cells: where the parts exceed the total in more, they overlap
_LARGE = 10.0  # times what rounding allows: below, sums agree by chance


@answered
def compare_totals(register: Register, column: str, parts: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Set every total beside the sum of its parts.

    Parameters
    ----------
    register : Register
    column : str
        "area", "indicator" or a group column: what totals and parts are labels of.
    parts : mapping of str to sequence of str
        Labels of the parts of each total: ``{"total": ["native", "foreign"]}``, or several steps
        ``{"00": ["01", "02"], "01": ["011", "012"]}``.

    Returns
    -------
    DataFrame
        One row per total and cell of the other columns, these labels in front: ``total, parts, difference``
        (total - parts), ``allowed`` (by the rounding of all figures that it is made of) and ``agrees``,
        missing where the total or a part is.

    Raises
    ------
    SaeSpecError
        If a part stands twice in a total or is its own total, or the register has no such label.

    Examples
    --------
    >>> frame = pd.DataFrame({"area": ["AT", "AT1", "AT2"], "year": "2020", "value": [30, 15, 10]})
    >>> texts = {"indicator": "residents", "source": "Register", "definition": "1 January"}
    >>> register = sae.auxiliary.read_register(frame, rounding=5, **texts)
    >>> table = sae.auxiliary.compare_totals(register, "area", {"AT": ["AT1", "AT2"]})
    >>> table[["total", "parts", "allowed", "agrees"]].values.tolist()
    [[30.0, 25.0, 7.5, True]]
    """
    _check_parts(register, column, parts)
    register = register.single("The totals")
    beside = [name for name in register.keys if name != column]
    tables = [_compared(register.frame, column, beside, total, labels) for total, labels in parts.items()]
    return pd.concat(tables, ignore_index=True)[
        [*register.keys, "total", "parts", "difference", "allowed", "agrees"]
    ]


@answered
def check_totals(register: Register, column: str, parts: Mapping[str, Sequence[str]]) -> None:
    """Refuse totals that are not the sum of their parts; see `compare_totals` for the arguments.

    Raises
    ------
    SaeInputError
        Naming the cells and differences, the figures that are missing, or parts that overlap because
        their sum exceeds the total in most cells.

    Examples
    --------
    >>> frame = pd.DataFrame({"area": ["AT", "AT1", "AT2"], "year": "2020", "value": [30, 15, 10]})
    >>> texts = {"indicator": "residents", "source": "Register", "definition": "1 January"}
    >>> register = sae.auxiliary.read_register(frame, **texts)
    >>> sae.auxiliary.check_totals(register, "area", {"AT": ["AT1", "AT2"]})
    Traceback (most recent call last):
    ...
    sae.errors.SaeInputError: 1 of 1 totals are not the sum of parts: AT / 2020 / residents: 30, not 25 (5).
    Correct the figures, or state the rounding= that explains the differences.
    """
    table = compare_totals(register, column, parts)
    unknown = table["agrees"].isna()
    if unknown.any():
        cells = joined_labels(table[unknown], register.keys)
        published = register.frame.dropna(subset="value")[column].value_counts()
        rare = sorted({*parts, *_named(parts)}, key=lambda label: int(published.get(label, 0)))
        raise SaeInputError(
            f"{int(unknown.sum()):,} of {len(table):,} totals cannot be checked, for the total or a part has "
            f"no figure: {name_some(cells, 3)}. Of all, {rare[0]!r} has the fewest figures.",
            hint="Leave these cells out with register.select(...), or read empty cells as 0: zero=.",
            areas=table.loc[unknown, "area"].unique(),
            column=column,
        )
    wrong = table[~table["agrees"].astype(bool)]
    if not len(wrong):
        return
    above = wrong[wrong["difference"] < 0]
    if len(above) == len(wrong) and len(above) > max(_MOST * len(table), 1):
        times = float((above["parts"] / above["total"]).replace(np.inf, np.nan).max())
        raise SaeInputError(
            f"{name_some(_named(parts), 8)} are no partition of {name_some(parts)}: they overlap, for their "
            f"sum exceeds it in {len(above):,} of {len(table):,} cells (up to {times:.3g} times).",
            hint="Name parts that share nobody and together are everybody.",
            areas=above["area"].unique(),
            column=column,
        )
    shown = [
        f"{cell}: {row.total:,.10g}, not {row.parts:,.10g} ({row.difference:,.6g})"
        for cell, row in zip(joined_labels(wrong, register.keys), wrong.itertuples(), strict=True)
    ]
    raise SaeInputError(
        f"{len(wrong):,} of {len(table):,} totals are not the sum of parts: {name_some(shown, 3)}.",
        hint="Correct the figures, or state the rounding= that explains the differences.",
        areas=wrong["area"].unique(),
        column=column,
    )


@answered
def regroup(
    register: Register, column: str, into: Mapping[str, Sequence[str]], *, total: str | None = None
) -> Register:
    """Add up the labels of a column to new ones: countries to groups, men and women to all, areas to regions.

    Parameters
    ----------
    register : Register
    column : str
    into : mapping of str to sequence of str
        New label to the labels that it is the sum of; one label is renamed. A label may stand alone and in a
        sum: ``{"foreign": ["foreign"], "all": ["native", "foreign"]}``.
    total : str, optional
        The label of everybody: what is added up must then make this total in every cell, and labels that
        `into` does not name are left out; they overlap with those it names. Without it `into` names
        every label.

    Returns
    -------
    Register
        Its figures are off by the rounding of all their parts; a sum with a part that is not published is
        not published.

    Raises
    ------
    SaeInputError
        If labels overlap, do not make the total, or are neither named nor parts of a total; if a figure
        has several definitions.
    SaeSpecError
        If a label is unknown, or stands twice in a sum.

    Examples
    --------
    >>> frame = pd.DataFrame({"area": "A", "year": "2020", "sex": ["f", "m", "all"], "value": [5, 4, 9]})
    >>> texts = {"indicator": "residents", "source": "Register", "definition": "1 January"}
    >>> register = sae.auxiliary.read_register(frame, groups=["sex"], **texts)
    >>> sae.auxiliary.regroup(register, "sex", {"everybody": ["f", "m"]}, total="all").frame["value"].tolist()
    [9.0]
    """
    added = {new: list(old) for new, old in into.items() if list(old) != [total]}
    _check_parts(register, column, {**added, **({total: [total]} if total is not None else {})}, own=True)
    register = register.single("The sums")
    named = _named(added)
    if total is not None:
        check_totals(register, column, {total: named})
    else:
        others = [label for label in register.levels(column) if label not in named]
        if others:
            raise SaeInputError(
                f"{column} has labels that belong to none of the new ones: {name_some(others)}.",
                hint='Name them in into=, or the total= that those named make: total="all".',
                column=column,
            )
        _refuse_overlap(register, column, [labels for labels in added.values() if len(labels) > 1])
    beside = [name for name in register.keys if name != column]
    parts = [_summed(register.frame, column, beside, new, list(old)) for new, old in into.items()]
    frame = pd.concat(parts, ignore_index=True)[list(register.frame)]
    return Register(frame.astype(register.frame.dtypes.to_dict()), register.groups)


def _named(parts: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the labels of all parts, each once."""
    return list(dict.fromkeys(label for labels in parts.values() for label in labels))


def _check_parts(
    register: Register, column: str, parts: Mapping[str, Sequence[str]], *, own: bool = False
) -> None:
    """Refuse unknown labels, labels named twice, and (but where `own`) totals among their parts."""
    if column not in register.keys or column == "year":
        raise SaeSpecError(
            f"{column!r} is no column whose labels add up.",
            hint=f"Choose one of {name_some(name for name in register.keys if name != 'year')}.",
        )
    known = set(register.levels(column))
    labels = [*_named(parts), *([] if own else parts)]
    unknown = [label for label in labels if label not in known]
    if unknown:
        raise SaeSpecError(
            f"The register has no {column} {name_some(map(repr, unknown))}.",
            hint=f"It has {name_some(register.levels(column), 12)}.",
            column=column,
        )
    twice = {
        label: total for total, names in parts.items() for label in names if list(names).count(label) > 1
    }
    if twice:
        shown = [f"{label} in {total}" for label, total in twice.items()]
        raise SaeSpecError(f"{name_some(shown)} would be counted twice.", column=column)
    circle = [total for total, own_parts in parts.items() if total in own_parts and not own]
    if circle:
        raise SaeSpecError(f"{name_some(circle)} would be a part of itself.", column=column)


def _compared(
    frame: pd.DataFrame, column: str, beside: list[str], total: str, labels: Sequence[str]
) -> pd.DataFrame:
    whole = frame.loc[frame[column] == total, [*beside, "value", "rounding_error"]]
    parts = frame[frame[column].isin(list(labels))].groupby(beside, sort=False)
    sums = parts.agg(
        parts=("value", "sum"), published=("value", "count"), error=("rounding_error", "sum")
    ).reset_index()
    both = whole.rename(columns={"value": "total"}).merge(sums, on=beside, how="outer", sort=False)
    complete = both["published"].eq(len(labels)) & both["total"].notna()
    both["parts"] = both["parts"].where(both["published"].eq(len(labels)))
    both["difference"] = both["total"] - both["parts"]
    both["allowed"] = both["rounding_error"] + both["error"]
    within = both["difference"].abs() <= both["allowed"] + _EXACT * both["total"].abs()
    both["agrees"] = within.astype("boolean").mask(~complete)
    return both.assign(**{column: total})


def _summed(frame: pd.DataFrame, column: str, beside: list[str], new: str, labels: list[str]) -> pd.DataFrame:
    rows = frame[frame[column].isin(labels)]
    cells = rows.groupby(beside, sort=False)
    sums = cells.agg(
        value=("value", "sum"),
        published=("value", "count"),
        figures=("value", "size"),
        rounding_error=("rounding_error", "sum"),
    ).reset_index()
    for name in PROVENANCE:
        texts = rows[name].unique()
        same = len(texts) == 1  # one text at a time is slow
        sums[name] = texts[0] if same else cells[name].agg(lambda few: "; ".join(few.unique())).to_numpy()
    short = sums["figures"] < len(labels)
    if short.any():
        names = joined_labels(sums[short], beside)
        raise SaeInputError(
            f"{int(short.sum()):,} of {len(sums):,} sums of {name_some(labels)} lack a part: "
            f"{name_some(names, 3)}.",
            hint="A figure that is 0 stands in the register as 0; one that is not published as missing.",
            areas=names,
            column=column,
        )
    unpublished = sums["published"] < sums["figures"]
    sums.loc[unpublished, ["value", "rounding_error"]] = [np.nan, 0.0]
    return sums.assign(**{column: new})


def _refuse_overlap(register: Register, column: str, sums: Sequence[Sequence[str]]) -> None:
    """Refuse labels of which one is the sum of all others, of a sum or the column, or of two, everywhere."""
    beside = [name for name in register.keys if name != column]
    table = register.frame.pivot(index=beside, columns=column, values="value")
    error = register.frame["rounding_error"].max()
    values = {label: table[label].to_numpy(dtype=float) for label in register.levels(column)}
    for labels in sums:
        whole = [(label, tuple(other for other in values if other != label)) for label in labels]
        for label, others in dict.fromkeys([*_sums(labels), *(pair for pair in whole if len(pair[1]) > 1)]):
            gap = np.abs(values[label] - sum(values[other] for other in others))
            allowed = (len(others) + 1) * error + _EXACT * np.abs(values[label])
            known = np.isfinite(gap)
            large = np.nansum(values[label]) > _LARGE * np.sum(allowed[known])
            if known.any() and large and (gap[known] <= allowed[known]).all():
                raise SaeInputError(
                    f"The labels of {column} overlap: {label!r} is the sum of {name_some(others)} in all "
                    f"{int(known.sum()):,} cells.",
                    hint=f'Leave it out of the sum, and name it: total="{label}".',
                    column=column,
                )


def _sums(labels: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for label in labels:
        others = tuple(other for other in labels if other != label)
        if len(others) > 1:
            yield label, others
        if len(others) > 2:
            yield from ((label, pair) for pair in combinations(others, 2))
