"""Covariates measured with error, as users call it: emdi, limiting cases, traps, covariates of one sample."""

import warnings

import numpy as np
import pandas as pd
import pytest

import sae
from sae.area_level import FayHerriot, MeasurementErrorFayHerriot
from sae.errors import BoundaryVarianceWarning, SaeConvergenceError, SaeInputError, SaeSpecError
from sae.numerics.fay_herriot.measurement_error import fit_measurement_error, jackknife_measurement_error

EXACT = 1e-9  # the same equations on the same numbers
DROPPED = 5e-3  # emdi with its intercept of 0.0009 against a model without one


@pytest.fixture(scope="module")
def incomes(shared_data):
    return pd.read_csv(shared_data / "emdi_eusilcA_smpAgg.csv")


def income_model(formula="Mean ~ Cash", **options):
    return MeasurementErrorFayHerriot(
        formula, domain="Domain", vardir="Var_Mean", errors={"Cash": "Var_Cash"}, **options
    )


@pytest.mark.parametrize("case", ["emdi_fh_me_jackknife_tight", "emdi_fh_me_jackknife"])
def test_incomes_against_emdi_which_drops_the_intercept(incomes, reference, case):
    """Exception to the oracle, proven in tests/numerics/fay_herriot/test_measurement_error.py.

    emdi's pseudo-inverse of unscaled data drops the intercept: its figures are those of our model without
    one, but for the divisor of the variance. With the intercept, which is there, the prediction is another.
    """
    truth = reference(case)["outputs"]
    without = income_model("Mean ~ Cash - 1").fit(incomes.sample(frac=1.0, random_state=2))
    table = without.to_frame().set_index("domain").loc[truth["domain"]]
    n = len(incomes)
    np.testing.assert_allclose(
        without.variance_components["sigma2_u"] * (n - 1) / (n - 2), truth["variance"], rtol=DROPPED
    )
    np.testing.assert_allclose(
        without.coefficients.loc["Cash", "coef"], truth["coefficients"]["coefficients"][1], rtol=DROPPED
    )
    np.testing.assert_allclose(table["gamma"], truth["gamma"], rtol=DROPPED)
    np.testing.assert_allclose(table["estimate"], truth["FH"], rtol=DROPPED)
    np.testing.assert_allclose(table["mse"], truth["mse"]["FH"], rtol=10 * DROPPED)
    right = income_model().fit(incomes)
    assert right.coefficients.loc["Intercept", "z"] > 2.5
    other = right.to_frame().set_index("domain").loc[truth["domain"], "estimate"]
    assert abs(other / truth["FH"] - 1).max() > 0.03
    assert (right.estimates["mse_method"] == "jackknife").all()


def test_the_call_is_the_kernel_by_name(incomes):
    frame = incomes.rename(columns={"Domain": "domain"})
    held = frame.assign(Mean=frame["Mean"].mask(frame.index < 5))
    spec = MeasurementErrorFayHerriot("Mean ~ Cash", vardir="Var_Mean", errors={"Cash": "Var_Cash"})
    covariates = frame[["domain", "Cash", "Var_Cash"]].sample(frac=1.0, random_state=1)
    fit = spec.fit(held[["domain", "Mean", "Var_Mean"]], areas=covariates)
    on = frame.index >= 5
    X = np.column_stack([np.ones(len(frame)), frame["Cash"]])
    C = np.zeros((len(frame), 2, 2))
    C[:, 1, 1] = frame["Var_Cash"]
    given = (frame["Mean"].to_numpy()[on], frame["Var_Mean"].to_numpy()[on], X[on], C[on])
    kernel = fit_measurement_error(*given)
    parts = jackknife_measurement_error(kernel, *given, X[~on], C[~on])
    table = fit.to_frame().set_index("domain").loc[frame["domain"]]
    np.testing.assert_allclose(table["estimate"][on], kernel.prediction, rtol=EXACT)
    np.testing.assert_allclose(table["estimate"][~on], X[~on] @ kernel.beta, rtol=EXACT)
    np.testing.assert_allclose(np.append(table["mse"][on], table["mse"][~on]), parts.mse, rtol=EXACT)
    assert not table["in_sample"][~on].any() and (table["gamma"][~on] == 0).all()


