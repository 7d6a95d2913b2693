"""The posterior kernels against adaptive quadrature, two other packages and limits; and the draws."""

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad
from scipy.special import ndtr
from scipy.stats import kstest, norm

from sae.numerics.fay_herriot.fit import fit_batch
from sae.numerics.fay_herriot.posterior import (
    Areas,
    HyperDraws,
    area_exceedance,
    area_moments,
    draw_areas,
    draw_hyper,
    place_nodes,
    reduced_draws,
    tiles_of,
)
from sae.numerics.inference.priors import FLAT_SD, FLAT_VARIANCE, HALF_CAUCHY, HALF_NORMAL, PC, log_prior
from sae.numerics.random.normals import normals_of
from sae.numerics.random.streams import stream_keys

ORACLE = 1e-10  # what doubling the nodes may change
ADAPTIVE = 1e-8  # adaptive quadrature's own request is 1e-10, cancellation in its second moments takes two
TRAPEZOID = 1e-7  # the reference: 20,001 points on log A, cut at the bottom where up to 6e-9 of the mass lies
# hbsae keeps the sampling variances near 1 by a very strong prior instead of fixing them (its README)
HBSAE = 2e-5
PRINTED = 5e-6
ROUNDING = 1e-12
DENSITY = 1e-6  # of the interpolated density that is drawn from, relative
Z = 4.5  # of the largest of some hundred z-scores
PRIORS = [(FLAT_VARIANCE, 1.0), (FLAT_SD, 1.0), (HALF_NORMAL, 0.7), (HALF_CAUCHY, 0.3), (PC, 0.4)]


def problem(rng, n, p=2, sd=0.7, spread=1.0):
    X = np.vstack([np.ones(n), rng.normal(size=(p - 1, n))])
    D = np.exp(spread * rng.normal(size=n))
    return Areas.of(rng.normal(size=n) * np.sqrt(D + sd**2), D, X)


def join(parts):
    """One batch of several problems."""
    sizes = np.cumsum([0, *(len(part.y) for part in parts)])
    columns = [np.concatenate([getattr(part, name) for part in parts]) for name in ("y", "vardir")]
    sampled = np.concatenate([part.sampled for part in parts])
    return Areas.of(*columns, np.hstack([part.X for part in parts]), sampled, sizes)


def milk(oracle_data):
    frame = pd.read_csv(oracle_data / "milk.csv")
    X = np.vstack([np.ones(43), *[(frame["MajorArea"] == k).astype(float) for k in (2, 3, 4)]])
    return Areas.of(frame["yi"].to_numpy(), frame["SD"].to_numpy() ** 2, X)


def simulated(oracle_data):
    frame = pd.read_csv(oracle_data / "sim_fh_d200.csv")
    X = np.vstack([np.ones(200), frame["x1"], frame["x2"]])
    return Areas.of(frame["y"].to_numpy(), frame["vardir"].to_numpy(), X)


def log_marginal(areas, sd):
    """Log likelihood with the coefficients integrated out, by dense matrices."""
    w = 1.0 / (sd**2 + areas.vardir)
    gram = (areas.X * w) @ areas.X.T
    beta = np.linalg.solve(gram, (areas.X * w) @ areas.y)
    residual = areas.y - beta @ areas.X
    p = len(areas.X)
    value = 0.5 * (np.log(w).sum() - np.linalg.slogdet(gram)[1] - (w * residual**2).sum())
    return value - 0.5 * (len(w) - p) * np.log(2 * np.pi), beta, np.linalg.inv(gram)


def brute(areas, prior, functions):
    """Posterior expectations of functions of (sd, beta, Q) by adaptive quadrature over log sd."""
    grid = np.linspace(-12.0, 8.0, 400)
    logs = [log_marginal(areas, np.exp(u))[0] + log_prior(prior, np.exp(u)) + u for u in grid]
    top, peak = max(logs), grid[int(np.argmax(logs))]

    def integral(f):
        def inner(u):
            value, beta, Q = log_marginal(areas, np.exp(u))
            return np.exp(value + log_prior(prior, np.exp(u)) + u - top) * f(np.exp(u), beta, Q)

        ends = (-40.0, peak - 1.5, peak, peak + 1.5, 14.0)
        return sum(quad(inner, a, b, epsabs=1e-13, epsrel=1e-11, limit=400)[0] for a, b in pairwise(ends))

    norm_ = integral(lambda *_: 1.0)
    return [integral(f) / norm_ for f in functions]


