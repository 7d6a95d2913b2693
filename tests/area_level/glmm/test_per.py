"""Models with area effects, one fit per value of a column: as each alone, refused each by its name."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from scipy.stats import binom

import sae
from sae.errors import SaeConvergenceError, SaeError, SaeInputError
from sae.samplers.grid import GridPosterior

QUADRATURE = (
    5e-3  # posterior deviations: 4,096 weighted points (their means err by less than 1e-3) and the box
)
APART = 5.0 / np.sqrt(4000)  # of a correlation of 4,000 independent draws, its standard error times 5

pytestmark = pytest.mark.filterwarnings("ignore::sae.errors.SaeWarning")
GROUPS = ["native", "eu", "third"]
MODELS = {
    "binomial": (sae.BinomialMixed, "y ~ x", {}),
    "beta-binomial": (sae.BetaBinomialMixed, "y ~ x", {"rho_prior": "beta(2, 20)"}),
    "poisson": (sae.PoissonMixed, "y ~ x", {"exposure": "n"}),
    "beta": (sae.BetaFayHerriot, "share ~ x", {}),
    "unmatched": (sae.UnmatchedFayHerriot, "share ~ x", {"link": "logit"}),
    "variance": (sae.YouChapman, "share ~ x", {}),
}


@pytest.fixture(scope="module")
def frame():
    """Three groups of 14 areas in a random order of rows, with an area without a sample in each."""
    rng = np.random.default_rng(8)
    size = 14 * len(GROUPS)
    x, n = rng.normal(size=size), rng.integers(10, 60, size)
    share = expit(-0.9 + 0.5 * x + 0.5 * rng.normal(size=size))
    found = pd.DataFrame(
        {
            "domain": [f"A{k:02d}" for k in range(14)] * len(GROUPS),
            "group": np.repeat(GROUPS, 14),
            "x": x,
            "n": n,
            "y": rng.binomial(n, share).astype(float),
            "share": np.clip(share + 0.03 * rng.normal(size=size), 0.02, 0.98),
            "n_eff": 25.0,
            "vardir": 0.005,
            "df": 9,
        }
    )
    found.loc[[3, 17, 40], ["y", "share"]] = np.nan
    return found.sample(frac=1.0, random_state=2).reset_index(drop=True)


@pytest.mark.parametrize("name", MODELS)
def test_every_fit_has_the_numbers_it_has_alone(name, frame):
    make, formula, options = MODELS[name]
    if name != "binomial":  # the others take the same way
        frame = frame[frame["group"] != "third"].reset_index(drop=True)
    spec, plain = make(formula, per="group", **options), make(formula, **options)
    assert type(spec).from_toml(spec.to_toml()) == spec and "one fit per group" in repr(spec)
    fit = spec.fit(frame)
    drawn, covariance = fit.draws(50, seed=3).values, fit.joint.covariance()
    for group in GROUPS if name == "binomial" else GROUPS[:1]:
        mine = (frame["group"] == group).to_numpy()
        own = frame[mine].reset_index(drop=True)
        alone, apart = spec.fit(own), plain.fit(own)
        for column in ("domain", "direct", "estimate", "mse", "ci_low", "ci_high", "prior", "in_sample"):
            values = fit.estimates[column][mine].tolist()
            assert values == alone.estimates[column].tolist() == apart.estimates[column].tolist() or (
                column == "direct"
                and np.array_equal(values, apart.estimates[column].to_numpy(), equal_nan=True)
            ), column
        for table in ("variance_components", "diagnostics", "coefficients"):
            rows = getattr(fit, table).loc[group].to_numpy()
            assert (rows.ravel() == getattr(apart, table).to_numpy().ravel()).all(), table
        residuals = fit.residuals[mine[fit.residuals.index]].drop(columns=["domain", "leverage"])
        assert (residuals.to_numpy() == apart.residuals[list(residuals)].to_numpy()).all()
        assert (drawn[:, mine] == alone.draws(50, seed=3).values).all()
        assert (covariance[np.ix_(mine, mine)] == apart.joint.covariance()).all()
        assert (covariance[np.ix_(mine, ~mine)] == 0.0).all()
        posterior, single = fit.source.posterior, apart.source.posterior
        assert (posterior.exceedance(0.3)[mine] == single.exceedance(0.3)).all()
        sampled = frame["y"].notna().to_numpy()
        assert (posterior.loo()[0][mine[sampled]] == single.loo()[0]).all()
        sample = posterior.draw(20, 1)
        assert sample.replicated.shape == sample.log_likelihood.shape == (20, sampled.sum())
        assert np.array_equal(sample.values, posterior.values(20, 1))
        assert posterior.fresh(20, 1).shape == sample.replicated.shape
        assert f"sigma_u[{group}]" in sample.parameters


def test_fits_are_drawn_apart_also_where_their_data_are_the_same(frame):
    one = frame[frame["group"] == "eu"]
    twice = pd.concat([one, one.assign(group="again")], ignore_index=True)
    fit = sae.BinomialMixed("y ~ x", per="group").fit(twice)
    estimates = fit.estimates["estimate"].to_numpy()
    assert (estimates[:14] == estimates[14:]).all()
    drawn = fit.draws(4000, seed=1).values
    apart = np.corrcoef(drawn[:, :14].T, drawn[:, 14:].T)[:14, 14:]
    assert np.abs(apart).max() < APART


def test_what_follows_a_fit_goes_on(frame):
    fit = sae.BinomialMixed("y ~ x", per="group").fit(frame)
    assert all(group in fit.summary() for group in GROUPS)
    assert list(fit.diagnostics.index) == sorted(GROUPS) and (fit.diagnostics["ess"] > 2000).all()
    total = fit.aggregate("group", weights="n")
    weights, mine = frame["n"].to_numpy(), (frame["group"] == "eu").to_numpy()
    share = (weights * fit.estimates["estimate"])[mine].sum() / weights[mine].sum()
    place = total["group"].tolist().index("eu")
    assert total["estimate"].iloc[place] == pytest.approx(share)
    targets = {"native": 0.31, "eu": 0.28, "third": 0.3}
    met = fit.benchmark(targets, weights="n", within="group", method="logit")
    for group, target in targets.items():
        mine = (frame["group"] == group).to_numpy()
        found = (weights * met.estimates["estimate"])[mine].sum() / weights[mine].sum()
        assert found == pytest.approx(target, rel=1e-9)


def test_a_fit_of_several_is_that_of_brute_force():
    """The posterior of 8 shares by sums over a box of nodes of β and log σ, effects by 80 nodes."""
    rng = np.random.default_rng(4)
    n = rng.integers(5, 40, 16).astype(float)
    frame = pd.DataFrame(
        {
            "domain": list("ABCDEFGH") * 2,
            "year": np.repeat([1, 2], 8),
            "n": n,
            "y": rng.binomial(n.astype(int), expit(rng.normal(-1.5, 0.6, 16))).astype(float),
        }
    )
    fit = sae.BinomialMixed("y ~ 1", per="year", prior="half-normal(0.8)").fit(frame)
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    beta, t = (part.ravel() for part in np.meshgrid(np.linspace(-6, 3, 91), np.linspace(-6.5, 1.5, 81)))
    sigma = np.exp(t)
    shares = expit(beta + sigma * nodes[:, None])
    own = frame[frame["year"] == 2]
    log_density, first, second = -0.5 * (sigma / 0.8) ** 2 + t, [], []
    for y, size in zip(own["y"], own["n"], strict=True):
        likelihood = weights[:, None] * binom.pmf(y, size, shares)
        total = likelihood.sum(axis=0)
        log_density += np.log(total)
        first.append((likelihood * shares).sum(axis=0) / total)
        second.append((likelihood * shares**2).sum(axis=0) / total)
    density = np.exp(log_density - log_density.max())
    density /= density.sum()
    mean = np.array(first) @ density
    sd = np.sqrt(np.array(second) @ density - mean**2)
    found = fit.estimates[8:]
    assert np.abs((found["estimate"] - mean) / sd).max() < QUADRATURE
    assert np.abs(found["se"] / sd - 1.0).max() < QUADRATURE
    assert fit.variance_components["sigma_u"].loc[2] == pytest.approx(sigma @ density, rel=QUADRATURE)


FAULTS = {
    "nothing is observed": {"y": np.nan},
    "no trials": {"n": 0, "y": np.nan},
    "all are 0": {"y": 0.0},
    "more than all": {"y": 99.0},
    "a covariate that is constant": {"x": 1.0},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_group_that_cannot_be_fitted_is_named_and_costs_no_other(fault, frame):
    spec = sae.BinomialMixed("y ~ x", per="group", prior="flat-sd")
    bad = (frame["group"] == "eu").to_numpy()
    faulty = frame.copy()
    for column, value in FAULTS[fault].items():
        faulty[column] = np.where(bad, value, frame[column])
    with pytest.raises(SaeInputError):
        spec.fit(faulty)
    fit, refused = spec.fit_each(faulty)
    assert list(refused) == [("eu",)] and isinstance(refused["eu",], SaeError)
    alone = spec.fit(frame[~bad])
    for column in ("domain", "group", "estimate", "mse", "ci_low", "ci_high"):
        assert fit.estimates[column].tolist() == alone.estimates[column].tolist()


def test_a_group_whose_weights_are_not_to_be_trusted_is_named(frame, monkeypatch):
    moments = GridPosterior.moments
    size = int((frame["group"] == "eu").sum())

    def doubtful(self):
        if len(self.X) == size - 1:
            raise SaeConvergenceError("Pareto k = 0.9, above 0.7.", hint="Fewer covariates.")
        return moments(self)

    monkeypatch.setattr(GridPosterior, "moments", doubtful)
    some = frame.drop(index=frame.index[(frame["group"] == "eu") & (frame["domain"] == "A05")])
    fit, refused = sae.BinomialMixed("y ~ x", per="group").fit_each(some)
    assert refused["eu",].what == "Pareto k = 0.9, above 0.7 in eu."
    assert set(fit.estimates["group"]) == {"native", "third"}