def simulated(n=80, noise=0.4, seed=3, rho=0.0):
    rng = np.random.default_rng(seed)
    x = 1.2 * rng.normal(size=n)
    frame = pd.DataFrame({"domain": [f"A{k:03d}" for k in range(n)], "vardir": rng.uniform(0.3, 1.0, n)})
    error = rng.normal(size=n)
    eta = rho * error + np.sqrt(1 - rho**2) * rng.normal(size=n)
    frame["x"], frame["v"] = x + np.sqrt(noise) * eta, noise
    frame["cov"] = rho * np.sqrt(noise * frame["vardir"])
    frame["truth"] = 1 + 2 * x + rng.normal(size=n)
    frame["y"] = frame["truth"] + np.sqrt(frame["vardir"]) * error
    return frame


def model(formula="y ~ x", errors=None, **options):
    return MeasurementErrorFayHerriot(formula, errors=errors or {"x": "v"}, **options)


def test_without_error_it_is_the_moment_fit_of_the_plain_model():
    frame = simulated(noise=0.0)
    fit, plain = model().fit(frame), FayHerriot("y ~ x").fit(frame)
    V = fit.variance_components["sigma2_u"] + frame["vardir"]
    X = np.column_stack([np.ones(80), frame["x"]])
    beta = np.linalg.solve(X.T @ (X / V.to_numpy()[:, None]), X.T @ (frame["y"] / V))
    np.testing.assert_allclose(fit.coefficients["coef"], beta, rtol=EXACT)
    np.testing.assert_allclose(fit.estimates["gamma"], 1 - frame["vardir"] / V, rtol=EXACT)
    assert np.abs(fit.estimates["estimate"] / plain.estimates["estimate"] - 1).median() < 0.02


def test_verbs_draws_and_joint_error():
    frame = simulated()
    frame.loc[:9, "y"] = np.nan
    fit = model().fit(frame)
    table = fit.to_frame()
    np.testing.assert_allclose(fit.joint.mse(), table["mse"], rtol=EXACT)
    assert (table["mse"] > 0).all()
    assert table["mse"][:10].min() > table["mse"][10:].median()
    inside = frame["truth"].between(table["ci_low"], table["ci_high"])
    assert inside.sum() >= 70  # of 80 at 95 %: below 70 with probability 0.006
    draws = fit.draws(2000, seed=1)
    assert draws.source == "N(Ybarra–Lohr prediction, joint MSE matrix)"
    np.testing.assert_allclose(draws.values.var(axis=0), table["mse"], rtol=6 * np.sqrt(2 / 2000))
    final = fit.benchmark(100.0, method="difference", total=True)
    np.testing.assert_allclose(final.estimates["estimate"].sum(), 100.0, rtol=1e-12)
    text = fit.summary()
    assert "Measurement-error Fay–Herriot (Ybarra–Lohr)" in text
    assert "note: errors of covariates and of y: independent in x." in text
    assert fit.plot.caterpillar() is not None and fit.plot.residuals() is not None
    again = fit.spec.fit(frame.assign(v=0.41))
    assert again.provenance["run"] != fit.provenance["run"]


def test_intervals_of_few_areas_and_at_the_boundary():
    few = model().fit(simulated(30)).to_frame()
    assert (few["interval"] == "posterior of the variance, flat-variance prior").all()
    assert (few["prior"] == "flat-variance").all()
    frame = simulated(60)
    flat = frame.assign(vardir=20.0)
    with pytest.warns(BoundaryVarianceWarning, match="leave to them"):
        table = model().fit(flat).to_frame()
    assert (table["ci_high"] - table["ci_low"] > 2 * 1.96 * table["se"]).mean() > 0.9
    assert (model().fit(frame).estimates["interval"] == "t on the MSE").all()


@pytest.mark.parametrize("rho", [0.0, 0.6])
def test_coverage_with_few_areas(rho):
    """25 areas, 25 tables: 625 intervals at 90 %, correlated within a table."""
    hits = []
    errors = {"x": "v", ("y", "x"): "cov"} if rho else {"x": "v"}
    for seed in range(25):
        frame = simulated(25, seed=seed, rho=rho)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table = model(errors=errors, level=0.9).fit(frame).to_frame()
        hits.append(frame["truth"].between(table["ci_low"], table["ci_high"]).mean())
    assert abs(np.mean(hits) - 0.9) < 4 * np.std(hits) / np.sqrt(len(hits)) + 0.01


def test_toml_there_and_back_and_its_words():
    spec = model("y ~ x + z", {"x": "v", "z": "w", ("x", "z"): "xz", ("y", "x"): "yx"}, level=0.9)
    text = spec.to_toml()
    assert MeasurementErrorFayHerriot.from_toml(text) == spec
    assert 'errors = [["x", "v"], ["z", "w"], ["x", "z", "xz"], ["y", "x", "yx"]]' in text
    table = '[model]\nformula = "y ~ x"\nerrors = {x = "v"}\n'
    assert MeasurementErrorFayHerriot.from_toml(table) == model()
    assert "errors of covariates and of y: independent in z, correlated as given in x" in repr(spec)
    assert sae.MeasurementErrorFayHerriot is MeasurementErrorFayHerriot


