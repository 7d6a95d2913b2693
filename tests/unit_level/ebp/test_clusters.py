"""EBP(clusters=): against the two-fold EBLUP, what the population names, what is refused and what is said."""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import BoundaryVarianceWarning, SaeInputError, SaeSpecError

ROUNDING = 1e-9  # sums of some hundred units in another order
AREAS = [f"{d:02d}" for d in range(12)]


def world(seed=1, areas=12, each=8, size=10, sigmas=(0.6, 0.4, 0.5)):
    """Persons of areas with clusters of equal size, on the logarithmic scale."""
    rng = np.random.default_rng(seed)
    n, C = areas * each * size, areas * each
    frame = pd.DataFrame({"area": np.repeat([f"{d:02d}" for d in range(areas)], each * size)})
    frame["psu"] = np.tile(np.repeat([f"p{k}" for k in range(each)], size), areas)
    frame["id"], frame["age"] = np.arange(n), rng.normal(size=n)
    u, v, e = sigmas
    effect = np.repeat(u * rng.normal(size=areas), each * size) + np.repeat(v * rng.normal(size=C), size)
    frame["y"] = np.exp(9.0 + 0.3 * frame["age"] + effect + e * rng.normal(size=n))
    return frame


def sampled(frame, clusters=3, units=5, seed=2):
    """Some clusters of every area but the last, and some units of each."""
    rng = np.random.default_rng(seed)
    parts = []
    for area, inside in frame.groupby("area"):
        if area != frame["area"].max():
            chosen = inside["psu"].isin(rng.choice(inside["psu"].unique(), clusters, replace=False))
            parts.append(inside[chosen].groupby("psu").sample(units, random_state=seed))
    return pd.concat(parts).reset_index(drop=True)


@pytest.fixture(scope="module")
def people():
    return world()


@pytest.fixture(scope="module")
def sample(people):
    return sampled(people)


def fitted(sample, people, **options):
    given = {
        "domain": "area",
        "indicators": ["mean", "head_count"],
        "threshold": 6_000.0,
        "transform": "log",
        "clusters": "psu",
        "mse": "none",
        **options,
    }
    return sae.EBP("y ~ age", **given).fit(sample, areas=people.drop(columns="y"), seed=1)


def column(fit, indicator="mean", name="estimate"):
    frame = fit.estimates.frame
    return frame[frame["indicator"] == indicator].set_index("domain")[name]


def two_fold(sample, cells):
    """The mean of each area by the two-fold EBLUP of its clusters, weighted by their sizes in `cells`."""
    name = {"psu": lambda f: f["area"] + f["psu"]}
    spec = sae.TwoFoldNestedError("y ~ age", domain="psu", area="area", population="N")
    fit = spec.fit(sample.assign(**name), areas=cells.assign(**name))
    return fit, fit.aggregate(by="area", weights="N").to_frame().set_index("domain")["estimate"]


def test_mean_is_the_two_fold_eblup_of_a_finite_population(people, sample):
    """Clusters found by name and units linked: the finite population of the EBLUP, its variances too."""
    made = fitted(sample, people, transform="none", indicators=["mean"], linked="id")
    cells = people.groupby(["area", "psu"], as_index=False).agg(age=("age", "mean"), N=("id", "size"))
    fit, means = two_fold(sample, cells)
    np.testing.assert_allclose(column(made), means[column(made).index], rtol=ROUNDING)
    ours, theirs = made.variance_components, fit.variance_components
    names = {"sigma2_u": "sigma2_v", "sigma2_v": "sigma2_u", "sigma2_e": "sigma2_e"}
    for mine, other in names.items():  # there u is of the sub-areas
        for end in ("", "_se"):
            assert ours[mine + end] == pytest.approx(theirs[other + end], rel=ROUNDING)
    for name in ("r2_marginal", "r2_conditional", "loglik", "icc", "icc_area"):
        assert made.diagnostics[name].iloc[0] == pytest.approx(fit.diagnostics[name].iloc[0], rel=1e-6)
    assert "sigma2_v" in made.summary() and ", of the area 0." in made.summary()


def test_mean_without_clusters_in_the_population_is_that_of_clusters_without_a_sample(people, sample):
    made = fitted(sample, people.drop(columns="psu"), transform="none", indicators=["mean"])
    cells = people.groupby(["area", "psu"], as_index=False).agg(age=("age", "mean"), N=("id", "size"))
    other = cells.assign(psu=cells["psu"] + " other", N=1e9)
    _, means = two_fold(sample, pd.concat([cells, other]))
    np.testing.assert_allclose(column(made), means[column(made).index], rtol=1e-7)
    assert any("no column 'psu'" in message.text for message in made.messages)
    assert any("33 of 33 values of psu" in m.text for m in fitted(sample, people).messages)


