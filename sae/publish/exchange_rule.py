"""Which domains may cross a border: those that pass the primary rule, and hide those that do not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from sae.disclosure import PrimaryRules, protect
from sae.errors import SaeInputError, name_some
from sae.tables import labels

__all__ = ["TOTAL", "crossing_rows"]

TOTAL = "total"  # label of a group column in rows over all of its groups
# of one survey each the quotient of the two others, or its complement: what hides one hides all
_TIED = (("activity_rate", "employment_rate", "unemployment_rate"),)
_JOINT = "\x1f"


def crossing_rows(frame: pd.DataFrame, by: Sequence[str], rules: PrimaryRules) -> np.ndarray:
    """Return what becomes of each row of direct estimates: "published", "primary", "secondary" or "empty".

    Parameters
    ----------
    frame : DataFrame
        Columns of direct estimates.
    by : sequence of str
        Those that make the domains; a row over all groups of one has the label "total" there.
    rules : PrimaryRules
        On persons.

    Raises
    ------
    SaeInputError
        If the records of a sampled domain are not counted, or parts have more records than their total.

    Notes
    -----
    The numbers of records add up over groups, and so do the numerators and denominators behind the figures.
    What cannot be solved for the one from the sums cannot be solved for the others, whose sums are the same.
    Rates of activity, employment and unemployment tell each other: the smallest of their numbers counts.
    """
    unknown = frame["n"].isna() & frame["estimate"].notna()
    if unknown.any():
        domains = frame.loc[unknown, "domain"]
        raise SaeInputError(
            f"The number of records of {int(unknown.sum())} domains is not known: {name_some(domains)}.",
            hint="Without it nobody can say whether they may leave the office.",
            areas=domains,
            column="n",
        )
    n = frame["n"].fillna(0).astype(float)
    out = np.full(len(frame), "empty", dtype=object)
    keys = [*by, "time"] if "time" not in by else list(by)
    texts = pd.DataFrame({name: labels(frame[name]).to_numpy(dtype=object) for name in keys})
    persons = _smallest(frame["indicator"], texts, n)
    for _, places in frame.groupby("indicator", sort=False).indices.items():
        out[places] = _judged(texts.iloc[places], n.to_numpy()[places], persons[places], rules)
    return np.where(n.to_numpy() > 0, out, "empty")


def _smallest(indicator: pd.Series, texts: pd.DataFrame, n: pd.Series) -> np.ndarray:
    """Return the number of records that the rule is about: of tied indicators the smallest."""
    home = {name: group[0] for group in _TIED for name in group}
    groups = [indicator.map(lambda name: home.get(name, name)).to_numpy(), *(texts[name] for name in texts)]
    least = n.groupby(groups, sort=False).transform("min").to_numpy()
    return np.where(n > 0, np.maximum(least, 1.0), 0.0)  # a figure of somebody


def _judged(texts: pd.DataFrame, n: np.ndarray, persons: np.ndarray, rules: PrimaryRules) -> np.ndarray:
    """Return the status of the rows of one indicator, by sums over its groups where it has totals."""
    groups = [name for name in map(str, texts) if (texts[name] == TOTAL).any()]
    least = rules.persons or 2
    if not groups:
        return np.where(persons < least, "primary", "published").astype(object)
    others = [name for name in map(str, texts) if name not in groups]
    cells = pd.DataFrame({name: texts[name].to_numpy() for name in others})
    cells["_cell"] = texts[groups].agg(_JOINT.join, axis=1).to_numpy()
    cells["_n"], cells["_persons"], cells["_row"] = n, persons, np.arange(len(n))
    sums = list(_sums(texts[groups]))
    whole = _filled(cells, others, sums)
    status = protect(
        whole,
        {**{name: {} for name in others}, "_cell": sums},
        value="_n",
        rules=rules,
        persons="_persons",
    )
    out = np.empty(len(n), dtype=object)
    own = status["_row"].notna().to_numpy()
    out[status["_row"][own].astype(int)] = status["status"][own].to_numpy()
    return out


def _sums(groups: pd.DataFrame) -> Iterator[tuple[str, list[str]]]:
    """Yield each total with the cells of every next finer breakdown, and one for what none of them names."""
    distinct = groups.drop_duplicates()
    names = list(map(str, distinct))
    kinds: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for row in distinct.itertuples(index=False, name=None):
        kind = tuple(name for name, value in zip(names, row, strict=True) if value != TOTAL)
        kinds.setdefault(kind, []).append(row)
    for coarse, fine in sorted(combinations(kinds, 2), key=str):
        if len(coarse) > len(fine):
            coarse, fine = fine, coarse
        between = any(set(coarse) < set(kind) < set(fine) for kind in kinds)
        if not set(coarse) < set(fine) or between:
            continue
        for row in kinds[coarse]:
            at = [names.index(name) for name in coarse]
            parts = [part for part in kinds[fine] if all(part[k] == row[k] for k in at)]
            joined = _JOINT.join(row)
            yield joined, [*map(_JOINT.join, parts), f"{joined}{_JOINT}{' '.join(fine)} not known"]


def _filled(
    cells: pd.DataFrame, others: Sequence[str], sums: Sequence[tuple[str, list[str]]]
) -> pd.DataFrame:
    """Add the cells that nobody is in, and the records of each total that its parts do not name."""
    places = cells[list(others)].drop_duplicates() if others else pd.DataFrame(index=[0])
    names = list(dict.fromkeys([*cells["_cell"], *(name for one, parts in sums for name in (one, *parts))]))
    grid = places.merge(pd.DataFrame({"_cell": names}), how="cross")
    whole = grid.merge(cells, on=[*others, "_cell"], how="left", validate="one_to_one")
    n = whole["_n"].fillna(0.0).to_numpy(dtype=float)
    place = {name: k for k, name in enumerate(names)}
    table = n.reshape(len(places), len(names)).copy()
    for one, parts in sums:
        rest = table[:, place[one]] - table[:, [place[name] for name in parts[:-1]]].sum(axis=1)
        if (rest < 0).any():
            raise SaeInputError(
                f"The parts of {one.replace(_JOINT, ' / ')} have more records than it in "
                f"{int((rest < 0).sum())} places.",
                hint="Their rows are to be of one survey and one universe.",
                column="n",
            )
        table[:, place[parts[-1]]] = rest
    whole["_n"] = table.ravel()
    rest = whole["_persons"].isna().to_numpy()
    whole["_persons"] = np.where(rest, whole["_n"], whole["_persons"])
    return whole