@pytest.mark.parametrize(
    ("errors", "words"),
    [
        ({}, "names no column"),
        ({"y": "v"}, "is vardir="),
        ({"x": "v", ("x", "z"): "c"}, "no variance of z"),
        ({"x": "v", ("x", "x"): "c"}, "no variance of x"),
        ([("x", "v"), ("x", "w")], "twice"),
        ({"x": 0.1}, "neither a variance nor a covariance"),
    ],
)
def test_wrong_errors_are_refused_by_name(errors, words):
    with pytest.raises(SaeSpecError, match=words):
        MeasurementErrorFayHerriot("y ~ x", errors=errors)


def test_traps_in_the_data_are_refused_by_name():
    frame = simulated()
    with pytest.raises(SaeInputError, match="negative in 1 of 80 areas: A003"):
        model().fit(frame.assign(v=frame["v"].mask(frame.index == 3, -1.0)))
    with pytest.raises(SaeInputError, match="missing or not finite in 1 of 80 areas: A004"):
        model().fit(frame.assign(v=frame["v"].mask(frame.index == 4)))
    with pytest.raises(SaeInputError, match="no column 'w'"):
        model(errors={"x": "w"}).fit(frame)
    with pytest.raises(SaeInputError, match="larger than the variances allow in A005"):
        model(errors={"x": "v", ("y", "x"): "cov"}).fit(
            frame.assign(cov=frame["cov"].mask(frame.index == 5, 9.0))
        )
    with pytest.raises(SaeSpecError, match="no covariate of the formula by itself"):
        model("y ~ log(x + 100)").fit(frame)
    with pytest.raises(SaeSpecError, match="on which other columns rest: I\\(x"):
        model("y ~ x + I(x**2)").fit(frame)
    with pytest.raises(SaeInputError, match="vary no more between areas than their own errors"):
        model().fit(frame.assign(v=5.0))
    alone = frame.assign(g=(frame.index == 7) * 1.0)
    with pytest.raises(SaeInputError, match="Without A007, which the jackknife leaves out"):
        model("y ~ x + g").fit(alone)
    with pytest.raises(SaeInputError, match="needs 4 areas"):
        model().fit(frame[:3])


def test_equations_that_do_not_settle_are_an_error(monkeypatch):
    from sae.numerics.fay_herriot import measurement_error

    monkeypatch.setattr(measurement_error, "_MAX_STEPS", 2)
    with pytest.raises(SaeConvergenceError, match="do not settle"):
        model().fit(simulated())


# ---------------------------------------------------------------- covariates that come from the same sample


def test_us_states_with_a_covariate_of_the_same_survey(shared_data):
    """Foreign-born employment on the employment of all residents, both of the American Community Survey 2018.

    The foreign-born are a share s of all residents and the samples of the two parts are independent, so that
    the errors have the covariance s D: it is given. Eight states without a published figure are predicted.
    """
    table = pd.read_csv(
        shared_data / "real" / "us_acs1_state_nativity_2010_2018.csv.gz",
        dtype={"state_fips": str},
        low_memory=False,
    )
    table = table[table["year"] == 2018].set_index(["indicator", "group", "state_fips"]).sort_index()
    everyone = table.loc[("employed_16plus", "all_residents")]
    foreign = table.loc[("employed_16plus", "foreign_born")]
    size = [table.loc[("population_16plus", g), "estimate"] for g in ("foreign_born", "all_residents")]
    frame = pd.DataFrame({"x": everyone["estimate"], "v": everyone["se"] ** 2})
    frame["y"], frame["vardir"] = foreign["estimate"], np.maximum(foreign["se"], 0.1) ** 2
    frame["cov"] = size[0] / size[1] * frame["vardir"]
    frame = frame.rename_axis("state").reset_index()
    errors = {"x": "v", ("y", "x"): "cov"}
    both = frame["y"].notna()
    limit = np.sqrt(frame["v"] * frame["vardir"])
    frame["cov"] = np.minimum(frame["cov"], limit)  # rounding of published figures
    fit = MeasurementErrorFayHerriot("y ~ x", domain="state", errors=errors).fit(frame)
    rows = fit.to_frame()
    assert len(rows) == 52 and 40 <= both.sum() <= 45
    assert rows["estimate"].between(40, 80).all()
    assert (rows.loc[both, "se"] < rows.loc[both, "direct_se"]).mean() > 0.9
    assert rows.loc[~both, "se"].min() > rows.loc[both, "se"].median()
    assert (rows["interval"] == "posterior of the variance, flat-variance prior").all()
    plain = FayHerriot("y ~ x", domain="state").fit(frame)
    assert fit.coefficients.loc["x", "coef"] != pytest.approx(plain.coefficients.loc["x", "coef"], rel=1e-4)


