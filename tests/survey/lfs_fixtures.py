"""Fixtures of the EU-LFS research files, which no test may hold: frames of a few records made by hand.

The names of the columns and their codes are those of the documented structure and of public code that
reads the files; no record is real, and nothing is claimed beyond the structure. `eu_lfs_2020` are files
up to 2020 (COEFF), `eu_lfs_recoded` the same years as coded since 2021, `eu_lfs` 2021 and later.
"""

import pandas as pd


def eu_lfs_2020():
    return pd.DataFrame(
        {
            "COEFF": [1.5, 0.5, 2.0, 1.25, 0.75, 1.0],
            "REFYEAR": [2018] * 6,
            "QUARTER": [1, 1, 2, 2, 3, 4],
            "COUNTRY": ["AT", "AT", "GR", "GR", "CZ", "CZ"],
            "REGION": [10, 20, 30, 30, 2, 3],
            "HHNUM": [1, 1, 2, 2, 3, 3],
            "HHSEQNUM": [1, 2, 1, 2, 1, 2],
            "SEX": [1, 2, 1, 2, 1, 2],
            "AGE": [17, 22, 42, 62, 77, 7],
            "COUNTRYB": [
                *["000-OWN COUNTRY", "010-OTHER AFRICA", "001-EU15", "NO ANSWER", "004-EFTA"],
                "000-OWN COUNTRY",
            ],
            "NATIONAL": ["000-OWN COUNTRY"] * 6,
            "YEARESID": [0, 3, 11, None, 5, 0],
            "ILOSTAT": [1, 1, 1, 2, 3, 9],
            "STAPRO": [1, 3, 4, 9, 9, 9],
            "TEMP": [9, 2, 9, 9, 9, 9],
            "FTPT": [1, 2, 1, 9, 9, 9],
            "ISCO3D": ["011", "911", "251", None, None, None],
            "DURUNE": [9, 9, 9, 5, 9, 9],
            "EDUC4WN": [1, 0, 0, 0, 0, 9],
            "HATLEV1D": ["L", "M", "H", "H", "L", None],
        }
    )


def eu_lfs_recoded(year=2018):
    old = eu_lfs_2020()
    groups = {
        "000-OWN COUNTRY": "NAT",
        "010-OTHER AFRICA": "AFR_OTH",
        "001-EU15": "EU15" if year < 2020 else "EU27_2020",
        "004-EFTA": "EFTA",
    }
    return old.drop(columns=["COEFF", "REGION", "NATIONAL", "AGE"]).assign(
        COEFFY=1000 * old["COEFF"],
        REFYEAR=year,
        COUNTRYB=old["COUNTRYB"].map(groups),
        CITIZENSHIP="NAT",
        YEARESID=["Y0", "Y3", "Y10-14", None, "Y5", "Y0"],
        STAPRO=[0, 3, 4, 9, 9, 9],
        REGION_2D=old["REGION"],
        AGE_GRP=["Y15-19", "Y20-24", "Y40-44", "Y60-64", "Y_GE75", "Y5-9"],
    )


def eu_lfs(year=2022):
    recoded = eu_lfs_recoded(year)
    return recoded.drop(columns=["EDUC4WN", "ISCO3D"]).assign(
        COEFFQ=4.0 * recoded["COEFFY"],
        COEFFHH=100.0,
        ISCO08_3D=recoded["ISCO3D"],
        AGE=[17.0, None, 41.0, None, None, None],
        EDUCFED4=[1, 2, 2, 2, 2, 9],
        EDUCNFE4=[2, 2, 2, 1, 2, 9],
    )


_OWN = "000-OWN COUNTRY"
_REGIONS = ["10", "B0", "C1", "C2", "D1", "D2"]
_CODES = {
    "SEX": ("sex", {"male": 1, "female": 2}, None),
    "DEGURBA": ("degurba", {"cities": 1, "towns": 2, "rural": 3}, None),
    "ILOSTAT": ("labour_status", {"employed": 1, "unemployed": 2, "inactive": 3}, 9),
    "STAPRO": ("professional_status", {"self_employed": 1, "employee": 3, "family_worker": 4}, 9),
    "TEMP": ("contract", {"permanent": 1, "temporary": 2}, 9),
    "FTPT": ("working_time", {"full_time": 1, "part_time": 2}, 9),
    "ISCO3D": (
        "occupation",
        {"high_skilled": "251", "low_or_medium_skilled": "911", "armed_forces": "011"},
        "999",
    ),
    "DURUNE": ("unemployment_duration", {"under_1_year": 3, "1_year_or_more": 6}, 9),
    "EDUC4WN": ("recent_education", {"yes": 1, "no": 0}, 9),
    "HATLEV1D": ("education", {"low": "L", "medium": "M", "tertiary": "H"}, "9"),
    "COUNTRYB": ("birth_group", {"native": _OWN, "eu": "001-EU15", "non_eu": "010-OTHER AFRICA"}, None),
    "NATIONAL": ("citizenship_group", {"native": _OWN, "eu": "001-EU15", "non_eu": "004-EFTA"}, None),
    "YEARESID": ("residence", {"born_here": 0, "under_5_years": 3, "5_years_or_more": 11}, None),
}
_SINCE_2021 = {
    "STAPRO": {1: 0},
    "COUNTRYB": {"000-OWN COUNTRY": "NAT", "001-EU15": "EU15", "010-OTHER AFRICA": "AFR_OTH"},
    "NATIONAL": {"000-OWN COUNTRY": "NAT", "001-EU15": "EU15", "004-EFTA": "EFTA"},
    "YEARESID": {0: "Y0", 3: "Y3", 11: "Y10-14"},
}


def encoded(persons, layout, year):
    """Records of the synthetic country's panel as a release writes them: a French file of six regions."""
    out = pd.DataFrame({"REFYEAR": year, "COUNTRY": "FR"}, index=persons.index)
    out["QUARTER"] = persons["quarter"].astype(str).str[-1].astype(int)
    out["HHNUM"], out["HHSEQNUM"] = persons["household"], persons["person"]
    places = dict(zip(sorted(persons["region"].unique()), _REGIONS, strict=True))
    out["REGION"] = persons["region"].astype(str).map(places)
    for column, (name, codes, nothing) in _CODES.items():
        made = persons[name].astype(object).map(codes)
        out[column] = made if nothing is None else made.where(made.notna(), nothing)
    low = persons["age"] // 5 * 5
    if layout == "eu_lfs_2020":
        return out.assign(COEFF=persons["weight"] / 1000, AGE=(low + 2).clip(upper=77))
    for column, codes in _SINCE_2021.items():
        out[column] = out[column].replace(codes)
    eu = "EU15" if year < 2020 else "EU27_2020"
    out = out.replace({"EU15": eu}).rename(columns={"NATIONAL": "CITIZENSHIP", "REGION": "REGION_2D"})
    group = "Y" + low.astype(str) + "-" + (low + 4).astype(str)
    out["AGE_GRP"] = group.where(persons["age"] < 75, "Y_GE75")
    if layout == "eu_lfs_recoded":
        return out.assign(COEFFY=persons["weight"] / 4)
    learning = out.pop("EDUC4WN")
    return out.rename(columns={"ISCO3D": "ISCO08_3D"}).assign(
        COEFFQ=persons["weight"],
        AGE=persons["age"].astype(float),
        EDUCFED4=learning.replace({0: 2}),
        EDUCNFE4=learning.replace({0: 2, 1: 2}),
    )
