"""Figures of finite populations: the dense joint normal, the limits, a simulated world, what is refused."""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.area_level.finite_population import FinitePopulation
from sae.errors import SaeInputError, SaeSpecError

DENSE = 1e-9  # the dense formula inverts a matrix of 2 D rows, entries of order 1e-2
LIMIT = 1e-6  # f or s²/N of 1e-8 or so moves an estimate by that times a number of order 10
DRAWS = 0.05  # 4,000 draws give an sd to 1.1 %; the normal draws leave out the uncertainty of γ in the mean
WORDS = "finite population"


@pytest.fixture
def frame(rng):
    return areas(rng, 60)


def areas(rng, count, spread=0.1, unit=0.2):
    """Areas with rates around a line; n of N persons asked, N from 20 to 200."""
    N = rng.integers(20, 200, count)
    n = rng.binomial(N, 0.15).clip(1, N - 1)
    x = rng.normal(size=count)
    rate = 0.5 + 0.05 * x + rng.normal(0, spread, count)
    y = rate + rng.normal(0, np.sqrt(unit / n))
    return pd.DataFrame(
        {
            "domain": [f"a{k:02d}" for k in range(count)],
            "y": y,
            "x": x,
            "n": n,
            "N": N,
            "vardir": (1 - n / N) * unit / n,
            "n_eff": n / (1 - n / N),
        }
    )


def rate_fit(frame, **options):
    """The model of the rate behind the population: the design's factor 1 - f taken out."""
    left = 1 - frame["n"].fillna(0) / frame["N"]
    wide = frame.assign(vardir=frame["vardir"] / left, n_eff=frame["n_eff"] * left)
    return sae.FayHerriot("y ~ x", **options).fit(wide, seed=1).estimates.frame


def finite_fit(frame, **options):
    return sae.FayHerriot("y ~ x", population="N", **options).fit(frame, seed=1)


def empty(frame, *rows):
    """Take the sample of some areas away."""
    frame = frame.copy()
    frame.loc[list(rows), ["y", "vardir", "n_eff", "n"]] = np.nan
    return frame


# ---------------------------------------------------------------- brute force


def test_predictor_and_error_are_those_of_the_dense_joint_normal(frame):
    """Truths and direct estimates of all areas as one normal vector with A known and flat coefficients."""
    frame = empty(frame, 3)
    fit = finite_fit(frame)
    A = fit.variance_components["sigma2_u"]
    n, N = frame["n"].fillna(0).to_numpy(float), frame["N"].to_numpy(float)
    unit = 0.2  # the median over areas is that of every area
    seen = n > 0
    X = np.column_stack([np.ones(len(frame)), frame["x"]])
    # truth = x'β + u + (f ε + (1 - f) w), with ε and w the noise of the persons asked and not asked
    rest = 1 - n / N
    noise_seen = np.where(seen, unit / np.where(seen, n, 1), 0)
    truth_cov = np.diag(A + (n / N) ** 2 * noise_seen + rest**2 * unit / (N - n))
    cross = np.diag(A + (n / N) * noise_seen)[:, seen]
    data_cov = np.diag(A + noise_seen)[np.ix_(seen, seen)]
    np.testing.assert_allclose(np.diag(truth_cov), A + unit / N, rtol=1e-12)  # the area variance
    inverse = np.linalg.inv(data_cov)
    y = frame["y"].to_numpy()[seen]
    Q = np.linalg.inv(X[seen].T @ inverse @ X[seen])
    beta = Q @ X[seen].T @ inverse @ y
    gain = cross @ inverse
    loose = X - gain @ X[seen]
    estimate = X @ beta + gain @ (y - X[seen] @ beta)
    mse = np.diag(truth_cov - gain @ cross.T + loose @ Q @ loose.T)
    table = fit.estimates.frame
    np.testing.assert_allclose(table["estimate"], estimate, rtol=DENSE)
    # what the MSE holds beyond A known: 2 g3 of the rate, times (1 - f)²
    rate = rate_fit(frame)
    g1 = A * (1 - rate["gamma"].to_numpy())
    own = A * noise_seen / (A + noise_seen)
    np.testing.assert_allclose(g1[seen], own[seen], rtol=DENSE)
    spread = 2.0 / ((A + noise_seen[seen]) ** -2).sum()
    g3 = np.where(seen, (noise_seen / (A + noise_seen)) ** 2 * spread / (A + noise_seen), 0)
    np.testing.assert_allclose(table["mse"], mse + rest**2 * 2 * g3, rtol=DENSE)
    np.testing.assert_allclose(table["gamma"], np.where(seen, np.diag(gain @ np.eye(len(frame))[seen]), 0))
    joint = truth_cov - gain @ cross.T + loose @ Q @ loose.T + np.diag(rest**2 * 2 * g3)
    np.testing.assert_allclose(fit.joint.covariance(), joint, atol=DENSE)


