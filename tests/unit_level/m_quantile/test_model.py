"""The M-quantile model: what it reads, says and refuses; limits; coverage and bias with outliers."""

import warnings

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeInputError, SaeSpecError, SaeWarning

ROUNDING = 1e-9  # relative: the same sums in another order
FIGURES = ("mean", "head_count", "gap", "severity", "median", "quantile_20")
NAMES = [f"{d:02d}" for d in range(12)]


def people(seed=1, each=80, areas=NAMES, outliers=0.0):
    rng = np.random.default_rng(seed)
    area = np.repeat(areas, each)
    frame = pd.DataFrame(
        {"area": area, "x": rng.integers(0, 5, len(area)), "sex": rng.choice(["m", "w"], len(area))}
    )
    effect = pd.Series(rng.normal(0.0, 2.0, len(areas)), areas)
    wild = np.where(rng.random(len(area)) < outliers, 20.0, 0.0)
    noise = rng.normal(0.0, 2.0, len(area)) + rng.normal(size=len(area)) * wild
    frame["y"] = 20.0 + 2.0 * frame["x"] + (frame["sex"] == "w") + frame["area"].map(effect) + noise
    return frame


def sample_of(frame, n=8, without=(NAMES[-1],)):
    return frame[~frame["area"].isin(without)].groupby("area").head(n)


def spec(**options):
    return sae.MQuantile("y ~ x + sex", domain="area", **options)


def figures(**options):
    return spec(indicators=FIGURES, threshold=22.0, replicates=12, **options)


def wide(fit, column="estimate"):
    return fit.to_frame().pivot(index="domain", columns="indicator", values=column)


def test_the_table_of_several_figures():
    population = people()
    fit = figures().fit(sample_of(population), areas=population, seed=1)
    table = fit.to_frame()
    assert table["domain"].tolist() == [name for name in NAMES for _ in FIGURES]
    assert table["indicator"].tolist() == list(FIGURES) * 12
    poverty = table["indicator"].isin(FIGURES[1:4])
    assert set(table.loc[poverty, "unit"]) == {"share"} and set(table.loc[~poverty, "unit"]) == {""}
    inside = table[poverty]
    assert (inside["ci_low"] >= 0).all()
    assert (table["ci_low"] <= table["estimate"]).all() and (table["estimate"] <= table["ci_high"]).all()
    assert (table["mse"] > 0).all()
    assert table["mse_method"].str.startswith("nonparametric bootstrap, 12 replicates").all()
    assert not table.loc[table["domain"] == NAMES[-1], "in_sample"].any()
    assert table.loc[table["domain"] == NAMES[-1], "direct"].isna().all()
    assert 1.0 < wide(fit, "mse")["mean"].iloc[-1] < 12.0  # without a sample: areas vary by 4, 12 replicates
    truth = population.groupby("area")["y"].mean()
    assert np.corrcoef(wide(fit)["mean"], truth)[0, 1] > 0.8
    assert (wide(fit)["quantile_20"] < wide(fit)["median"]).all()
    assert (wide(fit)["severity"] <= wide(fit)["gap"]).all() and (
        wide(fit)["gap"] <= wide(fit)["head_count"]
    ).all()
    own = sample_of(population).groupby("area")["y"]
    direct = wide(fit, "direct").iloc[:-1]
    np.testing.assert_allclose(direct["mean"], own.mean(), rtol=ROUNDING)
    np.testing.assert_allclose(direct["head_count"], own.agg(lambda y: (y < 22).mean()), rtol=ROUNDING)


def test_summary_draws_and_record():
    population = people()
    fit = spec().fit(sample_of(population), areas=population)
    text = fit.summary()
    assert text.startswith("M-quantile (bias-adjusted)") and "sigma2_between" in text and "sex[T.w]" in text
    assert "1 area without a sample takes the regression of order 0.5: 11." in text
    assert fit.provenance["seed"] is None and 'kind = "m_quantile"' in fit.provenance["model"]
    draws = fit.draws(4000, seed=1).values
    np.testing.assert_allclose(draws.std(axis=0), fit.estimates["se"], rtol=0.06)
    joint = figures().fit(sample_of(population), areas=population, seed=1)
    assert joint.draws(10, seed=1).to_frame().columns.names == ["domain", "indicator"]
    np.testing.assert_allclose(joint.joint.mse(), joint.estimates["mse"], rtol=ROUNDING)
    assert len(fit.residuals) == 11 and fit.residuals["standardised"].abs().max() < 4
    assert np.corrcoef(fit.residuals["order"], fit.residuals["residual"])[0, 1] > 0.9
    assert {"order_low", "order_high", "sigma2_between"} <= set(fit.glance())
    assert fit.diagnostics["order_low"].iloc[0] < 0.4 < 0.6 < fit.diagnostics["order_high"].iloc[0]


