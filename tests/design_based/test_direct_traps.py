"""Where peers give a wrong number without a word (an error too small), and what must not matter."""

import warnings

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeWarning
from sae.survey import Survey

EXACT = 1e-10  # sums in another order
REPEATS = 120  # the standard deviation of a simulated se is 1/sqrt(2 · 120) = 6.5 %
NEAR = 0.26  # four of these


def clustered(seed=5, n=600):
    rng = np.random.default_rng(seed)
    psu = np.arange(n) // 10
    return pd.DataFrame(
        {
            "w": rng.uniform(1, 5, n),
            "stratum": psu // 6,
            "psu": psu,
            "city": np.where(psu % 3 == 0, "a", "b"),
            "rare": rng.choice(["yes", "no"], n, p=[0.1, 0.9]),
            "income": rng.lognormal(9, 0.5, n) * (1 + psu % 3),
        }
    )


def survey(data):
    return Survey.from_frame(data, weights="w", strata="stratum", psu="psu")


def test_domain_error_keeps_the_units_without_the_domain():
    data = clustered()
    rare = data["rare"] == "yes"
    data["psu"] = data["psu"].where(data["psu"] != 1, 2)
    total = sae.Indicator("income", kind="total")
    full = sae.direct(survey(data), total, by="rare").to_frame().set_index("domain").loc["yes"]
    alone = data[rare].reset_index(drop=True)
    cut = sae.direct(
        Survey.from_frame(alone, weights="w", strata="stratum", psu="psu", lonely_psu="certainty"), total
    )["se"][0]
    assert full["se"] > 1.02 * cut  # the error from the domain's records alone is too small
    sums = (data["w"] * data["income"] * rare).groupby([data["stratum"], data["psu"]]).sum()
    by_hand = sum(len(t) * t.var(ddof=1) for _, t in sums.groupby(level=0))
    np.testing.assert_allclose(full["variance"], by_hand, rtol=EXACT)
    subset = sae.direct(survey(data).subset("rare == 'yes'"), total)
    np.testing.assert_allclose(subset["variance"], [by_hand], rtol=EXACT)


def test_a_unit_whose_answers_are_all_missing_still_counts():
    data = clustered()
    data["answer"] = data["income"].where(data["psu"] != 7)
    got = sae.direct(survey(data), sae.Indicator("answer", kind="total"))
    sums = (data["w"] * data["answer"].fillna(0)).groupby([data["stratum"], data["psu"]]).sum()
    np.testing.assert_allclose(
        got["variance"], [sum(len(t) * t.var(ddof=1) for _, t in sums.groupby(level=0))], rtol=EXACT
    )
    assert got["df"][0] == 60 - 1 - 10  # a unit without an answer is no degree of freedom


def test_degrees_of_freedom_of_a_small_domain_are_not_those_of_the_frame():
    data = clustered()
    data["corner"] = np.where(data["psu"] < 3, "in", "out")
    got = sae.direct(survey(data), "income", by="corner").to_frame().set_index("domain")
    assert got.loc["in", "df"] == 2
    assert (got.loc["in", "ci_high"] - got.loc["in", "estimate"]) / got.loc[
        "in", "se"
    ] > 4  # t with 2, not 1.96


def test_the_poverty_rate_of_a_domain_carries_the_threshold_of_the_full_file():
    data = clustered()
    rate = sae.Indicator("income", kind="arpr", id="poor")
    inside = sae.direct(survey(data), rate, by="city").to_frame().set_index("domain")
    subset = sae.direct(survey(data).subset("city == 'a'"), rate)
    np.testing.assert_allclose(subset["estimate"], [inside.loc["a", "estimate"]], rtol=EXACT)
    np.testing.assert_allclose(subset["variance"], [inside.loc["a", "variance"]], rtol=EXACT)


def test_the_order_of_the_records_changes_nothing():
    data = clustered()
    shuffled = data.sample(frac=1, random_state=3).reset_index(drop=True)
    asked = ["income", sae.Indicator("income", kind="arpr", id="poor")]
    one = sae.direct(survey(data), asked, by=["city", "rare"], covariance=True)
    two = sae.direct(survey(shuffled), asked, by=["city", "rare"], covariance=True)
    pd.testing.assert_frame_equal(one.frame, two.frame, rtol=EXACT)
    np.testing.assert_allclose(one.covariance, two.covariance, rtol=1e-6, atol=1e-9)


def test_a_domain_more_changes_nothing_in_the_others():
    data = clustered()
    fewer = sae.direct(survey(data).subset("city == 'a'"), "income", by="rare")
    more = sae.direct(survey(data), "income", by=["city", "rare"])
    columns = ["n", "estimate", "variance", "df", "deff", "ci_low", "ci_high"]
    np.testing.assert_allclose(
        more.to_frame()[columns].iloc[:2].astype(float), fewer.to_frame()[columns].astype(float), rtol=EXACT
    )


