"""Spatial and temporal posteriors against brute force: density, moments, draws, leaving out."""

import dataclasses

import numpy as np
import pytest
from scipy import sparse

from sae.numerics.inference.lattice import Proposal, find_mode, lattice
from sae.numerics.inference.priors import HALF_CAUCHY, HALF_NORMAL, log_prior
from sae.numerics.spacetime.area_field import area_field
from sae.numerics.spacetime.posterior import condition, log_posterior, prior_variance, solve
from sae.numerics.spacetime.posterior_covariance import joint_covariance
from sae.numerics.spacetime.posterior_draws import draw_fields
from sae.numerics.spacetime.precision import independent, map_structure, walk_covariance
from sae.samplers.gaussian_field import gaussian_field

PER_NODE = 1e-9  # sparse against dense algebra at one value of the hyperparameters
TINY = 1e-6  # the same where the field's own scale is 1e-7 and P is singular to rounding
QUADRATURE = 1e-7  # of a one-dimensional integral over 20,001 points
REFERENCE = 1e-7  # moments of the rows; the reference is a 601-point trapezoid
SHORT = 1e-3  # promised error of the nodes, in posterior standard deviations
Z = 4.5  # standard errors
KINDS = ("iid", "icar", "bym2", "leroux", "car", "sar")
PARTS = ([0, 1, 2, 3], [4, 5, 6])
PRIORS = ((HALF_NORMAL, 1.0),) * 2


def adjacency():
    A = np.zeros((9, 9))
    for a, b in [(0, 1), (1, 2), (2, 3), (3, 0), (1, 3), (4, 5), (5, 6)]:
        A[a, b] = A[b, a] = 1.0
    return A  # 7 and 8 are islands


def effect_covariance(kind, A, r):
    """Covariance of the standardised area effects, dense."""
    degree = A.sum(axis=1)
    identity, alone = np.eye(len(A)), np.diag((degree == 0).astype(float))
    R = np.diag(degree) - A
    if kind == "iid":
        return identity
    if kind == "sar":
        B = np.linalg.inv(identity - r * A / np.where(degree > 0, degree, 1.0)[:, None])
        return B @ B.T
    if kind == "car":
        return np.linalg.inv(np.diag(degree) + alone - r * A)
    if kind == "leroux":
        return np.linalg.inv((1 - r) * (identity - alone) + r * R + alone)
    S = np.linalg.pinv(R, rcond=1e-10)
    for part in PARTS:
        S[np.ix_(part, part)] /= np.exp(np.log(np.diag(S)[part]).mean())
    S = S + alone
    return S if kind == "icar" else (1 - r) * identity + r * S


def brute_force(kind, temporal, data, values):
    """Log likelihood, means, deviations, left-out densities, prior variances, covariance: dense matrices."""
    y, X, psi, area, period = data
    T = psi.shape[1]
    K = (
        values["sigma_u"] ** 2
        * effect_covariance(kind, adjacency(), values.get("rho_u", 1.0))[np.ix_(area, area)]
    )
    own = area[:, None] == area
    if temporal:
        lag = np.abs(np.subtract.outer(np.arange(T), np.arange(T)))
        if temporal == "ar1":
            omega = values["rho_v"] ** lag
        else:
            omega = np.eye(T) if temporal == "iid" else walk_covariance(int(temporal[2]), T)
        K = K + values["sigma_v"] ** 2 * omega[np.ix_(period, period)] * own
    seen = np.isfinite(y)
    sampling = np.where(own, psi[area[:, None], period[:, None], period], 0.0)[np.ix_(seen, seen)]
    V = K[np.ix_(seen, seen)] + sampling
    inverse, Xs = np.linalg.inv(V), X[seen]
    C = np.linalg.inv(Xs.T @ inverse @ Xs)
    Q = inverse - inverse @ Xs @ C @ Xs.T @ inverse
    loglik = -0.5 * (np.linalg.slogdet(V)[1] - np.linalg.slogdet(C)[1] + y[seen] @ Q @ y[seen])
    pull = K[:, seen] @ inverse
    beta = C @ Xs.T @ inverse @ y[seen]
    mean, loose = X @ beta + pull @ (y[seen] - Xs @ beta), X - pull @ Xs
    covariance = K - pull @ K[:, seen].T + loose @ C @ loose.T
    deleted, own_q = Q @ y[seen], np.diag(Q)
    left_out = 0.5 * (np.log(own_q / (2 * np.pi)) - deleted**2 / own_q)
    return loglik, mean, np.sqrt(np.diag(covariance)), left_out, np.diag(K), covariance


