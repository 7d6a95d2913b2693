"""Mean squared errors: parts by dense algebra, limits, and simulation against the truth."""

import numpy as np
import pytest

from sae.numerics.fay_herriot.bootstrap import bootstrap_mse
from sae.numerics.fay_herriot.fit import METHODS, fit_batch
from sae.numerics.fay_herriot.mse import predict
from sae.numerics.inference.transforms import TRANSFORMS

EXACT = 1e-10
# second-order MSE formulas at m = 40 leave o(1/m); the mean over areas of 20,000 simulations has 0.2 % noise
FORMULA = 0.04
# relative Monte Carlo error of a bootstrap MSE is sqrt(2 / B) per area, less for the mean over areas
BOOTSTRAP = 0.05
IDENTITY = TRANSFORMS["identity"]


def design(rng, n=40, p=2):
    return np.vstack([np.ones(n), rng.normal(size=(p - 1, n))]), np.exp(0.5 * rng.normal(size=n))


def predictions(y, D, X, sampled, method):
    inside = np.flatnonzero(sampled)
    fits = fit_batch(y[inside], D[inside], X[:, inside], [0, len(inside)], method)
    part = predict(
        float(fits.variance[0, 0]), fits.coefficients[0, 0], fits.root[0, 0], y, D, X, sampled, method
    )
    return fits, part


@pytest.mark.parametrize("method", METHODS)
def test_parts_by_dense_algebra(rng, method):
    X, D = design(rng)
    y = X.sum(axis=0) + rng.normal(size=40) * np.sqrt(1.0 + D)
    sampled = np.arange(40) >= 3
    y[:3], D[:3] = np.nan, np.nan
    fits, part = predictions(y, D, X, sampled, method)
    A, s = fits.variance[0, 0], sampled
    V, Xs, Ds, m = A + D[s], X[:, s], D[s], 37
    Q = np.linalg.inv((Xs / V) @ Xs.T)
    spread = {"fh": 2 * m / (1 / V).sum() ** 2, "pr": 2 * (V**2).sum() / m**2}.get(method, 2 / (V**-2).sum())
    ml, lifted = -np.trace(Q @ (Xs / V**2) @ Xs.T) / (V**-2).sum(), 2 / A / (V**-2).sum()
    bias = {
        "reml": 0.0,
        "ml": ml,
        "fh": 2 * (m * (V**-2).sum() - (1 / V).sum() ** 2) / (1 / V).sum() ** 3,
        "pr": 0.0,
        "ll-reml": lifted,
        "ll-ml": ml + lifted,
        "yl-reml": 0.0,
        "yl-ml": ml,
    }[method]
    B = Ds / V
    g2 = B**2 * np.einsum("pm,pq,qm->m", Xs, Q, Xs)
    expected = A * B + g2 + 2 * B**2 * spread / V - bias * B**2
    np.testing.assert_allclose(part.mse[s], expected, rtol=EXACT)
    outside = A - bias + np.einsum("pm,pq,qm->m", X[:, :3], Q, X[:, :3])
    np.testing.assert_allclose(part.mse[:3], outside, rtol=EXACT)
    np.testing.assert_allclose(part.estimate[:3], fits.coefficients[0, 0] @ X[:, :3], rtol=EXACT)
    H = part.factor
    np.testing.assert_allclose((H * H).sum(axis=0), part.g2, rtol=EXACT)


def test_limits_of_the_sampling_variance(rng):
    X, D = design(rng)
    y = X.sum(axis=0) + rng.normal(size=40) * np.sqrt(2.0)
    everywhere = np.ones(40, bool)
    _, precise = predictions(y, 1e-9 * D, X, everywhere, "reml")
    np.testing.assert_allclose(precise.estimate, y, rtol=1e-6, atol=1e-8)  # the direct estimate
    np.testing.assert_allclose(precise.mse, 1e-9 * D, rtol=1e-6)
    D[0] = 1e9
    fits, vague = predictions(y, D, X, everywhere, "reml")
    assert vague.estimate[0] == pytest.approx(
        fits.coefficients[0, 0] @ X[:, 0], rel=1e-7
    )  # the synthetic one
    assert vague.gamma[0] < 1e-8


