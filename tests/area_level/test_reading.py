"""The version of the areas' codes on its way from survey and covariates to the estimate table."""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeInputError

REGIONS = [f"AT{k:02d}" for k in range(11, 31)]


def direct(geo_version=""):
    k = np.arange(len(REGIONS))
    frame = pd.DataFrame(
        {
            "indicator": "rate",
            "region": REGIONS,
            "geo": REGIONS,
            "domain": REGIONS,
            "time": "",
            "n": 50,
            "estimate": 0.3 + 0.02 * (k % 7),
            "vardir": 0.001,
        }
    )
    release = {"release": {"geo_version": geo_version}} if geo_version else {}
    return sae.DirectEstimates(frame, ("region",), provenance=release)


def areas(geo_version=None):
    frame = pd.DataFrame({"region": [*REGIONS, "AT99"], "x": np.arange(21) % 5 / 5})
    return frame if geo_version is None else frame.assign(geo_version=geo_version)


@pytest.mark.parametrize(
    ("of_survey", "of_areas", "expected"),
    [
        ("", None, ""),
        ("NUTS 2021", None, "NUTS 2021"),
        ("", "NUTS 2016", "NUTS 2016"),
        ("NUTS 2021", "NUTS 2021", "NUTS 2021"),
        ("NUTS 2021", 2021, "NUTS 2021"),
    ],
)
def test_the_version_of_the_codes_reaches_the_estimate_table(of_survey, of_areas, expected):
    table = sae.FayHerriot("rate ~ x").fit(direct(of_survey), areas=areas(of_areas)).to_frame()
    assert len(table) == 21 and table["geo_version"].tolist() == [expected] * 21


def test_survey_and_covariates_of_different_versions_are_refused():
    with pytest.raises(
        SaeInputError, match=r"several versions: NUTS 2021 in the direct estimates, NUTS 2016 in the areas"
    ):
        sae.FayHerriot("rate ~ x").fit(direct("NUTS 2021"), areas=areas("NUTS 2016"))


@pytest.mark.parametrize(
    ("of_data", "of_areas", "message"),
    [
        ("NUTS 2016", "NUTS 2021", "NUTS 2016 in the direct estimates, NUTS 2021 in the areas"),
        (None, ["NUTS 2021"] * 20 + ["NUTS 2016"], "NUTS 2021, NUTS 2016 in the areas; not of 2021 are AT99"),
    ],
)
def test_versions_that_differ_within_or_between_plain_tables_are_refused(of_data, of_areas, message):
    """The version of the areas stood in the table, whatever the data said."""
    frame = direct().frame[["domain", "estimate", "vardir"]]
    data = frame if of_data is None else frame.assign(geo_version=of_data)
    covariates = areas(of_areas).rename(columns={"region": "domain"})
    with pytest.raises(SaeInputError, match=message):
        sae.FayHerriot("estimate ~ x").fit(data, areas=covariates)


def test_areas_without_a_sample_are_of_the_version_of_the_data():
    frame = direct().frame[["domain", "estimate", "vardir"]].assign(geo_version="NUTS 2021")
    covariates = areas().rename(columns={"region": "domain"}).assign(geo_version=None)
    table = sae.FayHerriot("estimate ~ x").fit(frame, areas=covariates).to_frame()
    assert table["geo_version"].tolist() == ["NUTS 2021"] * 21


@pytest.mark.parametrize(
    ("region", "message"),
    [("HR04", "1 areas are no codes of NUTS 2021, of which the survey is: HR04"), ("HR05", None)],
)
def test_areas_of_another_nuts_are_no_areas_without_a_sample(region, message):
    """HR04 ended with NUTS 2016: it was estimated beside the regions of NUTS 2021, as one of them."""
    covariates = areas().replace({"region": {"AT99": region}})
    if message:
        with pytest.raises(SaeInputError, match=message):
            sae.FayHerriot("rate ~ x").fit(direct("NUTS 2021"), areas=covariates)
    table = sae.FayHerriot("rate ~ x").fit(direct("NUTS 2021" if message is None else ""), areas=covariates)
    assert table.estimates["domain"].tolist()[-1] == region


def test_areas_of_two_nuts_are_refused_by_the_name_of_the_change():
    covariates = pd.concat([areas(), pd.DataFrame({"region": ["HR04", "HR05"], "x": 0.2})])
    for version in ("NUTS 2021", ""):
        with pytest.raises(SaeInputError, match=r"codes mix NUTS vintages.*not HR04"):
            sae.FayHerriot("rate ~ x").fit(direct(version), areas=covariates)


def test_a_group_that_bears_a_name_of_the_table_is_refused_before_the_fit():
    frame = pd.DataFrame(
        {"domain": list("ABCDEF") * 2, "run": [1] * 6 + [2] * 6, "y": range(12), "vardir": 0.5}
    )
    with pytest.raises(
        SaeInputError, match=r"The grouping columns run bear names .*\n.*it keeps indicator, "
    ):
        sae.FayHerriot("y ~ 1", per=["run"]).fit(frame)
