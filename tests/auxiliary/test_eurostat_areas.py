"""Covariates out of tables of Eurostat: each figure its own, with period, flag and source."""

import warnings

import numpy as np
import pandas as pd
import pytest

import sae
from sae.auxiliary import EurostatTable, areas_from_eurostat, read_eurostat
from sae.errors import SaeInputError, SaeSpecError, SaeWarning


def table(**changes):
    rows = [
        ["PC", "AT11", "2020", 5.0, ""],
        ["PC", "AT11", "2021", 6.0, "b"],
        ["PC", "AT12", "2020", 7.0, "u"],
        ["PC", "AT12", "2021", None, "u"],
        ["NR", "AT11", "2021", 50.0, ""],
        ["NR", "AT12", "2021", 70.0, "e"],
    ]
    frame = pd.DataFrame(rows, columns=["unit", "geo", "time", "value", "flag"]).assign(**changes)
    return EurostatTable(frame, ("unit", "geo"), "ESTAT:TRNG_LFSE_04(1.0)", "2023-04-26T23:00:00")


FIGURES = {"rate": {"unit": "PC"}, "count": {"unit": "NR"}}


def test_one_row_per_area_with_the_origin_of_each_figure():
    out = areas_from_eurostat(table(), FIGURES, time="2021")
    assert out["geo"].tolist() == ["AT11", "AT12"] and "time" not in out.frame
    assert out["rate"].tolist()[0] == 6.0 and np.isnan(out["rate"].tolist()[1])
    assert out["rate_time"].tolist() == ["2021", pd.NA] and out["rate_flag"].tolist() == ["b", "u"]
    assert out["count"].tolist() == [50.0, 70.0] and out["count_flag"].tolist() == ["", "e"]
    assert out.origins["rate"].text(["2021"]) == (
        "Eurostat trng_lfse_04 updated 2023-04-26, 2021 (unit PC; flagged 1 break in time series)"
    )


def test_several_periods_give_rows_of_area_and_period_and_name_breaks():
    with pytest.warns(
        SaeWarning, match=r"rate: 1 figures bear the flag b \(break in time series\): AT11 2021"
    ):
        out = areas_from_eurostat(table(), FIGURES)
    assert out[["geo", "time"]].values.tolist() == [
        ["AT11", "2020"],
        ["AT11", "2021"],
        ["AT12", "2020"],
        ["AT12", "2021"],
    ]
    assert out["count"].isna().tolist() == [True, False, True, False]
    assert out.origins["rate"].vintage == {"2020": "2020", "2021": "2021"}


def test_an_older_figure_stands_in_only_where_asked_and_tells_its_year():
    with pytest.warns(SaeWarning, match="1 figures bear the flag b"):
        out = areas_from_eurostat(
            table(), {"rate": {"unit": "PC"}}, time="2022", back=2, areas=["AT12", "AT11"]
        )
    assert out["geo"].tolist() == ["AT12", "AT11"] and out["rate"].tolist() == [7.0, 6.0]
    assert out["rate_time"].tolist() == ["2020", "2021"] and out["rate_flag"].tolist() == ["u", "b"]
    with pytest.warns(SaeWarning, match="1 figures bear the flag b"):
        near = areas_from_eurostat(table(), {"rate": {"unit": "PC"}}, time="2022", back=1)
    assert near["rate"].isna().tolist() == [False, True] and near["rate_time"].isna().tolist() == [
        False,
        True,
    ]
    assert out.origins["rate"].vintage == "2020 to 2021" and near.origins["rate"].vintage == "2021"
    with pytest.raises(SaeSpecError, match="trng_lfse_04: no figure is of 2022"):
        areas_from_eurostat(table(), FIGURES, time="2022")
    with pytest.raises(SaeSpecError, match="years such as 2022 only"):
        areas_from_eurostat(table(time="2022-Q1", geo=list("abcdef")), FIGURES, time="2022-Q1", back=1)


