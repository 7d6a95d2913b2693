"""Structured area effects as users call them: maps, periods, covariances, changes, refusals."""

import warnings

import numpy as np
import pandas as pd
import pytest

from sae.area_level import AR1, SAR, FayHerriot
from sae.auxiliary import neighbours
from sae.compare import changes
from sae.errors import BoundaryVarianceWarning, SaeInputError, SaeSpecError
from sae.tables import DirectEstimates

EXACT = 1e-9  # same arithmetic in another order


def chain(size):
    names = [f"A{k:03d}" for k in range(size)]
    return names, pd.DataFrame({"a": names[:-2], "b": names[1:-1]})  # the last one is an island


def spatial_data(rng, size=80, unseen=5):
    names, edges = chain(size)
    W = SAR(edges).weights(names).toarray()
    frame = pd.DataFrame({"domain": names, "x": rng.normal(size=size), "vardir": rng.uniform(0.2, 0.6, size)})
    frame.loc[[3, 4, 5, 6, 7], "x"] = 0.1
    effect = np.linalg.solve(np.eye(size) - 0.7 * W, rng.normal(size=size))
    frame["y"] = 1 + 2 * frame["x"] + effect + rng.normal(size=size) * np.sqrt(frame["vardir"])
    frame.loc[3 : 2 + unseen, "y"] = np.nan
    return frame, edges


def panel_data(rng, areas=60, periods=4):
    domain = np.repeat([f"A{k:03d}" for k in range(areas)], periods)
    frame = pd.DataFrame({"domain": domain, "year": np.tile(2015 + np.arange(periods), areas)})
    frame["x"] = rng.normal(size=len(frame))
    frame["vardir"] = rng.uniform(0.2, 0.6, len(frame))
    frame["y"] = 1 + 2 * frame["x"] + np.repeat(rng.normal(size=areas), periods)
    frame["y"] += rng.normal(size=len(frame)) * np.sqrt(0.4 + frame["vardir"])
    return frame


def test_the_map_is_matched_by_name(rng):
    frame, edges = spatial_data(rng)
    names = list(frame["domain"])
    square = pd.DataFrame(SAR(edges).weights(names).toarray(), index=names, columns=names)
    maps = [edges, neighbours(edges, names), square.sample(frac=1, random_state=1, axis=0)]
    fits = [FayHerriot("y ~ x", spatial=SAR(given)).fit(frame) for given in maps]
    fits.append(FayHerriot("y ~ x", spatial=SAR(edges)).fit(frame.sample(frac=1, random_state=2)))
    for fit in fits[1:]:
        table = fit.to_frame().set_index("domain").loc[names]
        np.testing.assert_allclose(table["estimate"], fits[0].estimates["estimate"], rtol=1e-7)
        np.testing.assert_allclose(table["mse"], fits[0].estimates["mse"], rtol=1e-6)


def test_areas_without_a_sample_learn_from_their_neighbours(rng):
    frame, edges = spatial_data(rng)
    fit = FayHerriot("y ~ x", spatial=SAR(edges)).fit(frame)
    table = fit.to_frame()
    empty = ~table["in_sample"].to_numpy(bool)
    synthetic = fit.coefficients["coef"].to_numpy() @ np.vstack([np.ones(80), frame["x"]])
    assert np.abs(table["estimate"] - synthetic)[empty].max() > 0.1
    assert (table.loc[empty, "gamma"] == 0).all()
    island = fit.provenance["islands"]
    assert island == ("A079",)
    assert "A079" in fit.summary()