@pytest.mark.parametrize("prior", PRIORS, ids=["variance", "sd", "normal", "cauchy", "pc"])
def test_moments_and_tails_by_adaptive_quadrature(rng, prior):
    areas = problem(rng, 12)
    areas = Areas.of(areas.y, areas.vardir, areas.X, np.arange(12) != 5)
    kept = areas.sampled
    inner = Areas.of(areas.y[kept], areas.vardir[kept], areas.X[:, kept])
    nodes = place_nodes(areas, [prior])
    mean, sd, quantiles = area_moments(nodes, areas, [0.025, 0.975])
    above = area_exceedance(nodes, areas, 0.3)

    def given(d, sd_, beta, Q):
        x = areas.X[:, d]
        B = areas.vardir[d] / (sd_**2 + areas.vardir[d]) if kept[d] else 1.0
        centre = beta @ x + (1 - B) * (areas.y[d] - beta @ x)
        return centre, B * sd_**2 + B**2 * x @ Q @ x

    for d in (0, 5):
        first, second, over, low = brute(
            inner,
            prior,
            [
                lambda *a, d=d: given(d, *a)[0],
                lambda *a, d=d: given(d, *a)[1] + given(d, *a)[0] ** 2,
                lambda *a, d=d: ndtr((given(d, *a)[0] - 0.3) / np.sqrt(given(d, *a)[1])),
                lambda *a, d=d: ndtr((quantiles[0, d] - given(d, *a)[0]) / np.sqrt(given(d, *a)[1])),
            ],
        )
        assert mean[d] == pytest.approx(first, abs=ADAPTIVE * sd[d])
        assert sd[d] == pytest.approx(np.sqrt(second - first**2), rel=ADAPTIVE)
        assert above[d] == pytest.approx(over, abs=ADAPTIVE)
        assert low == pytest.approx(0.025, abs=ADAPTIVE)


def test_milk_against_hbsae(oracle_data, reference):
    areas, case = milk(oracle_data), reference("hbsae_milk_fh_area")["outputs"]
    nodes = place_nodes(areas, [(FLAT_VARIANCE, 1.0)])
    mean, sd, _ = area_moments(nodes, areas)
    np.testing.assert_allclose(mean, case["HB"]["est"], rtol=HBSAE)
    np.testing.assert_allclose(sd, case["HB"]["se"], rtol=HBSAE)
    assert nodes.weights @ nodes.sd**2 == pytest.approx(case["HB"]["sv2"], rel=HBSAE)
    assert mean.sum() == pytest.approx(40.76568, abs=PRINTED)  # methods.md, section 4
    assert sd.sum() == pytest.approx(4.40189, abs=PRINTED)


@pytest.mark.parametrize(
    ("case", "prior"),
    [
        ("hbsae_milk_fh_area", FLAT_VARIANCE),
        ("hbsae_sim_fh_d200_area", FLAT_VARIANCE),
        ("mcmcsae_milk_fh_default", HALF_CAUCHY),
        ("mcmcsae_sim_fh_d200_default", HALF_CAUCHY),
    ],
)
def test_reference_quadrature(oracle_data, reference, case, prior):
    areas = milk(oracle_data) if "milk" in case else simulated(oracle_data)
    outputs = reference(case)["outputs"]
    expected = outputs.get("exact_quadrature") or outputs["exact_quadrature_flat_sigma2"]
    nodes = place_nodes(areas, [(prior, 1.0)])
    mean, sd, _ = area_moments(nodes, areas)
    np.testing.assert_allclose(mean, expected["theta_mean"], rtol=TRAPEZOID, atol=TRAPEZOID)
    np.testing.assert_allclose(sd, expected["theta_sd"], rtol=TRAPEZOID)
    assert nodes.weights @ nodes.sd**2 == pytest.approx(expected["sigma2_mean"], rel=TRAPEZOID)
    assert nodes.weights @ nodes.sd == pytest.approx(expected["sigma_mean"], rel=TRAPEZOID)
    np.testing.assert_allclose(nodes.weights @ nodes.coefficients, expected["beta_mean"], rtol=TRAPEZOID)


