"""Nested error model: joint draws against their own normals, numpy's, and NUTS; the pass over the units."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from harness import Case

P = 5  # coefficients


@dataclass(frozen=True)
class Units:
    """Units, the fitted posterior, and the modules that the timed calls use."""

    y: Any
    X: Any
    area: Any
    areas: int
    sums: Any
    posterior: Any
    means: Any
    draws: int
    np: Any


def units(number, areas, draws):
    """Draw units with σu = 0.4 and σe = 1, and integrate the posterior with a half-normal prior of σu."""
    import numpy as np

    from sae.numerics.inference.priors import HALF_NORMAL
    from sae.numerics.nested_error.mse import AreaMeans
    from sae.numerics.nested_error.posterior import HyperPrior, nested_error_posterior
    from sae.numerics.nested_error.profile import area_sums

    rng = np.random.default_rng(20261122)
    area = rng.integers(areas, size=number)
    X = np.column_stack([np.ones(number), rng.normal(size=(number, P - 1))])
    y = X.sum(axis=1) + 0.4 * rng.normal(size=areas)[area] + rng.normal(size=number)
    sums = area_sums(y, X, area, areas)
    posterior = nested_error_posterior(sums, HyperPrior(HALF_NORMAL, 1.0))
    means = AreaMeans(sums.x_mean, np.full(areas, np.inf))
    return Units(y, X, area, areas, sums, posterior, means, draws, np)


def joint_draws(data):
    from sae.numerics.nested_error.posterior_draws import draw_nested_error

    return draw_nested_error(data.posterior, data.sums, data.means, range(data.areas), data.draws, 1)


def own_normals(data):
    from sae.numerics.random.normals import normals_of

    return normals_of(data.np.uint64(1), 0, data.draws * data.areas)


def numpy_normals(data):
    return data.np.random.default_rng(1).standard_normal(data.draws * data.areas)


def one_pass(data):
    from sae.numerics.nested_error.profile import area_sums

    return area_sums(data.y, data.X, data.area, data.areas)


def memory_pass(data):
    """Read what the pass reads."""
    return data.X.sum() + data.y.sum() + data.area.sum()


def fit(data):
    from sae.numerics.nested_error.fit import fit_nested_error

    return fit_nested_error(data.sums)


def one_fit_profile(data):
    """Add up what areas of the same size share: the least that a fit reads."""
    from sae.numerics.nested_error.profile import Profile

    return Profile.of(data.sums)


def statsmodels_fit(data):
    from statsmodels.regression.mixed_linear_model import MixedLM

    return MixedLM(data.y, data.X, groups=data.area).fit(reml=True)


def two_fold_fit(data):
    """Fit sub-areas in areas of ten each."""
    from sae.numerics.nested_error.two_fold import TwoFoldSums, fit_two_fold

    return fit_two_fold(TwoFoldSums(data.sums, data.np.arange(data.areas) // 10, -(-data.areas // 10)))


def robust_fit(data):
    from sae.numerics.robust.units import fit_units

    return fit_units(data.y, data.X, data.area, data.means)


def same_fit(data, ours, theirs):
    data.np.testing.assert_allclose(ours.coefficients[0], theirs.fe_params, atol=1e-4)
    data.np.testing.assert_allclose(ours.sigma2_e[0], theirs.scale, rtol=1e-3)


def nuts(data):
    """Non-centred NUTS by nutpie, four chains of 500 + 500: compilation and sampling."""
    import pymc as pm

    with pm.Model():
        beta = pm.Flat("beta", shape=P)
        sigma_u = pm.HalfNormal("sigma_u", 1.0)
        log_e = pm.Flat("log_e")
        z = pm.Normal("z", shape=data.areas)
        mean = pm.math.dot(data.X, beta) + (sigma_u * z)[data.area]
        pm.Normal("y", mean, pm.math.exp(log_e), observed=data.y)
        return pm.sample(
            500, tune=500, chains=4, cores=1, nuts_sampler="nutpie", random_seed=1, progressbar=False
        )


SMALL, LARGE = partial(units, 20_000, 500, 20_000), partial(units, 1_000_000, 5_000, 2_000)

CASES = [
    Case(
        name="nested_error_draws_20000x500",
        setup=SMALL,
        run=joint_draws,
        peer=own_normals,
        peer_name="its own normals",
        unit="joint draw",
        units=20_000,
        peer_units=20_000,
        target="within 3 times its own normals",
    ),
    Case(
        name="nested_error_draws_1000000x5000",
        setup=LARGE,
        run=joint_draws,
        peer=own_normals,
        peer_name="its own normals",
        unit="joint draw",
        units=2_000,
        peer_units=2_000,
        target="within 3 times its own normals",
    ),
    Case(
        name="nested_error_draws_20000x500_numpy",
        setup=SMALL,
        run=joint_draws,
        peer=numpy_normals,
        peer_name="as many normals by numpy",
        unit="joint draw",
        units=20_000,
        peer_units=20_000,
    ),
    Case(
        name="nested_error_draws_20000x500_nutpie",
        setup=SMALL,
        run=joint_draws,
        peer=nuts,
        repeat=1,
        peer_name="draws by nutpie, compiled once",
        unit="joint draw",
        units=20_000,
        peer_units=2_000,
    ),
    Case(
        name="nested_error_pass_1000000x5000",
        setup=LARGE,
        run=one_pass,
        peer=memory_pass,
        peer_name="one pass over the same memory",
        unit="unit",
        units=1_000_000,
        peer_units=1_000_000,
    ),
    Case(
        name="nested_error_reml_1000000x5000",
        setup=LARGE,
        run=fit,
        peer=one_fit_profile,
        peer_name="its own sums over areas",
        unit="fit",
        target="10 ms after the pass over the data",
    ),
    Case(
        name="nested_error_two_fold_20000x500",
        setup=SMALL,
        run=two_fold_fit,
        peer=fit,
        peer_name="one fold",
        unit="fit",
    ),
    Case(
        name="nested_error_robust_20000x500",
        setup=SMALL,
        run=robust_fit,
        peer=one_pass,
        peer_name="one pass over the units",
        unit="fit",
    ),
    Case(
        name="nested_error_reml_20000x500",
        setup=SMALL,
        run=fit,
        peer=statsmodels_fit,
        repeat=2,
        peer_name="statsmodels MixedLM",
        check=same_fit,
        unit="fit",
    ),
]
