"""National and provincial figures of the public labour force files, against what is published or counted."""

import numpy as np
import pandas as pd
import pytest

import sae

PUBLISHED = 1e-12  # the table prints 15 digits, of sums of some hundred weights
BY_HAND = 1e-12  # the same sums in another order


def test_spanish_provinces_equal_the_published_table(shared_data):
    """Province x sex x age of the authors: 416 cells; their age 4 is cut at 50, 60 and 65."""
    cut = {"1": "age < 50", "2": "age < 60", "3": "age < 65", "4": "age >= 65"}
    layout = {"layout": "spanish_epa", "derive": {"age4": {"levels": cut}}}
    survey = sae.read_survey(shared_data / "real/es_epa2021q1_persons.csv.gz", layout=layout)
    table = pd.read_csv(
        shared_data / "real/es_epa2021q1_hajek_prov_sex_age.csv", dtype={"Province": str, "age4": str}
    )
    table["sex"] = table["Sex"].map({1: "male", 6: "female"})
    statuses = {"employed": "lab1mean", "unemployed": "lab2mean", "inactive": "lab3mean"}
    indicators = [
        sae.Indicator(id=status, numerator=f"labour_status == '{status}'", universe="age >= 16")
        for status in statuses
    ]
    total = sae.Indicator(id="persons", numerator="age >= 16", universe="age >= 16", kind="total")
    direct = sae.direct(survey, [*indicators, total], by=["region", "sex", "age4"]).to_frame()
    assert len(direct) == 4 * len(table) == 4 * 416
    keys = ["region", "sex", "age4"]
    wide = direct.pivot(index=keys, columns="indicator", values="estimate")
    published = table.rename(columns={"Province": "region"}).set_index(keys).loc[wide.index]
    for status, column in statuses.items():
        np.testing.assert_allclose(wide[status], published[column], rtol=PUBLISHED, atol=PUBLISHED)
    np.testing.assert_allclose(wide["persons"], published["hatNd"], rtol=PUBLISHED)
    n = direct[direct["indicator"] == "persons"].set_index(keys).loc[wide.index, "n"]
    np.testing.assert_array_equal(n, published["nd"])
    active = survey.frame["labour_status"].isin(["employed", "unemployed"])
    jobless = survey.frame["labour_status"] == "unemployed"
    assert survey.weights[jobless].sum() / survey.weights[active].sum() == pytest.approx(0.1598, abs=5e-5)


def test_french_national_rates_by_birth_sex_and_age(shared_data):
    """For form, not for results: the file is perturbed, and its 20-64 would cut the band 15-24."""
    file = shared_data / "real/fr_eulfs_puf_sample50k.csv.gz"
    survey = sae.read_survey(file, layout="eu_lfs_puf")
    active = sae.Indicator(
        id="active", numerator="labour_status in ['employed', 'unemployed']", universe="15 <= age <= 74"
    )
    direct = sae.direct(survey, active, by=["birth", "sex"]).to_frame().set_index(["birth", "sex"])
    raw = pd.read_csv(file, low_memory=False)
    adults = raw[raw["AGE"].between(15, 74)]
    assert len(direct) == 4
    for (birth, sex), row in direct.iterrows():
        group = "000-OWN COUNTRY" if birth == "native" else "005-EU28"
        part = adults[(adults["COUNTRYB"] == group) & (adults["SEX"] == {"male": 1, "female": 2}[sex])]
        expected = np.average(part["ILOSTAT"].isin([1, 2]), weights=part["COEFF"])
        assert row["estimate"] == pytest.approx(expected, rel=BY_HAND)
        assert row["n"] == (part["COEFF"] > 0).sum() and row["se"] > 0