def panel(rng, kind, temporal):
    """A small panel in mixed order: rows missing, rows and one whole area without a sample."""
    T = 1 if temporal is None else 4
    area, period = (grid.ravel() for grid in np.meshgrid(range(9), range(T), indexing="ij"))
    keep = rng.permutation(len(area))[: len(area) if T == 1 else len(area) - 6]
    area, period = area[keep], period[keep]
    X = np.column_stack([np.ones(len(area)), rng.normal(size=len(area))])
    y = X[:, 1] + rng.normal(size=len(area))
    y[(area == 3) | (np.arange(len(area)) < 2)] = np.nan
    roots = rng.normal(size=(9, T, T + 2))
    data = y, X, 0.1 * roots @ roots.swapaxes(1, 2), area, period
    structure = independent(9) if kind == "iid" else map_structure(kind, sparse.csr_matrix(adjacency()))
    return area_field(structure, *data, temporal=temporal, priors=PRIORS), data


@pytest.mark.parametrize("temporal", [None, "ar1", "iid", "rw1", "rw2"])
@pytest.mark.parametrize("kind", KINDS)
def test_density_and_moments_are_those_of_dense_matrices(rng, kind, temporal):
    field, data = panel(rng, kind, temporal)
    phi = rng.normal(size=(9, len(field.bounds)))
    found, natural = condition(field, phi), field.natural(phi)
    likelihood = log_posterior(field, phi) - field.log_prior(phi)
    likelihood -= likelihood[0]  # the scaled pseudo-determinant is a constant that is left out
    expected = [brute_force(kind, temporal, data, {k: v[i] for k, v in natural.items()}) for i in range(9)]
    parts = (np.array(part) for part in zip(*expected, strict=True))
    loglik, means, sds, left_out, effects, covariances = parts
    assert np.abs(likelihood - (loglik - loglik[0])).max() < PER_NODE
    assert np.abs(found.means - means).max() < PER_NODE
    assert np.abs(found.sds - sds).max() < PER_NODE
    assert np.abs(found.log_left_out - left_out).max() < PER_NODE
    assert np.abs(prior_variance(field, phi) - effects).max() < TINY
    weights = rng.dirichlet(np.ones(9))
    off = means - weights @ means
    total = np.tensordot(weights, covariances, axes=1) + off.T @ (weights[:, None] * off)
    assert np.abs(joint_covariance(field, phi, weights, found.means, found.sds) - total).max() < PER_NODE


@pytest.mark.parametrize("kind", ["bym2", "icar", "leroux", "sar"])
def test_ends_of_the_parameters_are_exact(rng, kind):
    """σ from 1e-8 of a sampling error to ten of them, ρ up to where dense algebra breaks down."""
    field, data = panel(rng, kind, None)
    mix = 2.5 if kind == "sar" else 4.0
    ends = [(-5.0, 2.5), (-mix, mix)][: len(field.bounds)]
    phi = np.array(np.meshgrid(*ends)).reshape(len(ends), -1).T
    found = condition(field, phi)
    likelihood = found.log_density - field.log_prior(phi)
    exact = []
    for k in range(len(phi)):
        values = {name: value[k] for name, value in field.natural(phi).items()}
        loglik, mean, sd, *_ = brute_force(kind, None, data, values)
        exact.append(loglik)
        assert np.abs(found.means[k] - mean).max() < TINY
        assert np.abs(found.sds[k] - sd).max() < TINY
    assert np.abs(likelihood - likelihood[0] - (np.array(exact) - exact[0])).max() < TINY


@pytest.mark.parametrize("kind", ["bym2", "leroux", "car", "sar"])
def test_the_last_working_values_are_finite(rng, kind):
    field, _ = panel(rng, kind, None)
    phi = np.array(np.meshgrid(*field.limits().T)).reshape(2, -1).T
    found = condition(field, phi)
    sure = np.isfinite(found.log_density)  # with σ a million sampling errors rounding may leave no density
    assert sure[phi[:, 0] < 0].all()
    assert np.isfinite(found.means[sure]).all()
    assert np.isfinite(found.sds[phi[:, 0] < 0]).all()
    assert (log_posterior(field, phi + np.array([0.0, 1.0]))[phi[:, 1] > 0] == -np.inf).all()