@pytest.mark.parametrize("case", ["mcmcsae_milk_fh_default", "mcmcsae_sim_fh_d200_default"])
def test_mcmcsae_within_its_monte_carlo_error(oracle_data, reference, case):
    areas = milk(oracle_data) if "milk" in case else simulated(oracle_data)
    outputs = reference(case)["outputs"]
    nodes = place_nodes(areas, [(HALF_CAUCHY, 1.0)])
    mean, _, quantiles = area_moments(nodes, areas, [0.025, 0.975])
    theirs = outputs["linpred"]
    z = (mean - theirs["mean"]) / theirs["mcse_mean"]
    assert np.abs(z).max() < Z
    # a quantile at 2.5 % errs by about sqrt(p (1 - p)) / density = 2.7 times as much as a mean
    for row, name in zip(quantiles, ("q025", "q975"), strict=True):
        assert (np.abs(row - theirs[name]) / (2.7 * np.array(theirs["mcse_mean"]))).max() < Z


def test_milk_flat_standard_deviation(oracle_data):
    areas = milk(oracle_data)
    nodes = place_nodes(areas, [(FLAT_SD, 1.0)])
    mean, sd, _ = area_moments(nodes, areas)
    np.testing.assert_allclose(mean[:3], [1.023568, 1.047379, 1.067708], atol=PRINTED)  # methods.md
    np.testing.assert_allclose(sd[:3], [0.114045, 0.071745, 0.074218], atol=PRINTED)
    assert nodes.weights @ nodes.sd**2 == pytest.approx(0.020825, abs=PRINTED)


def test_vanishing_sampling_variance_gives_the_direct_estimate(rng):
    areas = problem(rng, 15)
    vardir = areas.vardir.copy()
    vardir[3], vardir[7] = 1e-14, 1e-6
    areas = Areas.of(areas.y, vardir, areas.X)
    mean, sd, quantiles = area_moments(place_nodes(areas, [(HALF_NORMAL, 1.0)]), areas, [0.025])
    assert mean[3] == pytest.approx(areas.y[3], abs=1e-9)
    assert sd[[3, 7]] == pytest.approx([1e-7, 1e-3], rel=1e-3)
    assert quantiles[0, 7] == pytest.approx(areas.y[7] - 1.96e-3, abs=1e-5)


