"""Criteria against emdi, the derivative of the predictions by differences, and their unbiasedness."""

import numpy as np
import pandas as pd
import pytest

from sae.errors import SaeInputError, SaeSpecError
from sae.numerics.fay_herriot.fit import METHODS, fit_batch
from sae.quality import conditional_aic, fay_herriot_r2, information_criteria

ORACLE = 1e-9  # figures of emdi with 15 digits, from data with fewer
DERIVATIVE = 2e-4  # central differences of a variance solved to 1e-11


@pytest.fixture(scope="session")
def eusilc(shared_data):
    sample, population = (
        pd.read_csv(shared_data / f"emdi_eusilcA_{name}.csv") for name in ("smpAgg", "popAgg")
    )
    return sample.merge(population, on="Domain", validate="1:1").sort_values("Domain")


def design(frame, *columns):
    return np.column_stack([np.ones(len(frame)), *(frame[name] for name in columns)])


def test_criteria_of_emdi(reference):
    theirs = reference("emdi_fh_ml_analytical")["outputs"]["model_select"]
    ours = information_criteria(theirs["loglike"], 4, 94)
    for name in ("aic", "bic", "kic"):
        assert np.isclose(getattr(ours, name), theirs[name.upper()], rtol=1e-13)
    assert np.allclose(
        [ours.loglik, ours.aic, ours.bic], [-847.83029, 1703.66059, 1713.83376], rtol=0, atol=6e-6
    )


@pytest.mark.parametrize(
    ("case", "y", "vardir", "columns"),
    [
        ("ml_analytical", lambda f: f.Mean, lambda f: f.Var_Mean, ("cash", "self_empl")),
        (
            "log_ml_bc_sm_analytical",
            lambda f: np.log(f.Mean),
            lambda f: f.Var_Mean / f.Mean**2,
            ("cash", "self_empl"),
        ),
        (
            "arcsin_ml_bc_boot_mc",
            lambda f: np.arcsin(np.sqrt(f.MTMED)),
            lambda f: 1 / (4 * f.n),
            ("cash", "age_ben", "rent", "house_allow"),
        ),
    ],
)
def test_r2_of_emdi(eusilc, reference, case, y, vardir, columns):
    ours = fay_herriot_r2(y(eusilc).to_numpy(), design(eusilc, *columns), vardir(eusilc).to_numpy())
    assert np.isclose(ours, reference(f"emdi_fh_{case}")["outputs"]["model_select"]["FH_R2"], rtol=ORACLE)


def test_r2_is_free_of_the_sampling_error(rng):
    """Monte Carlo: true R² 0.5; the ordinary one is pulled to 0.25 by the sampling errors."""
    n, values = 400, []
    for _ in range(60):
        x, u = rng.normal(size=n), rng.normal(size=n)
        vardir = rng.uniform(1, 3, n) * 0.5
        y = x + u + rng.normal(0, np.sqrt(vardir))
        values.append(fay_herriot_r2(y, np.column_stack([np.ones(n), x]), vardir))
    # mean squares 2 and 3, of which 1 is sampling error, go through h(x, b) = 2x / (1 + exp(2b/x))
    expected = 1 - (4 / (1 + np.exp(1.0))) / (6 / (1 + np.exp(2 / 3)))
    assert abs(np.mean(values) - expected) < 5 * np.std(values) / np.sqrt(60) + 0.01
    rest = y - np.polyval(np.polyfit(x, y, 1), x)
    plain = 1 - np.sum(rest**2) / (n - 2) / y.var(ddof=1)
    assert np.isclose(fay_herriot_r2(y, np.column_stack([np.ones(n), x]), vardir * 1e-12), plain)


@pytest.fixture
def model(rng):
    n = 20
    X = np.column_stack([np.ones(n), rng.normal(size=n)])
    vardir = rng.uniform(0.3, 2, n)
    return X @ [1, 2] + rng.normal(0, 1.2, n) + rng.normal(0, np.sqrt(vardir)), X, vardir


def predictions(y, X, vardir, sigma2):
    """EBLUP of every row of y at its model variance."""
    total = sigma2[:, None] + vardir
    Q = np.linalg.inv(np.einsum("ip,ri,iq->rpq", X, 1 / total, X))
    beta = np.einsum("rpq,iq,ri->rp", Q, X, y / total)
    fitted = beta @ X.T
    return fitted + sigma2[:, None] / total * (y - fitted)


def variances(y, X, vardir, method):
    return fit_batch(y, vardir, X.T.copy(), np.array([0, len(vardir)]), method).variance[:, 0]


