"""Poor or deprived: a union, its points by a plain loop, its variance by three other ways."""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.design_based import poverty
from sae.numerics.design.quantiles import weighted_quantile

ROUNDING = 1e-12  # the same sums in another order
# A variance of R replicates or samples has a relative sd of about sqrt(2/R); 3.5 of them bound the dozen of
# ratios looked at. The kernel of the density adds some percent.
SIGMAS, KERNEL = 3.5, 0.05
AROPE = sae.Indicator("income", kind="arpr", union="deprived == 'yes'", id="rate")
YES_NO = ("yes", "no")


def population(rng, n_clusters, size=3):
    """Clusters that share income and deprivation; both may be unknown, the poor more often of the latter."""
    cluster = np.repeat(np.arange(n_clusters), size)
    level = rng.lognormal(0, 0.7, n_clusters)
    income = level[cluster] * rng.lognormal(0, 0.1, cluster.size)
    deprived = (rng.random(n_clusters) < 0.35 / (1 + level))[cluster]
    unknown = rng.random(cluster.size) < 0.3 / (1 + income)
    return pd.DataFrame(
        {
            "cluster": cluster,
            "w": rng.gamma(5, 1, n_clusters)[cluster],
            "region": rng.integers(0, 2, n_clusters)[cluster].astype(str),
            "year": np.where(rng.random(n_clusters) < 0.5, "2022", "2023")[cluster],
            "income": np.where(rng.random(cluster.size) < 0.1, np.nan, income),
            "deprived": pd.Categorical.from_codes(np.where(unknown, -1, 1 - deprived), YES_NO),
        }
    )


def survey_of(frame, time=None):
    return sae.Survey.from_frame(frame, weights="w", psu="cluster", time=time)


def one_by_one(frame, share=0.6):
    """The rate by a loop over persons that follows the words of the definition."""
    known = frame[frame["income"].notna()]
    lines = {
        year: share * weighted_quantile(part["income"].to_numpy(), part["w"].to_numpy(), [0.5])[0]
        for year, part in known.groupby("year")
    }
    risk = total = 0.0
    for person in frame.itertuples():
        poor = None if np.isnan(person.income) else bool(person.income < lines[person.year])
        deprived = None if person.deprived not in YES_NO else person.deprived == "yes"
        if poor is not None and deprived is not None:
            total += person.w
            risk += person.w if poor or deprived else 0.0
    return risk / total, total


def test_a_union_counts_each_once_of_those_whose_parts_are_all_known(rng):
    frame = population(rng, 200)
    table = sae.direct(survey_of(frame, time="year"), AROPE)
    rate, total = one_by_one(frame)
    assert table["estimate"][0] == pytest.approx(rate, rel=ROUNDING)
    data = sae.indicators.arrays(AROPE, survey_of(frame, time="year"))
    assert frame["w"][data.inside].sum() == pytest.approx(total, rel=ROUNDING)
    assert np.array_equal(data.item_missing, ~data.inside)
    either = sae.direct(survey_of(frame), sae.Indicator("deprived == 'yes'", id="one"))["estimate"][0]
    assert either < rate


def test_by_hand():
    """The median of the five known incomes is 10: below 6 is poor."""
    frame = pd.DataFrame(
        {
            "w": 1.0,
            "income": [5, 10, 10, 12, 13, None, None, None],
            "deprived": [None, "no", "yes", None, "no", "yes", "no", None],
        }
    )
    table = sae.direct(sae.Survey.from_frame(frame, weights="w"), AROPE)
    # of 2, 3 and 5 everything is known, and 3 is deprived; 1 is poor and 6 deprived, but who is neither of
    # the unknown parts would not be known either: counting them alone would make the rate too high
    assert table["estimate"][0] == pytest.approx(1 / 3) and table["n"][0] == 3
    assert any("missing" in line or "no value" in line or "answer" in line for line in table.log), table.log


def test_values_missing_at_random_leave_the_rate_where_it_is(rng):
    """A third of either part unknown at random moves the rate by its sampling error at most."""
    income, deprived = rng.lognormal(0, 0.7, 40_000), rng.random(40_000) < 0.1
    frame = pd.DataFrame({"w": 1.0, "income": income, "deprived": np.where(deprived, "yes", "no")})
    survey = sae.Survey.from_frame(frame, weights="w")
    whole = sae.direct(survey, AROPE).frame.iloc[0]
    lost = frame.mask(
        pd.DataFrame({"w": False, **{n: rng.random(40_000) < 0.33 for n in ["income", "deprived"]}})
    )
    part = sae.direct(sae.Survey.from_frame(lost, weights="w"), AROPE).frame.iloc[0]
    assert abs(part["estimate"] - whole["estimate"]) < SIGMAS * part["se"]