def test_bivariate_predictor_is_that_of_the_dense_joint_normal(rng):
    """Two components with correlated effects, errors and chances; some of them without a sample."""
    frame = areas(rng, 80).assign(z=lambda t: t["y"] + rng.normal(0, 0.1, len(t)))
    frame["w"], frame["c"] = 0.8 * frame["vardir"], 0.3 * frame["vardir"]
    frame.loc[5, "y"] = np.nan
    vardir = {"y": "vardir", "z": "w", ("y", "z"): "c"}
    fit = sae.MultivariateFayHerriot(["y ~ x", "z ~ x"], vardir=vardir, population="N").fit(frame)
    V = fit.effect_covariance.to_numpy()
    f = (frame["n"] / frame["N"]).to_numpy()
    unit = 0.2 * np.array([[1, 0.3], [0.3, 0.8]])
    data, Xs, known = [], [], []
    for d in range(len(frame)):
        seen = np.array([d != 5, True])
        data.append((unit / frame["n"][d] + V)[np.ix_(seen, seen)])
        Xs.append(np.kron(np.eye(2), [1.0, frame["x"][d]])[seen])
        known.append(frame.loc[d, ["y", "z"]].to_numpy(float)[seen])
    Q = np.linalg.inv(sum(x.T @ np.linalg.solve(c, x) for x, c in zip(Xs, data, strict=True)))
    beta = Q @ sum(x.T @ np.linalg.solve(c, y) for x, c, y in zip(Xs, data, known, strict=True))
    table = fit.estimates.frame
    for d in (0, 7, 31):
        X = np.kron(np.eye(2), [1.0, frame["x"][d]])
        cross = V + f[d] * unit / frame["n"][d]  # of truth and direct estimates
        gain = cross @ np.linalg.inv(data[d])
        truth = V + unit / frame["N"][d]
        loose = X - gain @ X
        np.testing.assert_allclose(
            table["estimate"][2 * d : 2 * d + 2], X @ beta + gain @ (known[d] - X @ beta), rtol=1e-8
        )
        # 2 g3 comes on top: no smaller, and not much larger
        g12 = np.diag(truth - gain @ cross.T + loose @ Q @ loose.T)
        excess = table["mse"][2 * d : 2 * d + 2].to_numpy() / g12 - 1
        assert (excess > 0).all() and (excess < 0.2).all()
    assert table["mse_method"].str.endswith(WORDS).all()


# ---------------------------------------------------------------- limits


@pytest.mark.parametrize("transform", [None, "arcsin", "logit"])
def test_a_population_without_end_is_the_rate_behind_it(frame, transform):
    frame = frame.assign(y=frame["y"].clip(0.05, 0.95), N=1e10, vardir=0.2 / frame["n"], n_eff=frame["n"])
    finite, rate = (
        finite_fit(frame, transform=transform).estimates.frame,
        rate_fit(frame, transform=transform),
    )
    for column in ("estimate", "mse", "ci_low", "ci_high", "gamma"):
        np.testing.assert_allclose(finite[column], rate[column], rtol=LIMIT)


@pytest.mark.parametrize("transform", [None, "arcsin"])
def test_an_area_asked_almost_or_completely_is_its_direct_estimate(frame, transform):
    frame["y"] = frame["y"].clip(0.05, 0.95)
    frame["N"] = frame["N"].astype(float)
    frame.loc[4, "N"] = frame.loc[4, "n"] * (1 + 1e-9)
    frame.loc[4, ["vardir", "n_eff"]] = [1e-9 * 0.2 / frame.loc[4, "n"], 1e9 * frame.loc[4, "n"]]
    frame.loc[5, ["N", "vardir", "n_eff"]] = [frame.loc[5, "n"], 0.0, np.inf]
    table = finite_fit(frame, transform=transform).estimates.frame.loc[[4, 5]]
    np.testing.assert_allclose(table["estimate"], frame["y"][[4, 5]], rtol=LIMIT)
    np.testing.assert_allclose(table["gamma"], 1.0, rtol=LIMIT)
    assert (table["mse"] < 1e-9).all() and table["mse"].iloc[1] == 0.0
    np.testing.assert_allclose(table["ci_high"] - table["ci_low"], 0.0, atol=1e-4)