def simulated_mse(rng, X, D, A, method, runs):
    n = len(D)
    truth = np.sqrt(A) * rng.normal(size=(runs, n))
    y = truth + np.sqrt(D) * rng.normal(size=(runs, n))
    fits = fit_batch(y, D, X, [0, n], method, full=False)
    gamma = fits.variance / (fits.variance + D)
    fitted = fits.coefficients[:, 0] @ X
    return ((fitted + gamma * (y - fitted) - truth) ** 2).mean(axis=0), fits.variance[:, 0], y


@pytest.mark.parametrize("method", METHODS)
def test_formula_at_the_truth_matches_simulation(rng, method):
    X, D = design(rng)
    A, runs = 1.0, 20_000
    mse, estimates, _ = simulated_mse(rng, X, D, A, method, runs)
    V = A + D
    Q = np.linalg.inv((X / V) @ X.T)
    B = D / V
    spread = estimates.var() if method == "pr" else None
    g3 = {"fh": 80 / (1 / V).sum() ** 2, "pr": spread}.get(method, 2 / (V**-2).sum()) * B**2 / V
    at_truth = A * B + B**2 * np.einsum("pm,pq,qm->m", X, Q, X) + g3
    assert mse.mean() == pytest.approx(at_truth.mean(), rel=FORMULA)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_estimated_mse_is_unbiased_on_average(rng, method):
    X, D = design(rng)
    mse, _, y = simulated_mse(rng, X, D, 1.0, method, 20_000)
    everywhere = np.ones(40, bool)
    estimated = np.mean([predictions(row, D, X, everywhere, method)[1].mse for row in y[:2000]], axis=0)
    assert estimated.mean() == pytest.approx(mse.mean(), rel=FORMULA)


def bootstrap(y, D, X, sampled, labels, **options):
    return bootstrap_with_error(y, D, X, sampled, labels, **options).mse


def bootstrap_with_error(
    y, D, X, sampled, labels, *, method="reml", replicates=2000, seed=1, transform=IDENTITY
):
    fits, _ = predictions(y, D, X, sampled, method)
    return bootstrap_mse(
        fits,
        D,
        X,
        np.array([0, len(D)]),
        sampled,
        labels,
        method=method,
        transform=transform,
        replicates=replicates,
        seed=seed,
    )


@pytest.mark.parametrize("method", ["reml", "ml", "fh"])
def test_bootstrap_against_analytical(rng, method):
    X, D = design(rng, n=60)
    y = X.sum(axis=0) + rng.normal(size=60) * np.sqrt(1.0 + D)
    sampled = np.arange(60) >= 4
    mse = bootstrap(y, D, X, sampled, range(60), method=method)
    _, part = predictions(y, D, X, sampled, method)
    at_estimate = (
        part.g1 + part.g2 + part.g3
    )  # what the bootstrap estimates: no correction for the bias of g1
    assert mse[sampled].mean() == pytest.approx(at_estimate[sampled].mean(), rel=BOOTSTRAP)
    assert mse[~sampled].mean() == pytest.approx(at_estimate[~sampled].mean(), rel=4 * BOOTSTRAP)


def test_bootstrap_does_not_depend_on_order_or_blocks(rng, monkeypatch):
    X, D = design(rng)
    y = X.sum(axis=0) + rng.normal(size=40) * np.sqrt(1.0 + D)
    everywhere, labels = np.ones(40, bool), [f"area {k}" for k in range(40)]
    mse = bootstrap(y, D, X, everywhere, labels, replicates=50)
    order = rng.permutation(40)
    again = bootstrap(y[order], D[order], X[:, order], everywhere, [labels[k] for k in order], replicates=50)
    np.testing.assert_allclose(again, mse[order], rtol=1e-8)
    monkeypatch.setattr("sae.numerics.fay_herriot.bootstrap._ELEMENTS", 40 * 7)
    in_blocks = bootstrap(y, D, X, everywhere, labels, replicates=50)
    np.testing.assert_allclose(in_blocks, mse, rtol=1e-12)
    assert not np.allclose(bootstrap(y, D, X, everywhere, labels, replicates=50, seed=2), mse)


def test_bootstrap_on_the_share_scale(rng):
    n = 50
    X = np.vstack([np.ones(n), rng.uniform(-0.3, 0.3, n)])
    D = np.full(n, 1 / 200)
    y = np.array([0.7, 0.5]) @ X + rng.normal(size=n) * np.sqrt(0.01 + D)
    arcsin = TRANSFORMS["arcsin"]
    everywhere = np.ones(n, bool)
    mse = bootstrap(y, D, X, everywhere, range(n), transform=arcsin)
    _, part = predictions(y, D, X, everywhere, "reml")
    delta = (part.g1 + part.g2 + part.g3) * arcsin.slope(part.estimate, part.g1) ** 2
    assert mse.mean() == pytest.approx(delta.mean(), rel=0.1)  # the delta method, at small variances