def test_prior_of_working_values_is_the_prior_of_natural_ones(rng):
    field, _ = panel(rng, "sar", "ar1")
    phi, step = rng.normal(size=(50, 4)), 1e-6
    expected = np.zeros(50)
    for j, (name, ends) in enumerate(field.bounds.items()):
        ahead, back = phi.copy(), phi.copy()
        ahead[:, j] += step
        back[:, j] -= step
        slope = (field.natural(ahead)[name] - field.natural(back)[name]) / (2 * step)
        prior = log_prior(PRIORS[0], field.natural(phi)[name]) if ends is None else -np.log(2.0)
        expected += np.log(slope) + prior
    assert np.abs(field.log_prior(phi) - expected).max() < 1e-7  # of the differences


def test_without_structure_it_is_the_posterior_of_independent_effects(rng):
    """σ alone is left: a plain integral over it gives the same moments."""
    D = 15
    X, psi = np.column_stack([np.ones(D), rng.normal(size=D)]), rng.uniform(0.2, 1.0, D)
    y = X[:, 1] + rng.normal(size=D)
    y[-1] = np.nan
    args = (y, X, psi[:, None, None], np.arange(D), np.zeros(D, int))
    fit = gaussian_field(area_field(independent(D), *args, priors=PRIORS[:1]))
    sigma = np.linspace(0.0, 9.0, 20_001)[1:]
    seen, log_density, means, squares = np.isfinite(y), [], [], []
    for value in sigma:
        w = 1.0 / (value**2 + psi[seen])
        C = np.linalg.inv((X[seen].T * w) @ X[seen])
        beta = C @ (X[seen].T * w) @ y[seen]
        residual = y[seen] - X[seen] @ beta
        log_density.append(
            0.5 * np.log(w).sum() + 0.5 * np.linalg.slogdet(C)[1] - 0.5 * w @ residual**2 - 0.5 * value**2
        )
        g = np.ones(D)
        g[seen] = psi[seen] * w
        mean = X @ beta
        mean[seen] += (1 - g[seen]) * residual
        var = np.where(seen, value**2 * g, value**2) + g**2 * np.einsum("ij,jk,ik->i", X, C, X)
        means.append(mean)
        squares.append(var + mean**2)
    weight = np.exp(np.array(log_density) - max(log_density))
    weight /= weight.sum()
    mean, sd = fit.moments()
    assert np.abs(mean - weight @ np.array(means)).max() < 1e-4  # of the plain sum at its end σ = 0
    assert np.abs(sd - np.sqrt(weight @ np.array(squares) - (weight @ np.array(means)) ** 2)).max() < 1e-4


def test_bym2_without_its_shared_part_is_independent(rng):
    bym2, data = panel(rng, "bym2", None)
    iid = area_field(independent(9), *data, priors=PRIORS)
    phi = np.array([[0.4, -5.5]])
    alone, together = condition(iid, phi[:, :1]), condition(bym2, phi)
    assert np.abs(alone.means - together.means).max() < 1e-6  # ρ is 2e-8
    assert np.abs(alone.sds - together.sds).max() < 1e-6


@pytest.mark.parametrize(
    ("kind", "temporal"), [("bym2", None), ("leroux", "ar1"), ("sar", "rw2"), ("iid", "rw1")]
)
def test_draws_have_the_exact_moments(rng, kind, temporal):
    field, data = panel(rng, kind, temporal)
    phi = np.zeros((2, len(field.bounds)))
    exact = condition(field, phi[:1])
    S = 4000
    drawn = draw_fields(
        field, solve(field, phi), np.arange(S) % 2, np.arange(S), np.array([3, 4, 5], np.uint64)
    )
    z = (drawn.values.mean(axis=0) - exact.means[0]) / (exact.sds[0] / np.sqrt(S))
    assert np.abs(z).max() < Z
    assert np.abs(drawn.values.std(axis=0) / exact.sds[0] - 1.0).max() < Z / np.sqrt(2 * S)
    z = (drawn.beta.mean(axis=0) - exact.beta[0]) / drawn.beta.std(axis=0) * np.sqrt(S)
    assert np.abs(z).max() < Z
    y, _, psi, area, period = data
    seen = np.isfinite(y)
    sd = np.sqrt(exact.sds[0][seen] ** 2 + psi[area[seen], period[seen], period[seen]])
    z = (drawn.replicated.mean(axis=0) - exact.means[0][seen]) / (sd / np.sqrt(S))
    assert np.abs(z).max() < Z
    assert np.abs(drawn.replicated.std(axis=0) / sd - 1.0).max() < Z / np.sqrt(2 * S)