def test_without_a_sample_it_is_the_model_with_the_chance_of_everybody(frame):
    frame = empty(frame, 0, 1)
    finite, rate = finite_fit(frame).estimates.frame, rate_fit(frame)
    np.testing.assert_allclose(finite["estimate"][:2], rate["estimate"][:2], rtol=1e-12)
    np.testing.assert_allclose(finite["mse"][:2], rate["mse"][:2] + 0.2 / frame["N"][:2], rtol=1e-9)
    assert (finite["gamma"][:2] == 0).all() and not finite["in_sample"][:2].any()


def test_no_noise_between_persons_leaves_the_share_asked_alone(frame):
    """s² → 0 with A > 0: direct estimates are the rates, and so is the truth."""
    tiny = frame.assign(vardir=1e-9 * frame["vardir"])
    table = finite_fit(tiny).estimates.frame
    np.testing.assert_allclose(table["estimate"], frame["y"], rtol=LIMIT)
    assert (table["mse"] < 1e-9).all()


def test_a_variance_of_zero_and_few_areas_have_intervals_from_the_posterior(frame):
    """The chance of the persons not asked comes on top of the posterior of the rate."""
    for part in (frame.assign(y=0.5 + 0.05 * frame["x"] + 1e-3 * frame["y"]), frame[:12]):
        finite, rate = finite_fit(part).estimates.frame, rate_fit(part)
        assert (
            finite["interval"].str.startswith("posterior").all()
            and finite["interval"].str.endswith(WORDS).all()
        )
        f = (part["n"] / part["N"]).to_numpy()
        chance = (1 - f) * np.sqrt(0.2 / (part["N"] - part["n"]))
        half = 0.5 * (finite["ci_high"] - finite["ci_low"]).to_numpy()
        own = 0.5 * (1 - f) * (rate["ci_high"] - rate["ci_low"]).to_numpy()
        # a sum of independent parts: the squares of normal widths add up; the rate's tails are a mixture's
        np.testing.assert_allclose(half**2, own**2 + 1.96**2 * chance**2, rtol=0.08)


def test_one_component_alone_is_the_univariate_model(rng):
    """Diagonal structure and errors: the multivariate code takes the same steps."""
    frame = areas(rng, 60).assign(z=lambda t: t["y"].to_numpy()[::-1], w=lambda t: t["vardir"])
    vardir = {"y": "vardir", "z": "w", ("y", "z"): 0}
    for part in (frame, frame[:20]):
        spec = sae.MultivariateFayHerriot(
            ["y ~ x", "z ~ x"], vardir=vardir, population="N", structure="diagonal"
        )
        both = spec.fit(part).estimates.frame[::2].reset_index(drop=True)
        alone = finite_fit(part).estimates.frame
        np.testing.assert_allclose(both["estimate"], alone["estimate"], rtol=1e-6)
        np.testing.assert_allclose(both["gamma"], alone["gamma"], rtol=1e-4)
        np.testing.assert_allclose(both["ci_low"], alone["ci_low"], rtol=0.02)


# ---------------------------------------------------------------- properties


def test_draws_have_the_reported_error(frame):
    fit = finite_fit(empty(frame, 3))
    drawn = fit.draws(4000, seed=2)
    table = fit.estimates.frame
    np.testing.assert_allclose(drawn.values.std(axis=0), table["se"], rtol=DRAWS)
    np.testing.assert_allclose(
        drawn.values.mean(axis=0), table["estimate"], atol=4 * table["se"].max() / 4000**0.5
    )
    np.testing.assert_allclose(fit.joint.mse(), table["mse"], rtol=1e-9)
    assert "not asked" in drawn.source


def test_rows_in_another_order_and_several_fits(rng):
    parts = [areas(rng, 55).assign(year=year) for year in (2023, 2024)]
    frame = pd.concat(parts, ignore_index=True)
    spec = sae.FayHerriot("y ~ x", population="N", per="year")
    table = spec.fit(frame).estimates.frame
    mixed = frame.sample(frac=1.0, random_state=1)
    again = spec.fit(mixed).estimates.frame.set_axis(mixed.index).sort_index()
    alone = finite_fit(parts[1]).estimates.frame
    for column in ("estimate", "mse", "ci_low"):
        np.testing.assert_allclose(table[column], again[column], rtol=1e-9)
        np.testing.assert_allclose(table[column][55:], alone[column], rtol=1e-9)


