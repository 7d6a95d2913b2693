"""Samples of the synthetic country as files with the columns and codes of the European surveys.

They are fixtures of the documented structure, nothing more: of each code list they use one code per level,
and of the columns those that the harmonised variables need.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from sae.calls import answered
from sae.datasets.geography import NATION
from sae.errors import SaeInputError
from sae.survey import Survey
from sae.tables import write_table

__all__ = ["write_lfs", "write_silc"]

_SEX = {"male": 1, "female": 2}
_DEGURBA = {"cities": 1, "towns": 2, "rural": 3}
_COUNTRY = {"native": "NAT", "eu": "EU27_2020", "non_eu": "EUR_NEU27_2020_NEFTA"}
_LFS: Mapping[str, tuple[str, Mapping[str, object]]] = {  # column, codes; 9 where a question is not asked
    "SEX": ("sex", _SEX),
    "DEGURBA": ("degurba", _DEGURBA),
    "CITIZENSHIP": ("citizenship_group", _COUNTRY),
    "COUNTRYB": ("birth_group", _COUNTRY),
    "YEARESID": ("residence", {"under_5_years": "Y2", "5_years_or_more": "Y10-14"}),
    "HATLEV1D": ("education", {"low": "L", "medium": "M", "tertiary": "H"}),
    "ILOSTAT": ("labour_status", {"employed": 1, "unemployed": 2, "inactive": 3}),
    "DURUNE": ("unemployment_duration", {"under_1_year": 3, "1_year_or_more": 6}),
    "STAPRO": ("professional_status", {"self_employed": 0, "employee": 3, "family_worker": 4}),
    "TEMP": ("contract", {"permanent": 1, "temporary": 2}),
    "FTPT": ("working_time", {"full_time": 1, "part_time": 2}),
    "ISCO08_3D": (
        "occupation",
        {"high_skilled": "251", "low_or_medium_skilled": "522", "armed_forces": "021"},
    ),
}
_NOT_ASKED = ("ILOSTAT", "DURUNE", "STAPRO", "TEMP", "FTPT")

_ORIGIN = {"native": "LOC", "eu": "EU", "non_eu": "OTH"}
_YES = {"yes": 1, "no": 0}
_SILC: Mapping[str, Mapping[str, tuple[str, Mapping[str, object]]]] = {
    "D": {"DB100": ("degurba", _DEGURBA)},
    "H": {
        "HH021": (
            "tenure",
            {"owner": 1, "owner_with_mortgage": 2, "tenant_market": 3, "tenant_reduced": 4, "rent_free": 5},
        ),
        "HX120": ("overcrowded", _YES),
    },
    "R": {
        "RB090": ("sex", _SEX),
        "RB280": ("birth_group", _ORIGIN),
        "RB290": ("citizenship_group", _ORIGIN),
        "RB285": ("residence", {"under_5_years": 0, "5_years_or_more": 10}),
        "RX050": ("low_work_intensity", {"yes": 1, "no": 0, "not_applicable": 2}),
        "RX060": ("severe_material_social_deprivation", _YES),
    },
    "P": {
        "PL032": ("labour_status", {"employed": 1, "unemployed": 2, "inactive": 8}),
        "PE041": ("education", {"low": 200, "medium": 344, "tertiary": 600}),
        "PX050": ("in_work", {"yes": 2, "no": 8}),
        "PH010": (
            "self_perceived_health",
            {"very_good": 1, "good": 2, "fair": 3, "bad": 4, "very_bad": 5},
        ),
        "PH040": ("unmet_medical_need", {"yes": 1, "no": 2}),
        "PH050": ("unmet_medical_need", {"yes": 1}),
    },
}
_YOUNGEST = 16  # whom the P file holds
_HEAVY, _LIGHT = 0.5, 0.2  # share of the income that housing costs, where it is too much and where not


@answered
def write_lfs(survey: Survey, path: str | Path) -> Path:
    """Write a labour force sample as a quarterly file of the EU-LFS, 2021 and later.

    REGION_2D holds the larger region, as the research files stop there; AREA, STRATUM and PSU are what a
    national file has beyond them. Whoever learns does so formally below the age of 25.

    Parameters
    ----------
    survey : Survey
        From `Country.lfs` or `lfs_panel`.
    path : str or Path
        A ``.csv`` or ``.parquet`` file; the layout ``eu_lfs`` reads it.

    Returns
    -------
    Path

    Examples
    --------
    >>> import tempfile, pathlib
    >>> land = sae.datasets.country(seed=1, regions=3)
    >>> path = sae.datasets.write_lfs(land.lfs(1), pathlib.Path(tempfile.mkdtemp()) / "XA2025Q1.csv")
    >>> sae.read_survey(path, layout="eu_lfs").frame["labour_status"].cat.categories.tolist()
    ['employed', 'unemployed', 'inactive']
    """
    frame = _records(survey, "recent_education", "quarter")
    period = frame["quarter"].astype(str)
    learns, young = frame["recent_education"], frame["age"] < 25
    columns = {
        "REFYEAR": period.str[:4].astype(int),
        "QUARTER": period.str[5:].astype(int),
        "COUNTRY": NATION,
        "REGION_2D": frame["nuts1"].astype(str).str.removeprefix(NATION),
        "HHNUM": frame["household"],
        "HHSEQNUM": frame["person"],
        "INTWAVE": frame.get("wave", 1),
        "AGE": frame["age"],
        "COEFFQ": frame["weight"],
        "EDUCFED4": np.where(learns.isna(), 9, np.where((learns == "yes") & young, 1, 2)),
        "EDUCNFE4": np.where(learns.isna(), 9, np.where((learns == "yes") & ~young, 1, 2)),
        "AREA": frame["region"],
        "STRATUM": frame["region"],
        "PSU": frame["psu"],
    }
    coded = _coded(frame, _LFS)
    coded[[*_NOT_ASKED]] = coded[[*_NOT_ASKED]].fillna(9)
    return write_table(pd.DataFrame(columns).join(coded), path)


@answered
def write_silc(survey: Survey, folder: str | Path) -> dict[str, Path]:
    """Write an income sample as the four files of EU-SILC, 2021 and later.

    DB040 holds the region, DB050 and DB060 the stratum and the PSU. Housing costs half of the income where it
    is a burden, a fifth where not.

    Parameters
    ----------
    survey : Survey
        From `Country.silc`, which gives the cross-sectional files of its year, or from `silc_panel`, which
        gives the longitudinal files, RB064 for those who were in the panel for four years: four times their
        weight.
    folder : str or Path
        Where ``UDB_cXA25D.csv`` (``UDB_l...``) and the H, R and P file are put.

    Returns
    -------
    dict of str to Path
        By letter.

    Examples
    --------
    >>> import tempfile
    >>> land = sae.datasets.country(seed=1, regions=3)
    >>> files = sae.datasets.write_silc(land.silc(1), tempfile.mkdtemp())
    >>> {part: path.name for part, path in files.items()}
    {'D': 'UDB_cXA25D.csv', 'H': 'UDB_cXA25H.csv', 'R': 'UDB_cXA25R.csv', 'P': 'UDB_cXA25P.csv'}
    """
    frame = _records(survey, "income", "year")
    kind = "l" if "wave" in frame else "c"
    years = frame["year"].astype(str).astype(int)
    homes = ~frame.duplicated(["year", "household"])
    personal = frame["age"] >= _YOUNGEST
    tables = {
        "D": _design(frame)[homes],
        "H": _home(frame, national_flag=kind == "c")[homes],
        "R": _register(frame, years, kind),
        "P": _personal(frame)[personal],
    }
    written = {}
    for part, table in tables.items():
        head = pd.DataFrame({f"{part}B010": years, f"{part}B020": NATION}).loc[table.index]
        path = Path(folder) / f"UDB_{kind}{NATION}{years.max() % 100:02d}{part}.csv"
        written[part] = write_table(head.join(table).join(_coded(frame, _SILC[part])), path)
    return written


def _records(survey: Survey, question: str, time: str) -> pd.DataFrame:
    frame = survey.frame
    if not {question, time} <= set(frame):
        raise SaeInputError(
            f"The survey has no {question} by {time}: it is no sample of the synthetic country that fits.",
            hint="write_lfs takes Country.lfs and lfs_panel, write_silc takes Country.silc and silc_panel.",
            column=question,
        )
    return frame.reset_index(drop=True)


def _coded(frame: pd.DataFrame, codes: Mapping[str, tuple[str, Mapping[str, object]]]) -> pd.DataFrame:
    """Return the columns of a file, each level by its code; what has none stays empty."""
    columns = {name: frame[of].astype(object).map(dict(levels)) for name, (of, levels) in codes.items()}
    return pd.DataFrame(columns).convert_dtypes()


def _design(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "DB030": frame["household"],
            "DB040": frame["region"],
            "DB050": frame["region"],
            "DB060": frame["psu"],
            "DB090": frame["weight"],
        }
    )


def _home(frame: pd.DataFrame, national_flag: bool) -> pd.DataFrame:
    """Incomes of the household: the equivalised one times the modified OECD scale."""
    household = frame.groupby(["year", "household"], observed=True)["age"]
    adults = household.transform(lambda age: (age >= 14).sum())
    scale = 1.0 + 0.5 * (adults - 1) + 0.3 * (household.transform("size") - adults)
    income = frame["income"] * scale
    cost = np.where(frame["housing_cost_overburden"] == "yes", _HEAVY, _LIGHT)
    columns = {
        "HB030": frame["household"],
        "HY020": income,
        "HY070": 0,
        "HH070": cost * income / 12.0,
        "HX050": scale,
        "HX090": frame["income"],
    }
    return pd.DataFrame(columns | ({"HX080": frame["poor"]} if national_flag else {}))


def _register(frame: pd.DataFrame, years: pd.Series, kind: str) -> pd.DataFrame:
    home = "RB040" if kind == "l" else "RX030"
    table = pd.DataFrame(
        {
            "RB030": frame["person"],
            home: frame["household"],
            "RB050": frame["weight"],
            "RX010": frame["age"],
            "RX020": frame["age"],
            "RB285_F": np.where(frame["birth"] == "native", -2, 1),
        }
    )
    if kind == "c":
        return table
    last = years == years.max()
    before = [frame.loc[years == years.max() - lag, "person"] for lag in (1, 2, 3)]
    always = last & np.all([frame["person"].isin(persons) for persons in before], axis=0)
    return table.assign(RB064=(4.0 * frame["weight"]).where(always & (frame["wave"] == 4)))


def _personal(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"PB030": frame["person"], "PX030": frame["household"], "PB040": frame["weight"]})
