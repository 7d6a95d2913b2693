"""What the European files share: regions whose zeros were lost, bands of age, groups of countries.

The research files write the region of some countries as a number, without its leading zero, and those of
Germany, Austria and the United Kingdom stop at NUTS 1.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, name_some
from sae.survey.codes import as_categorical, as_text, combine, encode

__all__ = ["ages_of", "countries_of", "eu_composition", "in_bands", "nuts_of"]

_ZEROS_LOST = frozenset(["CY", "CZ", "DK", "EE", "HR", "IE", "LT", "LU", "LV", "MT", "NL", "SI", "SK"])
_NUTS_1 = frozenset(("AT", "DE", "UK"))  # a second character 0 is no NUTS 2 region there
_GROUPS = {
    "EU28": frozenset(["EU15", "NMS10", "NMS3", "NMS13", "EU28", "EUR_NEU28", "EUR_NEU28_NEFTA"]),
    "EU27_2020": frozenset(["EU27_2020", "EUR_NEU27_2020", "EUR_NEU27_2020_NEFTA"]),
}
_BAND = re.compile(r"Y_?(?:(?P<low>\d+)-(?P<high>\d+)|GE(?P<from>\d+)|LT(?P<under>\d+))")


def countries_of(values: pd.Series) -> pd.Series:
    """Codes of countries as Eurostat writes them: Greece is EL.

    Examples
    --------
    >>> countries_of(pd.Series(["GR", "AT"])).tolist()
    ['EL', 'AT']
    """
    codes = as_categorical(values)
    return as_categorical(
        codes.astype(object).replace({"GR": "EL"}) if "GR" in codes.cat.categories else codes
    )


def nuts_of(country: pd.Series, region: pd.Series) -> tuple[pd.Series, list[str]]:
    """NUTS codes from the country and the region inside it; what level each country has is a note.

    Raises
    ------
    SaeInputError
        If a region is no code of one or two characters behind its country.

    Examples
    --------
    >>> codes, notes = nuts_of(pd.Series(["SK", "AT", "NL", "GR"]), pd.Series([1, 10, 0, 30]))
    >>> codes.astype(object).where(codes.notna(), "").tolist()
    ['SK01', 'AT1', '', 'EL30']
    >>> notes
    ['region: NUTS 1 in AT; NUTS 2 in EL, SK; none in NL']
    """
    nation, nations = encode(countries_of(country))
    place, places = encode(region)
    known = (nation >= 0) & (place >= 0)
    out = np.full(len(nation), -1, dtype=np.int64)
    texts: list[str] = []
    levels: dict[str, set[str]] = {}
    if known.any():
        pair, firsts, seconds = combine(nation[known], place[known], len(places))
        names, codes = as_text(nations), as_text(places)
        spelt = [_nuts(names[one], codes[two]) for one, two in zip(firsts, seconds, strict=True)]
        for code, one in zip(spelt, firsts, strict=True):
            key = "none" if code is None else f"NUTS {len(code) - 2}"
            levels.setdefault(key, set()).add(names[one])
        texts = sorted({code for code in spelt if code is not None})
        ranks = {code: rank for rank, code in enumerate(texts)}
        out[known] = np.array([-1 if code is None else ranks[code] for code in spelt])[pair]
    shown = "; ".join(f"{level} in {', '.join(sorted(where))}" for level, where in sorted(levels.items()))
    series = pd.Series(pd.Categorical.from_codes(out, categories=pd.Index(texts, dtype=object)))
    return series, [f"region: {shown}"] if shown else []


def _nuts(country: str, region: str) -> str | None:
    code = region.strip().upper()
    for prefix in (country, "GR" if country == "EL" else country):
        code = code.removeprefix(prefix) if len(code) > 2 else code
    if not re.fullmatch("[0-9A-Z]{1,2}", code):
        raise SaeInputError(
            f"The region {region!r} of {country} is no NUTS code: one or two characters behind the country.",
            hint="Leave the region empty where it is not known, or map the column region yourself.",
        )
    if country in _ZEROS_LOST and len(code) == 1:
        code = f"0{code}"
    if country == "NL" and code == "00":
        return None
    if country in _NUTS_1 and len(code) == 2 and code.endswith("0"):
        code = code[0]
    return country + code


def ages_of(
    columns: Sequence[pd.Series], lower_limits: Sequence[int] = ()
) -> tuple[pd.Series, tuple[int, ...], list[str]]:
    """Age from the first column that knows it; a band such as Y15-19 gives its middle.

    Parameters
    ----------
    columns : sequence of Series
    lower_limits : sequence of int
        Where numbers are the lower limits of bands: all of these, the last one open.

    Returns
    -------
    age : Series of float
        An open band (Y_GE75) gives its lower limit.
    bands : tuple of int
        Limits of age that cut no band of the file; () where all ages are single years.
    notes : list of str

    Examples
    --------
    >>> age, bands, notes = ages_of([pd.Series([30.0, np.nan]), pd.Series([None, "Y15-19"])])
    >>> age.tolist(), bands[:3], bands[15:18]
    ([30.0, 17.0], (0, 1, 2), (15, 20, 21))
    """
    middles = {float(low): (low + after - 1) / 2 for low, after in pairwise(lower_limits)}
    middles |= {float(low): float(low) for low in lower_limits[-1:]}
    age = np.full(len(columns[0]), np.nan)
    bands: set[tuple[int, float]] = set()
    notes: list[str] = []
    for column in columns:
        codes, labels = encode(column)
        read = [_age(text) for text in as_text(labels)]
        values = np.append(np.array([value for value, _ in read], dtype=float), np.nan)
        here = np.isnan(age) & (codes >= 0)
        for code in np.unique(codes[here]):
            value, band = read[code]
            if band is not None:
                bands.add(band)
            elif middles:
                value = values[code] = middles.get(value, np.nan)
            if np.isnan(value):
                n = int(np.count_nonzero(here & (codes == code)))
                notes.append(f"age (from {column.name}): {labels[code]!r} is no age, {n:,} records missing")
        age = np.where(here, values[codes], age)
    if not bands and not lower_limits:
        return pd.Series(age), (), notes
    notes.append("age: bands, each record stands at the middle of its own")
    if lower_limits:
        return pd.Series(age), tuple(lower_limits), notes
    limits = (limit for limit in range(101) if not any(low < limit <= high for low, high in bands))
    return pd.Series(age), tuple(limits), notes


def _age(text: str) -> tuple[float, tuple[int, float] | None]:
    """Age, and the first and last year of its band (None for a number)."""
    band = _BAND.fullmatch(text.strip())
    if band is None:
        return float(pd.to_numeric(text, errors="coerce")), None
    if band["from"] is not None:
        return float(band["from"]), (int(band["from"]), np.inf)
    low, high = (0, int(band["under"]) - 1) if band["under"] else (int(band["low"]), int(band["high"]))
    return (low + high) / 2, (low, high)


def in_bands(ages: np.ndarray, limits: Sequence[int]) -> np.ndarray:
    """Whether each age is the middle of a band (rounded either way), or in the last, which is open.

    Examples
    --------
    >>> in_bands(np.array([17.0, 20.0, 80.0]), [0, 15, 20, 75]).tolist()
    [True, False, True]
    """
    lows = np.asarray(limits, dtype=float)
    band = np.searchsorted(lows, ages, side="right") - 1
    middles = np.append((lows[:-1] + lows[1:] - 1) / 2, np.nan)
    return (ages >= lows[-1]) | (np.abs(ages - middles[band]) <= 0.5)


def eu_composition(texts: Sequence[str], column: str) -> str:
    """EU28 or EU27_2020, whichever the names of the country groups rest on; "" where they do not tell.

    Raises
    ------
    SaeInputError
        If groups of both compositions occur.

    Examples
    --------
    >>> eu_composition(["NAT", "EU27_2020", "AFR_N"], "COUNTRYB"), eu_composition(["005-EU28"], "COUNTRYB")
    ('EU27_2020', 'EU28')
    """
    bare = {text: re.sub(r"^\d+-", "", text) for text in texts}
    held = {eu: [text for text in texts if bare[text] in names] for eu, names in _GROUPS.items()}
    held = {eu: codes for eu, codes in held.items() if codes}
    if len(held) > 1:
        shown = "; ".join(f"{eu}: {name_some(map(repr, codes))}" for eu, codes in held.items())
        raise SaeInputError(
            f"The column {column!r} groups countries by two compositions of the EU ({shown}).",
            hint="This is the break eu28_to_eu27_2020: read the years before and after it apart, or say in "
            "a layout of your own which is meant: about = {eu = 'EU28'}.",
            column=column,
        )
    return next(iter(held), "")
