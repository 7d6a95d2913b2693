"""Direct estimates made elsewhere: what a published table says, what it leaves open, and what is refused."""

import gzip

import numpy as np
import pandas as pd
import pytest

from sae.design_based import read_direct
from sae.errors import SaeError, SaeInputError, SaeSpecError

QUANTILE = 1e-4  # the Census Bureau divides by 1.645, the normal quantile of 90 % is 1.64485
GOOD = {"estimate": "rate", "se": "se"}
NOISE = 1e-12  # variances of single units in the files of CEPAL are rounding noise: 1e-32

FRAME = pd.DataFrame(
    {
        "area": ["01", "02", "03", "10"],
        "year": [2020] * 4,
        "rate": [0.5, 0.25, 0.4, np.nan],
        "se": [0.05, 0.02, 0.0, 0.01],
        "n": [100, 400, 30, 0],
    }
)


def written(folder, frame=FRAME, name="table.csv", **options):
    frame.to_csv(folder / name, index=False, **options)
    return folder / name


def test_the_four_ways_to_tell_an_error_are_one(tmp_path):
    frame = FRAME.iloc[:2].assign(
        var=lambda f: f["se"] ** 2,
        cv=lambda f: f["se"] / f["rate"],
        moe=lambda f: f["se"] * 1.959963984540054,
    )
    file = written(tmp_path, frame)
    ways = [{"se": "se"}, {"vardir": "var"}, {"cv": "cv"}, {"margin": "moe", "margin_level": 0.95}]
    tables = [read_direct(file, "y", "area", estimate="rate", n="n", **way) for way in ways]
    for table in tables:
        np.testing.assert_allclose(table["se"], [0.05, 0.02], rtol=1e-12)
        np.testing.assert_allclose(table["n_eff"], [0.25 / 0.0025, 0.1875 / 0.0004], rtol=1e-9)
        assert table["domain"].tolist() == ["01", "02"] and table["n"].tolist() == [100, 400]
        assert ((table["ci_low"] < table["estimate"]) & (table["estimate"] < table["ci_high"])).all()


def test_rows_are_marked_for_what_they_lack_and_a_gap_is_a_row(tmp_path):
    years = pd.concat([FRAME, FRAME.iloc[:2].assign(year=2021)])
    table = read_direct(written(tmp_path, years), "y", "area", estimate="rate", time="year", se="se", n="n")
    status = table.frame.set_index(["area", "year"])["status"].to_dict()
    assert len(table) == 8 and table["time"].tolist() == ["2020", "2021"] * 4
    assert status["01", "2020"] == "ok" and status["10", "2020"] == "not published"
    assert status["03", "2020"] == "no variance"  # a standard error of 0 is no certainty
    assert status["03", "2021"] == status["10", "2021"] == "not published"
    bare = table.frame[table["status"] != "ok"]
    assert bare[["variance", "vardir", "se", "ci_low"]].isna().all(axis=None)


def test_percent_becomes_shares_and_floors_of_rounding_count_at_their_upper_end(tmp_path):
    frame = pd.DataFrame({"area": list("abc"), "rate": [50.0, 60.0, 70.0], "moe": [0.0, 0.1, 1.0]})
    table = read_direct(
        written(tmp_path, frame),
        "y",
        "area",
        estimate="rate",
        margin="moe",
        margin_level=0.9,
        step=0.1,
        unit="percent",
    )
    np.testing.assert_allclose(table["estimate"], [0.5, 0.6, 0.7])
    np.testing.assert_allclose(table["se"] * 1.645 * 100, [0.05, 0.15, 1.0], rtol=QUANTILE)
    assert table.units == {"y": "share"} and "2 errors are floors" in table.log[-1]


def test_a_zero_variance_is_kept_only_for_all_or_nobody_among_several_units(tmp_path):
    frame = pd.DataFrame(
        {"area": list("abcd"), "p": [0.0, 0.0, 0.4, 1.0], "v": [0, 0, 1e-33, 0], "psu": [3, 1, 5, 2]}
    ).assign(n=40)
    table = read_direct(written(tmp_path, frame), "y", "area", estimate="p", vardir="v", psu="psu", n="n")
    assert table["status"].tolist() == ["zero variance", "one cluster", "no variance", "zero variance"]
    assert table["vardir"].isna().all() and table["df"].fillna(0).tolist() == [2, 0, 4, 1]


