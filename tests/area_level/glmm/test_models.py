"""Binomial, Poisson, beta, unmatched and You–Chapman models as users meet them."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

import sae
from sae.errors import SaeInputError, SaeSpecError
from sae.numerics.glmm.likelihoods import Binomial
from sae.samplers.grid import GridPosterior

LIMIT = 0.02  # of a posterior deviation: what is left of non-normality with 40 000 trials an area
NORMAL = 0.01  # of a posterior deviation: weighted points against exact nodes of σ
MCSE = 4.5  # standard errors of means of draws


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(11)
    size = 40
    x, n = rng.normal(size=size), rng.integers(8, 60, size)
    P = expit(-0.7 + 0.5 * x + 0.5 * rng.normal(size=size))
    found = pd.DataFrame(
        {
            "area": [f"A{k}" for k in range(size)],
            "x": x,
            "n": n,
            "y": rng.binomial(n, P).astype(float),
            "share": rng.beta(P * 20, (1 - P) * 20),
            "n_eff": 21.0,
            "vardir": 0.01,
            "df": 8,
            "s2": 0.01 * rng.chisquare(8, size) / 8,
            "rate": P + 0.1 * rng.normal(size=size),
            "z": logit(P) + 0.1 * rng.normal(size=size),
        }
    )
    found.loc[3, ["y", "share", "rate", "z"]] = np.nan
    return found


SPECS = {
    "binomial": (sae.BinomialMixed, "y ~ x", {}),
    "poisson": (sae.PoissonMixed, "y ~ x", {"exposure": "n"}),
    "beta": (sae.BetaFayHerriot, "share ~ x", {}),
    "log": (sae.UnmatchedFayHerriot, "rate ~ x", {"link": "log"}),
    "logit": (sae.UnmatchedFayHerriot, "rate ~ x", {"link": "logit"}),
    "variance": (sae.YouChapman, "z ~ x", {"vardir": "s2"}),
}


@pytest.mark.parametrize("kind", SPECS)
def test_every_model_gives_a_whole_result(kind, frame):
    make, formula, options = SPECS[kind]
    spec = make(formula, domain="area", **options)
    assert type(spec).from_toml(spec.to_toml()) == spec
    fit = spec.fit(frame)
    table = fit.estimates.frame
    assert len(table) == 40 and table["estimate"].notna().all() and not table["in_sample"].iloc[3]
    assert (table["ci_low"] < table["estimate"]).all() and (table["estimate"] < table["ci_high"]).all()
    line = fit.diagnostics.iloc[0]
    assert line["k_hat"] < 0.3 and line["ess"] > 2000 and line["quadrature_error"] < 1e-5
    assert table["prior"].str.contains("half-normal").all()
    assert "sigma_u" in fit.summary() and "Pareto" in fit.summary()
    draws = fit.draws(4000, seed=1).values
    apart = (draws.mean(axis=0) - table["estimate"]) / table["se"] * np.sqrt(4000)
    assert np.abs(apart).max() < MCSE
    covariance = fit.joint.covariance()
    assert np.diag(covariance) == pytest.approx(table["se"] ** 2)
    sample = fit.source.posterior.draw(200, 3)
    assert sample.replicated.shape == sample.log_likelihood.shape == (200, 39)
    assert np.isfinite(sample.replicated).all() and np.isfinite(sample.log_likelihood).all()
    elpd, k = fit.source.posterior.loo()
    assert np.isfinite(elpd).all() and k.max() < 0.7
    half = fit.source.posterior.quantiles(np.array([0.5]))[0]
    assert fit.source.posterior.exceedance(half) == pytest.approx(0.5, abs=1e-9)


def test_leave_one_out_is_that_of_a_fit_without_the_area(frame):
    spec = sae.BinomialMixed("y ~ x", domain="area", prior="half-normal(0.6)")
    elpd, _ = spec.fit(frame).source.posterior.loo()
    for place, row in ((10, 11),):
        gone = frame.copy()
        y, n = gone.loc[row, ["y", "n"]].astype(float)
        gone.loc[row, "y"] = np.nan
        posterior = spec.fit(gone).source.posterior
        values = posterior.values(10_000, 5)[:, row]
        density = np.exp(Binomial(np.array([y]), np.array([n])).log_likelihood(logit(values)[None])[0])
        error = density.std() / density.mean() / np.sqrt(len(density))
        assert abs(elpd[place] - np.log(density.mean())) < MCSE * error + 0.01  # weights of 4096 points


def test_large_samples_are_fay_herriot_on_the_logit_scale():
    rng = np.random.default_rng(2)
    size, n = 30, 40_000.0
    x = rng.normal(size=size)
    P = expit(-0.5 + 0.4 * x + 0.3 * rng.normal(size=size))
    y = rng.binomial(int(n), P).astype(float)
    data = pd.DataFrame({"area": np.arange(size).astype(str), "x": x, "y": y, "n": n})
    data["z"], data["vardir"] = logit(y / n), n / (y * (n - y))
    found = sae.BinomialMixed("y ~ x", domain="area", prior="half-normal(0.5)").fit(data)
    normal = sae.FayHerriot("z ~ x", domain="area", method="bayes", prior="half-normal(0.5)").fit(data)
    for name in ("sigma_u", "sigma_u_low", "sigma_u_high"):
        apart = found.variance_components[name] - normal.variance_components[name]
        assert abs(apart) < LIMIT * normal.variance_components["sigma_u_sd"] + 1e-3
    apart = (found.coefficients["coef"] - normal.coefficients["coef"]) / normal.coefficients["sd"]
    assert np.abs(apart).max() < LIMIT
    centre = normal.estimates.frame
    shares = expit(centre["estimate"])
    apart = (found.estimates.frame["estimate"] - shares) / (centre["se"] * shares * (1 - shares))
    assert np.abs(apart).max() < LIMIT


def test_many_degrees_of_freedom_are_known_variances(frame):
    sure = frame.assign(df=1e9)
    found = sae.YouChapman("z ~ x", domain="area", vardir="s2", prior="half-normal(0.8)").fit(sure)
    exact = sae.FayHerriot("z ~ x", domain="area", vardir="s2", method="bayes", prior="half-normal(0.8)").fit(
        frame
    )
    a, b = found.estimates.frame, exact.estimates.frame
    assert np.abs((a["estimate"] - b["estimate"]) / b["se"]).max() < NORMAL
    assert np.abs(a["se"] / b["se"] - 1).max() < NORMAL
    assert np.abs((a["ci_high"] - b["ci_high"]) / b["se"]).max() < 3 * NORMAL


def test_effective_sample_sizes_of_direct_estimates_are_trials(frame):
    shares = frame.assign(n=frame["n_eff"], y=frame["n_eff"] * frame["share"])
    counted = sae.BinomialMixed("y ~ x", domain="area").fit(shares)
    beta = sae.BetaFayHerriot("share ~ x", domain="area").fit(frame)
    # the same mean and variance of the share; only the shape of its distribution differs
    apart = counted.estimates.frame["estimate"] - beta.estimates.frame["estimate"]
    assert np.abs(apart / beta.estimates.frame["se"]).max() < 0.5


def test_fits_repeat_and_other_areas_keep_their_random_numbers(frame):
    spec = sae.BinomialMixed("y ~ x", domain="area", prior="half-normal(0.6)")
    one, two = spec.fit(frame), spec.fit(frame)
    pd.testing.assert_frame_equal(one.estimates.frame, two.estimates.frame)
    assert (one.draws(50, seed=1).values == two.draws(50, seed=1).values).all()
    assert (one.draws(50, seed=2).values != one.draws(50, seed=1).values).any()
    # an area without a sample changes no posterior: all other draws stay as they are
    more = pd.concat([frame, pd.DataFrame({"area": ["B"], "x": [0.3], "n": [0]})], ignore_index=True)
    wider = spec.fit(more)
    assert (wider.draws(50, seed=1).values[:, :40] == one.draws(50, seed=1).values).all()


def test_covariates_may_be_moved_and_scaled(frame):
    spec = sae.BinomialMixed("y ~ x", domain="area", prior="half-normal(0.6)")
    one = spec.fit(frame)
    far = spec.fit(frame.assign(x=2000.0 + 0.01 * frame["x"]))
    assert far.estimates.frame["estimate"].to_numpy() == pytest.approx(
        one.estimates.frame["estimate"].to_numpy(), abs=1e-6
    )
    assert far.coefficients["coef"]["x"] == pytest.approx(100 * one.coefficients["coef"]["x"], rel=1e-6)


def test_bits_do_not_depend_on_threads_or_the_process(frame, tmp_path):
    frame.to_csv(tmp_path / "frame.csv", index=False)
    program = (
        "import pandas as pd, sae, hashlib; f = pd.read_csv('frame.csv');"
        "r = sae.BinomialMixed('y ~ x', domain='area').fit(f);"
        "print(hashlib.sha256(r.draws(20, seed=1).values.tobytes()"
        " + r.estimates.frame['estimate'].to_numpy().tobytes()).hexdigest())"
    )
    environment = {
        **os.environ,
        "NUMBA_NUM_THREADS": "2",
        "OMP_NUM_THREADS": "2",
        "OPENBLAS_NUM_THREADS": "2",
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    fit = sae.BinomialMixed("y ~ x", domain="area").fit(pd.read_csv(tmp_path / "frame.csv"))
    here = fit.draws(20, seed=1).values.tobytes() + fit.estimates.frame["estimate"].to_numpy().tobytes()
    assert done.stdout.strip() == hashlib.sha256(here).hexdigest()


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_outcomes_that_are_all_alike_are_refused(frame, value):
    with pytest.raises(SaeInputError, match="improper"):
        sae.BinomialMixed("y ~ x", domain="area").fit(frame.assign(y=value * frame["n"]))


def test_separated_groups_are_refused_by_name(frame):
    group = np.where(np.arange(40) < 8, "rare", "other")
    y = np.where(group == "rare", 0.0, frame["y"].fillna(3.0))
    with pytest.raises(SaeInputError, match=r"separated.*") as caught:
        sae.BinomialMixed("y ~ x + g", domain="area").fit(frame.assign(g=group, y=y))
    assert "g[T.rare]" in str(caught.value)
    with pytest.raises(SaeInputError, match="separated"):
        sae.PoissonMixed("y ~ x + g", domain="area", exposure="n").fit(frame.assign(g=group, y=y))
    # areas at the ends that no direction separates are no trouble
    assert sae.BinomialMixed("y ~ x", domain="area").fit(frame.assign(y=y)).diagnostics["k_hat"].iloc[0] < 0.3


@pytest.mark.parametrize(
    ("make", "formula", "options", "change", "words"),
    [
        (sae.BinomialMixed, "y ~ x", {}, {"y": 99.0}, "not between 0 and the number of trials"),
        (sae.BinomialMixed, "y ~ x", {"trials": "m"}, {}, "no column 'm'"),
        (sae.BinomialMixed, "y ~ x", {}, {"n": -1}, "negative"),
        (sae.PoissonMixed, "y ~ x", {"exposure": "n"}, {"y": -1.0}, "negative"),
        (sae.BetaFayHerriot, "share ~ x", {}, {"share": 1.0}, "strictly between"),
        (sae.BetaFayHerriot, "share ~ x", {}, {"n_eff": 1.0}, "not above 1"),
        (sae.UnmatchedFayHerriot, "rate ~ x", {}, {"vardir": 0.0}, "not positive"),
        (
            sae.YouChapman,
            "z ~ x",
            {"vardir": "s2", "variance_prior": "flat"},
            {"df": 2},
            "degrees of freedom",
        ),
        (sae.YouChapman, "z ~ x", {"vardir": "s2"}, {"s2": 0.0}, "not positive"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(make, formula, options, change, words, frame):
    changed = frame.copy()
    for column, value in change.items():
        changed.loc[5, column] = value
    with pytest.raises(SaeInputError, match=words) as caught:
        make(formula, domain="area", **options).fit(changed)
    if change:
        assert "A5" in str(caught.value)


def test_specifications_refuse_what_does_not_exist():
    with pytest.raises(SaeSpecError, match="link"):
        sae.UnmatchedFayHerriot("y ~ x", link="probit")
    with pytest.raises(SaeSpecError, match="variance_prior"):
        sae.YouChapman("y ~ x", variance_prior="inverse-gamma(0, 1)")
    with pytest.raises(SaeSpecError, match="improper"):
        sae.UnmatchedFayHerriot("y ~ x", coefficient_sd=np.inf)
    with pytest.raises(SaeSpecError, match="level"):
        sae.BinomialMixed("y ~ x", level=95)


def test_a_flat_prior_needs_areas_inside_the_scale(frame):
    few = frame.iloc[[0, 1, 2, 4]]
    with pytest.raises(SaeInputError, match="improper"):
        sae.BinomialMixed("y ~ x", domain="area", prior="flat-variance").fit(few)


def test_a_design_without_a_constant_is_fitted(frame):
    inside = frame["y"].notna().to_numpy()
    X = np.column_stack([frame["x"], np.abs(frame["x"]) + 1.0])
    posterior = GridPosterior(
        Binomial(frame["y"].to_numpy(float)[inside], frame["n"].to_numpy(float)[inside]),
        X,
        inside,
        (2, 0.6),
        sae.area_level.fay_herriot.model.TRANSFORMS["logit"],
        list(frame["area"]),
    )
    mean, sd = posterior.moments()
    assert np.isfinite(mean).all() and (sd > 0).all()


@pytest.mark.slow
def test_posterior_is_that_of_nuts(frame):
    pymc, nutpie = pytest.importorskip("pymc"), pytest.importorskip("nutpie")
    seen = frame[frame["y"].notna()]
    X = np.column_stack([np.ones(len(seen)), seen["x"]])
    with pymc.Model() as model:
        beta, sigma = pymc.Flat("beta", shape=2), pymc.HalfNormal("sigma", 0.6)
        z = pymc.Normal("z", shape=len(seen))
        eta = pymc.Deterministic("eta", pymc.math.dot(X, beta) + sigma * z)
        pymc.Binomial("y", n=seen["n"].to_numpy(), logit_p=eta, observed=seen["y"].to_numpy().astype(int))
    chains = nutpie.sample(
        nutpie.compile_pymc_model(model), draws=4000, tune=1000, chains=4, cores=1, seed=1, progress_bar=False
    ).posterior
    fit = sae.BinomialMixed("y ~ x", domain="area", prior="half-normal(0.6)").fit(frame)
    shares = expit(chains["eta"].to_numpy()).reshape(-1, len(seen))
    table = fit.estimates.frame[frame["y"].notna()]
    # chains of 16 000 draws have at least 3 000 effective ones
    assert np.abs((shares.mean(axis=0) - table["estimate"]) / table["se"]).max() < MCSE / np.sqrt(3000)
    low, high = np.quantile(shares, [0.025, 0.975], axis=0)
    assert np.abs((low - table["ci_low"]) / table["se"]).max() < 0.2
    assert np.abs((high - table["ci_high"]) / table["se"]).max() < 0.2
    found = chains["sigma"].to_numpy()
    apart = (found.mean() - fit.variance_components["sigma_u"]) / fit.variance_components["sigma_u_sd"]
    assert abs(apart) < MCSE / np.sqrt(1500)


def test_direct_estimates_bring_shares_and_effective_sample_sizes():
    country = sae.datasets.country(seed=1)
    survey = country.lfs(seed=1).subset("birth == 'foreign'")
    direct = sae.direct(survey, "employment_rate", by=["region"], smoothing="deff")
    fit = sae.BinomialMixed("employment_rate ~ register_employment").fit(direct, areas=country.areas)
    table, given = fit.estimates.frame, direct.frame
    inside = table["in_sample"].to_numpy()
    assert len(table) == len(country.areas) and inside.sum() == given["estimate"].notna().sum()
    likelihood = fit.source.posterior.likelihood
    n, share = given["n_eff"].dropna().to_numpy(), given["estimate"].dropna().to_numpy()
    assert likelihood.n == pytest.approx(n) and likelihood.y == pytest.approx(n * share)
    assert table["direct"][inside].to_numpy() == pytest.approx(share)
