"""What EU-SILC does not deliver and its rules give: deprivation, housing costs, rooms.

Every rule is three-valued: where the answers that are missing could decide either way, the result is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from sae.survey.variables import VARIABLES
from sae.tables import labels

__all__ = ["RULES", "made_variables", "modified_oecd_scale", "rooms_needed"]

_ARREARS = ("HS011", "HS021", "HS031")  # rent or mortgage, bills, instalments: 1 once, 2 more often, 3 no
_ITEMS_2020 = ("HS040", "HS050", "HS060", "HS070", "HS080", "HS100", "HS110", "HH050")
_ITEMS_2030 = ("HS040", "HS050", "HS060", "HH050", "HS110", "HD080")
_PERSONAL = ("PD020", "PD030", "PD050", "PD060", "PD070", "PD080")
_LACKS = 2  # no, the household or person cannot afford it
_ANSWERS = (1, 2, 3)  # of items and arrears; any other code is no answer
_ADULT = 16  # the personal questionnaire is for persons of this age and over
_MOST_ROOMS = 6  # HH030 ends with "6 or more"
_OVERBURDEN = 0.4  # of disposable income


def modified_oecd_scale(age: Sequence[float], household: Sequence[object]) -> np.ndarray:
    """Equivalised size of each person's household: 1, and .5 for every other member of 14 and over, .3 below.

    Parameters
    ----------
    age : sequence of float, shape (n,)
        Age in completed years at the end of the income reference period.
    household : sequence, shape (n,)
        Household of each person.

    Returns
    -------
    ndarray of float, shape (n,)
        nan in a household of which an age is missing.

    References
    ----------
    Commission Implementing Regulation (EU) 2019/2242, Article 2(8): the modified OECD scale.

    Examples
    --------
    >>> from sae.survey import modified_oecd_scale
    >>> modified_oecd_scale([40, 38, 9, 71], ["a", "a", "a", "b"]).tolist()
    [1.8, 1.8, 1.8, 1.0]
    """
    ages = pd.Series(np.asarray(age, dtype=np.float64))
    groups = pd.factorize(np.asarray(household, dtype=object))[0]
    older = (ages >= 14).groupby(groups).transform("sum")
    younger = (ages < 14).groupby(groups).transform("sum")
    unknown = ages.isna().groupby(groups).transform("any")
    # a household of children only counts its first member as the person of weight 1 too
    size = np.where(older > 0, 1 + 0.5 * (older - 1) + 0.3 * younger, 1 + 0.3 * (younger - 1))
    return np.where(unknown, np.nan, np.round(size, 10))


def rooms_needed(frame: pd.DataFrame) -> np.ndarray:
    """Rooms that each person's household needs by the standard of the overcrowding rate; nan where unknown.

    One for the household; one per couple; one per other person of 18 and over; one per pair of the same sex
    of 12 to 17, and one for each left over; one per pair of children under 12.
    """
    household = pd.Series(pd.factorize(frame["DB030"])[0])
    age, sex = _age(frame), _numbers(frame["RB090"])
    person, partner = labels(frame["RB030"]).tolist(), labels(frame["RB240"], keep_missing=True)
    named = [None if pd.isna(other) else other for other in partner]
    here = set(zip(household, person, strict=True))
    couples = {(home, other) for home, other in zip(household, named, strict=True) if (home, other) in here}
    paired = pd.Series(  # who names somebody of the household, and whom somebody names
        [
            (home, one) in couples or (home, other) in couples
            for home, one, other in zip(household, person, named, strict=True)
        ]
    )
    single = ~paired
    young = single & age.between(12, 17)
    counts: dict[str, pd.Series] = {
        "couples": paired / 2,
        "adults": single & (age >= 18),
        "boys": young & (sex == 1),
        "girls": young & (sex == 2),
        "children": single & (age < 12),
        "unknown": single & (age.isna() | (young & ~sex.isin((1, 2)))),
    }
    n = {name: values.groupby(household).transform("sum") for name, values in counts.items()}
    pairs_of = {name: np.ceil(n[name] / 2) for name in ("boys", "girls", "children")}
    shared = pairs_of["boys"] + pairs_of["girls"] + pairs_of["children"]
    rooms = 1 + np.ceil(n["couples"]) + n["adults"] + shared
    return np.where(n["unknown"] > 0, np.nan, rooms)


def made_variables(frame: pd.DataFrame, given: frozenset[str]) -> tuple[dict[str, pd.Series], list[str]]:
    """Make what the columns allow and the layout does not map (`given`); the notes say what was made of what.

    `frame` is one year, its flags applied: one row per person, column names in capitals.
    """
    made, notes = {}, []
    for name, (needed, rule) in RULES.items():
        if name in given or not all(_filled(frame, column) for column in needed):
            continue
        codes = rule(frame)
        places = np.where(np.isnan(codes), -1, codes).astype(np.int64)
        levels = pd.Index(VARIABLES[name].levels)
        made[name] = pd.Series(pd.Categorical.from_codes(places, categories=levels))
        notes.append(f"{name} made of {', '.join(needed)}")
    return made, notes


def _filled(frame: pd.DataFrame, column: str) -> bool:
    return column in frame and bool(frame[column].notna().any())


def _numbers(values: pd.Series) -> pd.Series:
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(object)
    return pd.to_numeric(values, errors="coerce").astype(np.float64).reset_index(drop=True)


def _lacking(frame: pd.DataFrame, columns: Sequence[str]) -> np.ndarray:
    """1 where an item is lacking for want of money, 0 where not, nan where not known; one column per item."""
    answers = np.column_stack([_numbers(frame[column]) for column in columns])
    return np.where(np.isin(answers, _ANSWERS), answers == _LACKS, np.nan)


def _arrears(frame: pd.DataFrame) -> np.ndarray:
    answers = np.column_stack([_numbers(frame[column]) for column in _ARREARS])
    some = np.isin(answers, (1, 2)).any(axis=1)
    return np.where(some, 1.0, np.where(np.isin(answers, _ANSWERS).all(axis=1), 0.0, np.nan))[:, None]


def _yes_no(yes: np.ndarray, no: np.ndarray) -> np.ndarray:
    return np.where(yes, 0.0, np.where(no, 1.0, np.nan))


def _at_least(lacks: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Whether at least `number` items are surely lacking, and whether fewer surely are."""
    certain, unknown = np.nansum(lacks, axis=1), np.isnan(lacks).sum(axis=1)
    return certain >= number, certain + unknown < number


