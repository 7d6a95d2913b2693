"""Rates from registers: one administrative count over another, by area and year, without sampling error."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sae.calls import answered
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.indicators.definition import Indicator
from sae.indicators.registry import REGISTRY
from sae.tables import joined_labels, pandas_frame, require, to_numbers

__all__ = ["register_rate"]

_FIGURE = ["indicator", "value", "source", "definition"]


@answered
def register_rate(table: pd.DataFrame, indicator: str, *, group: str = "group") -> pd.DataFrame:
    """Divide one count of a long administrative table by another, by area, year and group.

    Parameters
    ----------
    table : DataFrame
        Columns area, year, group, indicator, value, source, definition: a figure a row. "naturalisation_rate"
        takes the figures named "naturalisations" (acquired in the year) and "foreign_residents" (on 1 January
        of the year); "long_term_residence_share" takes "long_term_residents" and "valid_permits" (both on 31
        December). Other figures are left alone.
    indicator : {"naturalisation_rate", "long_term_residence_share"}
    group : str
        Column of the group.

    Returns
    -------
    DataFrame
        One row per area, year and group, sorted: value (a share), numerator, denominator, version, and the
        sources and definitions of both figures as the table has them.

    Raises
    ------
    SaeSpecError
        If the indicator is none of registers.
    SaeInputError
        If a figure is missing, negative, given twice, or without its counterpart, or more are counted than
        there are.

    Examples
    --------
    >>> long = pd.DataFrame({"area": "Graz", "year": 2023, "group": "non_eu", "source": "register",
    ...     "definition": "usual residents", "value": [30, 1500],
    ...     "indicator": ["naturalisations", "foreign_residents"]})
    >>> sae.indicators.register_rate(long, "naturalisation_rate")["value"].tolist()
    [0.02]
    """
    of_registers = {name: one for name, one in REGISTRY.items() if one.kind == "register_rate"}
    if indicator not in of_registers:
        raise SaeSpecError(
            f"{indicator!r} is no indicator of registers.", hint=f"These are {', '.join(of_registers)}."
        )
    definition = of_registers[indicator]
    frame = pandas_frame(table, "The figures")
    keys = ["area", "year", group]
    require(frame, [*keys, *_FIGURE], "The figures have")
    top, bottom = (_figures(frame, part, keys) for part in definition.parts[:2])
    for one, other, lacking in ((top, bottom, definition.denominator), (bottom, top, definition.numerator)):
        alone = one.index.difference(other.index)
        if len(alone):
            names = list(alone)
            raise SaeInputError(
                f"{len(names)} of {len(one)} cells have no {lacking}: {name_some(names)}.",
                hint="Give both figures of each area, year and group, or leave both out.",
                areas=names,
            )
    bottom = bottom.loc[top.index]
    _check_sizes(definition, top["value"], bottom["value"])
    rates = top[keys].assign(
        indicator=indicator,
        version=definition.version,
        value=top["value"] / bottom["value"],
        numerator=top["value"],
        denominator=bottom["value"],
    )
    for name in ("source", "definition"):
        rates[name] = [
            "; ".join(dict.fromkeys(map(str, pair))) for pair in zip(top[name], bottom[name], strict=True)
        ]
    return rates.sort_values(keys, ignore_index=True)


def _figures(frame: pd.DataFrame, name: str, keys: list[str]) -> pd.DataFrame:
    """Return the rows of one figure, each by the name of its cell."""
    rows = frame.loc[(frame["indicator"] == name).fillna(False).to_numpy(bool), [*keys, *_FIGURE]]
    if rows.empty:
        others = frame["indicator"].dropna().unique()
        raise SaeInputError(
            f"The figures have no {name!r} among {name_some(map(str, others))}.",
            hint="Name it so in the column indicator.",
            column="indicator",
        )
    names = joined_labels(rows, keys).to_numpy()
    unknown = names[rows[["source", "definition"]].isna().any(axis=1).to_numpy()]
    if len(unknown):
        raise SaeInputError(
            f"{len(unknown)} of {len(rows)} figures of {name} have no source or no definition: "
            f"{name_some(unknown)}.",
            hint="Say where each figure comes from and whom it counts.",
            areas=unknown,
        )
    values = to_numbers(rows, "value", names=names, what="The figures have")
    bad = names[~(np.isfinite(values) & (values >= 0))]
    if len(bad):
        raise SaeInputError(
            f"{len(bad)} of {len(values)} figures of {name} are missing or negative: {name_some(bad)}.",
            areas=bad,
            column="value",
        )
    twice = list(dict.fromkeys(names[pd.Series(names).duplicated()]))
    if twice:
        raise SaeInputError(
            f"{len(twice)} cells have several figures of {name}: {name_some(twice)}.",
            hint="Keep one source and one definition for each area, year and group.",
            areas=twice,
        )
    return rows.assign(value=values).set_axis(pd.Index(names), axis=0)


def _check_sizes(definition: Indicator, top: pd.Series, bottom: pd.Series) -> None:
    for bad, what, hint in (
        (bottom == 0, "are 0", "There is no rate of nobody; take these cells out."),
        (
            top > bottom,
            f"are fewer than the {definition.numerator}",
            "The two figures are not of the same persons: check area, group and date.",
        ),
    ):
        if bad.any():
            names = list(bottom.index[bad])
            raise SaeInputError(
                f"The {definition.denominator} of {len(names)} of {len(bottom)} cells {what}: "
                f"{name_some(names)}.",
                hint=hint,
                areas=names,
            )