def test_smoothing_gives_a_variance_where_none_is_known(tmp_path):
    rng = np.random.default_rng(3)
    n = rng.integers(30, 300, 20)
    p = rng.uniform(0.2, 0.6, 20)
    frame = pd.DataFrame(
        {"area": [f"{k:02d}" for k in range(20)], "p": p, "v": p * (1 - p) / n * 1.5, "n": n}
    )
    frame.loc[3, "v"] = 0.0
    file = written(tmp_path, frame)
    table = read_direct(file, "y", "area", estimate="p", vardir="v", n="n", smoothing="deff")
    assert (table["vardir"] > 0).all() and np.isnan(table["se"][3])
    # the pooled design effect is that of the table: 1.5, up to n/(n - 1)
    np.testing.assert_allclose(table["vardir"] / table["vardir"][0], n[0] / n, rtol=1e-9)
    with pytest.raises(SaeSpecError, match="needs the number of records"):
        read_direct(file, "y", "area", estimate="p", vardir="v", smoothing="deff")


def test_decimal_commas_other_units_and_sums_of_n(tmp_path):
    frame = pd.DataFrame({"Gebiet": ["01", "02"], "y": [1500.5, 900.25], "f": [10.5, 9.5], "a": 3, "b": 4})
    file = written(tmp_path, frame, sep=";", decimal=",")
    table = read_direct(file, "income", "Gebiet", estimate="y", se="f", n=["a", "b"], unit="EUR", decimal=",")
    assert table["estimate"].tolist() == [1500.5, 900.25] and table["n"].tolist() == [7, 7]
    assert table.units == {"income": "EUR"} and table["n_eff"].isna().all()


def test_codes_for_no_error_are_named_and_can_be_declared(tmp_path):
    frame = FRAME.iloc[:3].assign(se=["0.05", "-555555555", "**"])
    file = written(tmp_path, frame)
    with pytest.raises(SaeInputError, match=r"se holds text .*'\*\*' \(03\)"):
        read_direct(file, "y", "area", **GOOD)
    with pytest.raises(SaeInputError, match="negative in 02"):
        read_direct(file, "y", "area", missing=["**"], **GOOD)
    table = read_direct(file, "y", "area", missing=["**", -555555555], **GOOD)
    assert table["status"].tolist() == ["ok", "no error known", "no error known"]


def test_the_output_of_a_procedure_in_sas_is_read(tmp_path):
    """A fixture: the columns of the ODS table Domain of PROC SURVEYMEANS, written as a transport file."""
    pyreadstat = pytest.importorskip("pyreadstat")
    rows = {"region": ["01", "02"], "VarName": ["emp"] * 2, "N": [40.0, 60.0], "Mean": [0.5, 0.6]}
    frame = pd.DataFrame({**rows, "StdErr": [0.08, 0.06]})
    pyreadstat.write_xport(frame, tmp_path / "domain.xpt", file_format_version=8)
    table = read_direct(
        tmp_path / "domain.xpt", "emp", "region", estimate="Mean", se="StdErr", n="N", only={"VarName": "emp"}
    )
    assert table["domain"].tolist() == ["01", "02"] and table["se"].round(6).tolist() == [0.08, 0.06]


