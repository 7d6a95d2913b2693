"""Off-census EB: a weighted survey in place of the population, and its sampling error."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeInputError, SaeSpecError, SaeWarning
from sae.numerics.ebp.indicators import Indicators, quantile_share
from sae.numerics.ebp.population import Parameters, Population
from sae.numerics.ebp.transforms import Scale
from sae.numerics.random.streams import stream_keys
from sae.unit_level.ebp.off_census import expanded
from sae.unit_level.ebp.sampling import _Drawn

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


def test_what_is_no_mean_of_a_complete_survey_is_that_of_the_population(people, sample):
    people = people.groupby("area").head(200)
    survey = sae.Survey.from_frame(people.assign(w=1.0, N=200), weights="w", strata="area", fpc="N")
    own = {"spread": lambda y, w: np.average((y - np.average(y, weights=w)) ** 2, weights=w) ** 0.5}
    options = {"indicators": ["gini", "quintile_share", "quantile_30", "median"], "levels": "region"}
    options |= {"draws": 8, "replicates": 3}
    one, two = (fitted(sample, areas, **options).estimates.frame for areas in (survey, people))
    for name in ("estimate", "mse"):  # truths have as many units: of each record one
        np.testing.assert_allclose(one[name], two[name], rtol=SERIES, atol=1e-12)
    options |= {"indicators": own, "mse": "none"}
    one, two = (fitted(sample, areas, **options).estimates.frame for areas in (survey, people))
    np.testing.assert_allclose(one["estimate"], two["estimate"], rtol=SERIES)


def test_records_stand_for_many_persons(people, sample):
    """Few records say nothing of a Gini by themselves: 30 of an area would make it 3 % too low."""
    gini = {"indicators": ["gini"], "mse": "none", "draws": 200}
    large = fitted(sample, drawn(people, 30, 1), **gini).estimates.frame
    whole = fitted(sample, people, **gini).estimates.frame
    apart = large["estimate"].to_numpy() / whole["estimate"].to_numpy() - 1.0
    assert abs(apart.mean()) < 0.02  # the records' own sampling error: 0.6 percent; too low by 3 without


@pytest.mark.parametrize("name", ["gini", "quintile_share", "quantile_30", "median"])
def test_influence_is_the_derivative_by_the_weight(name):
    """Of a figure of simulated persons; a quantile has steps, so its difference is over more weight."""
    rng = np.random.default_rng(5)
    records, parts = 60, 2
    X = np.column_stack([np.ones(records), rng.integers(0, 2, records)])
    weight = rng.uniform(50.0, 150.0, records)
    population = Population(X, np.array([0, 30, 60]), weight)
    at = Parameters.of_draw(Scale("log"), np.array([9.0, -0.8]), 0.02, 0.16, np.zeros(2))
    at = replace(at, spread=np.full(2, 0.05))
    drawn = _Drawn(expanded(population, 3_000), at, stream_keys(1, "test", ["a", "b"]))
    domain = np.repeat([0, 1], 30)
    z = drawn.influence(name, weight, domain, parts)
    native = (X[:, 1] == 0.0) & (domain == 0)
    share = quantile_share(name)
    step = 0.05 if share or name == "quintile_share" else 1e-4
    figures = [
        drawn.figures(Indicators((name,)), weight * (1.0 + side * step * native), domain, parts)[0, 0]
        for side in (-1.0, 1.0)
    ]
    slope = (figures[1] - figures[0]) / (2.0 * step)
    smooth = 0.08 if share else 0.03  # the density of a quantile is a kernel's
    assert (z * weight)[native].sum() == pytest.approx(slope, rel=smooth)
    assert (z * weight)[domain == 0].sum() == pytest.approx(0.0, abs=0.03 * abs(slope))


@pytest.mark.slow
def test_sampling_error_of_what_is_no_mean_is_measured(people, sample):
    """The variance over many large surveys of one population, the sample fixed; and that by replicates."""
    names = ["gini", "quintile_share", "quantile_30", "median"]
    options = {"indicators": names, "draws": 40}
    estimates = [
        fitted(sample, drawn(people, 40, run), mse="none", **options).estimates["estimate"]
        for run in range(60)
    ]
    actual = np.var(estimates, axis=0, ddof=1).reshape(D, -1).mean(axis=0)
    foreign = people["birth"].eq("foreign").groupby(people["area"]).mean().to_numpy()
    frames = [drawn(people, 40, run).frame for run in range(60)]
    shares = [one["birth"].eq("foreign").groupby(one["area"]).mean().to_numpy() for one in frames]
    luck = (np.var(shares, axis=0, ddof=1) / (foreign * (1.0 - foreign) / 40)).mean()  # of these 60 samples
    options |= {"replicates": 4, "draws": 8}
    found, by_replicates = [], []
    for run in range(4):
        survey = drawn(people, 40, run)
        frame = survey.frame.assign(all=40)
        for kind, to in ((survey, found), (bootstrapped(survey), by_replicates)):
            to.append(parts(fitted(sample, kind, **options), sample, frame, **options).reshape(D, -1))
    # Gini and quintile share turn near a share of a half: where a slope is 0, its estimated square is not
    slack = np.array([0.2, 0.4, 0.15, 0.15])
    for made in (found, by_replicates):
        assert (np.abs(luck * np.mean(made, axis=(0, 1)) / actual - 1.0) < slack).all()


def bootstrapped(survey):
    return survey.with_replicates("bootstrap", replicates=60, seed=1)


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
    with pytest.raises(SaeSpecError, match=r"top: the sampling error of a function .* replicate weights"):
        fitted(sample, survey, indicators=["mean", {"top": lambda y, w: y.max()}])
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
    with pytest.warns(SaeWarning, match=r"a single record in 1 domain,.*\(03\)"):
        fitted(sample, survey)


def test_areas_that_the_survey_lacks_are_told(people, sample):
    survey = drawn(people[people["area"] != "05"], 30, 1)
    fit = fitted(sample, survey)
    assert "05" not in set(fit.estimates["domain"])
    assert "1 area of the sample is not in the population" in " ".join(map(str, fit.messages))


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