def test_spanish_domains_with_published_covariances_and_covariate_variances(shared_data):
    """Employed share on shares of the same survey: one with its published covariance, one without.

    Domains with a variance of zero are left out as areas with a sample, and so are the 65-year-olds.
    """
    frame = pd.read_csv(shared_data / "real" / "es_epa2022_domain_direct_multivariate.csv")
    frame = frame[frame["Age"] < 3].copy()
    frame["domain"] = (
        frame["Prov"].map("{:02d}".format) + frame["Age"].map("/{}".format) + frame["Sex"].map("/{}".format)
    )
    frame.loc[frame["varY1"] <= 0, "Y1"] = np.nan
    frame = frame[frame["varY2"] > 0]
    errors = {"Y2": "varY2", ("Y1", "Y2"): "covY1Y2", "edu3_MEAN": "edu3_var"}
    formula = "Y1 ~ Y2 + edu3_MEAN + C(Age) + C(Sex)"
    options = {"domain": "domain", "vardir": "varY1"}
    fit = MeasurementErrorFayHerriot(formula, errors=errors, **options).fit(frame)
    ignored = MeasurementErrorFayHerriot(
        formula, errors={"Y2": "varY2", "edu3_MEAN": "edu3_var"}, **options
    ).fit(frame)
    naive = FayHerriot(formula, **options).fit(frame)
    slopes = [each.coefficients.loc["Y2", "coef"] for each in (fit, ignored, naive)]
    # employed and unemployed of one sample err in opposite directions, which alone looks like a steep slope
    assert slopes[2] < 0 and slopes[1] < 1.3 * slopes[2] and slopes[0] > slopes[1] + 0.1
    assert fit.provenance["warnings"][-1] == (
        "errors of covariates and of Y1: independent in edu3_MEAN, correlated as given in Y2."
    )
    rows = fit.to_frame()
    assert (rows["se"] < rows["direct_se"]).mean() > 0.8 and rows["estimate"].between(0.1, 1.0).all()


@pytest.fixture(scope="module")
def persons(shared_data):
    frame = pd.read_csv(
        shared_data / "real" / "us_pums2024_ny_nj_persons.csv.gz",
        dtype={"STATE": str, "PUMA": str},
        usecols=["HHID", "STATE", "PUMA", "NATIVITY", "POVPIP"],
    ).dropna()
    poor, foreign = (frame["POVPIP"] < 100).astype(float), (frame["NATIVITY"] == 2).astype(float)
    counts = {"f": foreign, "fp": foreign * poor, "n": 1 - foreign, "np": (1 - foreign) * poor}
    return (
        frame.assign(area=frame["STATE"] + frame["PUMA"], **counts)
        .groupby(["area", "HHID"])[[*counts]]
        .sum()
        .reset_index()
    )


def poverty_table(households, seed):
    """A tenth of the households: poverty of the foreign-born and natives, pooled (co)variances of both."""
    sample = households.sample(frac=0.1, random_state=seed)
    total = sample.groupby("area")[["f", "fp", "n", "np"]].sum()
    table = pd.DataFrame({"y": total["fp"] / total["f"], "x": total["np"] / total["n"]})
    own = sample.join(table.join(total[["f", "n"]].add_prefix("all_")), on="area")
    own["a"] = (own["fp"] - own["y"] * own["f"]) / own["all_f"]
    own["b"] = (own["np"] - own["x"] * own["n"]) / own["all_n"]
    own = own.assign(aa=own["a"] ** 2, bb=own["b"] ** 2, ab=own["a"] * own["b"])
    raw = own.groupby("area")[["aa", "bb", "ab"]].sum()
    correlation = raw["ab"].sum() / np.sqrt(raw["aa"].sum() * raw["bb"].sum())
    for rate, size, variance, name in (("y", "f", "aa", "vardir"), ("x", "n", "bb", "v")):
        overall = np.average(table[rate].fillna(0.0), weights=total[size])
        binomial = overall * (1 - overall) / total[size].where(total[size] > 0)
        table[name] = binomial * (raw[variance][raw[variance] > 0] / binomial).median()
    table["cov"] = correlation * np.sqrt(table["vardir"] * table["v"])
    return table.rename_axis("domain").reset_index(), correlation


