"""How segregated a group is in the parts of an area, from counts that have no sampling error."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sae.calls import answered
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.indicators.registry import REGISTRY
from sae.numerics.segregation import dissimilarity, isolation
from sae.tables import joined_labels, labels, pandas_frame, require, to_numbers

__all__ = ["segregation"]

_INDICES = {"dissimilarity": dissimilarity, "isolation": isolation}


@answered
def segregation(
    counts: pd.DataFrame,
    indicator: str = "dissimilarity",
    *,
    area: str | Sequence[str] = "area",
    part: str = "part",
    group: str = "group",
    other: str = "other",
) -> pd.DataFrame:
    """Measure the segregation of a group over the parts of each area.

    Parameters
    ----------
    counts : DataFrame
        One row per part of an area (districts, grid cells, census sections), with the number of members of
        the group and of the others.
    indicator : {"dissimilarity", "isolation"}
    area : str or list of str
        Column of the area; several columns (area, year) are areas of their own.
    part : str
        Column of the part.
    group, other : str
        Columns of the counts.

    Returns
    -------
    DataFrame
        One row per area, sorted: its columns, indicator, definition, value, parts, and the members of the
        group and of the others.

    Raises
    ------
    SaeSpecError
        If the index is not known.
    SaeInputError
        If a label or a count is missing, a count is negative, a part occurs twice, or an area has no member
        of either side or a single part.

    References
    ----------
    Duncan and Duncan (1955); Lieberson (1981): see `sae.numerics.segregation`.

    Examples
    --------
    >>> counts = pd.DataFrame({"area": "Graz", "part": [1, 2], "group": [3, 1], "other": [1, 1]})
    >>> sae.indicators.segregation(counts)[["area", "value", "parts"]].to_dict("list")
    {'area': ['Graz'], 'value': [0.25], 'parts': [2]}
    """
    if indicator not in _INDICES:
        raise SaeSpecError(
            f"{indicator!r} is no index of segregation.", hint=f"Indices are {', '.join(_INDICES)}."
        )
    frame = pandas_frame(counts, "The counts")
    areas = [area] if isinstance(area, str) else list(area)
    require(frame, [*areas, part, group, other], "The counts have")
    names = joined_labels(frame, [*areas, part]).to_numpy()
    members = {column: _members(frame, column, names) for column in (group, other)}
    twice = list(dict.fromkeys(names[pd.Series(names).duplicated()]))
    if twice:
        raise SaeInputError(
            f"{len(twice)} parts occur more than once: {name_some(twice)}.",
            hint="Give one row per part of an area.",
            areas=twice,
        )
    mixed = [name for name in areas if frame[name].dtype == object]  # 1 and "1" are one label
    frame = frame.assign(**{name: labels(frame[name]) for name in mixed})
    grouped = frame.groupby(areas, sort=True, observed=True)
    codes = grouped.ngroup().to_numpy()
    table = grouped.size().rename("parts").reset_index()
    totals = {column: np.bincount(codes, values, len(table)) for column, values in members.items()}
    _check_areas(table, areas, totals)
    values = _INDICES[indicator](members[group], members[other], codes, len(table))
    table = table.assign(indicator=indicator, definition=REGISTRY[indicator].definition, value=values)
    return table[[*areas, "indicator", "definition", "value", "parts"]].assign(**totals)


def _members(frame: pd.DataFrame, column: str, names: np.ndarray) -> np.ndarray:
    values = to_numbers(frame, column, names=names, what="The counts have")
    bad = names[~(np.isfinite(values) & (values >= 0))]
    if len(bad):
        raise SaeInputError(
            f"{len(bad)} of {len(values)} counts of {column} are missing or negative: {name_some(bad)}.",
            hint="A part without anybody counts 0.",
            areas=bad,
            column=column,
        )
    return values


def _check_areas(table: pd.DataFrame, areas: list[str], totals: dict[str, np.ndarray]) -> None:
    names = joined_labels(table, areas).to_numpy()
    for column, total in totals.items():
        nobody = names[total == 0]
        if len(nobody):
            raise SaeInputError(
                f"{len(nobody)} of {len(names)} areas have no member of {column}: {name_some(nobody)}.",
                hint="There is no segregation without members; take these areas out.",
                areas=nobody,
                column=column,
            )
    single = names[table["parts"].to_numpy() == 1]
    if len(single):
        raise SaeInputError(
            f"{len(single)} of {len(names)} areas have a single part: {name_some(single)}.",
            hint="An index over one part says nothing; take finer parts, or take these areas out.",
            areas=single,
        )