def test_residuals_make_the_effects(people, sample):
    """γ times an area's residual is û, which the mean of an area has beyond x̄'β."""
    made = fitted(sample, people.drop(columns="psu"), transform="none", indicators=["mean"])
    x = people.groupby("area")["age"].mean()
    beta = made.coefficients["coef"]
    effect = column(made) - beta.iloc[0] - beta.iloc[1] * x
    residual = made.residuals.set_index("domain")["residual"]
    gamma = column(made, name="gamma")
    np.testing.assert_allclose(gamma[residual.index] * residual, effect[residual.index], rtol=1e-6)
    assert np.isnan(gamma["11"]) and effect["11"] == pytest.approx(0.0, abs=1e-6)
    units = sae.unit_level.unit_residuals(made)["standardised"]
    assert 0.9 < units.std() < 1.1
    with pytest.raises(SaeSpecError, match="without weights and clusters"):
        sae.unit_level.area_influence(made)


def test_direct_errors_are_those_of_clusters(people, sample):
    """Clusters are drawn, and not their units: sae.direct of the same design, with replacement."""
    survey = sae.Survey.from_frame(sample.assign(w=1.0), weights="w", psu="psu", strata="area", nest=True)
    known = sae.direct(survey, "y", by=["area"]).to_frame().set_index("domain")["se"]
    ours = column(fitted(sample, people, indicators=["mean"]), name="direct_se")
    np.testing.assert_allclose(ours[known.index], known.astype(float), rtol=ROUNDING)


@pytest.mark.parametrize("transform", ["box-cox", pytest.param("log-shift", marks=pytest.mark.slow)])
def test_no_variance_between_clusters_is_one_fold(transform):
    """Where σ̂v² = 0 both fits are one, to what two searches of λ leave."""
    frame = world(seed=3, sigmas=(0.4, 0.0, 0.5))
    two, one = (
        fitted(sampled(frame), frame, transform=transform, clusters=name, shift=None)
        for name in ("psu", None)
    )
    assert two.variance_components["sigma2_v"] == 0.0
    assert any("estimated exactly 0" in message.text for message in two.messages)
    np.testing.assert_allclose(two.estimates["estimate"], one.estimates["estimate"], rtol=1e-6)


def test_no_variance_between_areas_is_said():
    frame = world(seed=4, sigmas=(0.0, 0.5, 0.5))
    with pytest.warns(BoundaryVarianceWarning, match="The variance between areas is estimated exactly 0"):
        fit = fitted(sampled(frame), frame)
    assert fit.variance_components["sigma2_u"] == 0.0 and fit.estimates["gamma"].dropna().eq(0.0).all()


def test_bootstrap_goes_with_every_indicator(people, sample):
    options = {
        "indicators": ["mean", "head_count", "gini"],
        "mse": "auto",
        "replicates": 10,
        "draws": 10,
        "transform": "box-cox",
        "threshold": "60% of the median",
    }
    plain, other = fitted(sample, people, **options), fitted(sample.iloc[::-1], people, **options)
    table = plain.to_frame()
    assert np.isfinite(table["se"]).all() and (table["se"] > 0).all()
    np.testing.assert_allclose(other.estimates["estimate"], plain.estimates["estimate"], rtol=1e-6)
    assert "two-fold EBP" in plain.summary()
    assert sae.EBP.from_toml(plain.spec.to_toml()) == plain.spec


def test_a_file_of_cells_is_its_rows(people, sample, tmp_path):
    rounded = people.assign(age=people["age"].round())
    path = tmp_path / "people.parquet"
    rounded.drop(columns=["y", "id"]).to_parquet(path)
    ours = sample.assign(age=sample["age"].round())
    options = {"mse": "auto", "replicates": 4}
    rows = fitted(ours, rounded, **options)
    spec = rows.spec
    cells = spec.fit(ours, areas=path, seed=1)
    np.testing.assert_allclose(cells.estimates["estimate"], rows.estimates["estimate"], rtol=ROUNDING)


