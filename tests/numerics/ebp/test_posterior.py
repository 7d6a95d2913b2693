"""Posterior of the scale and populations drawn from it: against quadrature by force and closed forms."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import logsumexp

from sae.numerics.ebp import drawn_populations as module
from sae.numerics.ebp.closed_form import additive
from sae.numerics.ebp.indicators import ADDITIVE, Indicators
from sae.numerics.ebp.parameter import estimate_parameter
from sae.numerics.ebp.population import Level, Parameters, Population
from sae.numerics.ebp.posterior import ParameterDraws, scale_posterior
from sae.numerics.ebp.transforms import Scale
from sae.numerics.ebp.units import SampleUnits
from sae.numerics.inference.priors import FLAT_SD, FLAT_VARIANCE, HALF_CAUCHY, HALF_NORMAL, log_prior
from sae.numerics.nested_error.loo import leave_area_out
from sae.numerics.nested_error.posterior import HyperPrior, nested_error_posterior
from sae.numerics.nested_error.profile import area_sums
from sae.numerics.random.streams import stream_keys
from tests.numerics.ebp.populations import SCALES, THRESHOLD, parameters, population

BY_FORCE = 1e-4  # of log weights: a grid of 200 x 120 values of the deviations
UNIT = 1e-6  # of weights: rounding of thirty thousand nats
SIGMAS = 4.5  # of some sixty Monte Carlo figures a scale


def simulate_draws(people, drawn, indicators, level, keys, **options):
    """Figures of one level, (S, parts, 1 + groups, K)."""
    shape = (len(drawn.node), level.size, 1 + people.groups, len(indicators.names))
    return module.simulate_draws(people, drawn, indicators, [level], keys, **options).reshape(shape)


AREA = np.repeat(np.arange(8), [9, 0, 7, 8, 6, 10, 5, 8])
KEYS = stream_keys(9, "welfare", "ABCD")


def sample(name="box-cox", parameter=0.4):
    rng = np.random.default_rng(3)
    X = np.column_stack([np.ones(len(AREA)), rng.normal(size=len(AREA))])
    z = 10.0 + X[:, 1] * 0.3 + 0.5 * rng.normal(size=8)[AREA] + 0.8 * rng.normal(size=len(AREA))
    return SampleUnits.of(X, AREA, 8), Scale(name, parameter).inverse(z)


def by_force(units, y, scale, prior):
    """log p(y | λ) of w = h(y) / J^(1/n), β integrated out, on a grid of σu and σe."""
    slope = scale.log_slope(y).mean()
    w = scale.forward(y) / np.exp(slope)
    prior_w = (prior.code, prior.scale / np.exp(slope))
    values, vectors = np.linalg.eigh(np.equal.outer(AREA, AREA).astype(float))
    xt, yt = vectors.T @ units.X, vectors.T @ w
    s = np.std(w)
    log_u, log_e = np.linspace(np.log(1e-6 * s), np.log(30 * s), 200), np.linspace(-2.5, 2.0, 120) + np.log(s)
    out = np.empty((200, 120))
    for k, u in enumerate(np.exp(log_u)):
        v = u**2 * values[:, None] + np.exp(2.0 * log_e)
        M = np.einsum("na,nk,nb->kab", xt, 1.0 / v, xt)
        c = np.einsum("na,nk->ka", xt, yt[:, None] / v)
        rss = (yt[:, None] ** 2 / v).sum(axis=0) - np.einsum(
            "ka,ka->k", c, np.linalg.solve(M, c[:, :, None])[:, :, 0]
        )
        out[k] = -0.5 * (np.log(v).sum(axis=0) + np.linalg.slogdet(M)[1] + rss)
        # dσu/σe of a prior of the ratio, p(σu) dσu of any other
        if prior.ratio:
            out[k] += log_prior((prior.code, prior.scale), u / np.exp(log_e)) + log_u[k] - log_e
        else:
            out[k] += log_prior(prior_w, np.array(u)) + log_u[k]
            out[k] -= np.log(prior_w[1]) if prior.code in (HALF_NORMAL, HALF_CAUCHY) else 0.0
    return logsumexp(out)


@pytest.mark.parametrize(
    ("name", "prior"),
    [
        ("box-cox", HyperPrior(HALF_NORMAL, 0.8)),
        ("box-cox", HyperPrior(HALF_CAUCHY, 0.5)),
        ("box-cox", HyperPrior(FLAT_SD)),
        ("box-cox", HyperPrior(FLAT_VARIANCE)),
        ("box-cox", HyperPrior(HALF_NORMAL, 1.0, ratio=True)),
        ("log-shift", HyperPrior(HALF_NORMAL, 0.8)),
        ("dual-power", HyperPrior(HALF_NORMAL, 0.8)),
        ("dual-power", HyperPrior(HALF_CAUCHY, 0.5)),
    ],
)
def test_the_parameter_by_force(name, prior):
    units, y = sample()
    at = Scale(name, estimate_parameter(units, y, name).parameter)
    model = scale_posterior(units, y, at, prior)
    inner = np.flatnonzero(model.weights > 1e-4)[[2, -3]]  # an end of the range weighs half
    logs = []
    for k in inner:
        scale = model.scales[k]
        own = (
            prior
            if prior.ratio
            else HyperPrior(prior.code, prior.scale * np.std(scale.forward(y)) / np.std(at.forward(y)))
        )
        logs.append(by_force(units, y, scale, own))
    np.testing.assert_allclose(np.diff(np.log(model.weights[inner])), np.diff(logs), atol=BY_FORCE)


def test_the_unit_of_money_changes_nothing():
    units, y = sample()
    at = Scale("box-cox", estimate_parameter(units, y, "box-cox").parameter)
    models = []
    for unit in (1.0, 1000.0):
        prior = HyperPrior(HALF_NORMAL, float(np.std(at.forward(unit * y))))
        models.append(scale_posterior(units, unit * y, at, prior))
    one, other = models
    np.testing.assert_allclose(one.weights, other.weights, atol=UNIT)
    people = Population(units.X, np.concatenate([[0], np.cumsum(units.n)]))
    figures = [
        simulate_draws(
            people,
            model.draw("ABCDEFGH", 50, 1),
            Indicators(("head_count", "gap"), unit * np.median(y)),
            Level.of_areas(8),
            stream_keys(1, "welfare", "ABCDEFGH"),
        )
        for unit, model in zip((1.0, 1000.0), models, strict=True)
    ]
    np.testing.assert_allclose(*figures, atol=UNIT)


def test_more_draws_keep_the_first_ones():
    units, y = sample()
    model = scale_posterior(units, y, Scale("box-cox", 0.4), HyperPrior(HALF_NORMAL, 1.0))
    few, many = (model.draw("ABCDEFGH", draws, 1) for draws in (30, 90))
    for name in ("node", "coefficients", "sigma_u", "sigma_e", "effects"):
        np.testing.assert_array_equal(getattr(few, name), getattr(many, name)[:30])
    assert not np.array_equal(model.draw("ABCDEFGH", 30, 2).sigma_e, few.sigma_e)


def test_draws_of_the_parameter_follow_its_weights():
    units, y = sample()
    model = scale_posterior(units, y, Scale("box-cox", 0.4), HyperPrior(HALF_NORMAL, 1.0))
    values = np.array([scale.parameter for scale in model.scales])
    mean = model.weights @ values
    sd = np.sqrt(model.weights @ (values - mean) ** 2)
    drawn = model.draw("ABCDEFGH", 4000, 1).parameter
    assert abs(drawn.mean() - mean) < SIGMAS * sd / np.sqrt(4000)
    assert abs(np.log(drawn.std() / sd)) < SIGMAS / np.sqrt(8000)


def same(at, draws):
    """Many draws of one set of parameters."""
    return ParameterDraws(
        (at.scale,),
        np.zeros(draws, dtype=np.int64),
        np.tile(at.coefficients, (draws, 1)),
        np.full(draws, at.sigma2_u**0.5),
        np.full(draws, at.sigma2_e**0.5),
        np.tile(at.effect, (draws, 1)),
    )


@pytest.mark.parametrize("scale", SCALES, ids=str)
@pytest.mark.parametrize("weighted", [False, True])
def test_given_the_parameters_the_mean_is_the_closed_form(scale, weighted):
    people = population(weighted=weighted, groups=2 if weighted else 0)
    at = parameters(scale, people.areas)
    at = Parameters.of_draw(scale, at.coefficients, at.sigma2_u, at.sigma2_e, at.effect)
    names = ADDITIVE if np.isinf(scale.ends[1]) or scale.topped else ADDITIVE[1:]
    level = Level.of_areas(people.areas)
    values = simulate_draws(people, same(at, 3000), Indicators(names, THRESHOLD), level, KEYS)
    exact = additive(people, at, names, THRESHOLD, level)
    there = np.isfinite(exact)
    assert (np.isfinite(values[0]) == there).all()
    error = values.std(axis=0, ddof=1) / np.sqrt(3000)
    z = ((values.mean(axis=0) - exact) / error)[there & (error > 0)]
    assert np.abs(z).max() < SIGMAS


def test_neither_threads_nor_memory_nor_other_areas_change_a_number(monkeypatch):
    people = population()
    at = parameters(Scale("box-cox", 0.4), 4)
    drawn = same(at, 23)
    for names in (("gini", "mean"), ("head_count", "gap", "severity")):
        wanted = Indicators(names, THRESHOLD)
        whole = simulate_draws(people, drawn, wanted, Level.of_areas(4), KEYS)
        np.testing.assert_array_equal(
            simulate_draws(people, drawn, wanted, Level.of_areas(4), KEYS, threads=3), whole
        )
        with monkeypatch.context() as patch:
            patch.setattr(module, "_TILE", 100)
            np.testing.assert_array_equal(
                simulate_draws(people, drawn, wanted, Level.of_areas(4), KEYS), whole
            )
        alone = Population(people.X[130:], np.array([0, 7]), people.weight[130:], people.group[130:], 2)
        one = type(drawn)(
            drawn.scales, drawn.node, drawn.coefficients, drawn.sigma_u, drawn.sigma_e, drawn.effects[:, 3:]
        )
        np.testing.assert_array_equal(
            simulate_draws(alone, one, wanted, Level.of_areas(1), KEYS[3:])[:, 0], whole[:, 3]
        )


def test_levels_add_up_in_every_draw():
    people, drawn = population(groups=0), same(parameters(Scale("log"), 4), 20)
    wanted = Indicators(("mean", "head_count", "gap"), THRESHOLD)
    areas = simulate_draws(people, drawn, wanted, Level.of_areas(4), KEYS)[:, [0, 2, 3], 0]
    whole = simulate_draws(people, drawn, wanted, Level(np.zeros(4, dtype=np.int64), 1), KEYS)[:, 0, 0]
    size = np.add.reduceat(people.weight, people.offsets[[0, 2, 3]])
    np.testing.assert_allclose(np.einsum("sak,a->sk", areas, size / size.sum()), whole, rtol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("names", [("gini", "head_count", "median"), ("mean", "gap"), ("head_count", "gap")])
def test_one_pass_gives_all_levels(names, weighted, monkeypatch):
    """Nested and crossed levels, groups, and areas whose units some level puts apart."""
    people = population((20, 0, 31, 7, 12, 16, 9), weighted=weighted)
    drawn, keys = same(parameters(Scale("box-cox", 0.4), 7), 9), stream_keys(9, "welfare", "ABCDEFG")
    wanted = Indicators(names, THRESHOLD)
    parts = [np.arange(7), [0, 0, 1, 1, 0, 2, 2], [1, 1, 0, 0, 1, 0, 2], [0, 0, 0, 0, 1, 1, 1]]
    levels = [Level(np.array(part), max(part) + 1) for part in parts]
    for some in ([0], [0, 1], [2, 1], [0, 1, 2, 3]):
        each = [simulate_draws(people, drawn, wanted, levels[k], keys).reshape(9, -1) for k in some]
        for threads, tile in ((1, 1 << 16), (3, 100)):
            monkeypatch.setattr(module, "_TILE", tile)
            chosen = [levels[k] for k in some]
            got = module.simulate_draws(people, drawn, wanted, chosen, keys, threads=threads)
            np.testing.assert_array_equal(got, np.concatenate(each, axis=1))
    totals = Indicators(("total", "gini"), functions={"total": lambda y, w: (w * y).sum()})
    made = np.nan_to_num(module.simulate_draws(people, drawn, totals, levels, keys)).reshape(9, -1, 3, 2)
    areas, first = made[:, :7, :, 0], 7
    for level in levels[1:]:
        wanted = np.stack([areas[:, level.part == k].sum(axis=1) for k in range(level.size)], axis=1)
        np.testing.assert_allclose(made[:, first : first + level.size, :, 0], wanted, rtol=1e-12)
        first += level.size


@pytest.mark.parametrize("names", [("gini", "mean"), ("head_count", "gap")])
def test_a_cell_is_as_many_units(names):
    people = population()
    count = np.tile([1, 3, 0, 2], len(people.X))[: len(people.X)]
    cells = replace(people, count=count)
    each = Population(
        np.repeat(people.X, count, axis=0),
        cells.unit_offsets,
        np.repeat(people.weight, count),
        np.repeat(people.group, count),
        2,
    )
    drawn, wanted = same(parameters(Scale("box-cox", 0.4), 4), 12), Indicators(names, THRESHOLD)
    one, other = (simulate_draws(p, drawn, wanted, Level.of_areas(4), KEYS) for p in (cells, each))
    np.testing.assert_array_equal(one, other)


def test_known_welfare_is_kept():
    people = population(groups=0, weighted=False)
    y = np.full(len(people.X), np.nan)
    y[:40] = np.linspace(5_000.0, 30_000.0, 40)
    known = Population(people.X, people.offsets, known=y)
    drawn = same(parameters(Scale("box-cox", 0.4), 4), 10)
    for names in (("head_count", "gap"), ("mean", "head_count", "gap")):
        figures = simulate_draws(known, drawn, Indicators(names, THRESHOLD), Level.of_areas(4), KEYS)[:, 0, 0]
        poor = y[:40] < THRESHOLD
        wanted = [poor.mean(), np.where(poor, 1.0 - y[:40] / THRESHOLD, 0.0).mean()]
        np.testing.assert_allclose(figures[:, -2:], np.tile(wanted, (10, 1)), rtol=1e-12)


def test_an_area_is_left_out_as_by_the_nested_error_model():
    units, y = sample()
    prior = HyperPrior(HALF_NORMAL, 1.0)
    z = np.log(y)
    sums = area_sums(z, units.X, units.area, 8)
    wanted = leave_area_out(nested_error_posterior(sums, prior), sums)
    wanted -= np.array([z[units.area == d].sum() for d in np.unique(units.area)])
    got = scale_posterior(units, y, Scale("log"), prior).leave_area_out()
    np.testing.assert_allclose(got, wanted, rtol=1e-9)
    near = scale_posterior(units, y, Scale("box-cox", 0.4), prior).leave_area_out()
    assert near.sum() > got.sum()  # the scale that made the sample