@pytest.mark.parametrize(
    ("change", "options", "error", "text"),
    [
        ({}, {"estimate": "rat", "se": "se"}, SaeSpecError, "no column 'rat'"),
        ({}, {"estimate": "rate"}, SaeSpecError, "Nothing tells the error"),
        ({}, {**GOOD, "cv": "se"}, SaeSpecError, "se, cv tells the error"),
        ({}, {**GOOD, "error": "unknown"}, SaeSpecError, "said to be unknown, but se"),
        ({}, {"estimate": "rate", "margin": "se"}, SaeSpecError, "is of a level"),
        ({}, {**GOOD, "margin_level": 0.9}, SaeSpecError, "margin_level belongs to margin"),
        ({}, {**GOOD, "step": -1.0}, SaeSpecError, "below 0"),
        ({}, {**GOOD, "only": {"year": "1999"}}, SaeInputError, "No row of table.csv has year = 1999"),
        ({}, {**GOOD, "unit": "percent"}, SaeInputError, "No estimate in table.csv is above 1 percent"),
        ({"rate": [50.0, 25, 40, 1]}, GOOD, SaeInputError, "3 of 4 estimates .* outside 0 to 1"),
        ({"rate": ["a", "0.2", "0.3", "0.4"]}, GOOD, SaeInputError, "rate holds text"),
        ({"rate": [np.nan] * 4}, GOOD, SaeInputError, "no estimate"),
        ({"se": [0.1, -0.2, 0.1, 0.1]}, GOOD, SaeInputError, "se of table.csv is negative in 02"),
        ({"area": ["01", "01", "02", "03"]}, GOOD, SaeInputError, "several rows for 1 domains of area: 01"),
        ({"area": ["01", None, "02", "03"]}, GOOD, SaeInputError, "area of table.csv is empty in 1 rows"),
        ({"n": [0, 1, 2, 0]}, {**GOOD, "n": "n"}, SaeInputError, "no number of records"),
        ({"n": [1.5, 1, 2, 0]}, {**GOOD, "n": "n"}, SaeInputError, "no number of records"),
        ({"se": [16.5, 12.0, 9, 8]}, {"estimate": "rate", "cv": "se"}, SaeInputError, "CV is a fraction"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, change, options, error, text):
    with pytest.raises(error, match=text):
        read_direct(written(tmp_path, FRAME.assign(**change)), "y", "area", **options)


def test_absent_empty_and_damaged_files_are_named(tmp_path):
    (tmp_path / "empty.csv").write_text("", encoding="utf-8")
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(b"area,rate,se\n01,0.5,0.1\n" * 50)[:40])
    for name in ("none.csv", "empty.csv", "cut.csv.gz"):
        with pytest.raises(SaeError, match=name):
            read_direct(tmp_path / name, "y", "area", **GOOD)


def test_the_tables_of_the_census_bureau(shared_data):
    """Counts and standard errors as the file states them; 76 of 468 states and years are not published."""
    file = shared_data / "real/us_acs1_state_nativity_2010_2018.csv.gz"
    options = {"margin": "moe90", "margin_level": 0.9, "step": 0.1, "unit": "percent"}
    only = {"group": "foreign_born", "indicator": "employed_16plus"}
    table = read_direct(file, "employed", "state_fips", time="year", only=only, **options)
    raw = pd.read_csv(file, dtype={"state_fips": str}).query("group == 'foreign_born'")
    raw = raw[raw["indicator"] == "employed_16plus"].astype({"year": str})
    both = table.frame.merge(raw, on=["state_fips", "year"], suffixes=("", "_file"))
    assert len(both) == 392 and (table["status"] == "not published").sum() == len(table) - 392
    np.testing.assert_allclose(both["se"] * 100, both["se_file"], rtol=QUANTILE)
    # a population that is controlled to a total has no margin: unknown, not certain
    total = {"group": "total", "indicator": "population"}
    table = read_direct(
        file, "population", "state_fips", time="year", only=total, **options | {"unit": "persons"}
    )
    assert (table["status"] == "no error known").sum() == 392 and table["vardir"].isna().all()


@pytest.mark.parametrize(
    ("name", "rows", "single"), [("cl_casen2017_comuna", 324, 14), ("mx_2020_municipio", 1090, 430)]
)
def test_single_units_of_cepal_have_no_variance(shared_data, name, rows, single):
    file = shared_data / f"real/{name}_direct.csv"
    n = ["n_ocupado", "n_desocupado", "n_inactivo"]
    table = read_direct(file, "employed", "dam2", estimate="ocupado", vardir="ocupado_var", psu="n_upm", n=n)
    assert len(table) == rows and (table["status"] == "one cluster").sum() == single
    known = table.frame[table["status"] == "ok"]
    assert (known["variance"] > NOISE).all()
    assert table["vardir"].notna().sum() == len(known) and table["domain"].str.len().eq(5).all()


def test_the_table_of_the_united_kingdom_has_no_error(shared_data):
    table = read_direct(
        shared_data / "real/uk_aps_lad_north_2004_2023.csv.gz",
        "unemployment",
        "geography_code",
        estimate="value_percent",
        time="date",
        unit="percent",
        error="unknown",
        only={"variable_name": "Unemployment rate - aged 16-64"},
    )
    counts = table["status"].value_counts()
    assert counts["no error known"] == 3746 and counts["not published"] == len(table) - 3746
    assert table["se"].isna().all() and table["ci_low"].isna().all()
