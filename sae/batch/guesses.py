"""Which column of an unknown file may be what: by its name and by what it holds, each with the reason."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from unicodedata import normalize

import pandas as pd

from sae.survey import VARIABLES
from sae.survey.levels import CodedColumn, coded_column
from sae.tables.labels import labels

__all__ = ["Guess", "codes_of", "guess_roles", "known_levels", "likely_columns", "numeric"]

# Usual names, without case, accents and signs; a star stands for any ending.
_ROLES: Mapping[str, str] = {
    "weights": "weight* wgt* wt w gew gewicht* hochrechnung* hrf* poids* peso* pond* fact* fexp* expr coeff* "
    "pwgtp perwt wtmec* wtint* finalweight samplingweight",
    "strata": "strat* schicht* estrato* vstrat* varstrat* sdmvstra",
    "psu": "psu* cluster* klumpen* conglomerado* upm* codupm varunit grappe* sdmvpsu",
    "household": "household* hh hhid* hid haushalt* menage* hogar* dwelling* house folio db030",
    "person": "person* pid persnr indiv* idperson* pnr",
    "time": "year refyear quarter period* wave jahr quartal annee trimestre anno ano surveyyear month date",
}
_VARIABLES: Mapping[str, str] = {
    "age": "age* alter* edad* eta leeftijd idade",
    "sex": "sex* gender geschlecht* genre genero",
    "birth": "birth* countryofbirth* countryb cob geburtsland* geboren* paysnais* paisnac* lugarnac* "
    "nativity foreignborn bornabroad",
    "citizenship": "citizen* national* staatsang* nationalit* nacionalidad* cit",
    "labour_status": "labour* labor* ilostat* empstat* employ* status* erwerb* activ* condact* estado* "
    "emploi* occup* esr lab mainstat",
    "education": "educ* isced* hatlev* bildung* schl estudios* diplome* nivel*",
    "income": "income* eqincome* einkommen* revenu* ingreso* hx090",
    "region": "region* nuts* gebiet* bundesland* land province* provincia* prov state departement* puma dom "
    "area county comuna* municip* city aglomerado db040",
}
# What texts of a file mean, in the languages of the names above; numbers and single letters (m is
# male in one language and female in another) are never taken to mean anything.
_TEXTS: Mapping[str, Mapping[str, str]] = {
    "sex": {
        "female": "female woman women frau weiblich femme mujer donna femmina feminin",
        "male": "male man men mann maennlich mannlich homme hombre uomo maschio masculin",
    },
    "labour_status": {
        "employed": "employed working erwerbstatig erwerbstaetig occupe ocupado occupato inemployment",
        "unemployed": "unemployed erwerbslos arbeitslos chomeur desocupado parado disoccupato unemployment",
        "inactive": "inactive outofthelabourforce nichterwerbsperson inactif inactivo inattivo",
    },
    "birth": {
        "native": "native nativeborn inland inlander",
        "foreign": "foreign foreignborn abroad ausland migrant etranger extranjero straniero",
    },
    "citizenship": {
        "native": "native national citizen inlander inland deutsch",
        "foreign": "foreign foreigner noncitizen auslander auslaender etranger extranjero straniero",
    },
}
_PERIOD = r"(?:19|20)\d\d(?:[-/ ]?[QTM]?\d{1,2})?"
_MOST_LEVELS = 30  # distinct values beyond which a column is no list of codes


@dataclass(frozen=True)
class Guess:
    """A column that is taken for something, and why."""

    column: str
    reason: str


def guess_roles(frame: pd.DataFrame) -> dict[str, Guess]:
    """Return the column of each role of the design that a name and the content of a column speak for.

    Examples
    --------
    >>> frame = pd.DataFrame({"Gewicht": [1.5, 2.0, 2.5], "Jahr": [2024] * 3, "Schicht": [None, 1, 2]})
    >>> {role: guess.column for role, guess in guess_roles(frame).items()}
    {'weights': 'Gewicht', 'time': 'Jahr'}
    """
    guesses: dict[str, Guess] = {}
    for role in _ROLES:
        used = {guess.column for guess in guesses.values()}
        for name in _named(frame, _ROLES[role]):
            reason = None if name in used else _reason(role, frame[name])
            if reason is not None:
                guesses[role] = Guess(name, f"by its name; {reason}")
                break
    return guesses


def _reason(role: str, column: pd.Series) -> str | None:
    """Return what the content says for a role; None where it speaks against it."""
    if column.isna().any():
        return None
    if role == "weights":
        if not numeric(column) or not (column >= 0).all() or not (column > 0).any():
            return None
        return f"{len(column):,} numbers from {column.min():g} to {column.max():g}, sum {column.sum():,.0f}"
    texts = labels(column)
    distinct = texts.nunique()
    if role == "time":
        matched = texts.str.fullmatch(_PERIOD, case=False).all()
        return f"{distinct} periods, {texts.min()} to {texts.max()}" if matched else None
    if role in ("strata", "psu") and not 2 <= distinct < len(column):
        return None
    if role == "household" and distinct == len(column):
        return None
    return f"{distinct:,} different values"


def likely_columns(frame: pd.DataFrame, variable: str) -> list[str]:
    """Return the columns whose names speak for a harmonised variable, the likeliest first.

    Examples
    --------
    >>> likely_columns(pd.DataFrame({"Alter": [30], "SEX": [1], "x": [0]}), "age")
    ['Alter']
    """
    names = _named(frame, f"{_plain(variable)} {_VARIABLES.get(variable, _plain(variable) + '*')}")
    wanted = VARIABLES.get(variable)
    if wanted is None or not wanted.levels:
        return names
    return [name for name in names if 1 < frame[name].nunique() <= _MOST_LEVELS]


def known_levels(variable: str, texts: Iterable[str]) -> dict[str, list[str]] | None:
    """Return the texts of each level of a variable; None unless every text is known and none is a number.

    Examples
    --------
    >>> known_levels("sex", ["Mann", "Frau"]), known_levels("sex", ["1", "2"])
    ({'female': ['Frau'], 'male': ['Mann']}, None)
    """
    meanings = {
        word: level
        for level, words in _TEXTS.get(variable, {}).items()
        for word in map(_plain, words.split())
    }
    levels: dict[str, list[str]] = {level: [] for level in VARIABLES[variable].levels}
    meanings |= {_plain(level): level for level in levels}
    for text in texts:
        level = meanings.get(_plain(text))
        if level is None:
            return None
        levels[level].append(text)
    return {level: codes for level, codes in levels.items() if codes}


def codes_of(column: pd.Series, most: int = 12) -> str:
    """Return the codes of a column with their numbers of records, for a comment."""
    coded = coded_column(column)
    shown = [f"{text} ({count:,})" for text, count in _pairs(coded)[:most]]
    more = [f"{len(coded.texts) - most} more"] if len(coded.texts) > most else []
    empty = int(column.isna().sum())
    return ", ".join([*shown, *more, *([f"empty ({empty:,})"] if empty else [])])


def _pairs(coded: CodedColumn) -> list[tuple[str, int]]:
    return [(text, int(count)) for text, count in zip(coded.texts, coded.counts, strict=True)]


def numeric(column: pd.Series) -> bool:
    """Whether a column holds numbers, truth values apart."""
    return pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype)


def _named(frame: pd.DataFrame, names: str) -> list[str]:
    """Return the columns that bear one of the names, in the order of the names."""
    plain = {str(name): _plain(str(name)) for name in frame}
    hits = [
        name
        for wanted in names.split()
        for name, text in plain.items()
        if (text.startswith(wanted[:-1]) if wanted.endswith("*") else text == wanted)
    ]
    return list(dict.fromkeys(hits))


def _plain(text: str) -> str:
    """Return a text without case, accents, spaces and signs."""
    bare = normalize("NFKD", text.casefold().replace("ß", "ss"))
    return re.sub(r"[^a-z0-9]", "", bare)