def test_tiny_prior_scale_gives_the_synthetic_estimate(rng):
    areas = problem(rng, 15)
    mean, sd, _ = area_moments(place_nodes(areas, [(HALF_NORMAL, 1e-7)]), areas)
    _, beta, Q = log_marginal(areas, 0.0)
    np.testing.assert_allclose(mean, beta @ areas.X, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(sd, np.sqrt(np.einsum("pm,pq,qm->m", areas.X, Q, areas.X)), rtol=1e-9)


def test_saturated_design_leaves_the_prior(rng):
    """With as many areas as coefficients the data say nothing of σ."""
    areas = Areas.of(np.array([1.0, 3.0]), np.array([0.2, 0.5]), np.array([[1.0, 1.0], [0.0, 1.0]]))
    nodes = place_nodes(areas, [(HALF_NORMAL, 0.8)])
    assert nodes.weights @ nodes.sd == pytest.approx(0.8 * np.sqrt(2 / np.pi), rel=1e-9)
    np.testing.assert_allclose(area_moments(nodes, areas)[0], [1.0, 3.0])


def test_many_areas_approach_the_plug_in(rng):
    n = 4000
    D = rng.uniform(0.5, 1.5, n)
    areas = Areas.of(3.0 + rng.normal(size=n) * np.sqrt(D + 1.0), D, np.ones((1, n)))
    A = fit_batch(areas.y, D, areas.X, [0, n]).variance[0, 0]
    nodes = place_nodes(areas, [(FLAT_VARIANCE, 1.0)])
    assert nodes.weights @ nodes.sd**2 == pytest.approx(A, rel=5e-3)
    np.testing.assert_allclose(area_moments(nodes, areas)[1], np.sqrt(A / (A + D) * D), rtol=5e-3)


@pytest.mark.parametrize(("prior", "fewest"), [(FLAT_VARIANCE, 5), (FLAT_SD, 4)])
def test_improper_posteriors_are_refused(rng, prior, fewest):
    areas = problem(rng, fewest)
    nodes = place_nodes(areas, [(prior, 1.0)])
    mean, sd, _ = area_moments(nodes, areas)
    assert np.isfinite(mean).all() and np.isfinite(sd).all() and not nodes.finite[0]
    less = Areas.of(areas.y[1:], areas.vardir[1:], areas.X[:, 1:])
    with pytest.raises(ValueError, match="improper"):
        place_nodes(less, [(prior, 1.0)])


@pytest.mark.parametrize("scale", [1e-6, 1e8])
def test_rescaling(rng, scale):
    a = problem(rng, 15)
    b = Areas.of(scale * a.y, scale**2 * a.vardir, a.X)
    one, two = place_nodes(a, [(HALF_NORMAL, 0.5)]), place_nodes(b, [(HALF_NORMAL, 0.5 * scale)])
    np.testing.assert_allclose(area_moments(two, b)[1], scale * area_moments(one, a)[1], rtol=1e-10)


def test_very_unequal_sampling_variances(rng):
    n = 40
    D = 10.0 ** rng.uniform(-8, 4, n)
    areas = Areas.of(rng.normal(size=n) * np.sqrt(D + 0.01), D, np.ones((1, n)))
    nodes, fine = (place_nodes(areas, [(HALF_NORMAL, 1.0)], fine=fine) for fine in (False, True))
    (mean, sd, _), (twice, twice_sd, _) = area_moments(nodes, areas), area_moments(fine, areas)
    np.testing.assert_allclose((mean - twice) / sd, 0.0, atol=ORACLE)
    np.testing.assert_allclose(sd, twice_sd, rtol=ORACLE)


def test_the_density_drawn_from_is_the_exact_one(rng):
    """Draws of σ have the exact distribution, and interpolation between the nodes hits the density."""
    from scipy.interpolate import BarycentricInterpolator

    areas = problem(rng, 14, sd=0.3)
    fine = place_nodes(areas, [(FLAT_SD, 1.0)], fine=True)
    middle = len(fine.t) // 2
    part = slice(middle - 4, middle + 4)
    t = fine.t[middle - 1] + 0.37 * fine.spacing[0]
    u = np.log(fine.unit[0]) + t - np.exp(-t)
    anchor = np.log(fine.unit[0]) + fine.t[middle] - np.exp(-fine.t[middle])
    exact = log_marginal(areas, np.exp(u))[0] + u + np.log1p(np.exp(-t))
    exact -= log_marginal(areas, np.exp(anchor))[0] + anchor + np.log1p(np.exp(-fine.t[middle]))
    inside = BarycentricInterpolator(fine.t[part], fine.log_density[part])(t) - fine.log_density[middle]
    assert inside == pytest.approx(exact, abs=DENSITY)

    draws = draw_hyper(fine, np.array([5], dtype=np.uint64), 40_000).sd[0]
    grid = np.linspace(fine.t[0], fine.t[-1], 20_001)
    logs = [log_marginal(areas, s)[0] for s in fine.unit[0] * np.exp(grid[::20] - np.exp(-grid[::20]))]
    from scipy.interpolate import CubicSpline

    density = np.exp(CubicSpline(grid[::20], logs)(grid) - max(logs) + grid - np.exp(-grid)) * (
        1 + np.exp(-grid)
    )
    cdf = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]))])
    at = np.interp(draws, fine.unit[0] * np.exp(grid - np.exp(-grid)), cdf / cdf[-1])
    assert kstest(at, "uniform").pvalue > 1e-3


