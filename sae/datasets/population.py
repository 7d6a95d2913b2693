"""The table of the persons: from the codes of the regions to one row per person, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from sae.datasets.further import variables_of
from sae.datasets.geography import NATION, Geography
from sae.datasets.persons import RegionEffects, Residents
from sae.datasets.work import jobs
from sae.survey.variables import VARIABLES, YES_NO

__all__ = ["core", "further", "labour_force", "residents"]

_REGISTERS = {"naturalised": YES_NO, "residence_permit": ("long_term", "temporary", "none")}
_LEVELS = {name: variable.levels for name, variable in VARIABLES.items() if variable.levels} | _REGISTERS
_NATIONAL_LINE = 11_000.0  # of the national definition of poverty: an income, not a share of the median
_NAMES = np.int64(1_000_000)  # of persons, and of households, that one region can give


def core(where: Geography, parts: Sequence[Residents]) -> pd.DataFrame:
    """Put the regions together; numbers within a region become identifiers of the nation."""
    persons = np.array([len(part.age) for part in parts])
    region = np.repeat(np.arange(len(parts), dtype=np.int32), persons)
    larger, of_region = np.unique(where.nuts1, return_inverse=True)
    psu_values, psu = np.unique(region * np.int64(1000) + _joined(parts, "psu"), return_inverse=True)
    psu_labels = [f"{where.codes[code // 1000]}-{code % 1000 + 1:03d}" for code in psu_values.tolist()]
    birth, citizenship = _joined(parts, "birth"), _joined(parts, "citizenship")
    homes = np.concatenate([part.home_name[part.household] for part in parts])
    columns: dict[str, object] = {
        "nation": _categorical(np.zeros(len(region), dtype=np.int8), [NATION]),
        "nuts1": _categorical(of_region[region], larger),
        "region": _categorical(region, where.codes),
        "psu": _categorical(psu, psu_labels),
        "household": region * _NAMES + homes,
        "person": region * _NAMES + _joined(parts, "name"),
        "age": _joined(parts, "age"),
        "sex": _harmonised("sex", _joined(parts, "sex")),
        "birth": _harmonised("birth", birth > 0),
        "citizenship": _harmonised("citizenship", citizenship > 0),
        "education": _harmonised("education", _joined(parts, "education")),
        "labour_status": _harmonised("labour_status", _joined(parts, "labour_status")),
        "income": _joined(parts, "income"),
        "birth_group": _harmonised("birth_group", birth),
        "citizenship_group": _harmonised("citizenship_group", citizenship),
    }
    return pd.DataFrame(columns)


def further(
    regions: Sequence[RegionEffects], parts: Sequence[Residents], line: float, index: pd.Index
) -> pd.DataFrame:
    """Return the columns beyond the core, in its order."""
    codes = [variables_of(region, part, line) for region, part in zip(regions, parts, strict=True)]
    poor = (_joined(parts, "income") < _NATIONAL_LINE).astype(np.int8)
    return pd.DataFrame(_columns(codes) | {"poor": poor}, index=index)


def labour_force(
    regions: Sequence[RegionEffects], parts: Sequence[Residents], index: pd.Index
) -> pd.DataFrame:
    """Return the columns that move by quarter: the labour status, and what depends on it."""
    codes = [
        {"labour_status": part.labour_status, **jobs(region, part)}
        for region, part in zip(regions, parts, strict=True)
    ]
    return pd.DataFrame(_columns(codes), index=index)


def residents(table: pd.DataFrame) -> Iterator[Residents]:
    """Return the persons of each region of the first year, without what chance gave them."""
    region = table["region"].cat.codes.to_numpy()
    ends = np.searchsorted(region, np.arange(region[-1] + 2))
    numbers = {name: table[name].to_numpy() for name in ("household", "person", "age", "income")}
    names = ("psu", "sex", "birth_group", "citizenship_group", "education", "labour_status")
    codes = {name: table[name].cat.codes.to_numpy() for name in names}
    for number, (start, end) in enumerate(pairwise(ends)):
        here = slice(start, end)
        household = numbers["household"][here] - number * _NAMES
        psu = codes["psu"][here]
        yield Residents(
            psu=psu - psu[0],
            household=household - 1,
            name=numbers["person"][here] - number * _NAMES,
            home_name=np.arange(1, household[-1] + 1),
            age=numbers["age"][here],
            sex=codes["sex"][here],
            birth=codes["birth_group"][here],
            citizenship=codes["citizenship_group"][here],
            education=codes["education"][here],
            labour_status=codes["labour_status"][here],
            income=numbers["income"][here],
        )


def _columns(codes: Sequence[Mapping[str, np.ndarray]]) -> dict[str, Any]:
    return {name: _harmonised(name, np.concatenate([part[name] for part in codes])) for name in codes[0]}


def _joined(parts: Sequence[Residents], name: str) -> np.ndarray:
    return np.concatenate([getattr(part, name) for part in parts])


def _harmonised(name: str, codes: np.ndarray) -> Any:
    return _categorical(codes, _LEVELS[name])


def _categorical(codes: np.ndarray, labels: Sequence[str] | np.ndarray) -> Any:
    return pd.Categorical.from_codes(codes.astype(np.int64), pd.Index([*labels]))