def test_joint_error_is_the_dense_one(rng):
    frame, edges = spatial_data(rng, size=60)
    fit = FayHerriot("y ~ x", spatial=SAR(edges)).fit(frame)
    s1, r1 = fit.variance_components[["sigma2_u", "rho_u"]]
    W = SAR(edges).weights(list(frame["domain"])).toarray()
    root = np.eye(60) - r1 * W
    G = s1 * np.linalg.inv(root.T @ root)
    s = np.flatnonzero(frame["y"].notna())
    V = G[np.ix_(s, s)] + np.diag(frame["vardir"].to_numpy()[s])
    weights = G[:, s] @ np.linalg.inv(V)
    X = np.column_stack([np.ones(60), frame["x"]])
    loose = X - weights @ X[s]
    dense = G - weights @ G[s] + loose @ np.linalg.inv(X[s].T @ np.linalg.inv(V) @ X[s]) @ loose.T
    # a row whose MSE is less than g1 + g2 (g4 is taken off) is shrunk to it
    shrink = np.sqrt(np.minimum(1.0, fit.estimates["mse"].to_numpy() / np.diag(dense)))
    dense *= np.outer(shrink, shrink)
    off = ~np.eye(60, dtype=bool)  # on the diagonal stands the MSE, with what estimating the parameters costs
    np.testing.assert_allclose(fit.joint.covariance()[off], dense[off], rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(fit.joint.mse(), fit.estimates["mse"], rtol=EXACT)
    draws = fit.draws(4000, seed=1).values
    np.testing.assert_allclose(draws.var(axis=0), fit.estimates["mse"], rtol=0.15)  # 6 sd of 4000 draws


def test_benchmark_and_aggregate(rng):
    frame, edges = spatial_data(rng)
    frame["half"], frame["population"] = np.repeat(["N", "S"], 40), rng.uniform(1, 2, 80)
    fit = FayHerriot("y ~ x", spatial=SAR(edges)).fit(frame)
    assert len(fit.aggregate(by="half", weights="population")) == 2
    final = fit.benchmark({"N": 1.0, "S": 2.0}, within="half", weights="population", method="difference")
    means = final.aggregate(by="half", weights="population")
    np.testing.assert_allclose(means["estimate"], [1.0, 2.0], rtol=1e-12)
    np.testing.assert_allclose(means["mse"], 0.0, atol=1e-12)


def test_a_map_without_neighbours_is_refused(rng):
    frame, _ = spatial_data(rng)
    empty = pd.DataFrame({"a": pd.Series(dtype=str), "b": pd.Series(dtype=str)})
    with pytest.raises(SaeInputError, match="no pair"):
        FayHerriot("y ~ x", spatial=SAR(empty)).fit(frame)


def test_few_areas_get_intervals_and_draws_from_one_posterior(rng):
    frame, edges = spatial_data(rng, size=30, unseen=2)
    model = FayHerriot("y ~ x", spatial=SAR(edges))
    fit = model.fit(frame)
    assert set(fit.estimates["interval"]) == {"posterior, flat-variance prior"}
    bayes = FayHerriot("y ~ x", spatial=SAR(edges), method="bayes", prior="flat-variance").fit(frame)
    pd.testing.assert_frame_equal(
        fit.estimates.frame[["ci_low", "ci_high"]], bayes.estimates.frame[["ci_low", "ci_high"]]
    )
    np.testing.assert_array_equal(fit.draws(50, seed=1).values, bayes.draws(50, seed=1).values)
    with pytest.raises(SaeSpecError, match="seed"):
        FayHerriot("y ~ x", spatial=SAR(edges), mse="bootstrap").fit(frame)


def test_a_change_over_time_at_a_variance_of_zero_is_not_certain(rng):
    """With equal estimates in both periods the change was 0 with a standard error of 3e-10."""
    domain = np.repeat([f"A{k:02d}" for k in range(15)], 2)
    frame = pd.DataFrame({"domain": domain, "year": np.tile([0, 1], 15), "vardir": 0.25})
    frame["y"] = np.repeat(rng.normal(size=15), 2) + 0.5 * np.tile([1.0, -1.0], 15) * rng.normal(size=30)
    frame["y"] -= 0.9 * (frame["y"] - frame.groupby("domain")["y"].transform("mean"))
    fit = FayHerriot("y ~ 1", temporal=AR1("year", rho=0.0), replicates=5).fit(frame, seed=1)
    assert fit.variance_components["sigma2_v"] == 0.0
    table = changes(fit, 0, 1)
    assert (np.abs(table["estimate"]) < 1e-6).all()
    assert (table["se"] > 0.1).all()
    assert set(table["interval"]) == {"posterior, flat-variance prior"}
    draws = fit.draws(2000, seed=1).values
    moved = draws[:, 1::2] - draws[:, ::2]
    np.testing.assert_allclose(np.sqrt((moved**2).mean(axis=0)), table["se"], rtol=0.12)


def test_all_variances_zero_is_reported(rng):
    frame, edges = spatial_data(rng)
    frame["y"] = 1 + 2 * frame["x"] + 1e-3 * rng.normal(size=80)
    with pytest.warns(BoundaryVarianceWarning, match="exactly 0"):
        fit = FayHerriot("y ~ x", spatial=SAR(edges)).fit(frame)
    assert fit.variance_components["sigma2_u"] == 0.0
    assert fit.estimates["interval"].str.startswith("posterior").all()
    assert ((fit.estimates["ci_high"] - fit.estimates["ci_low"]) > 0).all()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda names: neighbours(pd.DataFrame({"a": ["A000"], "b": ["A001"]}), names[:-1]), "A079"),
        (lambda names: pd.DataFrame({"a": ["A000"], "b": ["Atlantis"]}), "Atlantis"),
        (lambda names: pd.DataFrame(-np.ones((80, 80)), index=names, columns=names), "negative"),
    ],
)
def test_maps_that_do_not_match_are_refused(rng, given, message):
    frame, _ = spatial_data(rng)
    with pytest.raises(SaeInputError, match=message):
        FayHerriot("y ~ x", spatial=SAR(given(list(frame["domain"])))).fit(frame)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "fh"}, "method"),
        ({"transform": "arcsin"}, "transform"),
        ({"per": ("year",)}, "per"),
        ({"temporal": AR1("year"), "mse": "analytical"}, "mse"),
        ({"temporal": AR1("year"), "mse": "nonparametric"}, "mse"),
        ({"spatial": "leroux: map.csv"}, "Bayes only"),
        ({"spatial": None, "mse": "nonparametric"}, "SAR"),
    ],
)
def test_options_without_meaning_are_refused(options, message):
    with pytest.raises(SaeSpecError, match=message):
        FayHerriot("y ~ x", **{"spatial": SAR("map.csv"), **options})


