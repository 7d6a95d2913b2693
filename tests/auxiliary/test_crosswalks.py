"""Crosswalks: by hand, with totals that stay; every fault of shares and codes by name."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sae.auxiliary import Covariates, Origin, area_codes, crosswalk
from sae.errors import SaeInputError, SaeSpecError

EXACT = 1e-12  # relative: sums of a few dozen floats


def table(**columns):
    return pd.DataFrame({"geo": ["A", "B", "C"], "persons": [100, 60, 41], **columns})


def links(*rows):
    return pd.DataFrame(rows, columns=["geo", "new", "share"])


SPLIT = links(("A", "X", 0.25), ("A", "Y", 0.75), ("B", "Y", 1.0), ("C", "Z", 1.0))


def test_counts_are_split_and_rates_averaged_with_their_counts():
    out = crosswalk(
        table(rate=[0.2, 0.4, 0.1], year="2021"),
        by="geo",
        shares=SPLIT,
        counts=["persons"],
        rates={"rate": "persons"},
    )
    assert out["new"].tolist() == ["X", "Y", "Z"] and out["year"].tolist() == ["2021"] * 3
    assert out["persons"].tolist() == [25.0, 135.0, 41.0]
    # Y: 75 persons at 0.2 and 60 at 0.4
    assert np.allclose(out["rate"], [0.2, (75 * 0.2 + 60 * 0.4) / 135, 0.1], rtol=EXACT)


def test_whole_areas_keep_their_integers_and_two_columns_suffice():
    shares = pd.DataFrame({"lau": ["A", "B", "C"], "city": ["AT001C", "AT001C", None]})
    out = crosswalk(table(), by="geo", shares=shares, counts=["persons"], rest="elsewhere")
    assert out.to_dict("list") == {"city": ["AT001C", "elsewhere"], "persons": [160, 41]}
    assert out["persons"].dtype == np.int64
    with pytest.raises(SaeInputError, match="1 areas go to no new area: C"):
        crosswalk(table(), by="geo", shares=shares, counts=["persons"])


def test_groups_and_years_stay_apart():
    frame = pd.concat([table(year=2020), table(year=2021, persons=[10, 20, 30])])
    out = crosswalk(frame, by=["geo", "year"], shares=SPLIT, counts=["persons"])
    assert out["new"].tolist() == ["X", "X", "Y", "Y", "Z", "Z"]
    assert out["year"].tolist() == [2020, 2021] * 3
    assert out["persons"].tolist() == [25, 2.5, 135, 27.5, 41, 30]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(0, 10**7), min_size=1, max_size=6),
    st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=4), min_size=6, max_size=6),
)
def test_totals_stay_what_they_were(persons, weights):
    frame = pd.DataFrame({"geo": [str(k) for k in range(len(persons))], "persons": persons})
    shares = links(
        *(
            (str(k), f"T{j}", w / sum(row))
            for k, row in enumerate(weights[: len(persons)])
            for j, w in enumerate(row)
        )
    )
    split = crosswalk(frame, by="geo", shares=shares, counts=["persons"])
    assert np.isclose(split["persons"].sum(), sum(persons), rtol=EXACT, atol=0)
    whole = crosswalk(frame, by="geo", shares=shares, counts=["persons"], whole=True)
    assert whole["persons"].dtype == np.int64 and whole["persons"].sum() == sum(persons)
    sources = shares["new"].value_counts()
    assert ((whole["persons"] - split["persons"]).abs() <= whole["new"].map(sources)).all()  # each part by 1


def test_the_largest_remainder_is_rounded_up_and_of_equals_the_first():
    shares = links(("A", "X", 0.5), ("A", "Y", 0.5), ("B", "X", 0.21), ("B", "Y", 0.79), ("C", "Y", 1.0))
    out = crosswalk(table(persons=[3, 10, 0]), by="geo", shares=shares, counts=["persons"], whole=True)
    assert out["persons"].tolist() == [2 + 2, 1 + 8]
    with pytest.raises(SaeInputError, match=r"persons is not whole in 1 of 3 rows: row 2"):
        crosswalk(table(persons=[3, 1.5, 0]), by="geo", shares=shares, counts=["persons"], whole=True)


def test_there_and_back_gives_what_was_where_areas_are_only_renamed():
    names = pd.DataFrame({"geo": ["A", "B", "C"], "new": ["P", "Q", "R"]})
    there = crosswalk(
        table(rate=[0.2, 0.4, 0.1]), by="geo", shares=names, counts=["persons"], rates={"rate": "persons"}
    )
    back = crosswalk(
        there, by="new", shares=names[["new", "geo"]], counts=["persons"], rates={"rate": "persons"}
    )
    pd.testing.assert_frame_equal(back, table(rate=[0.2, 0.4, 0.1]), rtol=EXACT)


def test_what_is_missing_stays_missing_and_no_one_to_count_has_no_rate():
    out = crosswalk(
        table(persons=[100, np.nan, 0], rate=[0.2, 0.4, np.nan]),
        by="geo",
        shares=SPLIT,
        counts=["persons"],
        rates={"rate": "persons"},
    )
    assert out["persons"].isna().tolist() == [False, True, False]
    assert out["rate"].isna().tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        (SPLIT.iloc[1:], r"shares of 1 of 3 areas do not sum to 1: A \(0.75\)"),
        (SPLIT.iloc[:3], "1 of 3 areas have no shares: C"),
        (
            links(("A", "X", 1.5), ("A", "Y", -0.5), ("B", "Y", 1), ("C", "Z", 1)),
            "missing or negative: A → Y",
        ),
        (pd.concat([SPLIT, SPLIT.iloc[3:]]), "1 links stand more than once in the shares: C → Z"),
        (pd.concat([SPLIT, links(("D", "Y", 1.0))]), r"1 new areas lack some .*: Y \(D\)"),
        (SPLIT[["geo"]], "fewer than two columns"),
        (SPLIT.rename(columns={"new": "persons"}), "both have a column 'persons'"),
    ],
)
def test_wrong_shares_are_refused_by_name(shares, message):
    with pytest.raises(SaeInputError, match=message):
        crosswalk(table(), by="geo", shares=shares, counts=["persons"])


def test_a_new_area_is_checked_in_every_year():
    frame = pd.concat([table(year=2020), table(year=2021).iloc[1:]])
    with pytest.raises(
        SaeInputError, match=r"2 new areas lack some .*: X / 2021 \(A\), Y / 2021 \(A\)|Y / 2021 \(A\)"
    ):
        crosswalk(frame, by=["geo", "year"], shares=SPLIT, counts=["persons"])


def test_wrong_tables_are_refused_by_name():
    with pytest.raises(SaeInputError, match="What is to become of the columns rate is not said"):
        crosswalk(table(rate=0.1), by="geo", shares=SPLIT, counts=["persons"])
    with pytest.raises(SaeSpecError, match=r"The counts base that rates are of are not in counts"):
        crosswalk(table(rate=0.1), by="geo", shares=SPLIT, counts=["persons"], rates={"rate": "base"})
    with pytest.raises(SaeInputError, match="1 areas stand more than once in the table: A"):
        crosswalk(table(geo=["A", "A", "B"]), by="geo", shares=SPLIT, counts=["persons"])
    with pytest.raises(SaeInputError, match="persons is no count in 1 of 3 rows, such as -9999 in row 2"):
        crosswalk(table(persons=[1, -9999, 2]), by="geo", shares=SPLIT, counts=["persons"])
    with pytest.raises(SaeInputError, match="persons is no count in 1 of 3 rows, such as inf in row 1"):
        crosswalk(table(persons=[np.inf, 1, 2]), by="geo", shares=SPLIT, counts=["persons"])
    with pytest.raises(SaeInputError, match="persons holds text"):
        crosswalk(table(persons=["1", "few", "2"]), by="geo", shares=SPLIT, counts=["persons"])


def test_origins_go_along_and_the_version_is_that_of_the_new_codes():
    origin = Origin("Census", "born abroad", "2021")
    covariates = Covariates(
        table(rate=[0.2, 0.4, 0.1], geo_version="NUTS 2016", source="S"), {"persons": origin, "rate": origin}
    )
    arguments = {"by": "geo", "counts": ["persons"], "rates": {"rate": "persons"}}
    out = crosswalk(covariates, shares=SPLIT.assign(geo_version="NUTS 2021"), **arguments)
    assert out.origins == {"persons": origin, "rate": origin}
    assert (
        out.frame["geo_version"].tolist() == ["NUTS 2021"] * 3 and out.frame["source"].tolist() == ["S"] * 3
    )
    assert "geo_version" not in crosswalk(covariates, shares=SPLIT, **arguments).frame  # nobody says which
    two = SPLIT[["geo", "new"]].iloc[1:].assign(geo_version="NUTS 2021")
    assert crosswalk(covariates, shares=two, **arguments).frame["persons"].tolist() == [160, 41]
    with pytest.raises(SaeInputError, match="The new codes are of 2 versions: 2016, 2021"):
        crosswalk(covariates, shares=SPLIT.assign(geo_version=[2016, 2021, 2021, 2021]), **arguments)


def test_regions_make_the_countries_that_eurostat_publishes(shared_data):
    """Active population 2019: regions of NUTS 2 brought to countries, against the published countries."""
    file = shared_data / "real" / "eurostat_lfst_r_lfp2acedu.csv.gz"
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    table = table[table["TIME_PERIOD"].eq("2019") & table["isced11"].eq("TOTAL") & table["OBS_VALUE"].ne("")]
    published = table.set_index("geo")["OBS_VALUE"].astype(float)
    codes = area_codes(table["geo"]).query("kind == 'nuts' and level == 2 and not off_map")
    regions = pd.DataFrame({"geo": codes["code"], "active": published[codes["code"]].to_numpy()})
    out = crosswalk(regions, by="geo", shares=codes[["code", "country"]], counts=["active"]).set_index(
        "country"
    )
    assert len(out) == 35
    rounding = 0.05 * (
        codes["country"].value_counts()[out.index] + 1
    )  # of regions and country, to 0.1 thousand
    assert ((out["active"] - published[out.index]).abs() <= rounding).all()
