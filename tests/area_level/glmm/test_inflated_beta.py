"""Zero/one-inflated beta: moments, density and structure by brute force; a real panel; calibration."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, gammaln, logit
from scipy.stats import beta as beta_law
from scipy.stats import norm

from sae.area_level.effects.spatial import BYM2, CAR
from sae.area_level.effects.temporal import AR1, RW1
from sae.area_level.glmm.inflated_beta import InflatedBetaFayHerriot
from sae.area_level.glmm.inflated_beta_fit import read_shares
from sae.errors import SaeInputError, SaeSpecError
from sae.numerics.glmm.inflated_beta import beta_parts, log_density
from sae.numerics.inference.priors import HALF_NORMAL
from sae.numerics.inference.psis import ess
from sae.samplers import inflated_beta_nuts as sampler
from sae.samplers import pymc as adapter
from sae.samplers.inflated_beta import sample_inflated

EXACT = 1e-8
EDGES = pd.DataFrame({"a": ["a0", "a1", "a2", "a4"], "b": ["a1", "a2", "a3", "a5"]})  # a6 is an island


def panel(seed=0, areas=7, years=4):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(areas, 1))
    theta = expit(-2.3 + 0.5 * x + 0.4 * rng.normal(size=(areas, 1)) + 0.2 * rng.normal(size=(areas, years)))
    n = rng.integers(10, 60, (areas, years))
    frame = pd.DataFrame(
        {
            "domain": np.repeat([f"a{k}" for k in range(areas)], years),
            "year": np.tile(np.arange(2014, 2014 + years), areas),
            "x": np.repeat(x[:, 0], years),
            "poor": (rng.binomial(n, theta) / n).ravel(),
            "n_eff": n.ravel().astype(float),
        }
    )
    frame.loc[5, "poor"] = np.nan
    return frame, theta.ravel()


@pytest.mark.parametrize(("theta", "n"), [(0.02, 30.0), (0.5, 8.0), (0.97, 12.5), (1e-4, 50.0), (0.3, 2.6)])
def test_atoms_and_moments_are_those_of_a_share_of_n_persons(theta, n):
    log_zero, log_one, between, a, b = beta_parts(np.array(logit(theta)), n, np)
    one, mean = np.exp(log_one), a / (a + b)
    assert np.exp(log_zero) == pytest.approx((1 - theta) ** n, rel=1e-9)
    assert one == pytest.approx(theta**n, rel=1e-9)
    assert one + between * mean == pytest.approx(theta, rel=1e-9)
    square = one + between * (mean**2 + mean * (1 - mean) / (a + b + 1))
    assert square - theta**2 == pytest.approx(theta * (1 - theta) / n, rel=1e-7)


def test_density_is_atoms_and_beta():
    eta, n = np.array([-1.2, 0.3, 2.0]), np.array([12.0, 20.0, 7.0])
    y = np.array([0.0, 0.6, 1.0])
    log_zero, log_one, between, a, b = beta_parts(eta, n, np)
    expected = [log_zero[0], np.log(between[1]) + beta_law.logpdf(0.6, a[1], b[1]), log_one[2]]
    np.testing.assert_allclose(log_density(eta, y, n, np, gammaln), expected, rtol=1e-12)


def test_extreme_logits_have_a_finite_density_and_slope():
    y = np.array([0.03, 0.0, 1.0, 0.97])
    for eta in (-40.0, -15.0, 15.0, 34.0):
        found = log_density(np.full(4, eta), y, np.full(4, 20.0), np, gammaln)
        assert np.isfinite(found).all()


def test_the_map_is_scaled_and_sums_to_zero_part_by_part():
    frame, _ = panel()
    shares = read_shares(frame, None, "poor ~ x", spatial=BYM2(EDGES), temporal=AR1("year"))
    covariance = shares.panel.root @ shares.panel.root.T
    for part in ([0, 1, 2, 3], [4, 5]):
        own = covariance[np.ix_(part, part)]
        np.testing.assert_allclose(own.sum(axis=1), 0.0, atol=1e-12)
        assert np.exp(np.log(np.diag(own)).mean()) == pytest.approx(1.0)
    assert covariance[6, 6] == 1.0 and not covariance[6, :6].any()
    assert shares.islands == ("a6",) and shares.panel.period.max() == 3


def caught_model(monkeypatch, shares):
    caught = {}

    def catch(build, key, data, **_):
        caught.update(model=adapter._model(build, data))
        raise StopIteration

    monkeypatch.setattr(sampler, "sample_chains", catch)
    with pytest.raises(StopIteration):
        sampler.sample_by_nuts(shares, (HALF_NORMAL, 0.8), seed=1)
    return caught["model"]


@pytest.mark.parametrize(
    ("spatial", "temporal"),
    [(BYM2(EDGES), AR1("year")), (CAR(EDGES, rho=1.0), RW1("year"))],
    ids=["bym2", "icar"],
)
def test_the_model_is_the_sum_of_its_effects(monkeypatch, rng, spatial, temporal):
    frame, _ = panel()
    shares = read_shares(frame, None, "poor ~ x", spatial=spatial, temporal=temporal).panel
    model = caught_model(monkeypatch, shares)
    eta_of_values = model.replace_rvs_by_values([model["eta"]])[0]
    density, eta_of = (
        model.compile_fn(out, mode="FAST_COMPILE", on_unused_input="ignore")
        for out in (model.logp(), eta_of_values)
    )
    start = model.initial_point()
    point = {name: value + 0.3 * rng.normal(size=np.shape(value)) for name, value in start.items()}
    eta = eta_of(point)

    def effects(point):
        sd, area = 0.8 * np.exp(point["sd_u_log__"]), shares.root @ point["s"]
        if "rho_interval__" in point:
            rho, inland = expit(point["rho_interval__"]), np.arange(7) < 6
            area = np.where(inland, np.sqrt(1 - rho) * point["v"] + np.sqrt(rho) * area, area)
        walk = shares.walk
        if "rho_time_interval__" in point:
            phi = 2 * expit(point["rho_time_interval__"]) - 1
            walk = np.linalg.cholesky(phi ** np.abs(np.subtract.outer(np.arange(4), np.arange(4))))
        time = 0.8 * np.exp(point["sd_v_log__"]) * point["t"] @ walk.T
        return shares.X @ point["beta"] + sd * area[shares.area] + time[shares.area, shares.period]

    np.testing.assert_allclose(eta, effects(point), atol=EXACT)
    # the data enter through eta alone: the rest is the prior of what moved
    other = {**point, "beta": point["beta"] + 0.2, "t": point["t"] * 0.7}
    prior = sum(
        norm.logpdf(p["beta"], scale=10).sum() * s + norm.logpdf(p["t"]).sum() * s
        for p, s in ((other, 1), (point, -1))
    )
    data = sum(
        log_density(eta_of(p)[shares.sampled], shares.y, shares.n, np, gammaln).sum() * s
        for p, s in ((other, 1), (point, -1))
    )
    assert density(other) - density(point) == pytest.approx(prior + data, abs=1e-6)


def test_what_is_read_is_checked():
    frame, _ = panel()
    spec = InflatedBetaFayHerriot("poor ~ x", temporal=AR1("year"))
    with pytest.raises(SaeInputError, match=r"outside \[0, 1\]"):
        spec.fit(frame.assign(poor=frame["poor"] * 100), seed=1)
    with pytest.raises(SaeInputError, match="effective sample size above 2"):
        spec.fit(frame.assign(n_eff=2.0), seed=1)
    with pytest.raises(SaeInputError, match="one period"):
        spec.fit(frame[frame["year"] == 2014], seed=1)
    with pytest.raises(SaeSpecError, match="BYM2"):
        from sae.area_level.effects.spatial import Leroux

        InflatedBetaFayHerriot("poor ~ x", spatial=Leroux(EDGES))
    with pytest.raises(SaeSpecError, match="no seed"):
        spec.fit(frame)
    with pytest.raises(SaeSpecError, match="improper"):
        InflatedBetaFayHerriot("poor ~ x", prior="flat-variance")
    text = InflatedBetaFayHerriot("poor ~ x", spatial=CAR("map.csv", rho=1.0), temporal=RW1("year")).to_toml()
    again = InflatedBetaFayHerriot.from_toml(text)
    assert isinstance(again.temporal, RW1) and again.spatial.rho == 1.0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spatial", "temporal"),
    [(None, None), (CAR(EDGES, rho=1.0), RW1("year"))],
    ids=["independent", "icar-rw1"],
)
def test_draws_agree_with_those_of_pymc(spatial, temporal):
    """Means of all parameters and logits within 4.5 Monte Carlo errors of both."""
    frame, _ = panel()
    frame = frame if temporal else frame[frame["year"] == 2014]
    read = read_shares(frame, None, "poor ~ x", spatial=spatial, temporal=temporal).panel
    ours = sample_inflated(read, (HALF_NORMAL, 0.8), seed=1).checked().draws
    theirs = sampler.sample_by_nuts(read, (HALF_NORMAL, 0.8), seed=1).checked().draws
    assert set(ours) == set(theirs)
    for name, values in ours.items():
        pair = [draws.reshape(*draws.shape[:2], -1) for draws in (values, theirs[name])]
        for k in range(pair[0].shape[2]):
            mean, error = zip(
                *((one.mean(), one.std() / np.sqrt(ess(one))) for one in (both[:, :, k] for both in pair)),
                strict=True,
            )
            assert abs(mean[0] - mean[1]) < 4.5 * np.hypot(*error), (name, k)
            assert pair[0][:, :, k].std() == pytest.approx(pair[1][:, :, k].std(), rel=0.2)


def test_a_fit_is_sampled_without_pymc():
    frame, theta = panel(areas=12)
    first = frame[frame["year"] == 2014]
    fit = InflatedBetaFayHerriot("poor ~ x", draws=2000).fit(first, seed=1)
    table = fit.estimates.frame
    assert fit.diagnostics["r_hat"].iloc[0] < 1.05
    assert ((table["ci_low"] < theta[::4]) & (theta[::4] < table["ci_high"])).mean() > 0.7
    again = InflatedBetaFayHerriot("poor ~ x", draws=2000).fit(first.iloc[::-1], seed=1)
    columns = ["domain", "estimate", "se"]
    pd.testing.assert_frame_equal(
        again.to_frame()[columns].sort_values("domain", ignore_index=True),
        fit.to_frame()[columns].sort_values("domain", ignore_index=True),
    )


@pytest.mark.slow
def test_a_sampled_panel_covers_the_truth():
    frame, theta = panel(areas=20, years=5)
    fit = InflatedBetaFayHerriot("poor ~ x", temporal=AR1("year")).fit(frame, seed=1)
    table = fit.estimates.frame
    assert ((table["ci_low"] < theta) & (theta < table["ci_high"])).mean() > 0.87
    assert ((table["estimate"] > 0) & (table["estimate"] < 1)).all()
    assert np.isfinite(fit.source.posterior.loo()[0]).all()
    pd.testing.assert_frame_equal(
        fit.to_frame(), InflatedBetaFayHerriot("poor ~ x", temporal=AR1("year")).fit(frame, seed=1).to_frame()
    )


@pytest.mark.slow
def test_emilia_districts_by_year(shared_data):
    """Poverty of 38 health districts in five years; the effective sizes are what the variances say.

    No map of the districts is in the file: those of one province are taken as neighbours.
    """
    frame = pd.read_csv(shared_data / "real" / "it_emilia_hcr_2014_2018.csv")
    frame["n_eff"] = frame["hcr"] * (1 - frame["hcr"]) / frame["vars"]
    province = frame.drop_duplicates("id").set_index("id")["prov"]
    pairs = [(a, b) for a in province.index for b in province.index if a < b and province[a] == province[b]]
    fit = InflatedBetaFayHerriot(
        "hcr ~ x",
        domain="id",
        spatial=BYM2(pd.DataFrame(pairs, columns=["a", "b"])),
        temporal=AR1("year"),
        draws=12_000,
    ).fit(frame, seed=1)
    table = fit.estimates.frame
    assert len(table) == 190 and table["in_sample"].all()
    assert fit.diagnostics["r_hat"].iloc[0] < 1.05
    known = frame.assign(domain=frame["id"].astype(str), year=frame["year"].astype(str))
    merged = table.assign(year=table["year"].astype(str)).merge(
        known[["domain", "year", "hcr", "vars"]], on=["domain", "year"]
    )
    assert len(merged) == 190 and (merged["se"] < np.sqrt(merged["vars"])).mean() > 0.8
    assert np.corrcoef(merged["estimate"], merged["hcr"])[0, 1] > 0.8
    assert fit.coefficients.loc["x", "low"] > 0 or fit.coefficients.loc["x", "high"] > 0