def test_what_is_not_one_figure_per_area_is_refused():
    twice = table(time=["2021", "2021", "2020", "2021", "2021", "2021"])
    with pytest.raises(
        SaeInputError, match="trng_lfse_04 has more than one figure for 1 keys: PC / AT11 / 2021"
    ):
        areas_from_eurostat(twice, FIGURES)
    with pytest.raises(SaeSpecError, match=r"rate does not say which of several levels of unit \(PC, NR\)"):
        areas_from_eurostat(table(), {"rate": {}})
    with pytest.raises(SaeSpecError, match="no unit 'THS'"):
        areas_from_eurostat(table(), {"rate": {"unit": "THS"}})
    with pytest.raises(SaeInputError, match="1 of 2 areas are not in trng_lfse_04: AT99") as caught:
        areas_from_eurostat(table(), FIGURES, areas=["AT11", "AT99"])
    assert caught.value.areas == ("AT99",)
    for figures in ({"geo": {"unit": "PC"}}, {"x": {"unit": "PC"}, "x_flag": {"unit": "PC"}}):
        with pytest.raises(SaeSpecError, match="twice"):
            areas_from_eurostat(table(), figures)
    with pytest.raises(SaeSpecError, match="names a level of geo or time"):
        areas_from_eurostat(table(), {"rate": {"unit": "PC", "time": "2021"}})
    with pytest.raises(SaeSpecError, match="no dimension region for the areas"):
        areas_from_eurostat(table(), FIGURES, area="region")
    with pytest.raises(SaeSpecError, match="names no covariate"):
        areas_from_eurostat(table(), {})


def test_covariates_of_eurostat_files_enter_a_fit(shared_data):
    """Participation of adults in learning from income per head, Spanish and Italian regions, 2019."""
    learning = read_eurostat(shared_data / "real/eurostat_trng_lfse_04.csv.gz")
    income = read_eurostat(shared_data / "real/eurostat_nama_10r_2gdp.csv.gz")
    y = areas_from_eurostat(learning, {"y": {"sex": "T"}}, time="2019").frame.dropna(subset=["y"])
    y = y[y["geo"].str.match("ES|IT")].assign(vardir=0.25)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x = areas_from_eurostat(income, {"gdp": {"unit": "MIO_EUR"}}, time="2019", areas=y["geo"])
    fit = sae.FayHerriot("y ~ gdp", domain="geo").fit(y, areas=x)
    assert len(fit.estimates) == 40 and "Eurostat nama_10r_2gdp updated 2023-02-21, 2019" in fit.summary()
    assert fit.provenance["covariates"]["gdp"]["vintage"] == "2019"


def test_areas_within_others_and_no_regions_are_said():
    """A model would estimate Austria as one more of its regions, and sums would count it twice."""
    held = table().frame[lambda frame: frame["unit"] == "PC"]
    whole = pd.concat([held, held.assign(geo=held["geo"].map({"AT11": "AT", "AT12": "EU27_2020"}))])
    several = EurostatTable(whole, ("unit", "geo"))
    with pytest.warns(
        SaeWarning, match=r"2 within others of them \(AT11, AT12\) and EU27_2020, which are no"
    ):
        areas_from_eurostat(several, {"rate": {}}, time="2020")
    towns = EurostatTable(
        held.assign(geo=held["geo"].map({"AT11": "AT001C", "AT12": "AT001F"})), ("unit", "geo")
    )
    with pytest.warns(SaeWarning, match=r"1 within others of them \(AT001F\)"):
        areas_from_eurostat(towns, {"rate": {}}, time="2020")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        areas_from_eurostat(several, {"rate": {}}, time="2020", areas=["AT11", "AT12"])
        own = held.replace({"geo": {"AT11": "north", "AT12": "south"}})
        areas_from_eurostat(EurostatTable(own, ("unit", "geo")), {"rate": {}}, time="2020")