def _deprivation_2020(frame: pd.DataFrame) -> np.ndarray:
    """At least 4 of 9 items."""
    return _yes_no(*_at_least(np.hstack([_arrears(frame), _lacking(frame, _ITEMS_2020)]), 4))


def _deprivation_2030(frame: pd.DataFrame) -> np.ndarray:
    """At least 7 of 13 items; a child has the personal ones that half of the household's adults lack.

    Of the items of a child at least three are the household's (Eurostat, Glossary: Child deprivation).
    """
    household = pd.Series(pd.factorize(frame["DB030"])[0])
    own = _lacking(frame, _PERSONAL)
    adult = (_age(frame) >= _ADULT).to_numpy()
    shares = (
        pd.DataFrame(np.where(adult[:, None], own, np.nan)).groupby(household.to_numpy()).transform("mean")
    )
    of_adults = np.where(shares.isna(), np.nan, shares >= 0.5)
    personal = np.where(adult[:, None], own, of_adults)
    common = np.hstack([_arrears(frame), _lacking(frame, _ITEMS_2030)])
    yes, no = _at_least(np.hstack([common, personal]), 7)
    three, fewer = _at_least(common, 3)
    child = (_age(frame) < _ADULT).to_numpy()
    yes, no = yes & (three | ~child), no | (fewer & child)
    known_age = adult | child
    return _yes_no(yes & known_age, no & known_age)


def _age(frame: pd.DataFrame) -> pd.Series:
    """Age at the interview, which decides who was asked."""
    return _numbers(frame["RX010"] if _filled(frame, "RX010") else frame["RX020"])


def _overburden(frame: pd.DataFrame) -> np.ndarray:
    """Housing cost above 40 % of income, both without the housing allowance; no cost is no burden."""
    allowance = _numbers(frame["HY070"])
    cost = (12 * _numbers(frame["HH070"]) - allowance).to_numpy()
    income = (_numbers(frame["HY020"]) - allowance).to_numpy()
    known = ~np.isnan(cost) & ~np.isnan(income)
    with np.errstate(invalid="ignore"):
        heavy = (cost > 0) & ((income <= 0) | (cost > _OVERBURDEN * income))
    free = np.nan_to_num(cost, nan=1.0) <= 0
    return _yes_no(known & heavy, free | (known & ~heavy))


def _overcrowded(frame: pd.DataFrame) -> np.ndarray:
    rooms, needed = _numbers(frame["HH030"]).to_numpy(), rooms_needed(frame)
    with np.errstate(invalid="ignore"):
        short, enough = rooms < needed, rooms >= needed
    # "6 or more" rooms may be enough for a household that needs more than 6
    return _yes_no(short & (rooms < _MOST_ROOMS), enough)


RULES: Mapping[str, tuple[tuple[str, ...], Callable[[pd.DataFrame], np.ndarray]]] = {
    "severe_material_deprivation": ((*_ARREARS, *_ITEMS_2020), _deprivation_2020),
    "severe_material_social_deprivation": ((*_ARREARS, *_ITEMS_2030, *_PERSONAL), _deprivation_2030),
    "housing_cost_overburden": (("HH070", "HY070", "HY020"), _overburden),
    "overcrowded": (("HH030", "RX020", "RB090", "RB240"), _overcrowded),
}