def test_draws_are_joint_draws(rng):
    """Differences of rows have the deviation that conditioning on both gives: areas are drawn together."""
    field, data = panel(rng, "bym2", "ar1")
    phi = np.zeros((1, 4))
    S = 6000
    values = draw_fields(
        field, solve(field, phi), np.zeros(S, int), np.arange(S), np.array([3, 4, 5], np.uint64)
    ).values
    # an exact second route: the covariance from dense matrices, by polarisation of brute force
    y, X, psi, area, period = data
    natural = {name: value[0] for name, value in field.natural(phi).items()}
    K = natural["sigma_u"] ** 2 * effect_covariance("bym2", adjacency(), natural["rho_u"])[np.ix_(area, area)]
    lag = np.abs(np.subtract.outer(period, period))
    own = area[:, None] == area
    K = K + natural["sigma_v"] ** 2 * natural["rho_v"] ** lag * own
    seen = np.isfinite(y)
    V = (
        K[np.ix_(seen, seen)]
        + np.where(own, psi[area[:, None], period[:, None], period], 0.0)[np.ix_(seen, seen)]
    )
    pull = K[:, seen] @ np.linalg.inv(V)
    loose = X - pull @ X[seen]
    covariance = (
        K - pull @ K[:, seen].T + loose @ np.linalg.inv(X[seen].T @ np.linalg.solve(V, X[seen])) @ loose.T
    )
    scale = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    assert np.abs((np.cov(values.T) - covariance) / scale).max() < 5.0 / np.sqrt(S)


def test_draws_do_not_depend_on_how_many_there_are(rng):
    field, _ = panel(rng, "leroux", None)
    fit = gaussian_field(field)
    few, many = fit.draw(10, 5), fit.draw(200, 5)
    assert (few.values == many.values[:10]).all()
    assert (few.parameters["sigma_u"] == many.parameters["sigma_u"][:10]).all()
    assert (fit.draw(10, 6).values != few.values).any()
    assert (fit.values(10, 5) == few.values).all()
    nodes = dataclasses.replace(fit, by_nodes=True)
    assert np.abs(nodes.draw(10, 5).values - nodes.draw(200, 5).values[:10]).max() < PER_NODE


@pytest.mark.parametrize(("kind", "temporal"), [("bym2", None), ("car", None), ("iid", "ar1")])
def test_nodes_keep_their_promise(rng, kind, temporal):
    """A far finer lattice moves no mean and no deviation by more than a thousandth of it."""
    field, _ = panel(rng, kind, temporal)
    fit = gaussian_field(field)
    assert fit.diagnostics["quadrature_error"] < SHORT
    assert fit.diagnostics["k_hat"] < 0.7
    d = len(field.bounds)
    fine = lattice(
        lambda phi: log_posterior(field, phi),
        fit.proposal.centre,
        fit.proposal.root,
        step=0.4 if d < 3 else 0.7,
        drop=18.0 if d < 3 else 13.0,
    )
    at = condition(field, fine.points)
    mean = fine.weights @ at.means
    sd = np.sqrt(fine.weights @ (at.sds**2 + (at.means - mean) ** 2))
    found = fit.moments()
    assert (np.abs(found[0] - mean) / sd).max() < SHORT
    assert (np.abs(found[1] - sd) / sd).max() < SHORT
    left_out, k = fit.loo()
    direct = -np.log(fine.weights @ np.exp(-at.log_left_out))
    assert np.abs(left_out - direct).max() < 0.01  # 1/density has a heavier tail than the moments
    assert np.isnan(k).all()


def test_importance_draws_and_nodes_agree(rng):
    field, _ = panel(rng, "bym2", None)
    fit = gaussian_field(field)
    S = 4000
    sample, (mean, sd) = fit.draw(S, 1), fit.moments()
    for name, (centre, spread) in fit.hyperparameters().items():
        # a proposal may be taken twice: at most 1.5 times the variance of independent draws
        assert abs(sample.parameters[name].mean() - centre) < Z * spread * np.sqrt(1.5 / S)
    assert (np.abs(sample.values.mean(axis=0) - mean) < Z * sd * np.sqrt(1.2 / S)).all()
    for p in (0.025, 0.5, 0.975):
        below = (sample.values < fit.quantiles(np.array([p]))[0]).mean(axis=0)
        assert np.abs(below - p).max() < Z * np.sqrt(1.2 * p * (1 - p) / S)
    assert np.abs(fit.exceedance(fit.quantiles(np.array([0.3]))[0]) - 0.7).max() < 1e-9
    columns = fit.shared()  # without draws
    error = np.cov(sample.values.T) - columns @ columns.T
    assert np.abs(error / np.outer(sd, sd)).max() < Z * np.sqrt(2.0 * 1.5 / S)
    y = sample.replicated
    assert y.shape == sample.log_likelihood.shape


