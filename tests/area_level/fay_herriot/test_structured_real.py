"""Spatial and temporal models on published tables: New York tracts, Spanish provinces, US states."""

import numpy as np
import pandas as pd
import pytest

from sae.area_level import AR1, SAR, FayHerriot
from sae.compare import changes


@pytest.fixture(scope="module")
def real(shared_data):
    return shared_data / "real"


@pytest.fixture(scope="module")
def tracts(real):
    frame = pd.read_csv(real / "us_nyc_tract_acs2013_2017.csv.gz", dtype={"geoid": str})
    frame = frame[(frame["pop_inpov_denom_est"] > 0) & frame["borough_name"].notna()]
    covariates = ["pop_black_pct_est", "pop_hisp_pct_est", "pop_ba_above_pct_est", "med_age_est"]
    frame = frame.dropna(subset=covariates)
    frame["borough"] = frame["geoid"].str[:5]
    frame["poverty"] = frame["pop_inpov_pct_est"] / 100
    frame["vardir"] = (frame["pop_inpov_pct_moe"] / 164.5) ** 2
    for name in covariates[:3]:
        frame[name] /= 100
    edges = pd.read_csv(real / "us_nyc_tract_adjacency.csv.gz", dtype={"geoid_a": str, "geoid_b": str})
    known = edges["geoid_a"].isin(frame["geoid"]) & edges["geoid_b"].isin(frame["geoid"])
    return frame, edges.loc[known, ["geoid_a", "geoid_b"]]


@pytest.mark.slow
def test_new_york_tracts_benchmarked_to_boroughs(tracts, real):
    frame, edges = tracts
    frame = frame.assign(poverty=frame["poverty"].mask(frame.index % 10 == 0))  # every tenth is predicted
    formula = "poverty ~ pop_black_pct_est + pop_hisp_pct_est + pop_ba_above_pct_est + med_age_est"
    fit = FayHerriot(formula, domain="geoid", spatial=SAR(edges)).fit(frame)
    plain = FayHerriot(formula, domain="geoid").fit(frame)
    assert len(fit.estimates) > 2000
    assert 0.3 < fit.variance_components["rho_u"] < 0.95
    assert fit.diagnostics["aic"].iloc[0] < plain.diagnostics["aic"].iloc[0] - 50
    held = frame["poverty"].isna().to_numpy()
    published = tracts[0]["pop_inpov_pct_est"].to_numpy()[held] / 100
    gap = [np.mean((model.to_frame().loc[held, "estimate"] - published) ** 2) for model in (fit, plain)]
    assert gap[0] < 0.95 * gap[1]  # neighbours tell more than the covariates alone
    published = pd.read_csv(real / "us_nyc_nta_puma_borough_acs2013_2017.csv", dtype={"area_id": str})
    boroughs = published[published["level"] == "borough"].set_index("area_id")["pop_inpov_pct_est"] / 100
    final = fit.benchmark(boroughs, within="borough", weights="pop_inpov_denom_est", method="difference")
    means = final.aggregate(by="borough", weights="pop_inpov_denom_est")
    np.testing.assert_allclose(means["estimate"], boroughs.loc[means["domain"]], rtol=1e-12)


def test_spanish_provinces_with_islands(real):
    table = pd.read_csv(real / "es_epa2021q1_hajek_prov_sex_age.csv")
    frame = table[(table["Sex"] == 1) & (table["age4"].astype(str) == "1")].copy()
    frame["prov"] = frame["Province"].astype(int).map("{:02d}".format)
    frame["jobless"], frame["vardir"] = frame["UNEMPRate"] / 100, frame["vrate"] / 1e4
    others = table[(table["Sex"] == 6) & (table["age4"].astype(str) == "1")].set_index("Province")
    frame["women"] = frame["Province"].map(others["UNEMPRate"]) / 100
    edges = pd.read_csv(real / "es_province_adjacency.csv", dtype=str)[["prov_a", "prov_b"]]
    fit = FayHerriot("jobless ~ 1", domain="prov", spatial=SAR(edges)).fit(frame)
    assert len(fit.estimates) == 52
    assert set(fit.provenance["islands"]) == {"07", "35", "38", "51", "52"}
    assert fit.variance_components["rho_u"] > 0.5  # unemployment falls from south to north
    assert fit.estimates["se"].median() < fit.estimates["direct_se"].median()


def test_us_states_over_nine_years_with_unpublished_ones(real):
    table = pd.read_csv(
        real / "us_acs1_state_nativity_2010_2018.csv.gz", dtype={"state_fips": str}, low_memory=False
    )
    keys = ["year", "state_fips"]
    chosen = table[table["indicator"] == "employed_16plus"]
    everyone = chosen[chosen["group"] == "all_residents"].set_index(keys)["estimate"].rename("everyone")
    foreign = chosen[chosen["group"] == "foreign_born"].set_index(keys)[["estimate", "se"]]
    frame = everyone.to_frame().join(foreign).reset_index().rename(columns={"estimate": "foreign"})
    frame["vardir"] = np.maximum(frame["se"], 0.1) ** 2
    frame.loc[frame["se"].isna(), "foreign"] = np.nan
    model = FayHerriot("foreign ~ everyone", domain="state_fips", temporal=AR1("year"), replicates=30)
    fit = model.fit(frame, seed=1)
    rows = fit.to_frame()
    assert len(rows) == 52 * 9
    unpublished = ~rows["in_sample"].to_numpy(bool)
    assert unpublished.sum() > 60
    assert rows.loc[unpublished, "estimate"].between(40, 80).all()
    assert rows.loc[unpublished, "se"].median() > rows.loc[~unpublished, "se"].median()
    assert (rows.loc[~unpublished, "se"] < rows.loc[~unpublished, "direct_se"]).mean() > 0.9
    moved = changes(fit, 2010, 2018)
    assert (moved["estimate"] > 0).mean() > 0.6  # the years after the financial crisis
