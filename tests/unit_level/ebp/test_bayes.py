"""The posterior predictive EBP: its limits, its verbs, and what it refuses."""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeConvergenceError, SaeInputError, SaeSpecError

SIGMAS = 4.5  # Monte Carlo errors of some tens of figures
LARGE = 0.12  # posterior standard deviations between posterior mean and EBP with 60 areas
NEAR = 0.05  # the same with 70 districts, on average; five times that for one figure: 1,000 draws err by 0.03
AREAS = [f"{k:02d}" for k in range(1, 11)]
COVARIATES = (
    "gender + eqsize + cash + self_empl + unempl_ben + age_ben + surv_ben + sick_ben + dis_ben + rent + "
    "fam_allow + house_allow + cap_inv + tax_adj"
)


def country(areas, persons=50, sampled=12, seed=7):
    """Persons of areas in two regions, and a sample that lacks the last area."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"area": np.repeat(areas, persons)})
    frame["id"] = np.arange(len(frame))
    frame["region"] = np.where(frame["area"] <= areas[len(areas) // 2], "east", "west")
    frame["birth"] = np.where(rng.random(len(frame)) < 0.3, "foreign", "native")
    frame["age"] = rng.integers(20, 65, size=len(frame))
    effect = dict(zip(areas, 0.25 * rng.normal(size=len(areas)), strict=True))
    score = 8.9 + 0.01 * frame["age"] - 0.2 * (frame["birth"] == "foreign") + frame["area"].map(effect)
    frame["income"] = np.exp(score + 0.4 * rng.normal(size=len(frame)))
    some = frame[frame["area"] != areas[-1]].groupby("area").sample(sampled, random_state=1)
    return frame, some.reset_index(drop=True)


@pytest.fixture(scope="module")
def people():
    return country(AREAS)[0]


@pytest.fixture(scope="module")
def sample():
    return country(AREAS)[1]


def fitted(sample, people, seed=1, **options):
    given = {"domain": "area", "threshold": 9_000.0, "transform": "log", "method": "bayes", **options}
    return sae.EBP("income ~ age + birth", **given).fit(sample, areas=people, seed=seed)


def test_linked_mean_is_that_of_the_nested_error_model(sample, people):
    """Of a finite population with the sample in it: means, deviations and ends of the intervals."""
    options = {"transform": "none", "indicators": ["mean"], "linked": "id", "draws": 4000}
    got = fitted(sample, people, **options).estimates.frame
    exact = sae.NestedError("income ~ age + birth", domain="area", method="bayes", population="one").fit(
        sample, areas=people.assign(one=1)
    )
    wanted = exact.estimates.frame
    assert list(got["domain"]) == list(wanted["domain"])
    se = wanted["se"].to_numpy()
    z = (got["estimate"] - wanted["estimate"]) / se * np.sqrt(4000)
    assert np.abs(z).max() < SIGMAS
    assert np.abs(np.log(got["se"] / se)).max() < SIGMAS / np.sqrt(2 * 4000)
    for end in ("ci_low", "ci_high"):  # a quantile at 2.5 % has 2.7 times the error of a mean
        assert (np.abs(got[end] - wanted[end]) / se).max() < SIGMAS * 2.7 / np.sqrt(4000)
    np.testing.assert_allclose(got["gamma"], wanted["gamma"], rtol=1e-8)


@pytest.mark.parametrize("transform", ["log", "box-cox"])
def test_many_areas_bring_it_to_the_ebp(transform):
    people, sample = country([f"{k:03d}" for k in range(60)], persons=40)
    bayes = fitted(sample, people, transform=transform, indicators=["head_count", "gap"]).estimates.frame
    ebp = fitted(
        sample, people, transform=transform, indicators=["head_count", "gap"], method="reml", mse="none"
    ).estimates.frame
    apart = (bayes["estimate"] - ebp["estimate"]) / bayes["se"]
    assert np.abs(apart.mean()) < LARGE
    assert apart.std() < 2 * LARGE


def test_intervals_hold_the_population(people, sample):
    """180 figures of 90 areas of three countries at 95 %: fewer than 162 with probability 0.001 by area."""
    inside = []
    for seed in (1, 2, 3):
        everyone, some = country([f"{k:02d}" for k in range(30)], seed=seed)
        frame = fitted(some, everyone, indicators=["head_count", "gini"]).estimates.frame
        truth = everyone.groupby("area")["income"].agg(
            head_count=lambda y: (y < 9_000.0).mean(),
            gini=lambda y: (2.0 * np.arange(1, len(y) + 1) - 1.0) @ np.sort(y) / len(y) / y.sum() - 1.0,
        )
        real = truth.stack().loc[list(zip(frame["domain"], frame["indicator"], strict=True))].to_numpy()
        inside.append((frame["ci_low"] <= real) & (real <= frame["ci_high"]))
    assert np.concatenate(inside).sum() >= 162


def test_verbs_of_a_posterior(people, sample):
    fit = fitted(sample, people, indicators=["head_count"], transform="box-cox", draws=1000)
    frame = fit.estimates.frame
    draws = fit.draws(1000, seed=3).values
    np.testing.assert_allclose(draws.mean(axis=0), frame["estimate"], rtol=1e-12)
    np.testing.assert_allclose(np.quantile(draws, 0.025, axis=0), frame["ci_low"], rtol=1e-12)
    loo = fit.loo()
    assert list(loo["domain"]) == AREAS[:-1]
    assert np.isfinite(loo["elpd"]).all()
    check = fit.predictive_check(500, seed=1)
    assert check.loc["overall", "p_value"] > 0.01
    rank = sae.compare.ranks(fit, seed=1).frame
    assert rank["domain"].tolist() == AREAS
    final = fit.benchmark(0.35, weights="population")
    moved = final.estimates.frame
    assert np.average(moved["estimate"]) == pytest.approx(0.35)  # areas have one size
    assert final.draws(200, seed=1).values.mean(axis=1) == pytest.approx(np.full(200, 0.35))
    assert {"lambda", "lambda_low", "sigma_u_median"} <= set(fit.variance_components.index)
    text = fit.summary()
    assert "exact posterior, 1000 independent draws" in text
    assert "half-normal(" in text and "lambda flat" in text


def test_rows_of_levels_and_groups(people, sample):
    options = {"levels": "region", "groups": "birth", "indicators": ["head_count", "gap"], "draws": 200}
    fit = fitted(sample, people, **options)
    frame = fit.estimates.frame
    assert len(frame) == (10 + 2) * 3 * 2
    name = frame["domain"].where(frame["birth"] == "total", frame["domain"] + " / " + frame["birth"])
    values = pd.DataFrame(fit.draws(200, seed=1).values.T, index=name + frame["indicator"])
    east = values.loc[[f"{name}gap" for name in AREAS[:6]]].mean()  # areas have one size
    np.testing.assert_allclose(values.loc["eastgap"], east, rtol=1e-12)
    loo = fit.loo()
    told = loo[loo["elpd"].notna()]
    assert list(told["domain"]) == AREAS[:-1]  # an area counts once, whatever rows it has
    assert fit.predictive_check(200, seed=1).loc["outside", "observed"] < 0.2


def test_arviz_has_all_parameters(people, sample):
    pytest.importorskip("arviz")
    data = fitted(sample, people, indicators=["head_count"], transform="dual-power").to_arviz(400, seed=1)
    posterior = data["posterior"]
    assert {"theta", "beta", "sigma_u", "sigma_e", "lambda"} <= set(posterior)
    assert posterior["theta"].shape == (4, 100, 10)
    assert data["posterior_predictive"]["y"].shape == (4, 100, 9)


def test_a_seed_and_an_area_alone_give_the_same_numbers(people, sample):
    one, two = (fitted(sample, people, transform="box-cox", draws=150).estimates.frame for _ in range(2))
    pd.testing.assert_frame_equal(one, two)
    other = fitted(sample, people, transform="box-cox", draws=150, seed=2).estimates.frame
    assert not np.array_equal(one["estimate"], other["estimate"])
    alone = fitted(sample, people[people["area"] == "03"], transform="box-cox", draws=150).estimates.frame
    pd.testing.assert_series_equal(
        alone["estimate"].reset_index(drop=True),
        one.loc[one["domain"] == "03", "estimate"].reset_index(drop=True),
    )


def test_a_file_of_cells_is_simulated_person_by_person(people, sample, tmp_path):
    people = people.drop(columns=["id", "income"]).assign(age=people["age"] // 20 * 20)
    sample = sample.assign(age=sample["age"] // 20 * 20)
    people.sort_values(["area", "age", "birth"]).to_parquet(tmp_path / "people.parquet")
    options = {"indicators": ["head_count"], "draws": 2000}
    one = fitted(sample, tmp_path / "people.parquet", **options).estimates.frame.set_index("domain")
    other = fitted(sample, people, **options).estimates.frame.set_index("domain").loc[one.index]
    z = (one["estimate"] - other["estimate"]) / other["se"] * np.sqrt(1000)
    assert np.abs(z).max() < SIGMAS
    assert np.abs(np.log(one["se"] / other["se"])).max() < SIGMAS / np.sqrt(2000)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"mse": "bootstrap"}, "mse='bootstrap' has no meaning"),
        ({"replicates": 50}, "replicates=50 has no meaning"),
        ({"draws": 50}, "draws = 50: at least 100"),
        ({"method": "reml", "prior": "flat-sd"}, "prior='flat-sd' has no meaning"),
        ({"prior": "wide"}, "wide"),
        ({"weights": "w"}, "weights='w' has no meaning"),
    ],
)
def test_options_without_meaning(options, text):
    with pytest.raises(SaeSpecError, match=text):
        sae.EBP("income ~ age", domain="area", **{"method": "bayes", "threshold": 1.0, **options})


def test_what_is_refused(people, sample):
    survey = sae.Survey.from_frame(people.assign(w=1.0), weights="w")
    with pytest.raises(SaeSpecError, match="areas= is a survey"):
        fitted(sample, survey, indicators=["head_count"])
    with pytest.raises(SaeSpecError, match="The figures come from populations drawn from the posterior"):
        fitted(sample, people, seed=None)
    few = sample[sample["area"] < "04"]
    with pytest.raises(SaeInputError, match="flat-variance"):
        fitted(few, people, prior="flat-variance")
    with pytest.raises(SaeConvergenceError, match=r"half is no finite number in \d+ of 100 populations"):
        fitted(sample, people, indicators={"half": lambda y, w: 1.0 if y[0] < 9e3 else np.inf}, draws=100)


@pytest.mark.filterwarnings("ignore:Covariates lie outside")
def test_heavy_tails_are_named(people, sample):
    few = sample.groupby("area").head(3)
    notes = [m.text for m in fitted(few, people, indicators=["mean"], draws=100).messages]
    assert any("too heavy for a posterior mean" in text for text in notes)
    quiet = [m.text for m in fitted(sample, people, indicators=["mean"], draws=100).messages]
    assert not any("too heavy" in text for text in quiet)


@pytest.mark.parametrize("name", ["none", "log"])
def test_austria_beside_the_limits_of_the_ebp(shared_data, reference, name):
    """70 sampled and 24 other districts: what integrates over the variances lies near what plugs them in."""
    units = pd.read_csv(shared_data / "emdi_eusilcA_smp.csv")
    people = pd.read_csv(shared_data / "emdi_eusilcA_pop.csv.gz")
    spec = sae.EBP(
        f"eqIncome ~ {COVARIATES}", domain="district", threshold=11_064.82, transform=name, method="bayes"
    )
    with pytest.warns(sae.errors.ExtrapolationWarning, match="rent"):
        frame = spec.fit(units, areas=people, seed=1).estimates.frame
    exact = reference("own_exact_ebp_eusilcA")["outputs"]["no" if name == "none" else name]
    for column, title in (("mean", "Mean"), ("head_count", "Head_Count"), ("gap", "Poverty_Gap")):
        table = frame[frame["indicator"] == column].set_index("domain")
        apart = (table["estimate"] - pd.Series(exact[title], exact["Domain"])) / table["se"]
        assert abs(apart.mean()) < NEAR
        assert apart.abs().max() < 5 * NEAR