@pytest.mark.parametrize("method", METHODS)
def test_penalty_is_the_derivative_of_the_predictions(model, method):
    y, X, vardir = model
    sigma2 = variances(y[None], X, vardir, method)
    step = 1e-4
    ends = y + np.concatenate([np.eye(20), -np.eye(20)]) * step
    moved = predictions(ends, X, vardir, variances(ends, X, vardir, method))
    slope = np.trace(moved[:20] - moved[20:]) / (2 * step)
    held = predictions(ends, X, vardir, np.repeat(sigma2, 40))
    ours = conditional_aic(y, X, vardir, float(sigma2[0]), method=method)
    assert sigma2[0] > 0 and abs(ours.penalty - slope) < DERIVATIVE
    assert abs(ours.effective_parameters - np.trace(held[:20] - held[20:]) / (2 * step)) < 1e-7
    assert 2 < ours.effective_parameters < 20 and ours.penalty != ours.effective_parameters


@pytest.mark.parametrize("method", ["ll-reml", "ll-ml", "yl-reml", "yl-ml"])
def test_penalty_of_adjusted_likelihoods(model, method):
    """The maximum by a fine search over the dense adjusted likelihood, then differences."""
    from scipy.optimize import brentq

    y, X, vardir = model
    kind, base = method.split("-")

    def score(A, y):
        inverse = np.diag(1 / (A + vardir))
        P = inverse - inverse @ X @ np.linalg.inv(X.T @ inverse @ X) @ X.T @ inverse
        value = 0.5 * (y @ P @ P @ y - np.trace(P if base == "reml" else inverse))
        if kind == "ll":
            return value + 1 / A
        h = 1e-5

        def log_angle(A):
            return np.log(np.arctan(np.sum(A / (A + vardir)))) / len(vardir)

        return value + (log_angle(A + h) - log_angle(A - h)) / (2 * h)

    def predict(y):
        A = brentq(score, 0.05, 50, args=(y,), xtol=1e-13, rtol=1e-14)
        return A, predictions(y[None], X, vardir, np.array([A]))[0]

    step = 1e-4
    slope = sum(
        (predict(y + step * unit)[1] - predict(y - step * unit)[1]) @ unit / (2 * step) for unit in np.eye(20)
    )
    assert abs(conditional_aic(y, X, vardir, predict(y)[0], method=method).penalty - slope) < DERIVATIVE


def test_at_the_boundary_only_the_coefficients_count(model):
    y, X, vardir = model
    ours = conditional_aic(y, X, vardir, 0.0)
    assert np.isclose(ours.effective_parameters, 2) and ours.penalty == ours.effective_parameters


def test_large_model_variance_follows_every_area(model):
    y, X, vardir = model
    assert np.isclose(conditional_aic(y, X, vardir, 1e9).effective_parameters, 20, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_caic_is_unbiased_for_new_estimates_of_the_same_areas(method):
    """Stein's lemma: E cAIC = E{-2 log f(y* | θ)} with y* new direct estimates of the same true values."""
    rng, n, runs = np.random.default_rng(7), 30, 1500
    X = np.column_stack([np.ones(n), rng.normal(size=n)])
    vardir = rng.uniform(0.3, 1.5, n)
    truth = X @ [1, 2] + rng.normal(0, 1.5, n)
    y = truth + rng.normal(0, np.sqrt(vardir), (runs, n))
    sigma2 = variances(y, X, vardir, method)
    theta = predictions(y, X, vardir, sigma2)
    # E over y* given θ in closed form
    target = np.sum(np.log(2 * np.pi * vardir) + 1 + (truth - theta) ** 2 / vardir, axis=1)
    ours = np.array(
        [conditional_aic(y[r], X, vardir, float(sigma2[r]), method=method).caic for r in range(runs)]
    )
    gap = ours - target
    assert abs(gap.mean()) < 4 * gap.std() / np.sqrt(runs)


def test_bad_calls_are_refused(model):
    y, X, vardir = model
    with pytest.raises(SaeSpecError, match="'moment' is not known"):
        conditional_aic(y, X, vardir, 1.0, method="moment")
    with pytest.raises(SaeInputError, match="1 of 20 areas lack a figure"):
        fay_herriot_r2(np.where(np.arange(20) == 1, np.nan, y), X, vardir)
    with pytest.raises(SaeInputError, match="2 areas are too few for 2"):
        fay_herriot_r2(y[:2], X[:2], vardir[:2])
