"""Vintages of the NUTS: which one codes are of, and the refusal of a table that mixes them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from functools import cache

import pandas as pd

from sae.auxiliary.codes import area_codes
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.tables import labels

__all__ = ["NUTS_VINTAGES", "NutsVintage", "nuts_in_force", "nuts_vintage"]

# in force from: Regulations (EU) 31/2011, 1319/2013, 2016/2066, Delegated 2019/1755, 2023/674
NUTS_VINTAGES: Mapping[str, date] = {
    "2010": date(2012, 1, 1),
    "2013": date(2015, 1, 1),
    "2016": date(2018, 1, 1),
    "2021": date(2021, 1, 1),
    "2024": date(2024, 1, 1),
}
# NUTS 2 codes that ended with the vintage before, and that began with this one. Checked against the matrices
# of the Joint Research Centre's NUTSconverter, release 2025.08, which cover the EU, CH, IS, LI, NO and UK.
_ENDED = {
    "2013": "EL11 EL12 EL13 EL14 EL21 EL22 EL23 EL24 EL25 FR91 FR92 FR93 FR94 SI01 SI02 UKI1 UKI2",
    "2016": "FR21 FR22 FR23 FR24 FR25 FR26 FR30 FR41 FR42 FR43 FR51 FR52 FR53 FR61 FR62 FR63 FR71 FR72 FR81 "
    "FR82 FR83 FRA1 FRA2 FRA3 FRA4 FRA5 HU10 IE01 IE02 LT00 PL11 PL12 PL31 PL32 PL33 PL34 UKM2 UKM3",
    "2021": "HR04 NO01 NO03 NO04 NO05",
    "2024": "NL31 NL33 PT16 PT17 PT18",
}
_BEGAN = {
    "2013": "EL51 EL52 EL53 EL54 EL61 EL62 EL63 EL64 EL65 FRA1 FRA2 FRA3 FRA4 FRA5 SI03 SI04 "
    "UKI3 UKI4 UKI5 UKI6 UKI7",
    "2016": "FRB0 FRC1 FRC2 FRD1 FRD2 FRE1 FRE2 FRF1 FRF2 FRF3 FRG0 FRH0 FRI1 FRI2 FRI3 FRJ1 FRJ2 FRK1 FRK2 "
    "FRL0 FRM0 FRY1 FRY2 FRY3 FRY4 FRY5 HU11 HU12 IE04 IE05 IE06 LT01 LT02 PL71 PL72 PL81 PL82 PL84 PL91 "
    "PL92 UKM7 UKM8 UKM9",
    "2021": "HR02 HR05 HR06 NO08 NO09 NO0A NO0B",
    "2024": "NL35 NL36 PT19 PT1A PT1B PT1C PT1D",
}
_ORDER = tuple(NUTS_VINTAGES)


@dataclass(frozen=True)
class NutsVintage:
    """The vintages of the NUTS that a set of codes fits.

    Attributes
    ----------
    fits : tuple of str
        Vintages that every code fits, in their order. Several where no code tells them apart; none where a
        mixture was accepted by name.
    decided_by : dict of str to tuple of str
        Codes that are not of every vintage, by the vintages that they fit, such as "2021, 2024".
    breaks : tuple of str
        Changes between vintages that the codes mix, such as "nuts_2016_to_2021".
    """

    fits: tuple[str, ...]
    decided_by: Mapping[str, tuple[str, ...]]
    breaks: tuple[str, ...] = ()

    def unlike(self, vintage: str) -> list[str]:
        """Return the codes that another vintage does not have, where it is none of those that all codes fit.

        Examples
        --------
        >>> sae.auxiliary.nuts_vintage(["AT13", "HR02"]).unlike("2016")
        ['HR02']
        """
        if self.breaks or vintage in self.fits:
            return []
        others = (some for fits, some in self.decided_by.items() if vintage not in fits.split(", "))
        return [code for some in others for code in some]

    def __str__(self) -> str:
        if self.breaks:
            return f"NUTS, mixed ({', '.join(self.breaks)})"
        return f"NUTS {' or '.join(self.fits)}"


def nuts_in_force(day: date | str | int) -> str:
    """Return the vintage of the NUTS in force on a day, or at the start of a year.

    Raises
    ------
    SaeInputError
        Before 2012: older vintages are not known here.

    Examples
    --------
    >>> sae.auxiliary.nuts_in_force(2020), sae.auxiliary.nuts_in_force("2021-01-01")
    ('2016', '2021')
    """
    text = str(day)
    try:
        when = (
            day if isinstance(day, date) else date.fromisoformat(f"{text}-01-01" if len(text) == 4 else text)
        )
    except ValueError:
        raise SaeInputError(f"{day!r} is no day.", hint="Write 2021 or 2021-01-01.") from None
    known = [vintage for vintage, start in NUTS_VINTAGES.items() if start <= when]
    if not known:
        raise SaeInputError(f"The NUTS in force on {day} is not known here; the first known is that of 2012.")
    return known[-1]


def nuts_vintage(
    codes: pd.Series | Iterable[object],
    *,
    known: Mapping[str, Iterable[object]] | None = None,
    accept: Collection[str] = (),
) -> NutsVintage:
    """Tell which vintages of the NUTS a set of codes fits; refuse codes of different ones in one table.

    A vintage is told by the codes of NUTS 1 and 2 that began or ended with it. Codes of level 3 are judged by
    the region of level 2 that they are in; countries, extra-regio and other kinds of codes tell nothing; nor
    do candidate countries and regions that kept their code, some with another border (NL31 in 2021).

    Parameters
    ----------
    codes : Series or iterable
    known : mapping of str to iterable, optional
        Complete lists of codes by vintage, such as ``{"2021": regions["nuts_id"]}``: codes that are neither
        listed nor known to have ended or begun are then refused, with near matches.
    accept : collection of str
        Names of changes that may be mixed, such as "nuts_2016_to_2021".

    Returns
    -------
    NutsVintage

    Raises
    ------
    SaeInputError
        If codes are of no form that is known, unknown, or of vintages that do not go together.

    Examples
    --------
    >>> print(sae.auxiliary.nuts_vintage(["AT13", "HR02", "PT17"]))
    NUTS 2021
    >>> sae.auxiliary.nuts_vintage(["HR04", "HR02", "AT13"])
    Traceback (most recent call last):
    ...
    sae.errors.SaeInputError: The codes mix NUTS vintages: 2 of 3 fit 2024, not HR04 (2010, 2013, 2016).
    Bring them to one vintage with sae.auxiliary.crosswalk, or accept "nuts_2016_to_2021" by name.
    """
    lists = _prefixes(known or {})
    table = area_codes(codes)
    regions = table.loc[(table["kind"] == "nuts") & ~table["off_map"], "code"].tolist()
    _refuse_unknown(regions, lists)
    fits = {code: _vintages(code, lists) for code in regions}
    deciding = {code: vintages for code, vintages in fits.items() if len(vintages) < len(_ORDER)}
    common = tuple(v for v in _ORDER if all(v in vintages for vintages in fits.values()))
    decided_by: dict[str, tuple[str, ...]] = {}
    for code, vintages in deciding.items():
        decided_by[", ".join(vintages)] = (*decided_by.get(", ".join(vintages), ()), code)
    if common:
        return NutsVintage(common, decided_by)
    breaks = _breaks(list(deciding.values()))
    missing = [name for name in breaks if name not in accept]
    if missing:
        most, n = _best(list(fits.values()))
        others = {vintages: some for vintages, some in decided_by.items() if most not in vintages.split(", ")}
        shown = [f"{name_some(some)} ({vintages})" for vintages, some in sorted(others.items())]
        tokens = " and ".join(f'"{name}"' for name in missing)
        raise SaeInputError(
            f"The codes mix NUTS vintages: {n} of {len(fits)} fit {most}, not {'; '.join(shown)}.",
            hint=f"Bring them to one vintage with sae.auxiliary.crosswalk, or accept {tokens} by name.",
            areas=[code for some in others.values() for code in some],
        )
    return NutsVintage((), decided_by, breaks)


def _best(fits: list[tuple[str, ...]]) -> tuple[str, int]:
    """Return the vintage that most codes fit, the latest of several, and how many."""
    counts = {vintage: sum(vintage in some for some in fits) for vintage in reversed(_ORDER)}
    most = max(counts, key=counts.__getitem__)
    return most, counts[most]


def _breaks(fits: list[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the changes between the earliest last and the latest first vintage of the codes."""
    old = min(_ORDER.index(vintages[-1]) for vintages in fits)
    new = max(_ORDER.index(vintages[0]) for vintages in fits)
    return tuple(f"nuts_{_ORDER[k]}_to_{_ORDER[k + 1]}" for k in range(old, new))


