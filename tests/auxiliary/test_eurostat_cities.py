"""City statistics (Urban Audit): kinds of codes, covariates with the year of each figure.

The tables are FIXTURES, written from the documented structure (dimensions freq, indic_ur, cities; country
codes beside those of cities; gaps, years without supply): no file of City statistics lies here.
"""

from dataclasses import replace

import numpy as np
import pytest

from sae.auxiliary import EurostatTable, city_covariates, read_eurostat
from sae.errors import SaeInputError, SaeSpecError

POPULATION = (
    "freq,indic_ur,cities\\TIME_PERIOD\t2018 \t2019 \t2020 \n"
    "A,DE1001V,AT\t8800000 \t8850000 \t8900000 \n"
    "A,DE1001V,AT001C\t1888776 \t1897491 \t1911191 \n"
    "A,DE1001V,AT001F\t2890577 \t2909000 \t: \n"
    "A,DE1001V,AT002C\t286292 \t: \t291072 e\n"
    "A,DE1001V,UK001K2\t: \t: \t8961989 \n"
)
FOREIGNERS = (
    "freq,indic_ur,cities\\TIME_PERIOD\t2018 \t2019 \n"
    "A,DE2002V,AT001C\t240000 \t247000 bd\n"
    "A,DE2002V,AT002C\t30000 \t: \n"
    "A,DE2003V,AT001C\t310000 \t: c\n"
    "A,DE2003V,AT002C\t31000 u\t33000 \n"
)


def table(folder, text, dataflow):
    path = folder / "table"
    path.write_text(text, encoding="utf-8")
    return read_eurostat(path, dataflow=dataflow)


@pytest.fixture
def tables(tmp_path):
    return (
        table(tmp_path, POPULATION, "ESTAT:URB_CPOP1(1.0)"),
        table(tmp_path, FOREIGNERS, "ESTAT:URB_CPOPCB(1.0)"),
    )


def test_covariates_of_one_year(tables):
    out = city_covariates(*tables, time="2018")
    assert out["cities"].tolist() == [
        "AT001C",
        "AT002C",
    ]  # neither the country, nor the FUA, nor the greater city
    assert out["population"].tolist() == [1888776.0, 286292.0]
    assert out["eu_foreign_share"].tolist() == pytest.approx([240000 / 1888776, 30000 / 286292], rel=1e-15)
    assert out["foreign_share"].tolist() == pytest.approx([550000 / 1888776, 61000 / 286292], rel=1e-15)
    assert out["non_eu_foreign_share_flag"].tolist() == ["", "u"]
    assert out.origins["eu_foreigners"].text() == "Eurostat urb_cpopcb, 2018 (freq A, indic_ur DE2002V)"
    assert out.origins["foreign_share"].text(["2020"]) == (
        "Eurostat urb_cpop1 and Eurostat urb_cpopcb, 2018 "
        "(eu foreigners plus non eu foreigners over population), 2 years before the data"
    )
    assert city_covariates(*tables, time="2018", kind="functional urban area")["cities"].tolist() == [
        "AT001F"
    ]
    assert city_covariates(*tables, time="2020", kind="greater city")["population"].tolist() == [8961989.0]


def test_gaps_stay_gaps_and_flags_reach_the_shares(tables):
    with pytest.warns(match="eu_foreigners: 1 figures bear the flag b"):
        out = city_covariates(*tables).frame.set_index(["cities", "time"])
    assert out.shape[0] == 6 and out.index.get_level_values("time").unique().tolist() == [
        "2018",
        "2019",
        "2020",
    ]
    row = out.loc[("AT001C", "2019")]
    assert row["eu_foreign_share_flag"] == "bd" and np.isnan(row["non_eu_foreigners"])
    assert row["non_eu_foreigners_flag"] == "c" and np.isnan(row["foreign_share"])
    assert out["eu_foreigners"].isna().tolist() == [False, False, True, False, True, True]


def test_an_older_figure_tells_its_year_and_shares_mix_no_years(tables):
    with pytest.warns(match="eu_foreigners: 1 figures bear the flag b"):
        out = city_covariates(*tables, time="2020", back=2).frame.set_index("cities")
    assert out["population_time"].tolist() == ["2020", "2020"]
    assert out["eu_foreigners"].tolist() == [247000.0, 30000.0]
    assert out["eu_foreigners_time"].tolist() == ["2019", "2018"]
    assert out["non_eu_foreigners_time"].tolist() == ["2018", "2019"]
    assert out["eu_foreign_share"].isna().all() and out["eu_foreign_share_time"].isna().all()


def test_what_the_tables_lack_or_hold_twice_is_refused(tables):
    population, foreigners = tables
    assert "unemployment_rate" not in city_covariates(population).frame
    with pytest.raises(SaeSpecError, match=r"unemployment_rate \(EC1020I\) is in none of the tables"):
        city_covariates(*tables, names=["population", "unemployment_rate"])
    with pytest.raises(SaeSpecError, match="no variable 'rent' here"):
        city_covariates(*tables, names=["rent"])
    with pytest.raises(SaeInputError, match=r"population \(DE1001V\) stands in urb_cpop1, urb_cpop1"):
        city_covariates(population, population)
    with pytest.raises(SaeSpecError, match="kind='town' is no kind of area here"):
        city_covariates(population, kind="town")
    assert city_covariates(population, kind="country", time="2020")["cities"].tolist() == ["AT"]
    with pytest.raises(SaeInputError, match="None of 2 areas is a greater city: AT001C, AT002C"):
        city_covariates(foreigners, kind="greater city")
    with pytest.raises(SaeSpecError, match="urb_cpop1 is no table of City statistics: it has no cities"):
        frame = population.frame.rename(columns={"cities": "geo"})
        city_covariates(EurostatTable(frame, ("freq", "indic_ur", "geo"), population.dataflow))
    with pytest.raises(SaeSpecError, match="urb_cpop1, urb_cpopcb: no figure is of 2031"):
        city_covariates(*tables, time="2031")
    twice = replace(population, frame=population.frame.assign(time="2018"))
    with pytest.raises(SaeInputError, match="urb_cpop1 has more than one figure for 5 keys"):
        city_covariates(twice)
    small = population.frame.assign(value=lambda frame: frame["value"] / 100)
    with pytest.raises(
        SaeInputError, match="eu_foreign_share lies outside 0 and 1 in 2 rows: AT001C, AT002C"
    ):
        city_covariates(EurostatTable(small, population.dimensions), foreigners, time="2018")
