"""The breaks: from which year on figures of the same name no longer mean the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

__all__ = ["BREAKS", "Break", "break_marks"]


@dataclass(frozen=True)
class Break:
    """A change of definition, classification or territory.

    Attributes
    ----------
    id : str
        What `accept` takes.
    year : int
        First year of the new state.
    what : str
        What changed.
    survey : str
        The survey that it is a break of; "" for every one.
    changes : {"survey", "definitions", "eu groups", "nuts codes"}
        What no longer means the same: all figures of the survey, the indicators that list it, the groups of
        EU origin, or the regions.

    Examples
    --------
    >>> sae.indicators.BREAKS["lfs_2021"].year
    2021
    """

    id: str
    year: int
    what: str
    survey: str = ""
    changes: Literal["survey", "definitions", "eu groups", "nuts codes"] = "definitions"

    def __str__(self) -> str:
        return f"{self.id} ({self.year}: {self.what})"


def _nuts(old: int, new: int, year: int, law: str) -> Break:
    what = f"regions by NUTS {new} in place of NUTS {old}, {law}"
    return Break(f"nuts_{old}_to_{new}", year, what, changes="nuts codes")


_ALL = (
    Break(
        "lfs_2021",
        2021,
        "Reg. (EU) 2019/1700 and 2019/2240 apply: employment, its questions and the weights are defined anew",
        "EU-LFS",
        "survey",
    ),
    Break("isced_2014", 2014, "attainment by ISCED 2011 in place of ISCED 1997"),
    Break("isco_2011", 2011, "occupations by ISCO-08 in place of ISCO-88", "EU-LFS"),
    Break(
        "silc_2021",
        2021,
        "Reg. (EU) 2019/1700 and 2019/2242 apply: new variables, and 7 of 13 items in place of 4 of 9",
        "EU-SILC",
        "survey",
    ),
    Break(
        "eu28_to_eu27_2020",
        2020,
        "EU27_2020 in place of EU28: citizens of the United Kingdom, and those born there, leave the group",
        changes="eu groups",
    ),
    _nuts(2010, 2013, 2015, "Reg. (EU) 1319/2013"),
    _nuts(2013, 2016, 2018, "Reg. (EU) 2016/2066"),
    _nuts(2016, 2021, 2021, "Reg. (EU) 2019/1755"),
    _nuts(2021, 2024, 2024, "Reg. (EU) 2023/674"),
)

BREAKS: Mapping[str, Break] = MappingProxyType({one.id: one for one in _ALL})


def break_marks(times: Iterable[str], breaks: Mapping[str, int]) -> list[str]:
    """Return for each period the breaks at or before its last year; all of them where it tells no year.

    Parameters
    ----------
    times : iterable of str
        Periods as tables have them: "2021Q4", or first and last of pooled ones, "2019/2022".
    breaks : mapping of str to int
        Ids and years of the accepted breaks, as the provenance of direct estimates has them.

    Examples
    --------
    >>> sae.indicators.break_marks(["2020", "2021Q1", "2019/2022", ""], {"lfs_2021": 2021})
    ['', 'lfs_2021', 'lfs_2021', 'lfs_2021']
    """
    lasts = [time.rpartition("/")[2][:4] for time in times]
    return [
        ", ".join(name for name, year in breaks.items() if not last.isdigit() or year <= int(last))
        for last in lasts
    ]
