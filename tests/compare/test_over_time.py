"""Series over time: gaps, breaks, what a model says of years without data, verdicts, charts.

Tolerances: the same sums as `changes`, to rounding; coverage within three standard errors of the simulation.
"""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.compare import changes, series
from sae.errors import SaeInputError, SaeSpecError
from sae.plots import series as drawn


def frame_of(**columns):
    frame = pd.DataFrame({"domain": ["a"] * 3 + ["b"] * 3, "time": ["2018", "2019", "2021"] * 2})
    return frame.assign(estimate=[0.5, 0.51, 0.6, 0.7, np.nan, 0.5], se=0.02, **columns)


def test_every_period_has_a_row_and_gap_years_say_so():
    made = series(frame_of())
    assert made[["domain", "time", "kind", "verdict", "missing", "segment"]].to_numpy().tolist() == [
        ["a", "2018", "figure", "", "", 0],
        ["a", "2019", "figure", "cannot be told apart", "", 0],
        ["a", "2020", "no figure", "", "", 0],
        ["a", "2021", "figure", "rose", "2020", 1],
        ["b", "2018", "figure", "", "", 0],
        ["b", "2019", "no figure", "", "", 0],
        ["b", "2020", "no figure", "", "", 0],
        ["b", "2021", "figure", "fell", "2019, 2020", 1],
    ]
    alike = changes(frame_of()).frame
    mine = made.frame[made["verdict"] != ""]
    for name, own in (("change", "estimate"), ("change_se", "se"), ("p_above", "p_above")):
        np.testing.assert_allclose(mine[name], alike[own], rtol=1e-12)
    assert "no figure: 3 rows, of 2020, 2019" in made.summary()
    with pytest.raises(SaeSpecError, match="no periods"):
        series(frame_of().drop(columns="time").iloc[[0, 3]])


def test_across_a_break_nothing_is_said_unless_it_is_accepted():
    frame = frame_of(indicator="employment_rate")
    made = series(frame)
    assert made["verdict"].tolist()[:4] == ["", "cannot be told apart", "", "across a break"]
    assert np.isnan(made["change"][3]) and made["breaks"][3] == "lfs_2021"
    accepted = series(frame, accept="lfs_2021")
    assert accepted["verdict"][3] == "rose" and accepted["breaks"][3] == "lfs_2021"
    assert "lie across a break" in accepted.summary()
    with pytest.raises(SaeInputError, match="differ in definition"):
        series(frame_of(definition=["v1", "v1", "v2"] * 2))


def test_a_group_goes_on_through_another_composition_of_the_eu():
    frame = pd.DataFrame(
        {
            "domain": "AT",
            "citizen": ["EU28_FOR", "EU28_FOR", "EU27_2020_FOR"] + ["NAT"] * 3,
            "time": ["2018", "2019", "2020"] * 2,
            "estimate": [0.5, 0.51, 0.6, 0.7, 0.7, 0.7],
            "se": 0.01,
            "indicator": "own",
        }
    )
    made = series(sae.EstimateTable(frame, ("domain", "citizen")))
    assert made.keys == ("domain", "citizen") and len(made) == 6
    assert made["citizen"].unique().tolist() == ["EU27_2020_FOR", "NAT"]
    assert made["verdict"].tolist()[1:3] == ["cannot be told apart", "across a break"]
    assert made["breaks"].tolist() == ["", "", "eu28_to_eu27_2020", "", "", ""]


def temporal_fit():
    rng = np.random.default_rng(3)
    domain = np.repeat([f"A{k:02d}" for k in range(20)], 4)
    frame = pd.DataFrame({"domain": domain, "year": [2020, 2021, 2022, 2023] * 20})
    frame["y"] = np.repeat(rng.normal(size=20), 4) + 0.5 * rng.normal(size=80)
    frame.loc[[2, 5], "y"] = np.nan
    spec = sae.FayHerriot("y ~ 1", temporal=sae.AR1("year"), replicates=20)
    return spec.fit(frame.assign(vardir=0.25), seed=1, areas=frame[["domain", "year"]])