def test_what_clusters_do_not_go_with():
    for options in (
        {"method": "bayes"},
        {"method": "ell"},
        {"mse": "wild"},
        {"weights": "w"},
    ):
        with pytest.raises(SaeSpecError, match="is not done with clusters='psu'"):
            sae.EBP("y ~ x", domain="area", indicators="mean", clusters="psu", **options)


def test_data_at_fault_are_named(people, sample):
    with pytest.raises(SaeInputError, match="psu"):
        fitted(sample.drop(columns="psu"), people)
    with pytest.raises(SaeInputError, match="psu is missing in 1 of 165 units"):
        fitted(sample.assign(psu=sample["psu"].where(sample.index != 3)), people)
    with pytest.raises(SaeInputError, match="no column 'psu'"):
        fitted(sample, people.drop(columns="psu"), linked="id")
    moved = sample.assign(psu=np.where(sample.index == 0, "p9", sample["psu"]))
    with pytest.raises(SaeInputError, match="1 units lie in another psu"):
        fitted(moved, people, linked="id")
    with pytest.raises(SaeInputError, match="No area has two values of psu"):
        fitted(sample.assign(psu="all"), people)
    with pytest.raises(SaeInputError, match="leave no degree of freedom"):
        fitted(sample.assign(psu=sample["id"].astype(str)), people.assign(psu="x"))
    survey = sae.Survey.from_frame(people.assign(w=1.0), weights="w")
    with pytest.raises(SaeSpecError, match="clusters='psu' is not done where areas= is a survey"):
        sae.EBP("y ~ age", domain="area", indicators="mean", clusters="psu").fit(sample, areas=survey, seed=1)


def test_persons_of_a_household_with_one_income_are_no_units(people, sample):
    income = sample.groupby(["area", "psu"])["y"].transform("first")
    with pytest.raises(SaeInputError, match="y does not vary within the 33 values of psu") as error:
        fitted(sample.assign(y=income), people)
    assert "population_weights" in str(error.value)


def covered(people, sample, **options):
    """Whether the 95 % interval of every area's mean and head count holds the truth."""
    fit = fitted(sample, people, mse="auto", replicates=60, **options)
    poor = (people["y"] < 6_000.0).astype(float)
    truth = people.assign(head_count=poor, mean=people["y"]).groupby("area")[["mean", "head_count"]].mean()
    table = fit.to_frame()
    true = np.array(
        [truth.loc[area, name] for area, name in zip(table["domain"], table["indicator"], strict=True)]
    )
    return ((table["ci_low"] <= true) & (true <= table["ci_high"])).to_numpy()


@pytest.mark.slow
@pytest.mark.parametrize(("areas", "samples", "low", "high"), [(12, 40, 0.94, 0.995), (40, 12, 0.92, 0.975)])
def test_intervals_hold(areas, samples, low, high):
    """Coverage of means and head counts where clusters are a third of those of an area.

    60 and 20 samples gave .979 and .976 with 12 areas (mean, head count; Student's t on the areas is wide:
    without any clusters, under its own model, the one-fold EBP has .976 and .978), .949 and .944 with 40,
    standard error .008; without clusters= .951 and .938, .891 and .885.
    """
    with_clusters, without = [], []
    for seed in range(samples):
        frame = world(seed, areas=areas, each=12, size=15, sigmas=(0.3, 0.4, 0.6))
        sample = sampled(frame, clusters=4, units=6, seed=seed)
        with_clusters.append(covered(frame, sample).mean())
        without.append(covered(frame, sample, clusters=None).mean())
    assert low < np.mean(with_clusters) < high
    assert np.mean(without) < np.mean(with_clusters) - 0.02


@pytest.mark.parametrize("errors", ["empirical", "heteroscedastic"])
def test_errors_that_are_residuals_go_with_clusters(people, sample, errors):
    """Closed forms of figures are their simulation, with the population's clusters and without."""
    poor = {"poor": lambda y, w: float((y < 6_000.0).mean())}
    options = {"indicators": ["head_count", poor], "errors": errors, "transform": "box-cox", "draws": 150}
    for census in (people, people.drop(columns="psu")):
        fit = fitted(sample, census, **options)
        closed, drawn = column(fit, "head_count"), column(fit, "poor")
        # head counts of draws differ by .2 at most: a standard error of .016, times 3.5 of 24
        np.testing.assert_allclose(closed, drawn, atol=0.055)
    assert (closed != column(fitted(sample, census, transform="box-cox"), "head_count")).any()
    table = fitted(sample, people, errors=errors, transform="box-cox", mse="auto", replicates=3).to_frame()
    assert (table["se"] > 0).all()