def test_specification_reads_from_and_writes_to_toml(rng):
    spec = FayHerriot("y ~ x", spatial=SAR("maps/edges.csv"), temporal=AR1("year", rho=0.0))
    back = FayHerriot.from_toml(spec.to_toml())
    assert back.to_toml() == spec.to_toml()
    assert (back.temporal, back.spatial.map) == (AR1("year", rho=0.0), "maps/edges.csv")
    _, edges = spatial_data(rng)
    with pytest.raises(SaeSpecError, match="in memory"):
        FayHerriot.from_toml(FayHerriot("y ~ x", spatial=SAR(edges)).to_toml())


def test_a_map_in_a_file_is_the_same_map(rng, tmp_path):
    frame, edges = spatial_data(rng)
    edges.to_csv(tmp_path / "edges.csv", index=False)
    fits = [FayHerriot("y ~ x", spatial=SAR(given)).fit(frame) for given in (edges, tmp_path / "edges.csv")]
    pd.testing.assert_series_equal(fits[0].estimates["estimate"], fits[1].estimates["estimate"])


def test_rao_yu_on_a_panel_with_holes(rng):
    frame = panel_data(rng)
    frame.loc[::7, "y"] = np.nan
    fit = FayHerriot("y ~ x", temporal=AR1("year"), replicates=20).fit(frame, seed=1)
    assert list(fit.variance_components.index[::2]) == ["sigma2_u", "sigma2_v", "rho_v"]
    assert fit.estimates["estimate"].notna().all()
    assert set(fit.estimates["time"]) == {"2015", "2016", "2017", "2018"}
    dropped = FayHerriot("y ~ x", temporal=AR1("year"), replicates=20).fit(frame.dropna(), seed=1)
    kept = fit.to_frame()[frame["y"].notna().to_numpy()]  # rows that are not asked for change nothing
    np.testing.assert_allclose(dropped.estimates["estimate"], kept["estimate"], rtol=1e-7)


def test_a_gap_of_a_year_is_a_gap_in_time(rng):
    frame = panel_data(rng)
    without = frame[frame["year"] != 2016]
    gap = FayHerriot("y ~ x", temporal=AR1("year"), replicates=5).fit(without, seed=1)
    empty = frame.assign(y=frame["y"].mask(frame["year"] == 2016))
    full = FayHerriot("y ~ x", temporal=AR1("year"), replicates=5).fit(empty, seed=1)
    np.testing.assert_allclose(
        gap.estimates["estimate"],
        full.to_frame().loc[(frame["year"] != 2016).to_numpy(), "estimate"],
        rtol=1e-7,
    )