def _prefixes(known: Mapping[str, Iterable[object]]) -> dict[str, tuple[set[str], int]]:
    """Return the codes of each list with those above them, and the length of the longest."""
    wrong = [vintage for vintage in known if vintage not in NUTS_VINTAGES]
    if wrong:
        raise SaeSpecError(f"There is no NUTS {name_some(wrong)}.", hint=f"Use one of {', '.join(_ORDER)}.")
    lists = {vintage: labels(list(codes)).tolist() for vintage, codes in known.items()}
    return {
        vintage: (
            {code[:k] for code in codes for k in range(2, len(code) + 1)},
            max(map(len, codes), default=0),
        )
        for vintage, codes in lists.items()
    }


def _refuse_unknown(codes: list[str], lists: Mapping[str, tuple[set[str], int]]) -> None:
    """Refuse codes that no list holds and no change is known of."""
    unknown = [code for code in codes if not _vintages(code, lists)] if lists else []
    if unknown:
        listed = set[str]().union(*(codes for codes, _ in lists.values()))
        shown = []
        for code in unknown:
            alike = sorted(one for one in listed if len(one) == len(code) and one[:2] == code[:2])
            near = get_close_matches(code, alike, n=1, cutoff=0.5)
            shown.append(f"{code} (near: {near[0]})" if near else code)
        raise SaeInputError(
            f"{len(unknown)} of {len(codes)} NUTS codes are unknown: {name_some(shown)}.",
            hint=f"They are not in the lists of NUTS {', '.join(lists)}; check their spelling and vintage.",
            areas=unknown,
        )


