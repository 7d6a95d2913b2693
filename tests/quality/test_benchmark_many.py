"""Benchmarking by MSE, to several figures at once, inside 0 to 1, and to figures with errors of their own."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from scipy.special import expit, logit

from sae.errors import SaeInputError, SaeSpecError
from sae.quality import benchmark_estimates, gap_variance

EXACT = 1e-12  # the constraints are algebra: only rounding is left
ALGEBRA = 1e-10  # two routes through the same linear equations
ORACLE = 1e-9  # figures of the reference, printed to 15 digits
METHODS = ["ratio", "difference", "mse", "optimal", "logit"]


@pytest.fixture
def case(rng):
    """Twelve areas: four regions in two countries, crossed with two groups; targets that hold together."""
    n = 12
    root = rng.normal(size=(n, n))
    estimate, weights = rng.uniform(0.2, 0.8, n), rng.uniform(1e3, 1e6, n)
    regions = np.repeat(["AT1", "AT2", "DE1", "DE2"], 3)
    columns = {
        "region": regions,
        "country": np.array([label[:2] for label in regions]),
        "sex": np.tile(["f", "m"], 6),
    }
    truth = np.clip(estimate + rng.normal(0, 0.08, n), 0.02, 0.98)
    targets = {
        name: {
            str(label): float(np.average(truth[labels == label], weights=weights[labels == label]))
            for label in np.unique(labels)
        }
        for name, labels in columns.items()
    }
    return {
        "estimate": estimate,
        "weights": weights,
        "groups": columns,
        "targets": targets,
        "domains": list("abcdefghijkl"),
        "mse": root @ root.T * 1e-4,
    }


def run(case, **change):
    given = case | change
    first = [given.pop(key) for key in ("estimate", "weights", "groups", "targets")]
    return benchmark_estimates(*first, **given)


def misses(theta, case):
    """Largest miss of any target, redundant ones too."""
    gaps = []
    for name, labels in case["groups"].items():
        for label, target in case["targets"][name].items():
            inside = labels == label
            mean = np.average(theta[..., inside], weights=case["weights"][inside], axis=-1)
            gaps.append(np.max(np.abs(mean - target)))
    return max(gaps)


@pytest.mark.parametrize("method", METHODS)
def test_all_targets_are_met_those_that_follow_from_others_too(case, method):
    final = run(case, method=method)
    assert misses(final.estimate, case) < EXACT
    assert len(final.labels) == 8
    # 4 regions give both countries, and these with one sex the other
    assert final.constraints.labels == ("region AT1", "region AT2", "region DE1", "region DE2", "sex f")


@pytest.mark.parametrize("method", METHODS)
def test_every_draw_meets_all_targets(case, method, rng):
    final = run(case, method=method)
    draws = np.clip(rng.normal(case["estimate"], 0.05, (40, 12)), 0.01, 0.99)
    assert misses(final.draws(draws), case) < EXACT
    assert np.allclose(final.draws(case["estimate"][None])[0], final.estimate, rtol=0, atol=EXACT)


@pytest.mark.parametrize("method", METHODS)
def test_matrix_and_gain_are_the_derivatives(case, method):
    final, step = run(case, method=method), 1e-6
    columns = []
    for unit in np.eye(12):
        ends = [run(case, estimate=case["estimate"] + sign * step * unit, method=method) for sign in (1, -1)]
        columns.append((ends[0].estimate - ends[1].estimate) / (2 * step))
    A = np.column_stack(columns)
    assert np.allclose(A, final.matrix(), rtol=0, atol=1e-8)  # central differences: step²
    # along a change of estimates the targets move with S'; put back, the estimate moves by A alone
    change = np.linspace(-1, 1, 12) * step
    S = final.constraints.weights
    theta = case["estimate"] + change
    again = final.draws(theta[None])[0] - final.estimate
    assert np.allclose(S.T @ again, 0, atol=EXACT)
    assert np.allclose(S.T @ final.gain.toarray(), np.eye(5), rtol=0, atol=ALGEBRA)


@pytest.mark.parametrize("method", METHODS)
def test_gain_is_the_derivative_by_the_target(case, method):
    groups, targets = case["groups"]["region"], case["targets"]["region"]
    single = case | {"groups": groups, "targets": targets}
    final, step = run(single, method=method), 1e-6
    for k, label in enumerate(targets):
        ends = [
            run(single, targets=targets | {label: targets[label] + sign * step}, method=method).estimate
            for sign in (1, -1)
        ]
        assert np.allclose((ends[0] - ends[1]) / (2 * step), final.gain.toarray()[:, k], rtol=0, atol=1e-8)


def omega(case, method):
    w = case["weights"]
    return {
        "difference": np.diag(1 / w),
        "mse": np.diag(np.diag(case["mse"]) / w),
        "optimal": case["mse"],
    }[method]


@pytest.mark.parametrize("method", ["difference", "mse", "optimal"])
def test_lines_are_constrained_least_squares(case, method):
    """The KKT system of min (θ - x)' Ω^-1 (θ - x) subject to S'θ = t."""
    final = run(case, method=method)
    S, t = final.constraints.weights.toarray(), final.constraints.target
    inverse = np.linalg.inv(omega(case, method))
    inverse /= np.abs(inverse).max()
    kkt = np.block([[2 * inverse, S], [S.T, np.zeros((5, 5))]])
    answer = np.linalg.solve(kkt, np.r_[2 * inverse @ case["estimate"], t])[:12]
    assert np.allclose(final.estimate, answer, rtol=0, atol=ALGEBRA)


@pytest.mark.parametrize("method", ["ratio", "logit"])
def test_links_minimise_the_divergence(case, method):
    """Brute force: no other estimates that meet the targets have a smaller Σ w KL."""
    final = run(case, method=method)
    x, w = case["estimate"], case["weights"] / case["weights"].max()

    def divergence(y):
        inner = y * np.log(y / x) - y + x
        if method == "logit":
            inner = y * np.log(y / x) + (1 - y) * np.log((1 - y) / (1 - x))
        return w @ inner

    S, t = final.constraints.weights.toarray(), final.constraints.target
    found = minimize(
        divergence,
        x,
        method="SLSQP",
        bounds=[(1e-6, 1 - 1e-6)] * 12,
        options={"ftol": 1e-14, "maxiter": 500},
        constraints={"type": "eq", "fun": lambda y: S.T @ y - t, "jac": lambda y: S.T},
    )
    assert np.allclose(found.x, final.estimate, atol=2e-5)  # what SLSQP reaches
    assert divergence(final.estimate) <= found.fun + 1e-9


def test_logit_is_one_shift_per_target(case):
    final = run(case, method="logit")
    shift = logit(final.estimate) - logit(case["estimate"])
    assert np.allclose(shift, final.adjustment, atol=ALGEBRA)
    B = final.constraints.weights.toarray() > 0
    residual = shift - B @ np.linalg.lstsq(B.astype(float), shift, rcond=None)[0]
    assert np.abs(residual).max() < ALGEBRA


@pytest.mark.parametrize("target", [0.001, 0.3, 0.99999, 1 - 1e-10])
def test_logit_reaches_any_share_and_leaves_zeros(target):
    x = np.array([0.0, 1e-12, 0.2, 0.5, 0.999])
    final = benchmark_estimates(
        x,
        np.array([1e-12, 1, 2, 3, 4]),
        ["A"] * 5,
        {"A": target},
        domains="abcde",
        method="logit",
        bounds=(0, 1),
        factor_range=(0, 2),
    )
    assert final.estimate[0] == 0
    assert abs(final.estimate @ [1e-13, 0.1, 0.2, 0.3, 0.4] - target) < EXACT
    assert ((final.estimate[1:] > 0) & (final.estimate <= 1)[1:]).all()  # 1 - 1e-17 rounds to 1
    assert np.isfinite(final.adjustment).all() and np.isfinite(final.matrix()).all()
    # the derivative at 0 is that of the odds
    assert np.isclose(final.scale[0], np.exp(final.adjustment[0]))


def test_logit_of_one_group_by_bisection(rng):
    x, w = rng.uniform(0, 1, 50), rng.uniform(1, 100, 50)
    final = benchmark_estimates(x, w, ["A"] * 50, {"A": 0.9}, domains=range(50), method="logit")
    low, high = -20.0, 20.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if np.average(expit(logit(x) + middle), weights=w) < 0.9 else (low, middle)
    assert np.isclose(final.adjustment[0], low, rtol=0, atol=ALGEBRA)


@pytest.mark.parametrize("method", METHODS)
def test_order_of_areas_does_not_matter(case, method, rng):
    order = rng.permutation(12)
    shuffled = case | {
        "estimate": case["estimate"][order],
        "weights": case["weights"][order],
        "domains": [case["domains"][k] for k in order],
        "mse": case["mse"][np.ix_(order, order)],
        "groups": {name: labels[order] for name, labels in case["groups"].items()},
    }
    assert np.allclose(
        run(shuffled, method=method).estimate, run(case, method=method).estimate[order], atol=EXACT
    )


@pytest.mark.parametrize("method", METHODS)
def test_the_unit_does_not_matter(case, method):
    """Totals of weights 1e6 times larger and means are the same constraints."""
    if method == "logit":
        final = run(case, method=method, weights=case["weights"] * 1e-9)
    else:
        change = {
            "estimate": case["estimate"] * 1e6,
            "mse": case["mse"] * 1e12,
            "targets": {name: {k: v * 1e6 for k, v in old.items()} for name, old in case["targets"].items()},
        }
        final = run(case, method=method, **change)
    scale = 1.0 if method == "logit" else 1e6
    assert np.allclose(final.estimate / scale, run(case, method=method).estimate, atol=ALGEBRA)


def test_mse_adjusted_against_emdi(reference, shared_data):
    """The reference call gives the shares by position in another order: see `test_against_emdi`."""
    outputs = reference("emdi_benchmark_mse_adj")["outputs"]
    fit = reference("emdi_fh_ml_analytical")["outputs"]
    assert fit["domain"] == outputs["Domain"]
    mse, fh, target = np.array(fit["mse"]["FH"]), np.array(outputs["FH"]), 20140.09
    population = pd.read_csv(shared_data / "emdi_eusilcA_popAgg.csv")

    def ours(shares):
        return benchmark_estimates(
            fh, shares, ["AT"] * 94, {"AT": target}, domains=outputs["Domain"], method="mse", mse=mse
        ).estimate

    by_position = ours(population["ratio_n"].to_numpy())
    assert np.allclose(by_position, outputs["FH_Bench"], rtol=ORACLE)
    assert np.allclose(by_position[:3], [14249.1566, 21620.6295, 12688.8776], rtol=0, atol=6e-5)
    by_name = population.set_index("Domain").loc[outputs["Domain"], "ratio_n"].to_numpy()
    assert np.isclose(by_name @ ours(by_name), target, rtol=EXACT)


# Figures with errors of their own


def variances(case, value):
    return {name: dict.fromkeys(figures, value) for name, figures in case["targets"].items()}


def test_soft_targets_give_the_conditional_mean_and_variance(case):
    """Normal theory by brute force: condition (θ, t) on the targets seen with error."""
    M = case["mse"]
    final = run(case, method="optimal", soft=True, target_variance=variances(case, 2e-4))
    assert len(final.constraints.labels) == 8  # none follows from others when all have errors
    S = final.constraints.weights.toarray()
    precision = np.linalg.inv(M) + S @ S.T / 2e-4
    mean = np.linalg.solve(precision, np.linalg.solve(M, case["estimate"]) + S @ final.target / 2e-4)
    assert np.allclose(final.estimate, mean, rtol=0, atol=1e-8)  # M has a condition number of 1e5
    assert np.allclose(final.covariance(M), np.linalg.inv(precision), rtol=1e-6, atol=1e-12)


def test_soft_becomes_exact_and_nothing(case):
    exact = run(case, method="optimal")
    nearly = run(case, method="optimal", soft=True, target_variance=variances(case, 1e-14))
    assert np.allclose(nearly.estimate, exact.estimate, atol=1e-7)
    far = run(case, method="optimal", soft=True, target_variance=variances(case, 1e9))
    assert np.allclose(far.estimate, case["estimate"], atol=1e-9)
    zero = run(case, method="optimal", soft=True, target_variance=variances(case, 0.0))
    assert np.allclose(zero.estimate, exact.estimate, rtol=0, atol=EXACT)


@pytest.mark.parametrize("method", ["difference", "mse", "optimal"])
def test_error_of_the_targets_is_carried(case, method, rng):
    """Monte Carlo: outside targets with errors, estimates with errors; the covariance of what comes out."""
    groups, targets = case["groups"]["region"], case["targets"]["region"]
    errors = dict(zip(targets, (1e-4, 4e-4, 0.0, 9e-4), strict=True))
    single = case | {"groups": groups, "targets": targets, "target_variance": errors}
    final = run(single, method=method)
    joint = final.covariance(case["mse"])
    S = final.constraints.weights.toarray()
    assert np.allclose(S.T @ joint @ S, np.diag(list(errors.values())), rtol=0, atol=EXACT)
    draws = final.draws(rng.multivariate_normal(case["estimate"], case["mse"], 40_000), seed=3)
    # a variance from 40 000 draws has a relative standard error of 0.7 %; 5 of them
    assert np.allclose(draws.var(axis=0), np.diag(joint), rtol=0.036)
    assert np.array_equal(
        final.draws(case["estimate"][None], seed=3), final.draws(case["estimate"][None], seed=3)
    )
    with pytest.raises(SaeSpecError, match="need a seed"):
        final.draws(case["estimate"][None])


@pytest.mark.parametrize("method", METHODS)
def test_covariance_is_the_dense_product(case, method):
    final = run(case, method=method)
    A = final.matrix()
    assert np.allclose(final.covariance(case["mse"]), A @ case["mse"] @ A.T, rtol=0, atol=EXACT)


def test_nonlinear_covariance_is_that_of_draws_close_to_the_estimate(case, rng):
    small = case["mse"] * 1e-3
    final = run(case, method="logit", target_variance=variances(case, 0.0))
    draws = final.draws(rng.multivariate_normal(case["estimate"], small, 20_000))
    joint = final.covariance(small)
    scale = np.sqrt(np.outer(np.diag(joint), np.diag(joint)))
    # a correlation from 20 000 draws has a standard error of 0.007; 5 of them, and the curvature
    assert np.abs((np.cov(draws.T) - joint) / scale).max() < 0.04


def test_cost_of_internal_benchmarking_by_brute_force(rng):
    """Fay–Herriot with known variance: every step is linear in y, so that the MSE is exact algebra."""
    n, sigma2 = 15, 0.7
    X = np.column_stack([np.ones(n), rng.normal(size=n)])
    vardir, w = rng.uniform(0.2, 2, n), rng.uniform(1, 5, n)
    total = sigma2 + vardir
    Q = np.linalg.inv(X.T @ (X / total[:, None]))
    hat = X @ Q @ (X / total[:, None]).T
    gamma = (sigma2 / total)[:, None]
    H = gamma * np.eye(n) + (1 - gamma) * hat  # the BLUP is H y
    final = benchmark_estimates(
        np.arange(1.0, n + 1), w, ["A"] * n, {"A": 9.0}, domains=range(n), method="optimal", mse=np.ones(n)
    )
    S, G = final.constraints.weights.toarray(), final.gain.toarray()
    bench = H + G @ S.T @ (np.eye(n) - H)  # y also makes the target S'y

    def mse_of(L):  # errors L (u + e) - u; the fixed part is met, as L X = X
        assert np.allclose(L @ X, X, atol=EXACT)
        own = (L - np.eye(n)) * np.sqrt(sigma2)
        return own @ own.T + (L * vardir) @ L.T

    gap = gap_variance(X, vardir, sigma2, S)
    assert np.allclose(final.covariance(mse_of(H), gap), mse_of(bench), rtol=0, atol=ALGEBRA)
    # Steorts and Ghosh (2013), g4 with h_ij = x_i' Q x_j
    B, V, s = vardir / total, total, S[:, 0]
    g4 = np.sum((s * B) ** 2 * V) - (s * B) @ (X @ Q @ X.T) @ (s * B)
    assert np.isclose(gap[0, 0], g4, rtol=ALGEBRA)
    with pytest.raises(SaeSpecError, match="variances of their own"):
        benchmark_estimates(
            np.ones(n), w, ["A"] * n, {"A": 1.0}, domains=range(n), target_variance={"A": 1.0}
        ).covariance(np.eye(n), gap)


# What cannot be met


def test_figures_that_contradict_each_other_are_named_with_the_difference(case):
    targets = case["targets"] | {"country": case["targets"]["country"] | {"AT": 0.9}}
    mean = np.average(
        [targets["region"][k] for k in ("AT1", "AT2")],
        weights=[case["weights"][case["groups"]["region"] == k].sum() for k in ("AT1", "AT2")],
    )
    with pytest.raises(
        SaeInputError, match=r"The target of country AT is 0\.9, but those of region AT1, region AT2"
    ) as e:
        run(case, targets=targets, method="difference")
    assert f"make it {mean:.10g}: {0.9 - mean:+.3g} too much" in str(e.value)
    assert e.value.areas == ("country AT", "region AT1", "region AT2")


def test_a_rounded_whole_is_named_and_a_soft_one_is_not(case):
    country = {k: round(v, 3) for k, v in case["targets"]["country"].items()}
    with pytest.raises(SaeInputError, match=r"The target of country (AT|DE) is 0\.[0-9]+, but"):
        run(case, targets=case["targets"] | {"country": country})
    errors = variances(case, 0.0) | {"country": dict.fromkeys(country, 1e-6)}
    final = run(
        case,
        targets=case["targets"] | {"country": country},
        target_variance=errors,
        soft=True,
        method="optimal",
    )
    assert misses(final.estimate, case) < EXACT  # the exact regions decide


@pytest.mark.parametrize("method", ["ratio", "logit"])
def test_targets_out_of_reach_are_named(method):
    """Of two halves one at 0.9 and a whole at 0.2: half of 0.9 is more than the whole."""
    call = {"domains": "ab", "method": method, "mean": False, "factor_range": (0, 2)}
    groups = {"half": ["x", "y"], "whole": ["W", "W"]}
    with pytest.raises(SaeInputError, match=r"half y, whole W|target of whole W is 0.4"):
        benchmark_estimates(
            np.array([0.5, 0.5]),
            np.ones(2),
            groups,
            {"half": {"x": 0.9, "y": 0.1}, "whole": {"W": 0.4}},
            **call,
        )
    # no figure follows from the others, but the two that overlap leave less than nothing for c
    groups = {"left": ["L", "L", "l"], "right": ["r", "R", "R"], "whole": ["W"] * 3}
    targets = {"left": {"L": 0.9, "l": 0.1}, "right": {"r": 0.3, "R": 0.7}, "whole": {"W": 1.0}}
    fine = benchmark_estimates(np.full(3, 0.5), np.ones(3), groups, targets, **(call | {"domains": "abc"}))
    assert np.allclose(fine.estimate, [0.3, 0.6, 0.1], atol=EXACT)
    targets = {"left": {"L": 0.2, "l": 0.8}, "right": {"r": 0.5, "R": 0.5}, "whole": {"W": 1.0}}
    with pytest.raises(SaeInputError, match="cannot all be met by areas") as error:
        benchmark_estimates(np.full(3, 0.5), np.ones(3), groups, targets, **(call | {"domains": "abc"}))
    assert "by 0.3" in str(error.value) and len(error.value.areas) >= 2


def test_a_share_beyond_one_is_named():
    with pytest.raises(
        SaeInputError, match=r"target of AT cannot be met by areas between 0 and 1: it is 1.2"
    ):
        benchmark_estimates(
            np.array([0.5, 0.6]), np.ones(2), ["AT", "AT"], {"AT": 1.2}, domains="ab", method="logit"
        )


@pytest.mark.parametrize(
    ("change", "kind", "match"),
    [
        ({"method": "mse", "mse": None}, SaeSpecError, "mse= is not given"),
        ({"method": "mse", "mse": np.ones(3)}, SaeInputError, r"shape \(3,\), but there are 12"),
        ({"method": "mse", "mse": np.full(12, np.nan)}, SaeInputError, "have no MSE"),
        ({"method": "mse", "mse": np.zeros(12)}, SaeInputError, "their MSE is zero"),
        ({"soft": True}, SaeSpecError, "soft=True weighs"),
        ({"method": "logit", "estimate": np.full(12, 1.1)}, SaeInputError, "12 of 12 areas have an estimate"),
        ({"method": "ratio", "estimate": np.full(12, -0.1)}, SaeInputError, "not positive"),
        ({"groups": {"region": ["A"] * 12}}, SaeInputError, "the targets are for region, country, sex"),
        ({"target_variance": {"town": {}}}, SaeInputError, "town, which is no column"),
        ({"target_variance": {"sex": {"f": 1.0}}}, SaeInputError, "no target variance is given for m"),
        ({"target_variance": {"sex": {"f": 1.0, "m": -1.0}}}, SaeInputError, "variance of m is negative"),
    ],
)
def test_bad_options_are_refused_by_name(case, change, kind, match):
    with pytest.raises(kind, match=match):
        run(case, **change)


def test_draws_that_leave_the_range_are_refused(case):
    final = run(case, method="logit")
    with pytest.raises(SaeInputError, match="1 of 2 draws hold values outside 0 to 1"):
        final.draws(np.stack([case["estimate"], case["estimate"] - 0.8]))