@pytest.mark.filterwarnings("ignore::sae.errors.BoundaryVarianceWarning")
def test_new_york_and_new_jersey_against_the_known_truth(persons):
    """Foreign-born poverty on native poverty of the same households, six samples of a tenth of a population.

    Errors of the two correlate 0.16, as people share households. Taken as exact the covariate gives a slope
    that is too flat by a fifth; with errors and covariance the slope is that of the truth, within its error,
    and the intervals cover; prediction gains nothing, as the errors are much the same in all areas.
    """
    total = persons.groupby("area")[["f", "fp", "n", "np"]].sum()
    truth, x = total["fp"] / total["f"], total["np"] / total["n"]
    slope = np.polyfit(x, truth, 1)[0]
    errors = {"x": "v", ("y", "x"): "cov"}
    seen = []
    for seed in range(6):
        table, correlation = poverty_table(persons, seed)
        fits = [FayHerriot("y ~ x"), model(), model(errors=errors)]
        line = [correlation]
        for spec in fits:
            fit = spec.fit(table)
            rows = fit.to_frame().set_index("domain").loc[truth.index]
            gap = rows["estimate"] - truth
            inside = (rows["ci_low"] <= truth) & (truth <= rows["ci_high"])
            line += [fit.coefficients.loc["x", "coef"], np.sqrt(np.mean(gap**2)), inside.mean()]
        seen.append([*line, np.sqrt(np.nanmean((table.set_index("domain")["y"] - truth) ** 2))])
    mean = np.mean(seen, axis=0)
    error = np.std(seen, axis=0) / np.sqrt(6)
    assert 0.1 < mean[0] < 0.22
    assert mean[1] < slope - 2 * error[1]  # naive: too flat
    assert abs(mean[7] - slope) < 3 * error[7]  # with errors and covariance
    assert mean[4] > mean[7] + 0.05  # as if independent: steeper
    assert mean[9] > 0.92 and mean[9] > mean[3]  # coverage of 95 % intervals
    assert mean[8] < 0.6 * mean[10] and mean[8] < 1.1 * mean[2]  # half the error of the direct estimates


@pytest.mark.parametrize("method", ["moments", "bayes"])
def test_means_and_scales_of_covariates_and_outcome_cost_no_digits(rng, method):
    n = 24
    frame = pd.DataFrame({"domain": [f"A{k:02}" for k in range(n)], "x": rng.normal(size=n)})
    frame = frame.assign(z=rng.normal(size=n), vardir=rng.uniform(0.1, 0.4, n), xv=0.1, xy=0.02)
    frame["y"] = 1 + 0.5 * frame["x"] - 0.3 * frame["z"] + rng.normal(0, 0.7, n)
    frame.loc[3, ["y", "xy"]] = np.nan
    errors = {"x": "xv", ("y", "x"): "xy"}
    spec = sae.MeasurementErrorFayHerriot("y ~ x + z", errors=errors, method=method)
    fit = spec.fit(frame)
    base, unit = fit.to_frame(), fit.to_frame()["se"].mean()
    small = frame.assign(x=frame["x"] * 1e-8, xv=frame["xv"] * 1e-16, xy=frame["xy"] * 1e-8)
    # a column of mean 1e8 stores eight digits of its spread, the outcome ten
    for moved, shift, slope in (
        (frame.assign(x=frame["x"] + 1e8), 0.0, 1.0),
        (frame.assign(z=frame["z"] + 1e8), 0.0, 1.0),
        (small, 0.0, 1e8),
        (frame.assign(y=frame["y"] + 1e6), 1e6, 1.0),
    ):
        result = spec.fit(moved)
        got = result.to_frame()
        for name, off in (("estimate", shift), ("se", 0.0), ("ci_low", shift), ("ci_high", shift)):
            np.testing.assert_allclose(got[name] - off, base[name], rtol=0, atol=1e-5 * unit)
        for name, times in (("x", slope), ("z", 1.0)):
            one, two = (np.asarray(one.coefficients.loc[name], dtype=float)[:2] for one in (result, fit))
            np.testing.assert_allclose(one, times * two, rtol=1e-5)
        one, two = (one.residuals["standardised"] for one in (result, fit))
        np.testing.assert_allclose(one, two, rtol=0, atol=1e-5)