def _vintages(code: str, lists: Mapping[str, tuple[set[str], int]]) -> tuple[str, ...]:
    """Return the vintages that a code fits: by the list of a vintage, without one by the known changes."""
    by_changes = _of_changes(code)
    listed = {vintage for vintage, (codes, length) in lists.items() if code[:length] in codes}
    if lists and not listed and by_changes == _ORDER:
        return ()  # nothing is known of it
    return tuple(v for v in _ORDER if (v in listed if v in lists else v in by_changes))


def _of_changes(code: str) -> tuple[str, ...]:
    """Return the vintages that a code fits by the known changes of levels 1 and 2."""
    began, ended = _changes(min(len(code), 4))
    first = _ORDER.index(began.get(code[:4], _ORDER[0]))
    left = "2024" if code[:2] == "UK" and len(code) > 2 else None  # the country without its regions
    last = ended.get(code[:4], left)
    return _ORDER[first : _ORDER.index(last) if last else len(_ORDER)]


@cache
def _changes(length: int) -> tuple[dict[str, str], dict[str, str]]:
    """Return the vintage that codes of a length began with, and the one that they ended before.

    A region of level 1 began with a vintage where regions of level 2 in it began and none in it ended.
    """
    began: dict[str, str] = {}
    ended: dict[str, str] = {}
    for vintage in _ORDER[1:]:
        new, old = ({code[:length] for code in some[vintage].split()} for some in (_BEGAN, _ENDED))
        began |= dict.fromkeys(new if length == 4 else new - old, vintage)
        ended |= dict.fromkeys(old if length == 4 else old - new, vintage)
    return began, ended
