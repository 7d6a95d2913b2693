"""Which columns of a file of areas name its rows in a survey file, and which of its numbers may explain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from sae.auxiliary import AreaFile
from sae.auxiliary.areas import code_texts

__all__ = ["Keys", "covariates", "find_keys"]

_COMMON = 0.5  # share of the values of a column of the same name that both files hold
_OTHER_NAME = 0.8  # the same, under another name
_FEWEST = 5  # values of a column that is known by its values alone
_PER_COVARIATE = 10  # areas
_MOST = 4  # covariates that are proposed


@dataclass(frozen=True)
class Keys:
    """The columns that name the areas.

    Attributes
    ----------
    file : str
        Name of the file of the areas.
    columns : tuple of str
        As the areas call them; empty where no columns tell the rows apart.
    renamed : mapping of str to str
        Column of the survey for a key that the survey calls otherwise.
    problem : str
        Why there are no columns.
    """

    file: str
    columns: tuple[str, ...]
    renamed: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""


def find_keys(areas: AreaFile, survey: pd.DataFrame, by: Sequence[str]) -> Keys:
    """Return the first columns, by name or by values common with the survey, that tell the areas apart."""
    common: list[str] = []
    renamed: dict[str, str] = {}
    levels = {str(name): _levels(survey[name]) for name in survey}
    for name in map(str, areas.cells):
        values = _levels(areas.cells[name])
        if name in levels:
            if name in by or _share(values, levels[name]) >= _COMMON:
                common.append(name)
            continue
        if (name in areas.numbers and name not in by) or len(values) < _FEWEST:
            continue
        shares = {column: _share(values, texts) for column, texts in levels.items() if len(texts) >= _FEWEST}
        best = max(shares, key=lambda column: shares[column], default="")
        if best and shares[best] >= _OTHER_NAME:
            common.append(name)
            renamed[name] = best
    for count in range(1, len(common) + 1):
        keys = common[:count]
        if not areas.cells[keys].duplicated().any():
            used = {name: column for name, column in renamed.items() if name in keys}
            return Keys(areas.name, tuple(keys), used)
    problem = (
        f"{', '.join(common)} do not tell the rows of {areas.name} apart"
        if common
        else f"no column of {areas.name} holds the values of a column of the survey"
    )
    return Keys(areas.name, (), problem=problem)


def covariates(areas: AreaFile, keys: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the shares without a gap that a model of so many areas may have, and the other numbers."""
    numbers = {
        name: values
        for name, values in areas.numbers.items()
        if name not in keys
        and values.notna().all()
        and values.nunique() > 1
        and name.isidentifier()
        and name.isascii()
    }
    shares = [name for name, values in numbers.items() if values.between(0, 1).all() and values.nunique() > 2]
    most = max(1, min(_MOST, len(areas.cells) // _PER_COVARIATE))
    taken = shares[:most]
    return taken, [name for name in numbers if name not in taken]


def _levels(column: pd.Series) -> frozenset[str]:
    if pd.api.types.is_float_dtype(column.dtype) and not (column.dropna() % 1 == 0).all():
        return frozenset()
    return frozenset(code_texts(column.drop_duplicates()).dropna())


def _share(values: frozenset[str], others: frozenset[str]) -> float:
    """Share of the smaller set that the other holds too."""
    fewer = min(len(values), len(others))
    return len(values & others) / fewer if fewer else 0.0
