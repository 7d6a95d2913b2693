"""Ranks of fits, tables and frames."""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeInputError, SaeSpecError


@pytest.fixture(scope="module")
def fit():
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"domain": [f"A{k:02d}" for k in range(60)], "x": rng.normal(size=60)})
    frame["y"] = 1.0 + 0.5 * frame["x"] + rng.normal(size=60) * 0.6 + rng.normal(size=60) * 0.4
    return sae.FayHerriot("y ~ x").fit(frame.assign(vardir=0.16), seed=1)


def test_a_fit_is_ranked_by_its_joint_error(fit):
    ranks = sae.compare.ranks(fit, seed=1)
    frame = ranks.frame
    assert (frame["rank"] == frame["estimate"].rank(ascending=False)).all()
    assert (frame["low"] <= frame["rank"]).all()
    assert (frame["rank"] <= frame["high"]).all()
    assert frame["p_best"].sum() == pytest.approx(12)  # in each draw 12 of 60 are the best fifth
    assert frame["expected_rank"].mean() == pytest.approx(30.5)
    assert "joint MSE" in ranks.summary()


def test_a_benchmarked_fit_has_factors_of_its_covariance(fit):
    weights = {f"A{k:02d}": 1.0 + k % 3 for k in range(60)}
    final = fit.benchmark(1.2, weights=weights)
    from sae.compare.joint import figures_of

    rows = np.arange(5, 25)
    variance, left, right = figures_of(final).factors(rows)
    whole = final.joint.covariance()[np.ix_(rows, rows)]
    made = left @ right.T
    off = ~np.eye(20, dtype=bool)
    np.testing.assert_allclose(made[off], whole[off], rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(variance, np.diag(whole), rtol=1e-9)


def test_the_lowest_first_turns_the_order_and_the_sets(fit):
    high, low = (sae.compare.ranks(fit, seed=1, best=best).frame for best in ("highest", "lowest"))
    assert (high["rank"] + low["rank"] == 61).all()
    assert (high["low"] + low["high"] == 61).all()
    np.testing.assert_allclose(high["p_best"], low["p_worst"])
    np.testing.assert_allclose(high["triple_goal"], low["triple_goal"])


def test_periods_are_ranked_apart_and_rows_without_an_estimate_stay():
    frame = pd.DataFrame(
        {
            "domain": list("abcabc"),
            "time": ["2023"] * 3 + ["2024"] * 3,
            "estimate": [1.0, 2.0, 3.0, 5.0, np.nan, 4.0],
            "se": 0.1,
        }
    )
    ranks = sae.compare.ranks(frame, seed=1)
    assert ranks["rank"].tolist()[:4] == [3, 2, 1, 1]
    assert ranks["rank"].isna().tolist() == [False] * 4 + [True, False]
    assert "without an estimate and so without a rank: b" in repr(ranks)
    with pytest.raises(SaeInputError, match="more than once"):
        ranks.plot()
    one = sae.compare.ranks(frame[frame["time"] == "2023"], seed=1)
    assert [text.get_text() for text in one.plot().axes[0].get_yticklabels()] == ["c", "b", "a"]


def test_covariances_of_direct_estimates_count():
    rng = np.random.default_rng(2)
    records = pd.DataFrame(
        {
            "w": 1.0,
            "psu": np.repeat(range(50), 8),
            "area": np.tile(list("abcd"), 100),
        }
    )
    records["y"] = np.repeat(rng.normal(size=50), 8) + 0.1 * rng.normal(size=400)
    records["y"] += records["area"].map(dict(zip("abcd", [0.0, 0.1, 0.2, 0.3], strict=True)))
    survey = sae.Survey.from_frame(records, weights="w", psu="psu")
    bare = sae.compare.ranks(sae.direct(survey, "y", by="area"), seed=1)
    tied = sae.compare.ranks(sae.direct(survey, "y", by="area", covariance=True), seed=1)
    assert (bare["high"] - bare["low"]).tolist() == [3, 3, 3, 3]  # each alone is unsure by 0.14
    assert (tied["high"] - tied["low"]).tolist() == [0, 0, 0, 0]  # the units are the same in all areas


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({}, SaeSpecError, "seed"),
        ({"seed": 1, "best": "top"}, SaeSpecError, "best='top'"),
        ({"seed": 1, "level": 95}, SaeSpecError, "level=95"),
        ({"seed": 1, "share": 0.7}, SaeSpecError, "share=0.7"),
        ({"seed": 1, "draws": 10}, SaeSpecError, "draws=10"),
        ({"seed": 1, "within": "country"}, SaeSpecError, "country"),
        ({"seed": 1, "se": "error"}, SaeSpecError, "error"),
    ],
)
def test_options_without_a_meaning_are_refused(options, error, text):
    frame = pd.DataFrame({"domain": list("ab"), "estimate": [1.0, 2.0], "se": 0.1})
    with pytest.raises(error, match=text):
        sae.compare.ranks(frame, **options)


