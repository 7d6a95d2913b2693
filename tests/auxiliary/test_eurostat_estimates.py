"""Estimates in Eurostat's form: a table of their own, and in the gaps of an existing one."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import sae
from sae.auxiliary import (
    EurostatTable,
    estimates_as_eurostat,
    fill_eurostat,
    read_eurostat,
    write_eurostat,
)
from sae.errors import SaeInputError, SaeSpecError, SaeWarning


def estimates(**changes):
    rows = {
        "indicator": "employment_rate",
        "definition": "lfs_2021",
        "unit": "share",
        "geo": ["AT11", "AT11", "AT12", "AT12"],
        "region": ["AT11", "AT11", "AT12", "AT12"],
        "citizenship_group": ["eu", "non_eu"] * 2,
        "domain": ["AT11 / eu", "AT11 / non_eu", "AT12 / eu", "AT12 / non_eu"],
        "time": "2022",
        "estimate": [0.7, 0.625, 0.65, 0.6],
        "se": [0.01, 0.02, 0.03, 0.2],
        "ci_low": [0.68, 0.58, 0.59, 0.2],
        "ci_high": [0.72, 0.66, 0.71, 1.0],
        "flag": ["e", "eu", ":c", ":u"],
        "publishable": [True, True, False, False],
    }
    frame = pd.DataFrame({**rows, **changes})
    return sae.EstimateTable(frame, ("region", "citizenship_group"))


def test_estimates_go_out_with_flags_and_errors_and_nothing_of_what_is_suppressed(tmp_path):
    table = estimates_as_eurostat(estimates(), dataflow="AT1:EMP(1.0)", decimals=3)
    text = write_eurostat(table, tmp_path / "out.csv").read_text("utf-8").splitlines()
    assert text == [
        "DATAFLOW,LAST UPDATE,freq,indicator,definition,unit,citizenship_group,geo,TIME_PERIOD,"
        "OBS_VALUE,OBS_FLAG,SE,CI_LOW,CI_HIGH",
        "AT1:EMP(1.0),,A,employment_rate,lfs_2021,share,eu,AT11,2022,0.700,e,0.01,0.68,0.72",
        "AT1:EMP(1.0),,A,employment_rate,lfs_2021,share,non_eu,AT11,2022,0.625,eu,0.02,0.58,0.66",
        "AT1:EMP(1.0),,A,employment_rate,lfs_2021,share,eu,AT12,2022,,c,,,",
        "AT1:EMP(1.0),,A,employment_rate,lfs_2021,share,non_eu,AT12,2022,,u,,,",
    ]
    again = read_eurostat(tmp_path / "out.csv")
    pd.testing.assert_frame_equal(again.frame.drop(columns="decimals"), table.frame.drop(columns="decimals"))


def test_tsv_holds_values_and_flags_only(tmp_path):
    with pytest.raises(SaeInputError, match="no place for the attributes SE, CI_LOW, CI_HIGH"):
        write_eurostat(estimates_as_eurostat(estimates()), tmp_path / "out.tsv", format="tsv")
    table = estimates_as_eurostat(estimates(), errors=False)
    text = write_eurostat(table, tmp_path / "out.tsv", format="tsv").read_text("utf-8")
    assert text.splitlines()[1:] == [
        "A,employment_rate,lfs_2021,share,eu,AT11\t0.7 e",
        "A,employment_rate,lfs_2021,share,eu,AT12\t: c",
        "A,employment_rate,lfs_2021,share,non_eu,AT11\t0.625 eu",
        "A,employment_rate,lfs_2021,share,non_eu,AT12\t: u",
    ]


def test_a_fit_goes_out_and_needs_its_period():
    frame = pd.DataFrame({"domain": list("ABCDE"), "y": [0.1, 0.3, 0.2, 0.4, 0.25], "vardir": 0.001})
    fit = sae.FayHerriot("y ~ 1").fit(frame)
    with pytest.raises(SaeSpecError, match="no period"):
        estimates_as_eurostat(fit.estimates)
    table = estimates_as_eurostat(fit.estimates, time="2022-Q1")
    assert table["value"].tolist() == fit.estimates["estimate"].tolist()
    assert table["freq"].tolist() == ["Q"] * 5 and set(table["flag"]) == {"e"}
    assert [float(text) for text in table["SE"]] == fit.estimates["se"].tolist()
    with pytest.raises(SaeSpecError, match="two periods"):
        estimates_as_eurostat(estimates(), time="2021")


def cities():
    rows = [
        ["EC1020I", "AT001C", "2019", 10.5, 1, "b"],
        ["EC1020I", "AT001C", "2020", None, None, ""],
        ["EC1020I", "AT002C", "2019", None, None, "u"],
        ["EC1020I", "AT002C", "2020", None, None, "c"],
        ["EC2020V", "AT002C", "2020", None, None, ""],
    ]
    frame = pd.DataFrame(rows, columns=["indic_ur", "cities", "time", "value", "decimals", "flag"])
    return EurostatTable(frame, ("indic_ur", "cities"), "ESTAT:URB_CLMA(1.0)")


def model(**changes):
    rows = {
        "cities": ["AT001C", "AT001C", "AT002C", "AT002C", "AT002C"],
        "time": ["2019", "2020", "2019", "2020", "2018"],
        "estimate": [0.2, 0.1149, 0.07, 0.06, 0.0801],
    }
    return pd.DataFrame({**rows, **changes})


def test_only_gaps_are_filled_and_all_else_is_kept(tmp_path):
    with pytest.warns(SaeWarning, match="1 cells stay empty, for the table withholds them: AT002C / 2020"):
        full = fill_eurostat(cities(), model(), levels={"indic_ur": "EC1020I"}, factor=100)
    frame = full.frame.astype("object").where(full.frame.notna(), None)
    assert frame.values.tolist() == [
        ["EC1020I", "AT001C", "2019", 10.5, 1, "b"],
        ["EC1020I", "AT001C", "2020", 11.5, 1, "e"],
        ["EC1020I", "AT002C", "2018", 8.0, 1, "e"],
        ["EC1020I", "AT002C", "2019", 7.0, 1, "e"],
        ["EC1020I", "AT002C", "2020", None, None, "c"],
        ["EC2020V", "AT002C", "2020", None, None, ""],
    ]
    text = write_eurostat(full, tmp_path / "full.tsv", format="tsv").read_text("utf-8")
    assert "EC1020I,AT002C\t8.0 e\t7.0 e\t: c\n" in text


def test_suppressed_estimates_fill_nothing_and_low_reliability_is_kept():
    frame = model().rename(columns={"cities": "geo"}).assign(domain=list("abcde"))
    frame["flag"], frame["publishable"] = ["e", ":u", "eu", "e", "e"], [True, False, True, False, False]
    full = fill_eurostat(cities(), sae.EstimateTable(frame), levels={"indic_ur": "EC1020I"}, factor=100)
    assert len(full) == 5 and full["flag"].tolist() == ["b", "", "eu", "c", ""]


def test_estimates_that_do_not_fit_the_table_are_refused():
    levels = {"indic_ur": "EC1020I"}
    for frame, message in [
        (model(), "times 1 lie between 0.06 and 0.2, the figures of the table between 10.5 and 10.5"),
        (
            model(estimate=[1.0, np.nan, 2.0, 3.0, 4.0]),
            "1 of 5 estimates have no finite value: AT001C / 2020",
        ),
        (model(time="2020"), "3 of 5 estimates stand twice"),
        (
            model(cities=["AT001C", "AT001C", "AT002C", "AT009C", "AT002C"]),
            "1 of 5 estimates are of areas that",
        ),
        (model(estimate=9.0, time=["2019", "2020", "", "2020", "2018"]), "time is empty for 1 figures"),
        (model().drop(columns="time"), "no column 'time'"),
    ]:
        with pytest.raises(SaeInputError, match=message):
            fill_eurostat(replace(cities(), frame=cities().frame.iloc[:3]), frame, levels=levels)
    with pytest.raises(SaeSpecError, match="does not say which indic_ur"):
        fill_eurostat(cities(), model(), levels={})
    with pytest.raises(SaeSpecError, match="areas or times"):
        fill_eurostat(cities(), model(), levels={**levels, "time": "2020"})