def test_change_has_the_mse_of_the_joint_error_and_overlap_counts(rng):
    frame = panel_data(rng)
    model = FayHerriot("y ~ x", temporal=AR1("year", covariance="cov"), replicates=60)
    fits = [model.fit(frame.assign(cov=rho * frame["vardir"].min()), seed=1) for rho in (0.0, 0.5)]
    tables = [changes(fit, 2017, 2018) for fit in fits]
    first, last = (fits[0].to_frame().query("time == @year") for year in ("2017", "2018"))
    np.testing.assert_allclose(
        tables[0]["estimate"], last["estimate"].to_numpy() - first["estimate"].to_numpy()
    )
    joint = fits[0].joint.covariance()
    i, j = first.index.to_numpy(), last.index.to_numpy()
    np.testing.assert_allclose(tables[0]["se"] ** 2, joint[i, i] + joint[j, j] - 2 * joint[i, j], rtol=1e-9)
    assert not np.allclose(tables[0]["estimate"], tables[1]["estimate"])
    with pytest.raises(SaeInputError, match="2031"):
        changes(fits[0], 2017, 2031)


def test_covariances_of_direct_estimates_are_used(rng):
    """A labelled covariance matrix gives what the column of lag covariances gives."""
    frame = panel_data(rng, areas=60, periods=3)
    cov = 0.5 * frame["vardir"].min()
    rows = frame.rename(columns={"y": "estimate"}).assign(
        indicator="y",
        definition="",
        geo=frame["domain"],
        time=frame["year"].astype(str),
        n=10,
        n_eff=10.0,
        status="ok",
        variance=frame["vardir"],
        se=np.sqrt(frame["vardir"]),
    )
    label = pd.MultiIndex.from_frame(rows[["indicator", "domain", "time"]])
    matrix = np.diag(frame["vardir"])
    for k in range(len(frame) - 1):
        if frame["domain"].iloc[k] == frame["domain"].iloc[k + 1]:
            matrix[k, k + 1] = matrix[k + 1, k] = cov
    direct = DirectEstimates(
        rows.assign(region=rows["domain"]).drop(columns=["year", "x"]),
        ("region",),
        pd.DataFrame(matrix, index=label, columns=label),
    )
    given = FayHerriot("y ~ 1", temporal=AR1("time"), replicates=5).fit(direct, seed=1)
    column = FayHerriot("y ~ 1", temporal=AR1("year", covariance="cov"), replicates=5)
    by_column = column.fit(frame.assign(cov=cov), seed=1)
    plain = FayHerriot("y ~ 1", temporal=AR1("year"), replicates=5).fit(frame, seed=1)
    np.testing.assert_allclose(given.estimates["estimate"], by_column.estimates["estimate"], rtol=1e-7)
    assert not np.allclose(given.estimates["estimate"], plain.estimates["estimate"])


def test_impossible_covariances_are_refused_by_name(rng):
    frame = panel_data(rng).assign(cov=0.0)
    frame.loc[(frame["domain"] == "A007") & (frame["year"] == 2016), "cov"] = 5.0
    with pytest.raises(SaeInputError, match="A007"):
        FayHerriot("y ~ x", temporal=AR1("year", covariance="cov")).fit(frame, seed=1)


def test_two_rows_of_an_area_without_periods_are_refused(rng):
    frame = panel_data(rng)
    with pytest.raises(SaeInputError, match="more than once"):
        FayHerriot("y ~ x", spatial=SAR(pd.DataFrame({"a": ["A000"], "b": ["A001"]}))).fit(frame, seed=1)


@pytest.mark.slow
def test_intervals_of_few_areas_cover(rng):
    """Posterior quantiles at 25 areas; Student's t on the analytical MSE would claim less."""
    names, edges = chain(25)
    W = SAR(edges).weights(names).toarray()
    root, inside, total = np.linalg.inv(np.eye(25) - 0.5 * W), 0, 0
    for _ in range(60):
        x, vardir = rng.normal(size=25), rng.uniform(0.3, 0.8, 25)
        truth = 1 + x + root @ rng.normal(size=25)
        frame = pd.DataFrame({"domain": names, "x": x, "vardir": vardir})
        frame["y"] = truth + rng.normal(size=25) * np.sqrt(vardir)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit = FayHerriot("y ~ x", spatial=SAR(edges)).fit(frame)
        low, high = fit.estimates["ci_low"].to_numpy(), fit.estimates["ci_high"].to_numpy()
        inside, total = inside + ((truth > low) & (truth < high)).sum(), total + 25
    assert 0.93 < inside / total < 0.985


