"""The reports of real data that were looked at page by page: Argentine cities, US states by nativity."""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd

import sae

INDEC = "INDEC, Encuesta Permanente de Hogares, third quarters of 2013 and 2014"
CENSUS = "U.S. Census Bureau, American Community Survey, tables S0501 and S2301"
PERIODS = ("2013Q3", "2014Q3")


def cities(shared_data):
    """Return a judged table of two indicators by city, birth and quarter, and the names of the cities."""
    path = shared_data / "real/ar_eph2013_2014_persons.csv.gz"
    official = pd.read_csv(shared_data / "real/ar_eph_sampling_errors.csv", dtype=str)
    names = dict(official[["codigo", "aglomerado"]].drop_duplicates("codigo").itertuples(index=False))
    survey = sae.read_survey(path, layout="argentina_eph")
    survey = survey.subset(" or ".join(f"period == '{period}'" for period in PERIODS))
    people = survey.frame[survey.frame["age"].between(25, 64)]
    tertiary = people["education"].eq("tertiary").groupby(people["city"].astype(str)).mean()
    parts = []
    for indicator in ("employment_rate", "unemployment_rate"):
        direct = sae.direct(survey, indicator, by=["city", "birth", "period"], smoothing="deff")
        areas = direct.frame[["city", "birth", "period"]].assign(
            foreign=direct.frame["birth"].eq("foreign").astype(float).to_numpy(),
            tertiary=direct.frame["city"].astype(str).map(tertiary).to_numpy(),
        )
        fit = sae.FayHerriot(f"{indicator} ~ foreign + tertiary").fit(direct, areas=areas)
        parts.append(fit.flag("eurostat_lfs").estimates.frame)
    return sae.EstimateTable(pd.concat(parts, ignore_index=True), ("city", "birth", "period")), names


def states(shared_data):
    """Return the judged fit of employment of natives and foreign-born by state, 2014 to 2018 without 2016."""
    frame = pd.read_csv(
        shared_data / "real/us_acs1_state_nativity_2010_2018.csv.gz", dtype={"state_fips": str}
    )
    frame = frame[frame["year"].isin([2014, 2015, 2017, 2018])]
    rates = frame[frame["indicator"].eq("employed_16plus")].assign(
        employed=lambda rows: rows["estimate"] / 100.0, vardir=lambda rows: (rows["se"] / 100.0) ** 2
    )
    every = rates[rates["group"].eq("all_residents")].rename(columns={"employed": "all_residents"})
    keys = ["state_name", "year"]
    own = rates[rates["group"].isin(["native", "foreign_born"])]
    groups = pd.DataFrame({"group": ["native", "foreign_born"]})
    areas = every[[*keys, "all_residents"]].merge(groups, how="cross")
    areas["foreign"] = areas["group"].eq("foreign_born").astype(float)
    table = areas.merge(own[[*keys, "group", "employed", "vardir"]], how="left", on=[*keys, "group"])
    table["vardir"] = np.maximum(table["vardir"], (0.05 / 100.0) ** 2)  # a margin of 0.0 is one of rounding
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sae.errors.ExtrapolationWarning)  # North Dakota has no estimate
        fit = sae.FayHerriot("employed ~ all_residents", domain="state_name", per=["group", "year"]).fit(
            table
        )
    frame = fit.estimates.frame
    said = {"indicator": "Employment rate, 16 and over", "unit": "share", "time": frame["year"].astype(str)}
    return replace(fit, estimates=fit.estimates.assign(**said)).flag("statcan")
