"""Off-census EB: a weighted survey in place of the population, and its sampling error."""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeInputError, SaeSpecError, SaeWarning

ROUNDING = 1e-9  # sums of units in another order
SERIES = 1e-8  # many units are read off series of eleven digits
Z = 2.6  # standard errors of a simulation: 1 test in 100 fails

D, SIZE = 12, 1_500


def country(seed):
    """Persons of 12 areas in 3 regions; a covariate tells much of their welfare, and varies between areas."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"area": np.repeat([f"{k:02d}" for k in range(D)], SIZE)})
    frame["region"] = "R" + (frame["area"].astype(int) // 4).astype(str)
    share = np.repeat(rng.uniform(0.2, 0.6, size=D), SIZE)
    frame["birth"] = np.where(rng.random(D * SIZE) < share, "foreign", "native")
    frame["sex"] = rng.choice(["f", "m"], size=D * SIZE)
    frame["persons"] = rng.integers(1, 5, size=D * SIZE)
    effect = np.repeat(0.15 * rng.normal(size=D), SIZE)
    frame["income"] = np.exp(
        9.0 - 0.8 * (frame["birth"] == "foreign") + effect + 0.4 * rng.normal(size=D * SIZE)
    )
    return frame


def drawn(frame, n, seed):
    """Draw n persons of every area; a survey with areas as strata."""
    part = frame.groupby("area").sample(n, random_state=seed).reset_index(drop=True)
    part = part.drop(columns="income").assign(w=SIZE / n)
    return sae.Survey.from_frame(part, weights="w", strata="area")


def fitted(sample, areas, seed=1, **options):
    given = {"domain": "area", "threshold": 6_000.0, "transform": "log", "replicates": 60, **options}
    return sae.EBP("income ~ birth", **given).fit(sample, areas=areas, seed=seed)


@pytest.fixture(scope="module")
def people():
    return country(1)


@pytest.fixture(scope="module")
def sample(people):
    return people.groupby("area").sample(20, random_state=1).reset_index(drop=True)


def test_a_complete_survey_is_the_population(people, sample):
    survey = sae.Survey.from_frame(people.assign(w=1.0, N=SIZE), weights="w", strata="area", fpc="N")
    options = {"levels": "region", "groups": "sex", "population_weights": "persons"}
    one = fitted(sample, survey, **options)
    two = fitted(sample, people, **options)
    np.testing.assert_allclose(one.estimates["estimate"], two.estimates["estimate"], rtol=SERIES)
    assert "0% of it at the median" in " ".join(map(str, one.messages))
    assert one.areas["population"].dropna().iloc[0] > SIZE  # persons, not records


def test_figures_are_weighted_means(people, sample):
    rng = np.random.default_rng(2)
    large = people.groupby("area").sample(60, random_state=2).reset_index(drop=True)
    large = large.assign(w=rng.uniform(1.0, 9.0, size=len(large)))
    survey = sae.Survey.from_frame(large, weights="w", strata="area")
    one = fitted(sample, survey, mse="none")
    two = fitted(sample, large, mse="none", population_weights="w")
    np.testing.assert_allclose(one.estimates["estimate"], two.estimates["estimate"], rtol=ROUNDING)


def parts(fit, sample, large, **options):
    """Return the MSE less that of a survey whose records are all there is: the sampling variance."""
    whole = fitted(sample, sae.Survey.from_frame(large, weights="w", strata="area", fpc="all"), **options)
    return fit.estimates["mse"].to_numpy() - whole.estimates["mse"].to_numpy()


def test_the_sampling_variance_is_that_of_a_stratified_mean(people, sample):
    frame = drawn(people, 50, 3).frame.assign(all=50)
    survey = sae.Survey.from_frame(frame, weights="w", strata="area")
    options = {"indicators": ["head_count"], "groups": "birth", "levels": "region"}
    fit = fitted(sample, survey, **options)
    rows = fit.estimates.frame
    name = rows["domain"].where(rows["birth"] == "total", rows["domain"] + " / " + rows["birth"])
    found = pd.Series(parts(fit, sample, frame, **options), index=name)
    figures = rows.set_index(name)["estimate"]
    variance = {}
    for area in [f"{k:02d}" for k in range(D)]:
        v = (
            frame[frame["area"] == area]["birth"]
            .astype(str)
            .map({birth: figures[f"{area} / {birth}"] for birth in ("foreign", "native")})
        )
        variance[area] = v.var(ddof=1) / len(v)
        assert found[area] == pytest.approx(variance[area], rel=1e-6)
        assert found[f"{area} / native"] == pytest.approx(0.0, abs=1e-12)  # all of a group are alike
    inside = [f"{k:02d}" for k in range(4)]
    assert found["R0"] == pytest.approx(np.mean([variance[area] for area in inside]) / 4.0, rel=1e-6)


def test_replicates_and_linearisation_agree(people, sample):
    survey = drawn(people, 50, 3)
    options = {"indicators": ["head_count"]}
    one = fitted(sample, survey, **options)
    two = fitted(sample, survey.with_replicates("bootstrap", replicates=300, seed=1), **options)
    np.testing.assert_allclose(two.estimates["estimate"], one.estimates["estimate"], rtol=ROUNDING)
    frame = survey.frame.assign(all=50)
    own, other = (parts(fit, sample, frame, **options) for fit in (one, two))
    assert np.abs(other / own - 1.0).mean() < 0.15  # 300 replicates: 8 percent each


def test_sampling_error_is_measured(people, sample):
    """The variance over many large surveys of one population, the sample fixed."""
    options = {"indicators": ["head_count"]}
    estimates = [
        fitted(sample, drawn(people, 40, run), mse="none", **options).estimates["estimate"]
        for run in range(60)
    ]
    actual = np.var(estimates, axis=0, ddof=1).mean()
    found = []
    for run in range(6):
        survey = drawn(people, 40, run)
        fit = fitted(sample, survey, replicates=4, **options)
        found.append(parts(fit, sample, survey.frame.assign(all=40), replicates=4, **options).mean())
    assert np.mean(found) == pytest.approx(actual, rel=Z * np.sqrt(2.0 / 60 / D) + 0.05)  # 40 of 1,500 drawn


def test_bias_and_coverage():
    inside, bias, model = [], [], []
    for run in range(20):
        people = country(300 + run)
        sample = people.groupby("area").sample(15, random_state=run)
        survey = drawn(people, 25, 900 + run)
        truth = (people["income"] < 6_000.0).groupby(people["area"]).mean().to_numpy()
        fit = fitted(sample, survey, indicators=["head_count"])
        low, high = fit.estimates["ci_low"], fit.estimates["ci_high"]
        inside.append(((low <= truth) & (truth <= high)).mean())
        bias.append((fit.estimates["estimate"] - truth).mean())
        whole = sae.Survey.from_frame(survey.frame.assign(all=25), weights="w", strata="area", fpc="all")
        alone = fitted(sample, whole, indicators=["head_count"])
        low, high = alone.estimates["ci_low"], alone.estimates["ci_high"]
        model.append(((low <= truth) & (truth <= high)).mean())
    se = np.std(inside, ddof=1) / np.sqrt(len(inside))
    assert abs(np.mean(inside) - 0.95) < Z * se + 0.01
    assert abs(np.mean(bias)) < Z * np.std(bias, ddof=1) / np.sqrt(len(bias))
    assert np.mean(model) < np.mean(inside) - 0.03  # a sample taken for the population


def test_what_needs_the_whole_population_is_refused(people, sample):
    survey = drawn(people, 30, 1)
    with pytest.raises(SaeSpecError, match="gini: areas= is a survey"):
        fitted(sample, survey, indicators=["gini", "mean"])
    for method in ("bayes", "ell"):
        with pytest.raises(SaeSpecError, match=f'method="{method}" draws whole populations'):
            fitted(sample, survey, method=method, **({"replicates": 200} if method == "bayes" else {}))
    with pytest.raises(SaeSpecError, match='mse="wild"'):
        fitted(sample, survey, mse="wild")
    with pytest.raises(SaeSpecError, match="linked='id' has no meaning"):
        fitted(sample.assign(id=range(len(sample))), survey, linked="id")


def test_strata_of_one_unit_are_refused(people, sample):
    part = people.groupby("area").head(1).assign(w=SIZE)
    with pytest.raises(SaeInputError, match="12 of 12 strata have a single sampled unit"):
        fitted(sample, sae.Survey.from_frame(part, weights="w", strata="area"))


def test_areas_of_one_record_are_named(people, sample):
    frame = drawn(people, 30, 1).frame
    few = frame[(frame["area"] != "03") | ~frame["area"].duplicated()]
    survey = sae.Survey.from_frame(few, weights="w")
    with pytest.warns(SaeWarning, match=r"a single record in 1 domains.*\(03\)"):
        fitted(sample, survey)


def test_areas_that_the_survey_lacks_are_told(people, sample):
    survey = drawn(people[people["area"] != "05"], 30, 1)
    fit = fitted(sample, survey)
    assert "05" not in set(fit.estimates["domain"])
    assert "1 areas of the sample are not in the population" in " ".join(map(str, fit.messages))


def test_a_subset_keeps_the_design(people, sample):
    survey = drawn(people, 40, 2)
    fit = fitted(sample, survey.subset("sex == 'f'"), indicators=["head_count"])
    women = fitted(sample, survey, indicators=["head_count"], groups="sex").estimates.frame
    women = women[women["sex"] == "f"]
    np.testing.assert_allclose(fit.estimates["estimate"], women["estimate"], rtol=SERIES)


def test_areas_are_put_together_with_their_joint_error(people, sample):
    """A region's own row and the mean of its areas by their joint error: one figure, one error."""
    survey = drawn(people, 40, 2)
    fit = fitted(sample, survey, indicators=["head_count"], levels="region", replicates=200)
    rows = fit.estimates.frame
    draws = fit.draws(2_000, seed=1).values
    areas = np.flatnonzero(rows["domain"].isin(["00", "01", "02", "03"]))
    region = rows.index[rows["domain"] == "R0"][0]
    mean = draws[:, areas].mean(axis=1)
    assert rows["estimate"].iloc[areas].mean() == pytest.approx(rows["estimate"][region], rel=ROUNDING)
    assert mean.var() == pytest.approx(rows["mse"][region], rel=0.15)  # 2,000 draws of it: 3 percent