def test_an_indicator_more_changes_nothing_in_the_others():
    data = clustered()
    alone = sae.direct(survey(data), "income", by="city").frame
    pd.testing.assert_frame_equal(sae.direct(survey(data), ["income", "w"], by="city").frame.iloc[:2], alone)


# ---------------------------------------------------------------- the error is that of repeated samples


def population(rng, strata=5, units=40, size=12):
    """Units with effects of their own in strata; a domain that cuts across them."""
    psu = np.repeat(np.arange(strata * units), size)
    effect = rng.normal(scale=0.5, size=strata * units)[psu]
    data = pd.DataFrame(
        {"psu": psu, "stratum": psu // units, "area": rng.choice(["a", "b"], psu.size, p=[0.3, 0.7])}
    )
    data["y"] = 3 + data["stratum"] + effect + rng.normal(size=psu.size) + (data["area"] == "a")
    data["x"] = 2 + 0.5 * data["y"] + rng.normal(scale=0.3, size=psu.size)
    data["works"] = (data["y"] > 5).astype(int)
    return data


def simulate(rng, repeats, calibrate):
    people = population(rng)
    first = [np.arange(h * 40, h * 40 + 40) for h in range(5)]
    rows = [np.flatnonzero(people["psu"] == c) for c in range(200)]
    take = [6, 8, 10, 8, 6]
    found, errors = [], []
    for _ in range(repeats):
        chosen = np.concatenate(
            [rng.choice(units, m, replace=False) for units, m in zip(first, take, strict=True)]
        )
        records = np.concatenate([rng.choice(rows[c], 6, replace=False) for c in chosen])
        sample = people.iloc[records].reset_index(drop=True)
        counts = np.array(take)[sample["stratum"]]
        sample = sample.assign(w=40 / counts * 2, N=40, M=12, person=np.arange(len(sample)))
        made = Survey.from_frame(sample, weights="w", strata="stratum", psu=["psu", "person"], fpc=["N", "M"])
        if calibrate:
            made = made.calibrate({"1": len(people), "x": people["x"].sum()})
        asked = ["works", sae.Indicator("y", "x", id="ratio"), sae.Indicator("y", kind="total", id="total")]
        table = sae.direct(made, asked, by="area")
        found.append(table["estimate"].to_numpy(float))
        errors.append(table["variance"].to_numpy(float))
    return np.array(found), np.array(errors)


@pytest.mark.parametrize("calibrate", [False, True])
def test_two_stage_errors_are_those_of_repeated_samples(rng, calibrate):
    found, variances = simulate(rng, REPEATS, calibrate)
    np.testing.assert_allclose(np.sqrt(variances.mean(axis=0)), found.std(axis=0, ddof=1), rtol=NEAR)


@pytest.mark.slow
@pytest.mark.parametrize("calibrate", [False, True])
def test_two_stage_errors_are_those_of_many_repeated_samples(rng, calibrate):
    found, variances = simulate(rng, 1500, calibrate)
    # 1500 samples: 1.8 %; three of these, and a little for linearisation with 38 units
    np.testing.assert_allclose(np.sqrt(variances.mean(axis=0)), found.std(axis=0, ddof=1), rtol=0.06)


def test_a_total_over_periods_says_how_often_it_counts():
    """300 persons in each of two quarters: 600 unless the quarter is named, or the quarters are pooled."""
    frame = pd.DataFrame({"w": 100.0, "quarter": ["2021Q1", "2021Q2"] * 3, "home": [1, 1, 2, 2, 3, 3]})
    dated = sae.Survey.from_frame(frame, weights="w", household="home", time="quarter")
    persons = sae.Indicator("w > 0", kind="total", id="persons")
    with pytest.warns(SaeWarning, match="persons: summed over the 2 periods of quarter"):
        both = sae.direct(dated, persons)
    assert both["estimate"].tolist() == [600] and any("it counts 2 times" in line for line in both.log)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sae.direct(dated, persons, by="quarter")["estimate"].tolist() == [300, 300]
        assert sae.direct(dated.subset("quarter == '2021Q1'"), persons)["estimate"].tolist() == [300]
        year = sae.survey.pool_periods(dated, "linked", partial=True)
        assert sae.direct(year, persons)["estimate"].tolist() == [300]
        sae.direct(dated, "w")


def test_a_total_that_does_not_vary_in_its_domain_has_no_design_effect():
    rng = np.random.default_rng(41)
    psu = rng.integers(0, 50, 900)
    frame = pd.DataFrame({"w": rng.uniform(0.1, 9, 900), "psu": psu, "g": np.arange(900) % 5, "one": 1.0})
    survey = sae.Survey.from_frame(frame, weights="w", psu="psu")
    table = sae.direct(survey, sae.Indicator("one", kind="total", id="persons"), by="g").frame
    # Σw - (Σw)²/Σw is rounding, which gave design effects of 1e15 in some domains
    assert table["deff"].isna().all()
    assert (table["variance"] > 0).all()
