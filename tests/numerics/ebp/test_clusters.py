"""Clusters: û, v̂ and what is not known of them against dense algebra, closed forms against simulation."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from sae.numerics.ebp.bootstrap import Bootstrap
from sae.numerics.ebp.closed_form import additive
from sae.numerics.ebp.clusters import ClusterEffects, Clusters, SampleClusters
from sae.numerics.ebp.empirical import NORMAL, UnitErrors
from sae.numerics.ebp.indicators import Indicators
from sae.numerics.ebp.parameter import estimate_parameter
from sae.numerics.ebp.population import Level, Parameters, Population
from sae.numerics.ebp.simulation import simulate, welfare
from sae.numerics.ebp.transforms import Scale
from sae.numerics.ebp.two_folds import fit_replicates
from sae.numerics.ebp.units import SampleUnits
from sae.numerics.nested_error.fit import NestedErrorFits
from sae.numerics.nested_error.mse import AreaMeans
from sae.numerics.nested_error.two_fold import TwoFoldFits, TwoFoldSums, fit_two_fold
from sae.numerics.nested_error.two_fold_mse import predict_two_fold
from sae.numerics.random.streams import stream_keys

DENSE = 1e-10  # the same algebra in another order
SIGMAS = 4.5  # of Monte Carlo: some 500 comparisons, once in 300 by chance, with a fixed seed
D, EACH = 4, 3  # areas, the last without a sample, and clusters of each in the population
SAMPLED = [np.array([0, 0, 1]), np.array([3, 4, 4, 4]), np.array([7])]  # clusters of the units of each area


@pytest.fixture(scope="module")
def sample():
    """8 units in 5 clusters of 3 areas."""
    rng = np.random.default_rng(5)
    cluster = np.concatenate(SAMPLED)
    X = np.column_stack([np.ones(len(cluster)), rng.normal(size=len(cluster))])
    area = cluster // EACH
    names, code = np.unique(cluster, return_inverse=True)
    units = SampleUnits.of(X, area, D, code)
    return units, SampleClusters(SampleUnits.of(units.X, code, len(names)), names // EACH, D), names


@pytest.fixture(scope="module")
def fits():
    return TwoFoldFits(*(np.array([one]) for one in (0.3, 0.2, 0.5, [1.0, -0.4], np.eye(2), 0.0)))


@pytest.fixture(scope="module")
def population(sample):
    """A population whose clusters are those of the sample and others."""
    rng = np.random.default_rng(6)
    sizes = rng.integers(1, 6, size=D * EACH)
    X = np.column_stack([np.ones(sizes.sum()), rng.normal(size=sizes.sum())])
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    first = np.arange(D + 1) * EACH
    sampled = np.full(D * EACH, -1)
    sampled[sample[2]] = np.arange(len(sample[2]))
    return Population(X, offsets[first], clusters=Clusters(offsets, first, sampled))


def dense(sample, population, residual):
    """Return the best predictor of areas and clusters, what is left, and which of them each row takes."""
    units, clusters, names = sample
    both = np.hstack([np.eye(D)[units.area], np.eye(D * EACH)[names[clusters.units.area]]])
    prior = np.diag(np.repeat([0.3, 0.2], [D, D * EACH]))
    V = both @ prior @ both.T + 0.5 * np.eye(len(residual))
    best = prior @ both.T @ np.linalg.solve(V, residual)
    left = prior - prior @ both.T @ np.linalg.solve(V, both @ prior)
    rows = np.repeat(np.arange(D * EACH), population.clusters.sizes)
    return best, left, np.hstack([np.eye(D)[rows // EACH], np.eye(D * EACH)[rows]])


def test_effects_are_those_of_dense_algebra(sample, fits, population):
    units, clusters, _ = sample
    z = np.random.default_rng(7).normal(size=len(units.X))
    at = Parameters.of_two_folds(Scale("none"), fits, clusters.two(z[None]))
    best, left, pick = dense(sample, population, z - units.X @ at.coefficients)
    np.testing.assert_allclose(at.effect, best[:D], rtol=DENSE, atol=DENSE)
    np.testing.assert_allclose(at.spread**2, np.diag(left)[:D], rtol=DENSE)
    scores = population.scores(at) - population.X @ at.coefficients
    np.testing.assert_allclose(scores, pick @ best, rtol=DENSE, atol=DENSE)
    sd, each = population.sds(at)
    np.testing.assert_allclose(np.repeat(sd, each) ** 2, np.diag(pick @ left @ pick.T) + 0.5, rtol=DENSE)


def test_drawn_welfare_has_the_joint_moments(sample, fits, population):
    """Covariances of 20,000 draws, within 4.5 of their standard errors."""
    units, clusters, _ = sample
    z = np.random.default_rng(7).normal(size=len(units.X))
    at = Parameters.of_two_folds(Scale("none"), fits, clusters.two(z[None]))
    _, left, pick = dense(sample, population, z)
    wanted = pick @ left @ pick.T + 0.5 * np.eye(len(pick))
    keys = stream_keys(1, "welfare", list("abcd"))
    R = 20_000
    Y = welfare(population, at, population.scores(at), np.arange(D), keys, 0, R)
    se = np.sqrt((wanted**2 + np.outer(np.diag(wanted), np.diag(wanted))) / R)
    assert (np.abs(np.cov(Y.T) - wanted) < SIGMAS * se).all()
    some = welfare(population, at, population.scores(at), np.array([3, 1]), keys, 8, 24)
    alone = np.concatenate([np.arange(population.offsets[d], population.offsets[d + 1]) for d in (3, 1)])
    np.testing.assert_array_equal(some, Y[8:24, alone])


def skewed():
    """Errors about points of an exponential, of unequal sizes."""
    rng = np.random.default_rng(3)
    X = np.column_stack([np.ones(500), rng.normal(size=500)])
    return UnitErrors.of_sizes(X, np.array([0.0, 0.6])).of_residuals(rng.exponential(size=500))


@pytest.mark.parametrize("errors", [NORMAL, skewed()], ids=["normal", "skewed"])
@pytest.mark.parametrize("name", ["none", "log", "box-cox"])
def test_closed_forms_are_the_simulation(sample, fits, population, name, errors):
    units, clusters, _ = sample
    z = np.random.default_rng(8).normal(size=len(units.X))
    at = Parameters.of_two_folds(Scale(name, 0.3), fits, clusters.two(z[None]))
    at = replace(at, errors=errors)
    names, line = ("mean", "head_count", "gap"), 1.2
    level = Level(np.array([0, 0, 1, 2]), 3)
    keys = stream_keys(2, "welfare", list("abcd"))
    cells = replace(population, count=np.arange(len(population.X)) % 3 + 1)
    for people in (population, cells, replace(population, clusters=None)):
        closed = additive(people, at, names, line, level)
        mean, error = simulate(people, at, Indicators(names, line), level, keys, 800)
        assert (np.abs(mean - closed) < SIGMAS * error).all()


def test_without_a_variance_clusters_are_one_fold(sample, population):
    units, clusters, _ = sample
    z = np.random.default_rng(9).normal(size=(1, len(units.X)))
    sums = units.sums(z)
    one = TwoFoldFits(*(np.array([v]) for v in (0.3, 0.0, 0.5, [1.0, -0.4], np.eye(2), 0.0)))
    at = Parameters.of_two_folds(Scale("log"), one, clusters.two(z))
    fits = NestedErrorFits(one.sigma2_v, one.sigma2_e, one.coefficients, one.root, one.loglik, np.ones(1))
    other = Parameters.of_fit(Scale("log"), fits, sums)
    level, names = Level.of_areas(D), ("mean", "head_count")
    two = additive(population, at, names, 1.0, level)
    np.testing.assert_allclose(
        two, additive(replace(population, clusters=None), other, names, 1.0, level), rtol=DENSE
    )


def clustered(seed, areas=20, each=4, size=6, sigmas=(0.4, 0.5, 0.7), R=1):
    """A sample of clusters, R outcomes on the logarithmic scale."""
    rng = np.random.default_rng(seed)
    C = areas * each
    code = np.repeat(np.arange(C), size)
    X = np.column_stack([np.ones(len(code)), rng.normal(size=len(code))])
    units = SampleUnits.of(X, code // each, areas)
    clusters = SampleClusters(SampleUnits.of(units.X, code, C), np.arange(C) // each, areas)
    u, v, e = sigmas
    effects = u * rng.normal(size=(R, areas))[:, code // each] + v * rng.normal(size=(R, C))[:, code]
    return units, clusters, X @ [2.0, 0.3] + effects + e * rng.normal(size=(R, len(code)))


def test_replicates_are_fitted_as_one_by_one():
    """λ of the replicates to 1e-3 of its standard error, about 0.05: two steps of an ascent by turns."""
    units, clusters, Z = clustered(3, R=3)
    two = clusters.two(Z)
    at = Parameters.of_two_folds(Scale("box-cox", 0.1), fit_two_fold(two), two)
    Y = np.exp(Z)
    many = fit_replicates(clusters, Y, at, "reml")
    for y, one in zip(Y, many, strict=True):
        best = estimate_parameter(units, y, "box-cox", height=partial(clusters.loglik, method="reml"))
        assert one.scale.parameter == pytest.approx(best.parameter, abs=1e-3 * best.se)
        alone = clusters.two(Scale("box-cox", one.scale.parameter).forward(y)[None])
        fits = fit_two_fold(alone)
        assert one.sigma2_v == pytest.approx(float(fits.sigma2_u[0]), rel=1e-6)


def test_bootstrap_of_a_mean_is_the_error_of_the_two_fold_model():
    """400 replicates of a unit in a cluster without a sample against its analytical MSE: 8 %."""
    units, clusters, Z = clustered(4, areas=12)
    two = clusters.two(Z)
    fits = fit_two_fold(two)
    at = Parameters.of_two_folds(Scale("none"), fits, two)
    X = np.ones((12, 2))
    alone = Clusters(np.arange(13), np.arange(13), np.full(12, -1))
    people = Population(X, np.arange(13), clusters=alone)
    labels = [f"a{d}" for d in range(12)]
    boot = Bootstrap(
        units, people, at, Indicators(("mean",)), [Level.of_areas(12)], labels, 1, clusters=clusters
    )
    errors = boot.errors(400, 1)
    more = TwoFoldSums(
        SampleUnits.of(units.X, clusters.units.area, 60).sums(Z),
        np.concatenate([clusters.area, np.arange(12)]),
        12,
    )
    finite = AreaMeans(np.ones((60, 2)), np.repeat([1e3, 1.0], [48, 12]))
    mse = predict_two_fold(fits, more, finite, "reml").mse[48:]
    assert (errors**2).mean() == pytest.approx(mse.mean(), rel=0.08)


def test_sampled_clusters_lower_the_error():
    """Half of an area's clusters sampled: the MSE with their effects is below that without their names."""
    units, clusters, Z = clustered(5, areas=12, sigmas=(0.3, 0.8, 0.5))
    two = clusters.two(Z)
    at = Parameters.of_two_folds(Scale("none"), fit_two_fold(two), two)
    labels = [f"a{d}" for d in range(12)]
    names = np.where(np.arange(96) % 8 < 4, np.arange(96) // 8 * 4 + np.arange(96) % 8, -1)
    errors = []
    for sampled in (names, np.full(96, -1)):
        rows = Clusters(np.arange(97) * 5, np.arange(13) * 8, sampled)
        people = Population(np.ones((480, 2)), np.arange(13) * 40, clusters=rows)
        levels = [Level.of_areas(12)]
        boot = Bootstrap(units, people, at, Indicators(("mean",)), levels, labels, 1, clusters=clusters)
        errors.append((boot.errors(40, 3) ** 2).mean())
    assert errors[0] < 0.7 * errors[1]


def test_drawn_effects_stand_in_the_population():
    """Of a draw all is known: units differ by their errors alone."""
    rows = Clusters(np.array([0, 2, 4]), np.array([0, 2]), np.array([1, -1]))
    people = Population(np.ones((4, 1)), np.array([0, 4]), clusters=rows)
    known = ClusterEffects(0.0, np.array([9.0, 5.0]), np.zeros(2), np.zeros(2))
    at = Parameters(Scale("none"), np.zeros(1), 0.1, 0.0, np.ones(1), np.zeros(1), clusters=known)
    y = welfare(people, at, people.scores(at), np.array([0]), stream_keys(1, "x", ["a"]), 0, 1)
    np.testing.assert_array_equal(y, [[6.0, 6.0, 1.0, 1.0]])


def test_climbs_from_near_meet_the_same_maxima():
    """Of 30 outcomes, half of whose maxima lie on a boundary: variances to 1e-6, where a search stops."""
    _, clusters, Z = clustered(8, areas=8, each=3, sigmas=(0.2, 0.2, 0.7), R=30)
    two = clusters.two(Z)
    whole, near = fit_two_fold(two), fit_two_fold(two, near=np.array([0.08, 0.08]))
    assert 5 < ((whole.sigma2_v > 0) & (whole.sigma2_u > 0)).sum() < 25
    np.testing.assert_allclose(near.sigma2_v, whole.sigma2_v, rtol=1e-6)
    np.testing.assert_allclose(near.sigma2_u, whole.sigma2_u, rtol=1e-6)


def test_sizes_weigh_the_units_of_clusters(sample, fits, population):
    """û, v̂ and their covariance with errors of unequal sizes, against dense algebra."""
    units, clusters, names = sample
    rng = np.random.default_rng(9)
    z, k = rng.normal(size=len(units.X)), rng.uniform(0.5, 2.0, len(units.X))
    at = Parameters.of_two_folds(Scale("none"), fits, clusters.sized(k).two(z[None]))
    both = np.hstack([np.eye(D)[units.area], np.eye(D * EACH)[names[clusters.units.area]]])
    prior = np.diag(np.repeat([0.3, 0.2], [D, D * EACH]))
    solved = np.linalg.inv(both @ prior @ both.T + 0.5 * np.diag(k**2))
    best = prior @ both.T @ solved @ (z - units.X @ at.coefficients)
    left = prior - prior @ both.T @ solved @ both @ prior
    np.testing.assert_allclose(at.effect, best[:D], rtol=DENSE, atol=DENSE)
    np.testing.assert_allclose(at.clusters.effect, best[D + names], rtol=DENSE, atol=DENSE)
    np.testing.assert_allclose(at.spread**2, np.diag(left)[:D], rtol=DENSE)
    own = (at.clusters.pull * at.spread[names // EACH]) ** 2 + at.clusters.sd**2
    np.testing.assert_allclose(own, np.diag(left)[D + names], rtol=DENSE)
