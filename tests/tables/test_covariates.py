"""Covariates with their origin: how it reads, what it refuses, how it reaches a fit."""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.auxiliary import Covariates, Origin
from sae.errors import SaeInputError, SaeWarning

CENSUS = Origin("Census", "born abroad over residents", "2021-05-15")


def areas(origin=CENSUS, size=30):
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"city": [f"C{k:02d}" for k in range(size)], "x": rng.random(size), "z": 1.0})
    return Covariates(frame, {"x": origin, "z": Origin("Tax office", "not in the formula", "2020")})


def data(areas, time="2025"):
    rng = np.random.default_rng(2)
    y = 0.3 + 0.2 * areas.frame["x"] + rng.normal(0, 0.05, len(areas))
    return pd.DataFrame({"city": areas.frame["city"], "y": y, "vardir": 0.0009, "time": time}).iloc[:25]


@pytest.mark.parametrize(
    ("vintage", "periods", "text"),
    [
        ("2020", ["2025Q1"], "Census, 2020 (residents), 5 years before the data"),
        ("2020-01-01", ["2020"], "Census, 1 January 2020 (residents)"),
        ("2020-01-01", [], "Census, 1 January 2020 (residents)"),
        ("2020", ["wave 1"], "Census, 2020 (residents)"),
        ("2026", ["2025"], "Census, 2026 (residents), 1 year after the data"),
        ("2020", ["2021", "2024"], "Census, 2020 (residents), 1 to 4 years before the data"),
        ("2020", ["2019", "2022"], "Census, 2020 (residents), from 2 years before to 1 year after the data"),
        (
            {"2021": "2020", "2022": "2021"},
            ["2021", "2022"],
            "Census, 2020 to 2021 (residents), 1 year before the data",
        ),
        (
            {"2020": "2011", "2021": "2021"},
            ["2020", "2021"],
            "Census, 2011 for 2020, 2021 for 2021 (residents), 0 to 9 years before the data",
        ),
        (
            "2018 to 2022",
            ["2020"],
            "Census, 2018 to 2022 (residents), from 2 years before to 2 years after the data",
        ),
        (
            {"2021": "2018 to 2020", "2022": "2019 to 2021"},
            ["2021", "2022"],
            "Census, 2018 to 2021 (residents), 1 to 3 years before the data",
        ),
    ],
)
def test_the_line_of_an_origin(vintage, periods, text):
    assert Origin("Census", "residents", vintage).text(periods) == text


def test_a_vintage_without_a_year_is_refused():
    for vintage in ("", "last census", {"2020": "wave 1"}, {}):
        with pytest.raises(SaeInputError, match="begins with no year"):
            Origin("Census", "residents", vintage)


def test_origins_name_columns_of_the_table():
    with pytest.raises(SaeInputError, match="no column 'share'"):
        Covariates(pd.DataFrame({"city": ["A"]}), {"share": CENSUS})


def test_join_keeps_origins_and_refuses_what_does_not_match():
    left = Covariates(pd.DataFrame({"city": ["A", "B"], "x": [1.0, 2.0]}), {"x": CENSUS})
    right = Covariates(pd.DataFrame({"city": ["B", "A"], "w": [4.0, 3.0]}), {"w": CENSUS})
    both = left.join(right, on="city").renamed({"city": "region", "w": "v"})
    assert both.frame.to_dict("list") == {"region": ["A", "B"], "x": [1.0, 2.0], "v": [3.0, 4.0]}
    assert list(both.origins) == ["x", "v"]
    with pytest.raises(SaeInputError, match="1 only in these covariates"):
        left.join(right.frame.iloc[:1], on="city")


@pytest.mark.parametrize("method", ["reml", "bayes"])
def test_the_origin_reaches_provenance_and_summary(method):
    table = areas()
    model = sae.FayHerriot("y ~ log(x + 1)", domain="city", method=method)
    fit = model.fit(data(table), areas=table, seed=1)
    plain = model.fit(data(table), areas=table.frame, seed=1)
    pd.testing.assert_frame_equal(fit.to_frame(), plain.to_frame())  # nothing else moves
    assert fit.provenance["covariates"]["x"] == CENSUS.record()
    assert list(fit.provenance["covariates"]) == ["x", "z"]
    line = "x: Census, 15 May 2021 (born abroad over residents), 4 years before the data"
    assert f"note: {line}" in fit.summary() and line in fit.provenance["warnings"]
    assert "Tax office" not in fit.summary()  # the formula does not use it
    assert "covariates" not in plain.provenance and "Census" not in plain.summary()


def test_figures_later_than_the_data_are_a_warning():
    table = areas(Origin("Census", "residents", "2026"))
    with pytest.warns(SaeWarning, match="x: Census, 2026 .*, 1 year after the data"):
        sae.FayHerriot("y ~ x", domain="city").fit(data(table), areas=table)


def test_other_doors_take_covariates_too():
    table = areas()
    frame = data(table).drop(columns="time")
    both = pd.concat([frame.assign(year=year) for year in ("2024", "2025")])
    per = sae.FayHerriot("y ~ x", domain="city", per=["year"])
    fit, refused = per.fit_each(both, areas=table)
    assert not refused and fit.provenance["covariates"]["x"]["vintage"] == "2021-05-15"
    vardir = {"y": "vardir", "w": "vardir", ("y", "w"): 0}
    two = sae.MultivariateFayHerriot(["y ~ x", "w ~ x"], domain="city", vardir=vardir)
    both = frame.assign(w=frame["y"].iloc[::-1].to_numpy())
    assert "x: Census" in two.fit(both, areas=table, seed=1).summary()
    units = pd.DataFrame({"city": np.repeat(table.frame["city"], 4).to_numpy(), "y": np.arange(120) % 7.0})
    units["x"] = np.repeat(table.frame["x"], 4).to_numpy() + np.arange(120) % 4
    assert "x: Census" in sae.NestedError("y ~ x", domain="city").fit(units, areas=table, seed=1).summary()


def test_frames_of_another_library_are_pandas_inside():
    polars = pytest.importorskip("polars")
    table = Covariates(polars.DataFrame({"city": ["A"], "x": [1.0]}), {"x": Origin("Census", "x", "2020")})
    joined = table.join(polars.DataFrame({"city": ["A"], "z": [2.0]}), on="city").renamed({"city": "town"})
    assert joined.frame.to_dict("list") == {"town": ["A"], "x": [1.0], "z": [2.0]}
    assert "Census" in repr(joined)
