"""Vintages of the NUTS: told by codes that began or ended; mixtures refused by name.

The changes of codes were checked against the conversion matrices of the Joint Research Centre (NUTSconverter,
release 2025.08); here the list of 2021 in the shared data is the oracle.
"""

import pandas as pd
import pytest

from sae.auxiliary import nuts_in_force, nuts_vintage
from sae.auxiliary.nuts import _BEGAN, _ENDED
from sae.errors import SaeInputError, SaeSpecError


@pytest.fixture
def regions(shared_data):
    table = pd.read_csv(shared_data / "real" / "nuts2_2021_regions.csv", dtype=str, keep_default_na=False)
    return table["nuts_id"]


@pytest.mark.parametrize(
    ("codes", "fits"),
    [
        (["AT13", "ATZZ", "EU27_2020", "DEG1"], ("2010", "2013", "2016", "2021", "2024")),
        (["EL11"], ("2010",)),
        (["FRA1", "EL51"], ("2013",)),
        (["HR04", "FRB0"], ("2016",)),
        (["HR02", "NL31"], ("2021",)),
        (["PT1A1"], ("2024",)),  # level 3 by its region of level 2
        (["FRB", "UKM"], ("2016", "2021")),  # level 1 by the regions in it
        (["FRA"], ("2013",)),
        (["UKI3"], ("2013", "2016", "2021")),
        (["UK"], ("2010", "2013", "2016", "2021", "2024")),
    ],
)
def test_codes_that_began_or_ended_tell_the_vintage(codes, fits):
    assert nuts_vintage(codes).fits == fits


def test_the_changes_agree_with_the_list_of_2021(regions):
    assert nuts_vintage(regions).fits == ("2021",)
    began_by_2021 = {code for v in ("2013", "2016", "2021") for code in _BEGAN[v].split()}
    ended_by_2021 = {code for v in ("2013", "2016", "2021") for code in _ENDED[v].split()}
    assert began_by_2021 - ended_by_2021 <= set(regions) and not ended_by_2021 & set(regions)
    assert set(_ENDED["2024"].split()) <= set(regions) and not set(_BEGAN["2024"].split()) & set(regions)


def test_a_code_ends_only_after_it_began():
    order = ["2010", *_BEGAN]
    for code in " ".join(_BEGAN.values()).split():
        began = next(v for v in _BEGAN if code in _BEGAN[v].split())
        ended = next((v for v in _ENDED if code in _ENDED[v].split()), "none")
        assert ended == "none" or order.index(ended) > order.index(began)


def test_a_mixture_is_refused_with_its_codes_and_its_token():
    codes = ["AT13", "HR04", "NO01", "HR02", "HR05"]
    with pytest.raises(
        SaeInputError, match=r"3 of 5 fit 2024, not HR04, NO01 \(2010, 2013, 2016\)"
    ) as caught:
        nuts_vintage(codes)
    assert caught.value.areas == ("HR04", "NO01") and '"nuts_2016_to_2021"' in caught.value.hint
    accepted = nuts_vintage(codes, accept=["nuts_2016_to_2021"])
    assert accepted.breaks == ("nuts_2016_to_2021",) and not accepted.fits
    assert str(accepted) == "NUTS, mixed (nuts_2016_to_2021)"


def test_every_break_between_the_codes_must_be_accepted():
    with pytest.raises(SaeInputError) as caught:
        nuts_vintage(["FR21", "PT1A"], accept=["nuts_2016_to_2021"])
    assert caught.value.hint.endswith('accept "nuts_2013_to_2016" and "nuts_2021_to_2024" by name.')


def test_real_tables_with_codes_of_several_vintages_are_seen(shared_data):
    table = pd.read_csv(
        shared_data / "real" / "eurostat_demo_r_d3dens.csv.gz", dtype=str, keep_default_na=False
    )
    with pytest.raises(SaeInputError, match=r"332 of 333 fit 2016, not HR02 \(2021, 2024\)"):
        nuts_vintage(table["geo"])
    income = pd.read_csv(
        shared_data / "real" / "eurostat_nama_10r_2hhinc.csv.gz", dtype=str, keep_default_na=False
    )
    assert str(nuts_vintage(income["geo"])) == "NUTS 2021"


def test_a_list_of_codes_makes_unknown_ones_errors_with_near_matches(regions):
    known = {"2021": regions}
    assert nuts_vintage(["AT1", "AT13", "AT130"], known=known).fits[-2:] == ("2021", "2024")
    with pytest.raises(
        SaeInputError, match=r"2 of 4 NUTS codes are unknown: AT99 \(near: AT\d\d\), ES75 \(near: ES70\)"
    ) as caught:
        nuts_vintage(["AT1", "AT13", "AT99", "ES75"], known=known)
    assert caught.value.areas == ("AT99", "ES75")
    assert nuts_vintage(["HR04", "SI03"], known=known).fits == ("2013", "2016")
    assert nuts_vintage(["PT1A"], known=known).fits == ("2024",)  # of another vintage, and known to be so
    with pytest.raises(SaeSpecError, match="There is no NUTS 2022"):
        nuts_vintage(["AT1"], known={"2022": regions})


@pytest.mark.parametrize(
    ("day", "vintage"),
    [
        ("2011-12-31", None),
        (2012, "2010"),
        (2017, "2013"),
        ("2020-12-31", "2016"),
        (2023, "2021"),
        (2024, "2024"),
    ],
)
def test_the_vintage_in_force_on_a_day(day, vintage):
    if vintage is None:
        with pytest.raises(SaeInputError, match="not known here"):
            nuts_in_force(day)
    else:
        assert nuts_in_force(day) == vintage


def test_a_day_that_is_none_is_refused():
    with pytest.raises(SaeInputError, match="'soon' is no day"):
        nuts_in_force("soon")


@pytest.mark.parametrize(
    ("year", "vintage"), [("2014", "2016"), ("2020", "2016"), ("2021", "2021"), ("2022", "2021")]
)
def test_the_figures_of_a_year_tell_their_vintage(shared_data, year, vintage):
    """Eurostat's population table holds codes of two vintages, but each year is of one."""
    file = shared_data / "real" / "eurostat_demo_r_pjanaggr3.csv.gz"
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    assert nuts_vintage(table.loc[table["TIME_PERIOD"].eq(year) & table["OBS_VALUE"].ne(""), "geo"]).fits == (
        vintage,
    )
    with pytest.raises(SaeInputError, match="The codes mix NUTS vintages"):
        nuts_vintage(table["geo"])