def test_the_model_file_reads_back():
    made = figures(estimator="naive", k=2.0, level=0.9)
    assert sae.MQuantile.from_toml(made.to_toml()) == made
    assert "Huber's ψ with k = 2; naive; MSE: nonparametric bootstrap, 12 replicates" in repr(made)
    assert "pseudo-linear" in repr(spec())


def test_cells_persons_and_means_give_the_same():
    population = people()
    sample = sample_of(population)
    persons = figures().fit(sample, areas=population.drop(columns="y"), seed=1)
    cells = population.groupby(["area", "x", "sex"], as_index=False).size().rename(columns={"size": "N"})
    by_cell = figures(population="N").fit(sample, areas=cells, seed=1)
    np.testing.assert_allclose(by_cell.estimates["estimate"], persons.estimates["estimate"], rtol=ROUNDING)
    dummies = population.assign(**{"sex[T.w]": (population["sex"] == "w").astype(float), "N": 1})
    means = dummies.groupby("area", as_index=False).agg({"x": "mean", "sex[T.w]": "mean", "N": "sum"})
    of_means = spec(population="N").fit(sample, areas=means)
    np.testing.assert_allclose(of_means.estimates["estimate"], wide(persons)["mean"], rtol=ROUNDING)
    with pytest.raises(SaeInputError, match="one row each, of means"):
        figures(population="N").fit(sample, areas=means, seed=1)


def test_a_census_without_the_sample_is_predicted_as_a_whole():
    population = people()
    sample = sample_of(population)
    inside = figures().fit(sample, areas=population, seed=1)
    rest = population.drop(index=sample.index).assign(x=lambda frame: frame["x"].clip(upper=3))
    fit = figures().fit(sample, areas=rest, seed=1)
    assert any("no part of the census" in message.text for message in fit.messages)
    assert not any("no part" in message.text for message in inside.messages)
    everybody = wide(inside)["mean"]
    assert (wide(fit)["mean"] < everybody).all()  # nobody has x = 4 there


def test_without_covariates_the_population_is_not_needed():
    sample = sample_of(people())
    fit = sae.MQuantile("y ~ 1", domain="area").fit(sample)
    np.testing.assert_allclose(fit.estimates["estimate"], fit.estimates["direct"], rtol=ROUNDING)
    poverty = sae.MQuantile("y ~ 1", domain="area", indicators="head_count", threshold=22.0, replicates=12)
    shares = poverty.fit(sample, seed=1)
    np.testing.assert_allclose(shares.estimates["estimate"], shares.estimates["direct"], rtol=ROUNDING)


def test_order_of_rows_and_scale_of_the_outcome_change_nothing_else():
    population = people()
    sample = sample_of(population)
    fit = figures().fit(sample, areas=population, seed=1)
    mixed = figures().fit(sample.sample(frac=1.0, random_state=1), areas=population, seed=1)
    np.testing.assert_allclose(mixed.estimates["estimate"], fit.estimates["estimate"], rtol=1e-7)
    cents = spec(indicators=FIGURES, threshold=2200.0, replicates=12)
    scaled = cents.fit(sample.assign(y=100.0 * sample["y"]), areas=population, seed=1)
    for name in FIGURES:
        factor = 1.0 if name in FIGURES[1:4] else 100.0
        np.testing.assert_allclose(wide(scaled)[name], factor * wide(fit)[name], rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(wide(scaled, "se")[name], factor * wide(fit, "se")[name], rtol=1e-6)


def test_a_large_k_with_one_area_is_least_squares():
    population = people(areas=("A", "B"))
    sample = sample_of(population, 40, without=("B",))
    fit = sae.MQuantile("y ~ x", domain="area", k=1e6).fit(sample, areas=population)
    least = np.polyfit(sample["x"], sample["y"], 1)
    # the order of the only area is 0.5 but for the skewness of the sample, and its residuals add to 0
    np.testing.assert_allclose(fit.coefficients["coef"], least[::-1], rtol=1e-6)
    expected = sample["y"].mean() + least[0] * (population.groupby("area")["x"].mean() - sample["x"].mean())
    np.testing.assert_allclose(fit.estimates["estimate"], expected, rtol=2e-3)


def test_naive_means_say_what_they_are():
    population = people()
    with pytest.warns(SaeWarning, match="naive predictor leaves out the residuals"):
        fit = spec(estimator="naive").fit(sample_of(population), areas=population)
    assert set(fit.estimates["method"]) == {"M-quantile, naive, Huber k 1.345"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spec().fit(sample_of(population, 3), areas=population)  # the small areas are a note


def test_small_areas_are_named():
    population = people()
    fit = spec().fit(sample_of(population, 3), areas=population)
    assert any(m.text.startswith("11 areas with fewer than 5 units") for m in fit.messages)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"indicators": ("mean", "poverty")}, "'poverty' does not exist"),
        ({"indicators": ("gap",)}, "gap needs a poverty line"),
        ({"indicators": ("head_count",), "threshold": -1.0}, "a poverty line is positive"),
        ({"threshold": 5.0}, "has no use"),
        ({"indicators": ("mean", "mean")}, "mean twice"),
        ({"indicators": ()}, "names nothing"),
        ({"indicators": ("median",), "mse": "analytical"}, "of means; other figures have none"),
        ({"k": 0.0}, "a tuning constant is positive"),
        ({"replicates": 1}, "at least 2"),
        ({"estimator": "bias-adjusted"}, "did you mean 'bias_adjusted'"),
        ({"indicators": ("quantile_0",)}, "'quantile_0' does not exist"),
    ],
)
def test_options_are_checked(options, text):
    with pytest.raises(SaeSpecError, match=text):
        spec(**options)


