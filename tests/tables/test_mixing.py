"""Figures that do not compare do not meet, unless that is accepted by name."""

import pandas as pd
import pytest

from sae.errors import SaeInputError
from sae.tables.mixing import Facts, check_mixing, check_rows, crossed, marked, marks_in, years_of

BREAKS = {"rate": {"lfs_2021": 2021, "isced_2014": 2014}}


def facts(name, definition="v1", **more):
    return Facts(name, {"rate": definition}, **more)


@pytest.mark.parametrize(
    ("one", "other", "ids"),
    [
        ({"survey": "EU-LFS", "release": "2020"}, {"survey": "EU-LFS", "release": "2021"}, ["lfs_2021"]),
        ({"survey": "EU-LFS", "release": "2020"}, {"survey": "EU-SILC", "release": "2021"}, []),
        ({"eu": "EU28"}, {"eu": "EU27_2020"}, ["eu28_to_eu27_2020"]),
        ({"eu": "EU27_2020"}, {"eu": "EU28"}, ["eu28_to_eu27_2020"]),
        ({"eu": "EU27_2020"}, {}, []),
        ({"geo_version": "NUTS 2021"}, {"geo_version": "NUTS 2016"}, ["nuts_2016_to_2021"]),
        (
            {"geo_version": "NUTS 2013"},
            {"geo_version": "NUTS 2021"},
            ["nuts_2013_to_2016", "nuts_2016_to_2021"],
        ),
        ({"geo_version": "LAU 2021"}, {"geo_version": "LAU 2020"}, ["lau_2020_to_lau_2021"]),
        ({"years": (2019, 2020), "breaks": BREAKS}, {"years": (2022, 2022), "breaks": BREAKS}, ["lfs_2021"]),
        ({"years": (2021, 2021), "breaks": BREAKS}, {"years": (2022, 2022), "breaks": BREAKS}, []),
        ({"years": (2019, 2019), "breaks": BREAKS}, {"years": (2022, 2022)}, []),  # a break of the one only
    ],
)
def test_breaks_between_two_tables_are_named(one, other, ids):
    both = [facts("a", **one), facts("b", **other)]
    assert list(crossed(both)) == ids
    assert check_mixing(both, ids) == ids
    if ids:
        with pytest.raises(SaeInputError, match=f"a, b lie across breaks: {ids[0]}") as error:
            check_mixing(both, ids[1:])
        assert f"accept={ids[:1]}" in error.value.hint


def test_what_says_so_stands_in_the_error():
    three = [facts("x", eu="EU28"), facts("y", eu="EU27_2020"), facts("z", eu="EU28")]
    with pytest.raises(SaeInputError, match=r"eu28_to_eu27_2020 \(EU28 in x, z, EU27_2020 in y\)"):
        check_mixing(three, ())


def test_other_indicators_and_definitions_are_refused():
    with pytest.raises(SaeInputError, match="a and b hold different indicators: gini, rate"):
        check_mixing([facts("a"), Facts("b", {"gini": "v1"})], ())
    with pytest.raises(SaeInputError, match="rate is defined differently: 'v1' in a, 'v2' in b") as error:
        check_mixing([facts("a"), facts("b", "v2")], ())
    assert "accept=['v2']" in error.value.hint
    assert check_mixing([facts("a"), facts("b", "v2")], ["v2"]) == []


def test_a_break_of_the_eu_counts_only_for_rows_by_its_groups():
    frame = pd.DataFrame(
        {"indicator": "rate", "definition": "v1", "time": "2020", "geo": "", "g": ["eu", "b"]}
    )
    about = {"release": {"survey": "EU-LFS", "eu": "EU28", "geo_version": "NUTS 2016"}}
    assert Facts.of("a", frame, ["g"], about).eu == "EU28"
    assert Facts.of("a", frame.assign(g="female"), ["g"], about).eu == ""
    assert Facts.of("a", frame, ["g"], about).geo_version == ""
    assert Facts.of("a", frame.assign(geo="AT13"), ["g"], about).geo_version == "NUTS 2016"


def test_marks_are_written_once_and_read():
    status = marked(pd.Series(["ok", "no sample; break lfs_2021"]), ["lfs_2021", "silc_2021"])
    assert status.tolist() == ["ok; break lfs_2021, silc_2021", "no sample; break lfs_2021, silc_2021"]
    assert marks_in(status) == ["lfs_2021", "silc_2021"]
    assert marked(status, ["lfs_2021"]).tolist() == status.tolist()
    assert marks_in(pd.Series(["ok", None])) == []


def test_years_of_periods():
    assert years_of(pd.Series(["2019/2021", "2022-01-01", "wave 3"])) == (2019, 2022)
    assert years_of(pd.Series(["", "all"])) == ()


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        ({"definition": ["v1", "v2", "v1"]}, r"definition: v1 \(2 rows\), v2 \(1 rows\)\. Their"),
        (
            {"geo_version": ["NUTS 2016", "NUTS 2021", None]},
            r"NUTS 2021 \(1 rows\), across nuts_2016_to_2021",
        ),
        ({"geo_version": [2016, 2021, 2021]}, r"geo_version: 2016 \(1 rows\), 2021 \(2 rows\)"),
        ({"eu": ["EU28", "EU27_2020", "EU28"]}, "across eu28_to_eu27_2020"),
        ({"indicator": ["a", "b", "b"], "definition": ["v1", "v2", "v3"]}, "Rows of b hold several values"),
    ],
)
def test_rows_that_do_not_agree_are_refused(columns, match):
    with pytest.raises(SaeInputError, match=match):
        check_rows(pd.DataFrame(columns))


def test_rows_that_agree_and_covariates_of_such_names_pass():
    check_rows(pd.DataFrame({"definition": ["v1", "", None, "v1; break lfs_2021"]}))
    check_rows(pd.DataFrame({"eu": [0.1, 0.2], "definition": [1.0, 2.0], "x": [1, 2]}))
    check_rows(pd.DataFrame({"indicator": ["a", "b"], "definition": ["v1", "v2"]}))
    check_rows(pd.DataFrame({"definition": []}))