def spatial_frame(rng):
    frame = pd.DataFrame({"domain": [f"A{k:02d}" for k in range(24)], "x": rng.normal(size=24)})
    frame["vardir"] = rng.uniform(0.05, 0.6, 24)
    frame["y"] = 1.0 + 0.7 * frame["x"] + rng.normal(size=24) * np.sqrt(0.3 + frame["vardir"])
    edges = pd.DataFrame({"a": frame["domain"][:-1].to_numpy(), "b": frame["domain"][1:].to_numpy()})
    return frame, {"spatial": SAR(edges)}


@pytest.mark.parametrize("method", ["reml", "bayes"])
def test_means_and_scales_of_covariates_and_outcome_cost_no_digits(rng, method):
    # what a column of mean 1e8 stores of its spread has eight digits; the fit keeps all of them
    frame, options = spatial_frame(rng)
    spec = FayHerriot("y ~ x", method=method, **options)
    base = spec.fit(frame, seed=1)
    for moved, shift in (
        (frame.assign(x=frame["x"] + 1e8), 0.0),
        (frame.assign(y=frame["y"] + 1e6), 1e6),
    ):
        result = spec.fit(moved, seed=1)
        for name, off in (("estimate", shift), ("se", 0.0), ("ci_low", shift)):
            got, right = (fit.to_frame()[name].to_numpy() for fit in (result, base))
            np.testing.assert_allclose(got - off, right, rtol=0, atol=1e-5 * base.to_frame()["se"].mean())
        slope = result.coefficients.iloc[1, 0] * (moved["x"].std() / frame["x"].std())
        assert slope == pytest.approx(base.coefficients.iloc[1, 0], rel=1e-6)


@pytest.mark.parametrize("method", ["reml", "ml"])
def test_a_tiny_variance_is_a_known_value(rng, method):
    frame, options = spatial_frame(rng)
    spec = FayHerriot("y ~ x", method=method, replicates=5, **options)
    found = []
    # the full likelihood of one exact area grows without bound as the variances go to 0: not so far there
    for tiny in (1e-6, 1e-13, 1e-20 if method == "reml" else 1e-15):
        frame.loc[0, "vardir"] = tiny
        found.append(spec.fit(frame, seed=1))
    first = found[0]
    assert first.variance_components.max() > 1e-2
    for other in found[1:]:
        np.testing.assert_allclose(other.variance_components, first.variance_components, rtol=1e-4, atol=1e-6)
        estimates = (fit.estimates["estimate"].to_numpy() for fit in (other, first))
        np.testing.assert_allclose(*estimates, rtol=1e-4)
        assert other.estimates["estimate"].iloc[0] == pytest.approx(frame["y"].iloc[0], rel=1e-8)
    assert found[1].estimates["mse"].iloc[0] == pytest.approx(1e-13, rel=1e-6)


def test_without_effects_the_residual_sum_is_one_of_squares(rng):
    frame, options = spatial_frame(rng)
    frame["y"] = 1.0 + 0.7 * frame["x"] + 0.3 * np.sqrt(frame["vardir"]) * rng.normal(size=24)
    spec = FayHerriot("y ~ x", replicates=5, **options)
    for tiny in (1e-6, 1e-20):
        frame.loc[0, ["y", "vardir"]] = 1.0 + 0.7 * frame.loc[0, "x"], tiny
        fit = spec.fit(frame, seed=1)
        assert fit.variance_components["sigma2_u"] == 0.0
        root = 1.0 / np.sqrt(frame["vardir"].to_numpy())
        X = np.column_stack([np.ones(24), frame["x"]])
        order = np.argsort(-root)
        beta = np.linalg.lstsq((X * root[:, None])[order], (frame["y"] * root)[order], rcond=None)[0]
        np.testing.assert_allclose(fit.coefficients["coef"], beta, rtol=1e-8)


def test_variances_whose_squares_are_no_numbers_are_named(rng):
    frame, options = spatial_frame(rng)
    huge = frame.assign(y=frame["y"] * 1e80, vardir=frame["vardir"] * 1e160)
    with pytest.raises(SaeInputError, match="24 sampling variances") as error:
        FayHerriot("y ~ x", **options).fit(huge, seed=1)
    assert error.value.column == "vardir"
