"""The jackknife MSE: its definition, simulation, and the arcsine jackknives of emdi explained."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import fminbound

from sae.area_level import FayHerriot
from sae.errors import SaeInputError
from sae.numerics.fay_herriot.fit import fit_batch
from sae.numerics.fay_herriot.jackknife import jackknife_mse

# emdi's 94 line searches end where ours do but for rounding, which 94 differences of g1 amplify
EMDI = 1e-7
SEARCH = 2.220446049250313e-16**0.25  # the absolute tolerance of emdi's line search: half of the variance


def column(result, name):
    return result.estimates[name].to_numpy(dtype=float)


@pytest.fixture
def incomes(shared_data):
    return pd.read_csv(shared_data / "emdi_eusilcA_smpAgg.csv"), pd.read_csv(
        shared_data / "emdi_eusilcA_popAgg.csv"
    )


def by_hand(y, D, X, sampled, method, weighted):
    """The definition, one refit after the other."""
    inside = np.flatnonzero(sampled)
    m = len(inside)

    def one(rows):
        fit = fit_batch(y[rows], D[rows], X[:, rows], [0, len(rows)], method)
        A, fitted = fit.variance[0, 0], fit.coefficients[0, 0] @ X
        gamma = np.array([A / (A + D[i]) if sampled[i] else 0.0 for i in range(len(y))])
        estimate = [
            fitted[i] + gamma[i] * (y[i] - fitted[i]) if sampled[i] else fitted[i] for i in range(len(y))
        ]
        return (1 - gamma) * A, np.array(estimate)

    g1, estimate = one(inside)
    H = X[:, inside].T @ np.linalg.solve(X[:, inside] @ X[:, inside].T, X[:, inside])
    total = g1.copy()
    for j in range(m):
        w = 1 - H[j, j] if weighted else (m - 1) / m
        g1_without, without = one(np.delete(inside, j))
        total += w * ((without - estimate) ** 2 - (g1_without - g1))
    return total


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("method", ["reml", "fh", "ll-ml"])
def test_jackknife_is_its_definition(rng, monkeypatch, weighted, method):
    n = 22
    X, D = np.vstack([np.ones(n), rng.normal(size=n)]), rng.uniform(0.3, 1.0, n)
    y = X.sum(axis=0) + rng.normal(size=n) * np.sqrt(1.0 + D)
    sampled = np.arange(n) > 1
    y[0], D[0] = np.nan, np.nan
    fits = fit_batch(y[2:], D[2:], X[:, 2:], [0, n - 2], method)
    monkeypatch.setattr("sae.numerics.fay_herriot.jackknife._ELEMENTS", 7 * n * 2)  # in blocks
    mse, corrected = jackknife_mse(
        fits.variance[0, 0], fits.coefficients[0, 0], y, D, X, sampled, method=method, weighted=weighted
    )
    expected = by_hand(y, D, X, sampled, method, weighted)
    np.testing.assert_allclose(mse[corrected], expected[corrected], rtol=1e-7)
    assert (expected[~corrected] <= 0).all()
    assert corrected.sum() > 15


def test_jackknife_is_nearly_unbiased(rng):
    n, runs, A = 30, 300, 1.0
    X, D = np.vstack([np.ones(n), rng.normal(size=n)]), np.exp(0.4 * rng.normal(size=n))
    truth = np.sqrt(A) * rng.normal(size=(runs, n))
    y = truth + np.sqrt(D) * rng.normal(size=(runs, n))
    fits = fit_batch(y, D, X, [0, n], "reml", full=False)
    estimated, error = [], []
    for k in range(runs):
        A_hat, beta = fits.variance[k, 0], fits.coefficients[k, 0]
        mse, _ = jackknife_mse(A_hat, beta, y[k], D, X, np.ones(n, bool), method="reml")
        estimated.append(mse.mean())
        gamma = A_hat / (A_hat + D)
        error.append(((beta @ X + gamma * (y[k] - beta @ X) - truth[k]) ** 2).mean())
    # 300 × 30 squared errors: about 2 % noise
    assert np.mean(estimated) == pytest.approx(np.mean(error), rel=0.1)


@pytest.mark.filterwarnings("ignore::sae.errors.BoundaryVarianceWarning")
def test_jackknife_needs_every_area_to_be_dispensable():
    frame = pd.DataFrame(
        {"area": list("abcdefg"), "y": [1.0, 2, 4, 3, 2, 5, 3], "g": ["p"] * 6 + ["q"], "vardir": 0.1}
    )
    spec = FayHerriot("y ~ g", domain="area", mse="jackknife")
    with pytest.raises(SaeInputError, match=r"without g nothing is left to estimate g\[T.q\]") as error:
        spec.fit(frame)
    assert error.value.areas == ("g",)
    fit = spec.fit(frame.assign(g=["p", "q"] * 3 + ["p"]))
    assert fit.estimates["mse_method"].str.startswith("jackknife").all()


def loglik(A, y, D, X, restricted):
    XWX = (X / (A + D)) @ X.T
    residual = y - np.linalg.solve(XWX, (X / (A + D)) @ y) @ X
    value = -0.5 * (np.log(A + D).sum() + (residual**2 / (A + D)).sum())
    return value - 0.5 * np.linalg.slogdet(XWX)[1] if restricted else value


def as_emdi_computes(y, D, X, A, restricted, weighted):
    """emdi's two jackknives on the arcsine scale, times its slope sin 2θ̂.

    Leaving an area out changes nothing but the variance: the coefficients stay those of all areas. Each
    variance comes from the search on [0, var y] of all areas, whose tolerance is of the size of the variance.
    """
    n, length = len(y), (X**2).sum(axis=0)

    def parts(A):
        XWX = (X / (A + D)) @ X.T
        fitted = np.linalg.solve(XWX, (X / (A + D)) @ y) @ X
        # g2 with the number Σ x'x / V for the matrix Σ x x' / V
        g2 = (D / (A + D)) ** 2 * length / (length / (A + D)).sum()
        return A * D / (A + D), g2, fitted + A / (A + D) * (y - fitted)

    def search(kept):
        return fminbound(
            lambda a: -loglik(a, y[kept], D[kept], X[:, kept], restricted), 0, y.var(ddof=1), xtol=SEARCH
        )

    without = np.array([search(np.delete(np.arange(n), j)) for j in range(n)])
    g1, g2, estimate = parts(A)
    g1_without, g2_without, moved = (np.array(part) for part in zip(*map(parts, without), strict=True))
    spread = ((moved - estimate) ** 2).sum(axis=0)
    slope = np.sin(2 * estimate)
    if not weighted:
        return (g1 + (n - 1) / n * (spread - (g1_without - g1).sum(axis=0))) * slope
    # the weight is that of the area predicted, not of the area left out
    weight = 1 - (X * np.linalg.solve(X @ X.T, X)).sum(axis=0)
    bias = (g1_without + g2_without - g1 - g2).sum(axis=0)
    mse = g1 + g2 + weight * (spread - bias)
    # where that is negative: second-order expansion of g1, here with the weights of the areas left out
    V, change = A + D, without - A
    bias = (D / V) ** 2 * (weight @ change) - D**2 / V**3 * (weight @ change**2)
    return np.where(mse < 0, g1 + g2 - bias + weight * spread, mse) * slope


@pytest.mark.filterwarnings("ignore::sae.errors.BoundaryVarianceWarning")
@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize("kind", ["jackknife", "weighted_jackknife"])
def test_emdis_arcsin_jackknives_explained(incomes, reference, method, kind):
    """Exception: emdi's figures are reproduced by what it computes, and are not the jackknife.

    Jiang, Lahiri and Wan refit everything without the area, coefficients too; the slope of sin² enters a
    variance squared; negative figures (nearly all under REML) are no MSE. Under ML all its searches end
    at one point, half a tolerance from the maximum 0, so that nothing of a jackknife is left: g1 sin 2θ̂.
    """
    expected = reference(f"emdi_fh_arcsin_{method}_naive_{kind}")["outputs"]
    sample, population = incomes
    frame = population.merge(sample, on="Domain").set_index("Domain").loc[expected["domain"]]
    X = np.vstack([np.ones(94), *(frame[name] for name in ("cash", "age_ben", "rent", "house_allow"))])
    y, D = np.arcsin(np.sqrt(frame["MTMED"].to_numpy())), 0.25 / frame["n"].to_numpy()
    A, theirs = expected["variance"], np.array(expected["mse"]["FH"])
    restricted, weighted = method == "reml", kind.startswith("weighted")
    np.testing.assert_allclose(as_emdi_computes(y, D, X, A, restricted, weighted), theirs, rtol=EMDI)
    assert (theirs < 0).sum() == 2 if method == "ml" else (theirs < 0).sum() >= 91
    # ours: the definition, refit by refit, on the scale of the model, then times the slope squared
    fit = FayHerriot(
        "MTMED ~ cash + age_ben + rent + house_allow",
        domain="Domain",
        n_eff="n",
        transform="arcsin",
        back="naive",
        method=method,
        mse=kind.replace("_", "-"),
    ).fit(frame.reset_index())
    table = fit.to_frame().set_index("domain").loc[expected["domain"]]
    exact, everywhere = fit_batch(y, D, X, [0, 94], method), np.ones(94, bool)
    definition = by_hand(y, D, X, everywhere, method, weighted)
    variance, coefficients = exact.variance[0, 0], exact.coefficients[0, 0]
    mse, corrected = jackknife_mse(
        variance, coefficients, y, D, X, everywhere, method=method, weighted=weighted
    )
    np.testing.assert_allclose(mse[corrected], definition[corrected], rtol=1e-6)
    fitted = coefficients @ X
    estimate = fitted + variance / (variance + D) * (y - fitted)
    error = np.sqrt(mse) * np.random.default_rng(1).normal(size=(20_000, 1))
    gap = np.sin(estimate + error) ** 2 - np.sin(np.clip(estimate, 0, np.pi / 2)) ** 2
    np.testing.assert_allclose(table["mse"], (gap**2).mean(axis=0), rtol=0.06)  # noise √(3 / 20,000)
    flat = estimate > np.pi / 2  # two districts, where sin² has its summit: their slope is 0, their error not
    assert flat.sum() == 2
    assert (table["mse"][flat] > 1e-6).all()
    inner = np.abs(estimate - np.pi / 4) < 0.4
    slope = np.sin(2 * estimate) ** 2
    np.testing.assert_allclose(table["mse"][inner], (mse * slope)[inner], rtol=0.1)


def test_the_slope_enters_a_variance_squared():
    # the variance of sin² T for T ~ N(t, s²) is s² sin² 2t to first order, not s² sin 2t
    draws = np.random.default_rng(1).normal(0.2, 0.01, 200_000)
    assert np.var(np.sin(draws) ** 2) == pytest.approx(1e-4 * np.sin(0.4) ** 2, rel=0.02)


@pytest.mark.parametrize("kind", ["jackknife", "weighted-jackknife"])
def test_arcsin_jackknife_agrees_with_the_bootstrap(incomes, kind):
    sample, population = incomes
    options = {"domain": "Domain", "n_eff": "n", "transform": "arcsin", "replicates": 500}
    formula = "MTMED ~ cash + age_ben + rent + house_allow"
    jackknife = FayHerriot(formula, mse=kind, **options).fit(sample, areas=population)
    boot = FayHerriot(formula, mse="bootstrap", **options).fit(sample, areas=population, seed=1)
    ratio = column(jackknife, "mse") / column(boot, "mse")
    # with γ near 0 both are dominated by the coefficients, whose jackknife has leverage noise
    assert 0.6 < np.median(ratio) < 1.7