@pytest.mark.parametrize("name", ["identity", "arcsin", "arcsin naive", "logit"])
def test_the_expected_loss_is_the_mean_of_drawn_ones_with_less_noise(rng, name):
    # brute force: the truth drawn with the direct estimates, predictions refitted, both taken back
    n, transform = 25, TRANSFORMS[name.split()[0]]
    transform = transform.naive() if "naive" in name else transform
    X = np.vstack([np.ones(n), rng.uniform(-0.3, 0.3, n)])
    D, sampled = rng.uniform(0.002, 0.02, n), np.arange(n) > 2
    y = np.array([0.4, 0.5]) @ X + rng.normal(size=n) * np.sqrt(0.02 + D)
    fits, _ = predictions(y, D, X, sampled, "reml")
    A, beta = fits.variance[0, 0], fits.coefficients[0, 0]
    truth = beta @ X + np.sqrt(A) * rng.normal(size=(20_000, n))
    drawn = truth + np.sqrt(D) * rng.normal(size=truth.shape)
    refit = fit_batch(drawn[:, sampled], D[sampled], X[:, sampled], np.array([0, n - 3]), full=False)
    gamma = np.where(sampled, refit.variance / (refit.variance + D), 0.0)
    fitted = refit.coefficients[:, 0] @ X
    predicted = transform.mean(fitted + gamma * (drawn - fitted), refit.variance * (1 - gamma))
    loss = (predicted - transform.inverse(truth)) ** 2
    boot = bootstrap_with_error(y, D, X, sampled, range(n), replicates=500, transform=transform)
    ours, error = boot.mse, boot.share * boot.mse
    total = np.hypot(error, loss.std(axis=0) / np.sqrt(len(loss)))
    assert np.abs((ours - loss.mean(axis=0)) / total).max() < 4.5
    assert error[sampled].mean() < 0.35 * loss[:, sampled].std(axis=0).mean() / np.sqrt(500)


def test_the_monte_carlo_error_is_that_of_other_seeds(rng):
    n, arcsin = 30, TRANSFORMS["arcsin"]
    X, D, everywhere = np.ones((1, n)), rng.uniform(0.002, 0.02, n), np.ones(n, bool)
    y = 0.5 + rng.normal(size=n) * np.sqrt(0.01 + D)
    runs = [
        bootstrap_with_error(y, D, X, everywhere, range(n), replicates=60, seed=seed, transform=arcsin)
        for seed in range(30)
    ]
    apart = np.std([run.mse for run in runs], axis=0, ddof=1)
    said = np.mean([run.share * run.mse for run in runs], axis=0)
    assert np.mean(said) == pytest.approx(np.mean(apart), rel=0.35)
    assert np.median(0.5 * said / runs[0].mse) < 0.03  # of a standard error; drawn truths: 1/√(2 · 60) = 0.09


def test_replicates_of_a_fit_do_not_depend_on_other_fits(rng):
    X, D = design(rng, n=60)
    y = X.sum(axis=0) + rng.normal(size=60) * np.sqrt(1.0 + D)
    bounds, everywhere = np.array([0, 12, 60]), np.ones(60, bool)
    options = {"method": "reml", "transform": IDENTITY, "replicates": None, "seed": 1}

    def run(part, offsets):
        fits = fit_batch(y[part], D[part], np.ascontiguousarray(X[:, part]), offsets)
        names = [f"a{k}" for k in range(60)][part]
        return bootstrap_mse(fits, D[part], X[:, part], offsets, everywhere[part], names, **options)

    both = run(slice(None), bounds)
    alone = [run(slice(0, 12), np.array([0, 12])), run(slice(12, 60), np.array([0, 48]))]
    assert both.replicates[0] > both.replicates[1]  # twelve areas know their variance less well
    assert both.replicates.tolist() == [int(own.replicates[0]) for own in alone]
    assert both.share.max() <= 0.02
    np.testing.assert_array_equal(both.mse, np.concatenate([own.mse for own in alone]))