def test_draws_have_the_exact_moments_and_covariances(rng):
    areas = problem(rng, 30, 3)
    areas = Areas.of(areas.y, areas.vardir, areas.X, np.arange(30) % 7 != 3)
    nodes, n = place_nodes(areas, [(HALF_NORMAL, 1.0)], fine=True), 40_000
    hyper = draw_hyper(nodes, stream_keys(1, "h", ["a"]), n)
    values = draw_areas(hyper, areas, stream_keys(1, "t", ["a"]))
    mean, sd, quantiles = area_moments(nodes, areas, [0.1])
    assert np.abs((values.mean(0) - mean) / sd * np.sqrt(n)).max() < Z
    assert np.abs(values.std(0) / sd - 1.0).max() < Z / np.sqrt(2 * n) * 1.2  # tails are a little heavier
    below = (values < quantiles[0]).mean(0)
    assert np.abs(below - 0.1).max() < Z * np.sqrt(0.09 / n)
    beta = hyper.coefficients[0]
    centre = nodes.weights @ nodes.coefficients
    spread = np.sqrt(nodes.weights @ ((nodes.roots**2).sum(2) + (nodes.coefficients - centre) ** 2))
    assert np.abs((beta.mean(0) - centre) / spread * np.sqrt(n)).max() < Z


@pytest.mark.parametrize("p", [1, 3, 5, 6, 9])
def test_draws_of_areas_by_their_formula(rng, p):
    """θ = Xβ + γ (y - Xβ) + √(γ D) z with the normals of each tile and block, for any number of columns."""
    n, size = 70, 1100
    areas = problem(rng, size, p)
    areas = Areas.of(areas.y, areas.vardir, areas.X, np.arange(size) % 9 != 2)
    hyper = HyperDraws(rng.uniform(0.1, 2.0, (1, n)), rng.normal(size=(1, n, p)))
    keys = stream_keys(1, "t", ["a", "b"])
    z = [
        np.concatenate(
            [normals_of(key, block, count * m).reshape(count, m) for block, count in ((0, 64), (1, 6))]
        )
        for key, m in zip(keys, np.diff(tiles_of(areas.offsets)), strict=True)
    ]
    A, fitted = hyper.sd[0][:, None] ** 2, hyper.coefficients[0] @ areas.X
    gamma = np.where(areas.sampled, A / (A + areas.vardir), 0.0)
    spread = np.sqrt(np.where(areas.sampled, gamma * areas.vardir, A))
    expected = fitted + gamma * (areas.y - fitted) + spread * np.hstack(z)
    np.testing.assert_allclose(draw_areas(hyper, areas, keys), expected, rtol=ROUNDING, atol=ROUNDING)


def test_reduced_draws_are_those_of_all_problems(rng):
    parts = [problem(rng, size) for size in (1500, 12, 40)]
    areas, n = join(parts), 70
    fine = place_nodes(areas, [(HALF_NORMAL, 1.0), (FLAT_SD, 1.0), (PC, 0.3)], fine=True)
    keys, tiles = stream_keys(1, "h", "abc"), stream_keys(1, "t", "abcd")
    whole = draw_areas(draw_hyper(fine, keys, n), areas, tiles)
    for threads in (1, 2):
        kept = reduced_draws(fine, areas, keys, tiles, n, lambda draws: draws.copy(), threads=threads)
        np.testing.assert_array_equal(np.hstack(kept), whole)


def test_every_second_of_the_fine_nodes(rng):
    areas = join([problem(rng, size) for size in (30, 8, 200)])
    priors = [(HALF_NORMAL, 1.0), (HALF_CAUCHY, 1.0), (PC, 0.3)]
    coarse, halved = place_nodes(areas, priors), place_nodes(areas, priors, fine=True).halved()
    for name in ("offsets", "t", "sd", "weights", "coefficients", "roots", "spacing", "error"):
        np.testing.assert_allclose(getattr(halved, name), getattr(coarse, name), rtol=ROUNDING, err_msg=name)