def test_data_are_checked():
    population = people()
    sample = sample_of(population)
    with pytest.raises(SaeSpecError, match="nonparametric bootstrap, which draws random numbers"):
        figures().fit(sample, areas=population)
    with pytest.raises(SaeInputError, match="y is missing or infinite in 1 of 88 units: row 3"):
        spec().fit(sample.assign(y=sample["y"].where(np.arange(88) != 2)), areas=population)
    with pytest.raises(SaeInputError, match="levels that the fit never saw: W"):
        spec().fit(sample, areas=population.assign(sex=population["sex"].replace("w", "W")))
    with pytest.raises(SaeInputError, match=r"1 only in the units \(00\)"):
        spec().fit(sample, areas=population[population["area"] != "00"])
    with pytest.raises(SaeInputError, match="z is a linear combination of x"):
        sae.MQuantile("y ~ x + z", domain="area").fit(
            sample.assign(z=2.0 * sample["x"]), areas=population.assign(z=2.0 * population["x"])
        )
    with pytest.raises(SaeInputError, match="3 coefficients cannot be estimated from 3 units"):
        spec().fit(sample.iloc[[0, 1, 9]], areas=population)
    flat = sample.assign(y=np.where(np.arange(len(sample)) % 5 == 0, sample["y"], 0.0))
    with pytest.raises(SaeInputError, match="Half of the units or more lie exactly on one regression"):
        spec().fit(flat, areas=population)


@pytest.mark.parametrize("outliers", [0.0, 0.03])
def test_intervals_of_means_cover(outliers):
    """11 areas of 8 units, 60 populations: 95 % within three Monte Carlo errors (those of populations)."""
    hits, errors = [], []
    for seed in range(60):
        population = people(seed, outliers=outliers)
        fit = spec().fit(sample_of(population), areas=population).to_frame()
        truth = population.groupby("area")["y"].mean().to_numpy()
        seen = fit["in_sample"].to_numpy()
        hits.append(((fit["ci_low"] <= truth) & (truth <= fit["ci_high"]))[seen].mean())
        errors.append((fit["estimate"] - truth)[seen].mean())
    assert abs(np.mean(hits) - 0.95) < 3 * np.std(hits) / np.sqrt(60) + 0.015  # the MSE is some 5 % too large
    assert abs(np.mean(errors)) < 3 * np.std(errors) / np.sqrt(60)


def test_the_corn_of_battese_harter_fuller_is_near_its_eblup(shared_data):
    """No published M-quantile figures of these data were found: the two models are near each other."""
    units = pd.read_csv(shared_data / "sae_cornsoybean.csv").drop(index=32)
    means = pd.read_csv(shared_data / "sae_cornsoybeanmeans.csv").rename(
        columns={
            "CountyIndex": "County",
            "MeanCornPixPerSeg": "CornPix",
            "MeanSoyBeansPixPerSeg": "SoyBeansPix",
        }
    )
    options = dict(domain="County", population="PopnSegments")
    ours = sae.MQuantile("CornHec ~ CornPix + SoyBeansPix", **options).fit(units, areas=means).to_frame()
    eblup = sae.NestedError("CornHec ~ CornPix + SoyBeansPix", **options).fit(units, areas=means).to_frame()
    apart = (ours["estimate"] - eblup["estimate"]) / np.hypot(ours["se"], eblup["se"])
    assert apart.abs().max() < 1.5 and apart.abs().median() < 0.5
    assert np.corrcoef(ours["estimate"], eblup["estimate"])[0, 1] > 0.9