def test_every_variable_of_the_condition_has_to_be_known():
    frame = pd.DataFrame(
        {"w": 1.0, "income": [10.0] * 4, "a": ["yes", "no", None, "no"], "b": [None, "no", "yes", "yes"]}
    )
    either = sae.Indicator("income", kind="arpr", union="a == 'yes' or b == 'yes'", id="rate")
    table = sae.direct(sae.Survey.from_frame(frame, weights="w"), either)
    assert table["n"][0] == 2 and table["estimate"][0] == pytest.approx(1 / 2)


def test_a_union_with_nobody_is_the_rate_of_the_poor(rng):
    frame = population(rng, 300).assign(deprived=pd.Categorical.from_codes([1] * 900, YES_NO))
    survey = sae.Survey.from_frame(frame.assign(mine=[1] + [0] * 899), weights="w", psu="cluster")
    nobody = sae.Indicator("income", kind="arpr", union="w < 0", id="rate")
    poor = sae.Indicator("income", kind="arpr", id="rate")
    pd.testing.assert_frame_equal(
        sae.direct(survey, nobody, by="region").frame.drop(columns="definition"),
        sae.direct(survey, poor, by="region").frame.drop(columns="definition"),
    )
    everybody = sae.direct(survey, sae.Indicator("income", kind="arpr", union="w > 0", id="rate"))
    assert everybody["estimate"][0] == 1 and everybody["n"][0] == frame["income"].notna().sum()


def test_replicates_equal_one_estimate_each(rng):
    frame = population(rng, 100)
    data = sae.indicators.arrays(AROPE, survey_of(frame, time="year"))
    codes = frame["region"].astype(int).to_numpy()
    weights = rng.gamma(2, 1, (300, 5)) * (rng.random((300, 5)) < 0.8)
    arguments = (data.inside, codes, 2)
    options = {"groups": data.groups, "union": data.union}
    got = poverty.replicate(AROPE, data.numerator, weights, *arguments, **options)
    for r in range(5):
        one = poverty.estimate(AROPE, data.numerator, weights[:, r], *arguments, **options)
        np.testing.assert_allclose(got[r], one.estimates, rtol=ROUNDING)


def test_the_bootstrap_agrees_by_domain(rng):
    replicates = 300
    survey = survey_of(population(rng, 2500), time="year")
    options = {"by": ["region", "year"], "covariance": True}
    linearised = sae.direct(survey, AROPE, **options)
    bootstrap = sae.direct(survey, AROPE, variance="bootstrap", seed=3, replicates=replicates, **options)
    distance = np.log(linearised["variance"] / bootstrap["variance"])
    assert np.abs(distance).max() < SIGMAS * np.sqrt(2 / replicates) + KERNEL


def test_the_jackknife_agrees_where_the_threshold_is_fixed(rng):
    """Delete-one fails for a median: with two incomes the threshold stands still, the local part is all."""
    frame = population(rng, 150)
    frame["income"] = np.where(frame["income"] < 0.5, 1.0, 10.0)
    frame.loc[frame.index[::7], "income"] = np.nan
    data = sae.indicators.arrays(AROPE, survey_of(frame))
    weights, clusters = frame["w"].to_numpy(), frame["cluster"].to_numpy()

    def solve(w):
        zero = np.zeros(450, int)
        return poverty.estimate(AROPE, data.numerator, w, data.inside, zero, 1, union=data.union)

    theta = [solve(np.where(clusters == c, 0.0, weights * 150 / 149)).estimates[0] for c in range(150)]
    jackknife = 149 / 150 * np.sum((np.array(theta) - np.mean(theta)) ** 2)
    totals = np.bincount(clusters, weights * solve(weights).local)
    # what is left is the second order of a ratio, of the order of 1/150
    assert 150 * totals.var(ddof=1) == pytest.approx(jackknife, rel=0.03)


def test_repeated_samples(rng):
    draws, points, variances = 60, [], []
    for _ in range(draws):
        table = sae.direct(survey_of(population(rng, 500), time="year"), AROPE, by="region")
        points.append(table["estimate"].to_numpy())
        variances.append(table["variance"].to_numpy())
    distance = np.log(np.mean(variances, axis=0) / np.var(points, axis=0, ddof=1))
    assert np.all(np.abs(distance) < SIGMAS * np.sqrt(2 / draws) + KERNEL)


def test_a_ratio_of_medians_has_no_error_for_the_nation(rng):
    frame = population(rng, 400)
    table = sae.direct(survey_of(frame), "median_income_ratio")
    assert table["estimate"][0] == 1.0 and table["status"][0] == "zero variance"
    table = sae.direct(survey_of(frame), "median_income_ratio", by="region")
    medians = sae.direct(survey_of(frame), "median_income", by="region")["estimate"]
    whole = sae.direct(survey_of(frame), "median_income")["estimate"][0]
    np.testing.assert_allclose(table["estimate"], medians / whole, rtol=ROUNDING)