def test_multivariate_contrast_and_posterior_agree_with_the_table(rng):
    """A contrast of one component is that component, by the MSE and by the posterior."""
    frame = areas(rng, 60).assign(z=lambda t: t["y"] + 0.1, w=lambda t: 0.5 * t["vardir"], c=0.0)
    spec = sae.MultivariateFayHerriot(
        ["y ~ x", "z ~ x"], vardir={"y": "vardir", "z": "w", ("y", "z"): "c"}, population="N"
    )
    for part in (frame, frame[:25]):
        fit = spec.fit(part)
        own, contrast = fit.estimates.frame[::2], fit.contrast({"y": 1}).frame
        for column in ("estimate", "ci_low", "ci_high"):
            np.testing.assert_allclose(own[column], contrast[column], rtol=1e-7)
        # where the interval comes from a posterior so does the error of a contrast; the table's is its own
        np.testing.assert_allclose(fit.joint.mse()[::2], contrast["mse"], rtol=1e-7)


def test_coverage_and_error_in_a_world_as_the_model_has_it():
    """Binomial persons: 2,400 truths are covered as often as promised, the MSE is that reported."""
    rng = np.random.default_rng(5)
    errors, mse, covered, plain = [], [], [], []
    for _ in range(24):
        count = 100
        N = rng.integers(25, 300, count)
        n = (0.2 * N).astype(int)
        x = rng.normal(size=count)
        rate = np.clip(0.6 + 0.05 * x + rng.normal(0, 0.05, count), 0.02, 0.98)
        asked, others = rng.binomial(n, rate), rng.binomial(N - n, rate)
        truth = (asked + others) / N
        spread = 0.6 * 0.4 - 0.005
        frame = pd.DataFrame(
            {
                "domain": np.arange(count).astype(str),
                "y": asked / n,
                "x": x,
                "n": n,
                "N": N,
                "vardir": (1 - n / N) * spread / n,
                "n_eff": n / (1 - n / N),
            }
        )
        table, rates = finite_fit(frame).estimates.frame, rate_fit(frame)
        errors.append((table["estimate"] - truth) ** 2)
        mse.append(table["mse"])
        covered.append((table["ci_low"] <= truth) & (truth <= table["ci_high"]))
        plain.append((rates["ci_low"] <= truth) & (truth <= rates["ci_high"]))
    # 24 worlds whose areas share one estimate of A: standard errors of 0.7 % and 3 %
    assert np.mean(covered) == pytest.approx(0.95, abs=0.02)
    assert np.mean(errors) == pytest.approx(np.mean(mse), rel=0.10)
    assert np.mean(plain) < 0.90  # the interval of the rate does not know the chance


# ---------------------------------------------------------------- refused


def test_what_has_no_meaning_is_refused_by_name(frame):
    cases = {
        "no column 'N'": frame.drop(columns="N"),
        "n greater than N: a02": frame.assign(N=frame["N"].where(frame.index != 2, 1)),
        "no positive N: a03": frame.assign(N=frame["N"].where(frame.index != 3)),
        "no n: a04": frame.assign(n=frame["n"].where(frame.index != 4)),
        "text where numbers": frame.assign(N=frame["N"].astype(str) + " persons"),
        "asked completely": frame.assign(N=frame["n"]),
    }
    for words, bad in cases.items():
        with pytest.raises(SaeInputError, match=words):
            finite_fit(bad)
    with pytest.raises(SaeSpecError, match="bayes"):
        sae.FayHerriot("y ~ x", method="bayes", population="N")
    with pytest.raises(SaeSpecError, match="temporal"):
        sae.FayHerriot("y ~ x", temporal=sae.AR1("year"), population="N")
    with pytest.raises(SaeInputError, match="n greater than N: a02"):
        sae.MultivariateFayHerriot(["y ~ x"], vardir={"y": "vardir"}, population="N").fit(
            cases["n greater than N: a02"]
        )


def test_the_option_travels_in_a_model_file_and_enters_the_run(frame):
    spec = sae.FayHerriot("y ~ x", population="N")
    assert sae.FayHerriot.from_toml(spec.to_toml()) == spec
    run = spec.fit(frame).estimates.frame["run"].iloc[0]
    larger = frame.assign(N=frame["N"].where(frame.index != 3, 500))
    assert run != spec.fit(larger).estimates.frame["run"].iloc[0]


def test_chance_without_a_sample_is_the_median_of_the_group():
    finite = FinitePopulation(np.array([4.0, 5.0, 0.0, 2.0]), np.array([8.0, 10.0, 30.0, 2.0]), np.zeros(4))
    D = np.array([0.25, 0.4, 9.0, 1.0])
    got = finite.rest_variance(D, np.array([True, True, False, True]), np.zeros(4, dtype=int))
    np.testing.assert_allclose(got, [1.0 / 4, 2.0 / 5, 2.0 / 30, 0.0], rtol=1e-12)
