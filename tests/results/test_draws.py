"""One source of joint uncertainty per fit: draws, sums and changes rest on what makes the intervals."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import sae
from sae.errors import SaeInputError

QUANTILE = 0.06  # of the width of an interval: 5 standard errors of a quantile of 3000 draws
DRAWS = 3000


def areas(rng, size=14, sigma=0.3):
    frame = pd.DataFrame({"domain": [f"A{k:02d}" for k in range(size)], "x": rng.normal(size=size)})
    frame["vardir"] = rng.uniform(0.2, 0.4, size)
    frame["truth"] = 1.0 + frame["x"] + sigma * rng.normal(size=size)
    frame["y"] = frame["truth"] + rng.normal(size=size) * np.sqrt(frame["vardir"])
    return frame


def bent(frame, **columns):
    return frame.assign(y=1.0 / (1.0 + np.exp(-0.5 * frame["y"])), **columns)


def units(rng):
    frame = pd.DataFrame({"domain": np.repeat([f"A{k:02d}" for k in range(12)], 5), "x": rng.normal(size=60)})
    frame["y"] = 1 + frame["x"] + np.repeat(0.4 * rng.normal(size=12), 5) + rng.normal(size=60)
    return frame


def districts(rng):
    frame = areas(rng, 48).assign(city=np.repeat([f"C{k}" for k in range(12)], 4))
    return frame.assign(y=frame["y"] + np.repeat(rng.normal(size=12), 4))


def two(rng):
    frame = areas(rng)
    return frame.assign(z=0.5 * frame["y"] + 0.4 * rng.normal(size=14), w=0.2, c=0.05)


def periods(rng):
    frame = pd.concat([areas(rng, 10).assign(year=year) for year in (1, 2)], ignore_index=True)
    return frame.assign(y=frame["y"] + np.tile(rng.normal(size=10), 2))


# every family that has draws, with fewer than 50 areas
FAMILIES = {
    "one fit": lambda rng: sae.FayHerriot("y ~ x").fit(areas(rng)),
    "several fits": lambda rng: sae.FayHerriot("y ~ x", per="g").fit(
        areas(rng, 24).assign(g=np.repeat(["p", "q"], 12))
    ),
    "log": lambda rng: sae.FayHerriot("y ~ x", transform="log", vardir="v").fit(bent(areas(rng), v=0.01)),
    "arcsin": lambda rng: sae.FayHerriot("y ~ x", transform="arcsin", replicates=5).fit(
        bent(areas(rng), n_eff=60.0), seed=1
    ),
    "finite population": lambda rng: sae.FayHerriot("y ~ x", population="N").fit(
        areas(rng).assign(N=100, n=30)
    ),
    "robust at 0": lambda rng: sae.RobustFayHerriot("y ~ x", replicates=5).fit(
        areas(rng).assign(y=lambda t: 1 + t["x"] + 0.05 * rng.normal(size=14)), seed=1
    ),
    "measurement error": lambda rng: sae.MeasurementErrorFayHerriot("y ~ x", errors={"x": "e"}).fit(
        areas(rng).assign(e=0.02)
    ),
    "two-fold": lambda rng: sae.TwoFoldFayHerriot("y ~ x", area="city").fit(districts(rng)),
    "over time": lambda rng: sae.FayHerriot("y ~ x", temporal=sae.AR1("year"), replicates=3).fit(
        periods(rng), seed=1
    ),
    "multivariate": lambda rng: sae.MultivariateFayHerriot(
        ["y ~ x", "z ~ x"], vardir={"y": "vardir", "z": "w", ("y", "z"): "c"}, structure="diagonal"
    ).fit(two(rng)),
    "units": lambda rng: sae.NestedError("y ~ x").fit(
        units(rng), areas=pd.DataFrame({"domain": [f"A{k:02d}" for k in range(12)], "x": 0.1})
    ),
}


@pytest.mark.filterwarnings("ignore::sae.errors.SaeWarning")
@pytest.mark.parametrize("family", FAMILIES)
def test_draws_and_sums_agree_with_the_intervals(family, rng):
    fit = FAMILIES[family](rng)
    draws, table = fit.draws(DRAWS, seed=1), fit.estimates.frame
    assert "the posterior of the intervals" in repr(draws)
    low, high = table["ci_low"].to_numpy(), table["ci_high"].to_numpy()
    ends = np.quantile(draws.values, [0.025, 0.975], axis=0)
    if family != "robust at 0":  # its intervals are widened to hold the estimate
        assert (np.abs(ends - [low, high]) < QUANTILE * (high - low)).all()
    W = np.zeros((3, len(table)))
    W[0], W[1, :3], W[1, 3], W[2, :2] = 1.0 / len(table), 1.0, -1.0, (1.0, -1.0)
    _, mse, sums = fit.sums(sparse.csr_array(W))
    drawn = draws.values @ W.T
    width = sums.high - sums.low
    assert (np.abs(np.quantile(drawn, [0.025, 0.975], axis=0) - [sums.low, sums.high]) < 0.08 * width).all()
    square = ((drawn - W @ table["estimate"].to_numpy()) ** 2).mean(axis=0)
    np.testing.assert_allclose(square, mse, rtol=0.15)  # 5 standard errors, with heavier tails than normal
    assert set(sums.interval) <= set(table["interval"]) | {table["interval"][0].split(", finite")[0]}


def test_an_aggregate_of_one_area_is_its_row(rng):
    fit = sae.FayHerriot("y ~ x").fit(areas(rng))
    alone = fit.aggregate("domain").frame
    for column in ("estimate", "ci_low", "ci_high"):
        np.testing.assert_allclose(alone[column], fit.estimates[column], rtol=1e-9)
    assert set(alone["interval"]) == set(fit.estimates["interval"])
    assert set(alone["mse_method"]) == {"joint posterior matrix"}


def test_sums_over_fits_join_their_posteriors(rng):
    """Fits are independent: the second moment of a sum over both is the sum of theirs."""
    frame = areas(rng, 30).assign(g=np.repeat(["p", "q"], [20, 10]))
    both = sae.FayHerriot("y ~ x", per="g").fit(frame)
    alone = [sae.FayHerriot("y ~ x").fit(frame[frame["g"] == name]) for name in ("p", "q")]
    _, mse, ends = both.sums(sparse.csr_array(np.ones((1, 30))))
    parts = [fit.sums(sparse.csr_array(np.ones((1, len(fit.estimates))))) for fit in alone]
    drawn = both.draws(DRAWS, seed=1).values.sum(axis=1)
    assert np.quantile(drawn, 0.025) == pytest.approx(ends.low[0], abs=0.08 * (ends.high - ends.low)[0])
    assert ends.low[0] > sum(part[2].low[0] for part in parts)
    assert mse[0] > max(part[1][0] for part in parts)


def test_a_fit_with_many_areas_beside_one_with_few(rng):
    frame = areas(rng, 72, sigma=1.0).assign(g=np.repeat(["p", "q"], [60, 12]))
    fit = sae.FayHerriot("y ~ x", per="g").fit(frame)
    draws = fit.draws(DRAWS, seed=1)
    assert "in 12 rows, else N(EBLUP, joint MSE matrix)" in repr(draws)
    table = fit.aggregate("g", weights=dict.fromkeys(frame["domain"], 1.0)).frame
    assert table["interval"].tolist() == ["normal on the joint MSE", "posterior, flat-variance prior"]
    apart = (draws.values - fit.estimates["estimate"].to_numpy())[:, :60]
    np.testing.assert_allclose((apart**2).mean(axis=0), fit.estimates["mse"][:60], rtol=0.15)
    alone = sae.FayHerriot("y ~ x").fit(frame[frame["g"] == "p"])
    many = np.array(fit.estimates["g"] == "p")
    np.testing.assert_allclose(
        fit.joint.covariance()[np.ix_(many, many)], alone.joint.covariance(), rtol=1e-9
    )


def test_where_nothing_is_known_of_the_variance_there_is_nothing_to_draw_from(rng):
    frame = areas(rng, 3).assign(nation="N")
    with pytest.warns(sae.errors.SmallSampleWarning):
        fit = sae.FayHerriot("y ~ x").fit(frame)
    with pytest.raises(SaeInputError, match="A00"):
        fit.draws(10, seed=1)
    table = fit.aggregate("nation").frame
    assert table["interval"].tolist() == ["none: too few areas"]
    assert table[["ci_low", "ci_high"]].isna().all(axis=None)


def test_a_benchmark_keeps_the_posterior(rng):
    frame = areas(rng).assign(population=np.arange(14) + 5.0)
    fit = sae.FayHerriot("y ~ x").fit(frame)
    final = fit.benchmark(1.2, weights="population", method="difference")
    apart = final.draws(DRAWS, seed=1).values - final.estimates["estimate"].to_numpy()
    np.testing.assert_allclose((apart**2).mean(axis=0), final.estimates["mse"], rtol=0.15)
    w = frame["population"].to_numpy() / frame["population"].sum()
    assert final.sums(sparse.csr_array(w[None]))[1][0] == pytest.approx(0.0, abs=1e-12)
    before = fit.estimates["ci_high"] - fit.estimates["ci_low"]
    after = final.estimates["ci_high"] - final.estimates["ci_low"]
    assert (np.abs(after / before - 1.0) < 0.35).all()


def coverage(rng, size, sigma, times):
    """Shares of areas, differences and sums that their intervals hold, and of differences by draws."""
    x, vardir = rng.normal(size=size), np.exp(rng.uniform(-0.7, 0.7, size))
    S = np.zeros((3, size))
    S[0], S[1, : size // 2], S[2, :3] = 1.0, 1.0, 1.0
    weights = [np.eye(size), np.eye(size)[:-1] - np.eye(size)[1:], S]
    inside = np.zeros((times, 4))
    for k in range(times):
        truth = 1.0 + x + sigma * rng.normal(size=size)
        y = truth + np.sqrt(vardir) * rng.normal(size=size)
        names = [f"A{d:02d}" for d in range(size)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit = sae.FayHerriot("y ~ x").fit(
                pd.DataFrame({"domain": names, "x": x, "y": y, "vardir": vardir})
            )
        for j, W in enumerate(weights):
            ends = fit.sums(sparse.csr_array(W))[2]
            inside[k, j] = ((ends.low <= W @ truth) & (W @ truth <= ends.high)).mean()
        moved = fit.draws(400, seed=k).values @ weights[1].T
        low, high = np.quantile(moved, [0.025, 0.975], axis=0)
        inside[k, 3] = ((low <= weights[1] @ truth) & (weights[1] @ truth <= high)).mean()
    return inside.mean(axis=0), inside.std(axis=0) / np.sqrt(times)


def test_sums_and_differences_cover_at_a_variance_of_zero(rng):
    """They covered 61 % of differences; 25 surveys of 12 areas."""
    share, _ = coverage(rng, 12, 0.0, 25)
    assert (share > 0.93).all(), share


@pytest.mark.slow
@pytest.mark.parametrize("sigma", [0.0, 0.3, 1.4])
@pytest.mark.parametrize("size", [10, 15, 40])
def test_areas_sums_and_differences_cover(size, sigma, rng):
    share, error = coverage(rng, size, sigma, 400)
    print(f"D {size}, sigma_u {sigma}: areas, differences, sums, differences by draws {share.round(3)}")
    assert (share > 0.94 - 3 * error).all(), share
    assert (share > 0.93).all(), share


@pytest.mark.slow
@pytest.mark.parametrize("sigma", [(0.0, 0.0), (0.7, 0.2), (0.7, 1.4)])
@pytest.mark.parametrize("size", [10, 40])
def test_changes_cover(size, sigma, rng):
    """They covered 57 % with a variance within areas of 0."""
    inside = []
    domain, year = np.repeat([f"A{k:02d}" for k in range(size)], 2), np.tile([0, 1], size)
    model = sae.FayHerriot("y ~ 1", temporal=sae.AR1("year", rho=0.0), replicates=2)
    for k in range(100):
        truth = np.repeat(sigma[0] * rng.normal(size=size), 2) + sigma[1] * rng.normal(size=2 * size)
        vardir = np.exp(rng.uniform(-0.5, 0.5, 2 * size))
        y = truth + rng.normal(size=2 * size) * np.sqrt(vardir)
        frame = pd.DataFrame({"domain": domain, "year": year, "y": y, "vardir": vardir})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table = sae.compare.changes(model.fit(frame, seed=k), 0, 1)
        moved = truth[1::2] - truth[::2]
        inside.append(((table["ci_low"] <= moved) & (moved <= table["ci_high"])).mean())
    share, error = np.mean(inside), np.std(inside) / 10
    print(f"D {size}, sigma_u and sigma_v {sigma}: change {share:.3f} (se {error:.3f})")
    assert share > 0.94 - 3 * error
