"""Codes of European areas: NUTS regions, LAU municipalities, cities, functional urban areas, DEGURBA."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from sae.calls import answered
from sae.errors import SaeInputError, name_some
from sae.tables import labels

__all__ = ["AreaCode", "area_code", "area_codes"]

# EU, United Kingdom, EFTA, and the candidates with statistical regions agreed with Eurostat
_COUNTRIES = (
    "AT BE BG CY CZ DE DK EE EL ES FI FR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK UK "
    "CH IS LI NO AL BA GE MD ME MK RS TR UA XK"
)
_ELSEWHERE = {"GR": "EL", "GB": "UK"}  # ISO 3166 where Eurostat writes another code
_FORMS = {
    # DEG1 would be a region of Germany but for its meaning: Thüringen is DEG0
    "degurba": re.compile(r"DEG[123]"),
    "aggregate": re.compile(r"EU|EU15|EU25|EU27|EU27_2007|EU27_2020|EU28|EA|EA1[1-9]|EA2[0-9]|EFTA"),
    # before 2018 functional urban areas had an L, and every code a number at its end: AT001L1, AT001C1
    "city": re.compile(r"[A-Z]{2}[0-9]{3}C[0-9]?"),
    "greater city": re.compile(r"[A-Z]{2}[0-9]{3}K[0-9]?"),
    "functional urban area": re.compile(r"[A-Z]{2}[0-9]{3}(F|L[0-9]?)"),
    "lau": re.compile(r"[A-Z]{2}_[0-9A-Za-z.\-]+"),
    "nuts": re.compile(r"[A-Z]{2}[0-9A-Z]{0,3}"),
}


@dataclass(frozen=True)
class AreaCode:
    """What the code of an area says.

    Attributes
    ----------
    code : str
    kind : str
        "nuts", "lau", "city", "greater city", "functional urban area", "degurba" or "aggregate" (EU27_2020).
    country : str
        Of two letters, as Eurostat writes them (EL, UK); "" of a degree of urbanisation or an aggregate.
    level : int or None
        Of NUTS: 0 country, 1, 2, 3.
    parent : str
        Of NUTS: the region one level up, the code without its last sign; "" where the code tells none.
    off_map : bool
        Whether it is no place: extra-regio (ATZZ) or not regionalised (FRXX).
    """

    code: str
    kind: str
    country: str = ""
    level: int | None = None
    parent: str = ""
    off_map: bool = False


def area_code(code: str) -> AreaCode:
    """Read the code of one area.

    Raises
    ------
    SaeInputError
        If it is of no form that is known, or begins with no country.

    Examples
    --------
    >>> sae.auxiliary.area_code("ES300").parent, sae.auxiliary.area_code("AT001F").kind
    ('ES30', 'functional urban area')
    """
    read = _read(code)
    if isinstance(read, str):
        raise SaeInputError(f"{code!r} is no code of a European area{read}.", hint=_FORMS_HINT, areas=[code])
    return read


@answered
def area_codes(codes: pd.Series | Iterable[object]) -> pd.DataFrame:
    """Read the codes of areas: one row per different code, in order of appearance.

    Parameters
    ----------
    codes : Series or iterable
        As text: NUTS (``ES``, ``ES3``, ``ES30``, ``ES300``), LAU with its country (``ES_28079``), cities
        (``ES001C``), greater cities (``ES001K``), functional urban areas (``ES001F``), degrees of
        urbanisation (``DEG1``), aggregates (``EU27_2020``).

    Returns
    -------
    DataFrame
        With the columns of `AreaCode`.

    Raises
    ------
    SaeInputError
        If codes are of no form that is known, or begin with no country; all are named.

    Examples
    --------
    >>> sae.auxiliary.area_codes(["AT13", "ATZZ", "AT_90001", "DEG2"])[["kind", "level", "off_map"]]
          kind  level  off_map
    0     nuts      2    False
    1     nuts      2     True
    2      lau   <NA>    False
    3  degurba   <NA>    False
    """
    texts = labels(codes if isinstance(codes, pd.Series) else pd.Series(list(codes), dtype="object"))
    read = {code: _read(code) for code in texts.unique()}
    odd = {code: why for code, why in read.items() if isinstance(why, str)}
    if odd:
        shown = [f"{code!r}{why}" for code, why in odd.items()]
        raise SaeInputError(
            f"{len(odd)} of {len(read)} codes are of no European area: {name_some(shown)}.",
            hint=_FORMS_HINT,
            areas=odd,
            column=None if texts.name is None else str(texts.name),
        )
    frame = pd.DataFrame(
        [vars(area) for area in read.values()],
        columns=["code", "kind", "country", "level", "parent", "off_map"],
    )
    return frame.astype({"level": "Int64", "off_map": "bool"})


_FORMS_HINT = (
    "Expected NUTS (ES30), LAU with its country (ES_28079), a city (ES001C, ES001K, ES001F) or DEG1 to DEG3; "
    "read codes as text."
)


def _read(code: str) -> AreaCode | str:
    """Return what a code says, or why it says nothing."""
    kind = next((kind for kind, form in _FORMS.items() if form.fullmatch(code)), "")
    country = code[:2]
    if kind in ("degurba", "aggregate"):
        return AreaCode(code, kind)
    if kind and country in _COUNTRIES.split():
        if kind != "nuts":
            return AreaCode(code, kind, country)
        rest = code[2:]
        off_map = bool(rest) and set(rest) in ({"Z"}, {"X"})
        return AreaCode(code, kind, country, len(rest), code[:-1] if rest else "", off_map)
    if country in _ELSEWHERE:
        return f" (Eurostat writes {_ELSEWHERE[country]}{code[2:]})"
    tidy = code.strip().upper()
    if tidy != code and not isinstance(_read(tidy), str):
        return f" (but {tidy} is)"
    return f" (there is no country {country})" if kind else ""