def test_lattice_and_mode_on_known_densities():
    def normal(phi):
        return -0.5 * ((phi - [1.0, -2.0]) ** 2 * [1.0, 100.0]).sum(axis=1)

    mode, root = find_mode(normal, np.array([[0.0, 0.0], [3.0, 1.0]]))
    found = lattice(normal, mode, root, step=1.0, drop=16.0)
    mean, covariance = found.moments()
    assert np.abs(mean - [1.0, -2.0]).max() < 1e-6
    assert covariance == pytest.approx(np.diag([1.0, 0.01]), abs=1e-5)  # e^-16 of drop, 5e-9 of the step
    assert found.log_mass == pytest.approx(np.log(2 * np.pi * 0.1), abs=1e-5)
    points, log_density = Proposal(np.zeros(1), np.eye(1)).draw(np.random.default_rng(1), 100_000)
    assert np.exp(-log_density[np.abs(points[:, 0]) < 1]).sum() / 1e5 == pytest.approx(2.0, abs=0.05)


def simulated(oracle_data):
    data = np.genfromtxt(oracle_data / "sim_spatial_d150.csv", delimiter=",", names=True)
    edges = (
        np.genfromtxt(oracle_data / "sim_spatial_d150_edges.csv", delimiter=",", skip_header=1, dtype=int) - 1
    )
    A = sparse.coo_matrix((np.ones(len(edges)), edges.T), shape=(150, 150))
    X = np.column_stack([np.ones(150), data["x"]])
    return (data["y"], X, data["vardir"][:, None, None], np.arange(150), np.zeros(150, int)), (
        A + A.T
    ).tocsr()


def unscaled(A):
    """Typical standard deviation of the intrinsic effects before they are scaled."""
    R = np.diag(np.asarray(A.sum(axis=1)).ravel()) - A.toarray()
    return np.exp(0.5 * np.log(np.diag(np.linalg.pinv(R, rcond=1e-10))).mean())


def test_intrinsic_effects_match_the_exact_quadrature(oracle_data, reference):
    args, A = simulated(oracle_data)
    exact = reference("mcmcsae_sim_spatial_icar")["outputs"]["exact_quadrature"]
    scale = unscaled(A)  # half-Cauchy(1) on the deviation of the unscaled effects
    fit = gaussian_field(
        area_field(map_structure("icar", A), *args, priors=((HALF_CAUCHY, scale),)), tolerance=1e-9
    )
    mean, sd = fit.moments()
    assert np.abs(mean - exact["theta_mean"]).max() < REFERENCE
    assert np.abs(sd - exact["theta_sd"]).max() < REFERENCE
    beta, covariance = fit.coefficients()
    assert np.abs(beta - exact["beta_mean"]).max() < REFERENCE
    assert np.abs(np.sqrt(np.diag(covariance)) - exact["beta_sd"]).max() < REFERENCE
    sigma = fit.hyperparameters()["sigma_u"]
    assert sigma[0] / scale == pytest.approx(exact["sigma_mean"], abs=REFERENCE)
    assert sigma[1] / scale == pytest.approx(exact["sigma_sd"], abs=REFERENCE)


@pytest.mark.parametrize("kind", ["icar", "leroux", "bym2"])
def test_chains_of_mcmcsae_agree(oracle_data, reference, kind):
    """z-tests of the 150 posterior means on the chains' own Monte-Carlo errors."""
    args, A = simulated(oracle_data)
    prior = (HALF_CAUCHY, unscaled(A) if kind == "icar" else 1.0)
    mean, sd = gaussian_field(area_field(map_structure(kind, A), *args, priors=(prior,))).moments()
    chain = reference(f"mcmcsae_sim_spatial_{kind}")["outputs"]["linpred_"]
    z = (mean - chain["mean"]) / chain["mcse_mean"]
    # bym2 mixes with 33 effective draws of ρ: its errors are under-stated
    assert np.abs(z).max() < (Z if kind != "bym2" else 2 * Z)
    assert np.abs(sd / np.array(chain["sd"]) - 1.0).max() < 0.03