def test_rows_twice_and_estimates_without_an_error_are_named():
    frame = pd.DataFrame({"domain": list("aab"), "estimate": [1.0, 2.0, 3.0], "se": 0.1})
    with pytest.raises(SaeInputError, match="a stand more than once"):
        sae.compare.ranks(frame, seed=1)
    frame = pd.DataFrame({"domain": list("ab"), "estimate": [1.0, 2.0], "se": [0.1, np.nan]})
    with pytest.raises(SaeInputError, match="b"):
        sae.compare.ranks(frame, seed=1)
    with pytest.raises(SaeInputError, match="Ranks need two"):
        sae.compare.ranks(frame.head(1), seed=1)


def test_areas_of_other_definitions_or_compositions_are_not_ranked_together():
    frame = pd.DataFrame({"domain": ["AT", "DE"], "indicator": "own", "estimate": [0.5, 0.6], "se": 0.1})
    odd = frame.assign(definition=["v1", "v2"])
    with pytest.raises(SaeInputError, match="differ in definition"):
        sae.compare.ranks(odd, seed=1)
    assert sae.compare.ranks(odd, seed=1, accept="v2")["rank"].tolist() == [2, 1]
    with pytest.raises(SaeInputError, match="eu28_to_eu27_2020"):
        sae.compare.ranks(frame.assign(domain=["AT EU28_FOR", "DE EU27_2020_FOR"]), seed=1)


def test_areas_of_one_pooled_period_compare_though_a_break_lies_in_it():
    frame = pd.DataFrame(
        {"domain": ["a", "b"], "indicator": "employment_rate", "time": "2019/2022", "estimate": [0.5, 0.6]}
    ).assign(se=0.1)
    assert sae.compare.ranks(frame, seed=1)["rank"].tolist() == [2, 1]
    assert len(sae.compare.pairs(frame)) == 1
    with pytest.raises(SaeInputError, match="lfs_2021"):
        sae.compare.changes(pd.concat([frame, frame.assign(time="2018")]))


def test_rows_of_a_table_that_count_the_same_persons_are_ranked_apart():
    frame = pd.DataFrame({"domain": list("AABBCC"), "birth": ["total", "foreign"] * 3})
    frame = frame.assign(indicator="rate", estimate=[0.5, 0.9, 0.6, 0.8, 0.7, 0.7], se=0.01)
    ranks = sae.compare.ranks(sae.EstimateTable(frame, ("birth",)), seed=1).frame
    assert ranks.loc[ranks["birth"] == "total", "rank"].tolist() == [3, 2, 1]
    assert ranks.loc[ranks["birth"] == "foreign", "rank"].tolist() == [1, 2, 3]
    apart = frame.assign(birth=frame["birth"].replace("total", "native"))
    ranks = sae.compare.ranks(sae.EstimateTable(apart, ("birth",)), seed=1).frame
    assert ranks["rank"].max() == 6