def test_threads_batches_and_numbers_of_draws_change_no_bit(rng):
    parts = [problem(rng, n) for n in (2500, 12, 40)]
    areas, priors = join(parts), [(HALF_NORMAL, 1.0), (FLAT_SD, 1.0), (PC, 0.3)]
    tiles = ["a1", "a2", "a3", "b", "c"]

    def everything(which, threads, n):
        chosen = join([parts[k] for k in which])
        labels = [tile for k in which for tile in tiles if tile[0] == "abc"[k]]
        keys = stream_keys(1, "tile", labels)
        nodes = place_nodes(chosen, [priors[k] for k in which], fine=True, threads=threads)
        hyper = draw_hyper(nodes, stream_keys(1, "hyper", ["abc"[k] for k in which]), n)
        return (
            area_moments(nodes, chosen, [0.1], threads=threads)[1],
            draw_areas(hyper, chosen, keys, threads=threads),
        )

    one, two = everything([0, 1, 2], 1, 100), everything([0, 1, 2], 2, 100)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)
    alone = everything([1], 1, 100)
    np.testing.assert_array_equal(alone[1], one[1][:, 2500:2512])
    np.testing.assert_array_equal(alone[0], one[0][2500:2512])
    np.testing.assert_array_equal(everything([1], 1, 70)[1], alone[1][:70])
    assert areas.offsets[-1] == 2552


def test_separate_processes_draw_the_same(rng):
    script = (
        "import numpy as np\n"
        "from sae.numerics.fay_herriot.posterior import *\n"
        "y = np.arange(20.0) % 7; areas = Areas.of(y, 0.5 + y / 9, np.ones((1, 20)))\n"
        "hyper = draw_hyper(place_nodes(areas, [(2, 1.0)], fine=True), np.array([3], np.uint64), 5)\n"
        "print(draw_areas(hyper, areas, np.array([4], np.uint64)).tobytes().hex())"
    )
    runs = [subprocess.run([sys.executable, "-c", script], capture_output=True, check=True) for _ in range(2)]
    assert runs[0].stdout == runs[1].stdout and len(runs[0].stdout) > 1000


def test_normal_table():
    """The tabled normal distribution inside the kernel, by areas whose σ is as good as known."""
    areas = Areas.of(np.linspace(-8, 8, 301), np.full(301, 1e-4), np.ones((1, 301)))
    nodes = place_nodes(areas, [(HALF_NORMAL, 1.0)])
    limits = areas.y + np.linspace(-0.08, 0.08, 301)
    mean, sd, _ = area_moments(nodes, areas)
    assert area_exceedance(nodes, areas, limits) == pytest.approx(norm.sf((limits - mean) / sd), abs=1e-5)


@pytest.mark.parametrize("prior", PRIORS[1:4])
def test_one_tiny_variance_is_a_known_value(prior):
    # intercept only: the area without sampling error gives way to the others as its variance goes to 0
    y = np.array([0.50, 0.61, 0.42, 0.55, 0.70, 0.38, 0.66, 0.47, 0.58, 0.35])
    means, sds = [], []
    for tiny in (1e-7, 1e-13, 1e-20):
        areas = Areas.of(y, np.array([tiny, *[0.002] * 9]), np.ones((1, 10)))
        nodes = place_nodes(areas, [prior])
        assert nodes.error[0] < 1e-4
        means.append(nodes.weights @ nodes.sd)
        sds.append(area_moments(nodes, areas)[1])
    np.testing.assert_allclose(means, means[0], rtol=1e-4)
    np.testing.assert_allclose([sd[1:] for sd in sds], [sds[0][1:]] * 3, rtol=1e-4)
    np.testing.assert_allclose([sd[0] for sd in sds], np.sqrt([1e-7, 1e-13, 1e-20]), rtol=1e-4)


def test_nodes_of_many_orders_by_other_bases(rng):
    areas = problem(rng, 14, 3)
    D = areas.vardir * 10.0 ** rng.uniform(-14, 0, size=14)
    basis = np.array([[1.0, 0.3, 0.0], [0.0, 2.0, -1.0], [0.5, 0.0, 3.0]])
    one = Areas.of(areas.y, D, areas.X)
    other = Areas.of(areas.y + np.array([3.0, -2.0, 5.0]) @ areas.X, D, basis @ areas.X)
    a, b = (area_moments(place_nodes(part, [(HALF_NORMAL, 0.7)]), part) for part in (one, other))
    np.testing.assert_allclose(b[0] - np.array([3.0, -2.0, 5.0]) @ areas.X, a[0], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(b[1], a[1], rtol=1e-8)
