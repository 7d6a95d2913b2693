"""What a report compares: pairs and changes as `sae.compare` has them, and when a benchmark may be shown."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import sae
from sae.publish.report_compared import apart, met_means
from sae.publish.report_rows import report_rows

SHARES = pd.DataFrame({"domain": list("abcde"), "estimate": [0.5, 0.9, 0.45, np.nan, 0.7], "se": 0.05})


def panel(times, figures, marks=("",) * 9, **columns):
    """One area with a figure per period, among others that stay as they are; all judged."""
    rows = [
        {"city": city, "time": time, "estimate": figure if city == "a" else 0.5, "flag": f"e{mark}"}
        for time, figure, mark in zip(times, figures, marks, strict=False)
        for city in "abc"
    ]
    frame = pd.DataFrame(rows).assign(domain=lambda rows: rows["city"] + rows["time"], se=0.02, unit="share")
    frame = frame.assign(indicator="own", policy="own", publishable=True, method="EBLUP", **columns)
    low, high = frame["estimate"] - 0.04, frame["estimate"] + 0.04
    return sae.EstimateTable(frame.assign(ci_low=low, ci_high=high), ("city",))


def test_pairs_are_those_of_compare_in_the_order_of_the_page():
    made = apart(SHARES, np.array([1, 4, 0, 2]))
    wanted = sae.compare.pairs(SHARES).matrix().loc[list("beac"), list("beac")]
    np.testing.assert_array_equal(made, wanted)
    assert made.any() and not made.all()
    assert apart(SHARES.assign(definition=list("vvvvw")), np.array([1, 4])) is None


def test_pairs_of_a_fit_count_what_its_errors_share():
    draw = np.random.default_rng(1)
    frame = pd.DataFrame({"area": [f"a{k}" for k in range(30)], "x": draw.uniform(0, 1, 30), "vardir": 0.004})
    frame["y"] = 0.5 * frame["x"] + draw.normal(0, 0.07, 30)
    fit = sae.FayHerriot("y ~ x", domain="area").fit(frame).flag("statcan")
    order = np.argsort(-fit.estimates["estimate"].to_numpy())
    wanted = sae.compare.pairs(fit).matrix()
    areas = fit.estimates["domain"].to_numpy()[order]
    np.testing.assert_array_equal(apart(fit, order), wanted.loc[areas, areas])


@pytest.mark.parametrize(
    ("times", "figures", "marks", "change", "since"),
    [
        (("2022", "2024"), (0.5, 0.6), ("", ""), "rose", "2022"),
        (("2022", "2024"), (0.5, 0.4), ("", ""), "fell", "2022"),
        (("2022", "2024"), (0.5, 0.53), ("", ""), "same", "2022"),
        (("2022", "2024"), (0.5, 0.6), ("", "b"), "break", "2022"),
        (("2022", "2024"), (0.5, 0.6), ("b", "b"), "rose", "2022"),  # the same break, before both
    ],
)
def test_a_change_is_real_only_where_its_interval_says_so(times, figures, marks, change, since):
    rows = report_rows(panel(times, figures, marks))
    last, first = (one.frame.set_index("area").loc["a"] for one in rows.slices)
    assert (last["change"], last["since"], first["change"]) == (change, since, "")


def test_a_break_of_the_registry_and_of_a_definition_is_not_compared():
    known = report_rows(panel(("2020", "2021"), (0.5, 0.9)).assign(indicator="employment_rate"))
    assert set(known.slices[0].frame["change"]) == {"break"}
    other = panel(("2020", "2021"), (0.5, 0.9), definition=["v1"] * 3 + ["v2"] * 3)
    assert set(report_rows(other).slices[0].frame["change"]) == {""}


def test_a_hidden_period_is_none():
    data = panel(("2021", "2022", "2023"), (0.5, 0.7, 0.72))
    hide = data.frame["time"].eq("2022")
    frame = data.frame.assign(publishable=~hide, flag=np.where(hide, ":u", "e"))
    last = report_rows(sae.EstimateTable(frame, ("city",))).slices[0].frame.set_index("area")
    assert last.loc["a", ["change", "since"]].tolist() == ["rose", "2021"]


def test_the_figure_of_a_benchmark_is_shown_where_it_tells_nothing():
    draw = np.random.default_rng(2)
    frame = pd.DataFrame({"area": [f"a{k}" for k in range(12)], "x": draw.uniform(0, 1, 12), "vardir": 0.001})
    frame = frame.assign(
        y=0.4 + 0.2 * frame["x"] + draw.normal(0, 0.03, 12), people=draw.uniform(1, 5, 12), n=90
    )
    fit = sae.FayHerriot("y ~ x", domain="area").fit(frame).benchmark(0.52, weights="people").flag("statcan")
    every, shown = tuple(range(12)), np.ones(12, dtype=bool)
    assert met_means(fit, shown) == {every: pytest.approx(0.52)}
    shown[3] = False
    assert met_means(fit, shown) == {}  # 0.52 minus the others is the hidden one
    shown[4] = False
    assert met_means(fit, shown) == {every: pytest.approx(0.52)}
    assert not met_means(replace(fit, benchmarks=()), shown)
    one = report_rows(fit).slices[0]
    assert one.kind == "met" and one.reference == pytest.approx(0.52)
    again = report_rows(fit, national=0.5).slices[0]
    assert (again.kind, again.reference) == ("national", 0.5)


def test_selections_stand_as_the_table_has_them_and_all_persons_before_groups():
    rows = [
        {"indicator": name, "level": level, "sex": sex, "domain": f"{level} {k}", "estimate": 0.1 * k + 0.1}
        for name in ("mean", "gap")
        for level in ("region", "nation")
        for sex in ("female", "total")
        for k in range(3)
    ]
    frame = pd.DataFrame(rows).assign(
        se=0.01,
        ci_low=0.0,
        ci_high=0.9,
        geo="",
        publishable=True,
        policy="statcan",
        flag="",
        reliability="reliable",
    )
    table = sae.EstimateTable(frame.assign(geo=frame["domain"]), ("domain", "level", "sex"))
    keys = [one.key for one in report_rows(table).slices]
    assert keys[:3] == [
        ("mean", "region", "total"),
        ("mean", "region", "female"),
        ("mean", "nation", "total"),
    ]
    assert keys[4][0] == "gap"