def test_a_model_over_time_tells_its_own_figures_from_those_with_data():
    fit = temporal_fit()
    made = series(fit)
    frame = made.frame.set_index(["domain", "time"])
    assert frame["kind"].value_counts().to_dict() == {"figure": 78, "modelled without data": 2}
    assert frame.loc[("A00", "2022"), "kind"] == "modelled without data"
    table = fit.estimates.frame.set_index(["domain", "time"]).loc[frame.index]
    for name in ("estimate", "se", "ci_low", "ci_high"):
        np.testing.assert_allclose(frame[name], table[name], rtol=1e-9)
    alike = changes(fit).frame
    np.testing.assert_allclose(frame["change"][frame["verdict"] != ""], alike["estimate"], rtol=1e-9)
    wide = series(fit, level=0.99).frame
    assert ((wide["ci_high"] - wide["ci_low"]) > (made["ci_high"] - made["ci_low"])).all()
    axes = made.plot(["A00", "A01"]).axes[0]
    assert axes.get_title(loc="left") == "A00"
    with pytest.raises(SaeInputError, match="There is no area 'B1'"):
        made.plot("B1")


def test_a_change_is_called_one_as_often_as_the_level_says():
    """500 areas that do not change: 5 % of the steps are called changes."""
    rng = np.random.default_rng(4)
    frame = pd.DataFrame({"domain": np.repeat(np.arange(500), 4), "time": ["1", "2", "3", "4"] * 500})
    made = series(frame.assign(estimate=rng.normal(size=2000), se=1.0))
    steps = made["verdict"][made["verdict"] != ""]
    share = steps.isin(["rose", "fell"]).mean()
    assert abs(share - 0.05) < 3 * np.sqrt(0.05 * 0.95 / 1000)  # neighbouring steps go together


def test_lines_stop_at_gaps_and_breaks():
    made = series(frame_of(indicator="employment_rate").query("domain == 'a'"))
    axes = made.plot().axes[0]
    solid = [line for line in axes.lines if line.get_linestyle() == "-"]
    assert [line.get_xdata().tolist() for line in solid] == [[0, 1]]
    assert [line.get_linestyle() for line in axes.lines] == ["-", ":"]
    figure = series(frame_of()).plot(title="A title", source="LFS")
    assert figure.get_suptitle() == "A title"
    texts = [text.get_text() for text in figure.axes[-1].get_legend().get_texts()]
    assert texts == ["figure", "rose", "fell", "no change that can be told"]
    with pytest.raises(SaeInputError, match="No series has a figure"):
        drawn(made.frame.assign(estimate=np.nan))


def test_many_series_are_drawn_by_their_verdicts(tmp_path):
    frame = pd.DataFrame({"domain": np.repeat(np.arange(100), 3), "time": ["2018", "2019", "2020"] * 100})
    frame["estimate"] = np.tile([0.0, 0.0, 1.0], 100)
    made = series(frame.assign(se=0.1))
    axes = made.plot().axes[0]
    assert axes.get_ylabel().startswith("100 series")
    assert axes.collections[0].get_array().reshape(100, 3)[0].tolist() == [0, 1, 2]
    back = pd.read_csv(made.write(tmp_path / "made.csv"), dtype={"time": str})
    assert back["verdict"].fillna("").tolist() == made["verdict"].tolist()
    assert "<table" in made._repr_html_() and "100 series of 3 periods" in repr(made)


def test_quarters_that_nobody_has_are_gaps_too():
    frame = pd.DataFrame({"domain": "a", "time": ["2019Q3", "2020Q2"], "estimate": [0.5, 0.6], "se": 0.01})
    made = series(frame)
    assert made["time"].tolist() == ["2019Q3", "2019Q4", "2020Q1", "2020Q2"]
    assert made["missing"][3] == "2019Q4, 2020Q1" and made["segment"].tolist() == [0, 0, 0, 1]
