"""Empirical best predictor: simulated populations, closed forms, bootstrap, against their own normals."""

from functools import partial
from types import SimpleNamespace

from harness import Case

N, AREAS, DRAWS = 1_000_000, 500, 100
LINE = 11_000.0
HOUSEHOLDS = ("mean", "head_count", "gini")
BASIC, ALL = ("head_count", "gap"), ("head_count", "gap", "gini", "quintile_share")


def population(units=N, areas=AREAS, name="box-cox", power=0.4, sample=0):
    """Make a population with incomes about 18,000, the parameters of a fit, and units of each area."""
    import numpy as np

    from sae.numerics.ebp.population import Level, Parameters, Population
    from sae.numerics.ebp.transforms import Scale
    from sae.numerics.ebp.units import SampleUnits
    from sae.numerics.random.streams import stream_keys

    rng = np.random.default_rng(20261122)
    scale = Scale(name, power)
    middle = float(scale.forward(np.array(18_000.0)))
    unit = float(scale.forward(np.array(25_000.0))) - middle
    X = np.column_stack([np.ones(units), rng.normal(size=(units, 4))])
    people = Population(X, np.linspace(0, units, areas + 1).astype(np.int64))
    at = Parameters(
        scale,
        np.array([middle, 0.3 * unit, 0.2 * unit, 0.1 * unit, 0.1 * unit]),
        (0.3 * unit) ** 2,
        (0.8 * unit) ** 2,
        0.2 * unit * rng.normal(size=areas),
        np.full(areas, 0.1 * unit),
    )
    drawn = np.repeat(np.arange(areas), sample)
    return SimpleNamespace(
        people=people,
        at=at,
        level=Level.of_areas(areas),
        keys=stream_keys(1, "welfare", range(areas)),
        units=SampleUnits.of(
            np.column_stack([np.ones(len(drawn)), rng.normal(size=(len(drawn), 4))]), drawn, areas
        )
        if sample
        else None,
        np=np,
    )


def simulated(data, names=BASIC):
    from sae.numerics.ebp.indicators import Indicators
    from sae.numerics.ebp.simulation import simulate

    return simulate(data.people, data.at, Indicators(names, LINE), data.level, data.keys, DRAWS)[0]


def closed(data, names=BASIC):
    from sae.numerics.ebp.closed_form import additive

    return additive(data.people, data.at, names, LINE, data.level)


def bootstrap(data, names=BASIC, replicates=4, draws=50):
    from sae.numerics.ebp.bootstrap import Bootstrap
    from sae.numerics.ebp.indicators import Indicators

    labels = list(map(str, range(data.level.size)))
    boot = Bootstrap(data.units, data.people, data.at, Indicators(names, LINE), [data.level], labels, draws)
    return boot.errors(replicates, 1)


def own_normals(data, draws=DRAWS):
    """As many as one draw has, again and again in the same memory."""
    from sae.numerics.random.normals import normals_of

    for draw in range(draws):
        normals_of(data.np.uint64(1), draw, len(data.people.X))


def numpy_loop(data):
    """Head count and gap of one draw, area by area, as a loop in numpy does it."""
    np, people, at = data.np, data.people, data.at
    rng, score = np.random.default_rng(1), people.scores(at)
    out = np.empty((data.level.size, 2))
    for d in range(data.level.size):
        part = slice(people.offsets[d], people.offsets[d + 1])
        t = score[part] + at.spread[d] * rng.normal() + at.sigma2_e**0.5 * rng.normal(size=people.sizes[d])
        y = at.scale.inverse(t)
        poor = y < LINE
        out[d] = poor.mean(), np.where(poor, 1.0 - y / LINE, 0.0).mean()
    return out


def posterior(units=N, areas=AREAS, draws=1000):
    """Fit the model to 20 units of each area, its posterior with a half-normal prior of σu."""
    from sae.numerics.ebp.parameter import estimate_parameter
    from sae.numerics.ebp.posterior import scale_posterior
    from sae.numerics.ebp.transforms import Scale
    from sae.numerics.inference.priors import HALF_NORMAL
    from sae.numerics.nested_error.posterior import HyperPrior

    data = population(units, areas, sample=20)
    rng, at, sample = data.np.random.default_rng(2), data.at, data.units
    z = sample.X @ at.coefficients + at.effect[sample.area]
    y = at.scale.inverse(z + at.sigma2_e**0.5 * rng.normal(size=len(z)))
    scale = Scale("box-cox", estimate_parameter(sample, y, "box-cox").parameter)

    def model():
        prior = HyperPrior(HALF_NORMAL, float(data.np.std(scale.forward(y))))
        return scale_posterior(sample, y, scale, prior)

    data.model, data.draws = model, draws
    return data


def predictive(data, names=BASIC):
    from sae.numerics.ebp.drawn_populations import simulate_draws
    from sae.numerics.ebp.indicators import Indicators

    drawn = data.model().draw(list(map(str, range(data.level.size))), data.draws, 1)
    return simulate_draws(data.people, drawn, Indicators(names, LINE), [data.level], data.keys)


def households(units=50_000, areas=40, sample=28):
    """Make a population of households: how many persons each has, and two groups of them."""
    from dataclasses import replace

    data = population(units, areas, sample=sample)
    np, rng = data.np, data.np.random.default_rng(3)
    size, group = rng.integers(1, 7, size=units).astype(float), (rng.random(units) < 0.15).astype(np.int64)
    data.people = replace(data.people, weight=size, group=group, groups=2)
    return data


def line_of(values, weights):
    from sae.numerics.design.quantiles import weighted_quantile

    return 0.6 * weighted_quantile(values, weights, [0.5])[0]


def bootstrap_of_households(data, replicates=20, draws=50):
    from sae.numerics.ebp.bootstrap import Bootstrap
    from sae.numerics.ebp.indicators import Indicators

    labels, wanted = list(map(str, range(data.level.size))), Indicators(HOUSEHOLDS, LINE)
    boot = Bootstrap(
        data.units,
        data.people,
        data.at,
        wanted,
        [data.level],
        labels,
        draws,
        line=line_of,
        line_weights=data.np.random.default_rng(4).uniform(50.0, 100.0, size=len(data.units.X)),
    )
    return boot.errors(replicates, 1)


def one_population(data):
    from sae.numerics.ebp.simulation import welfare

    every = data.np.arange(data.level.size)
    return welfare(data.people, data.at, data.people.scores(data.at), every, data.keys, 0, 1)[0]


def numpy_figures(data):
    """Threshold of one population, and figures of areas and groups by numpy alone."""
    np, people, y = data.np, data.people, one_population(data)
    order = np.argsort(y)
    reached = np.cumsum(people.weight[order])
    line = 0.6 * y[order][np.searchsorted(reached, 0.5 * reached[-1], side="right")]
    out = np.full((data.level.size, 3, 3), np.nan)
    for d in range(data.level.size):
        part = slice(people.offsets[d], people.offsets[d + 1])
        for k, own in enumerate([slice(None), people.group[part] == 0, people.group[part] == 1]):
            w, income = people.weight[part][own], y[part][own]
            order = np.argsort(income)
            w, income = w[order], income[order]
            below = 2.0 * np.cumsum(w) - w
            gini = w @ (income * below) / (w.sum() * (w @ income)) - 1.0
            out[d, k] = w @ income / w.sum(), w @ (income < line) / w.sum(), gini
    return line, out


def same_figures(data, errors, theirs):
    from sae.numerics.ebp.indicators import Indicators
    from sae.numerics.ebp.simulation import evaluate

    y, (line, figures) = one_population(data), theirs
    assert abs(line_of(y, data.people.weight) / line - 1.0) < 1e-12
    ours = evaluate(data.people, y, Indicators(HOUSEHOLDS, line), data.level)
    data.np.testing.assert_allclose(ours, figures, rtol=1e-10)
    assert errors.shape[1] == figures.size and data.np.isfinite(errors).all()


LARGE = population
EMDI = partial(population, 25_000, 94, sample=11)

CASES = [
    Case(
        name="ebp_head_count_gap_1000000x100",
        setup=LARGE,
        run=simulated,
        peer=numpy_loop,
        peer_name="a loop in numpy, one draw",
        unit="welfare",
        units=N * DRAWS,
        peer_units=N,
        target="0.5 s",
    ),
    Case(
        name="ebp_with_gini_quintile_share_1000000x100",
        setup=LARGE,
        run=partial(simulated, names=ALL),
        peer=own_normals,
        peer_name="its own normals",
        unit="welfare",
        units=N * DRAWS,
        peer_units=N * DRAWS,
        target="1.0 s, under 400 MB",
    ),
    Case(
        name="ebp_closed_form_log_1000000",
        setup=partial(population, name="log", power=0.0),
        run=closed,
        peer=numpy_loop,
        peer_name="a loop in numpy, one draw",
        unit="unit",
        units=N,
        peer_units=N,
        target="0.15 s",
    ),
    Case(
        name="ebp_closed_form_box_cox_1000000",
        setup=LARGE,
        run=closed,
        peer=numpy_loop,
        peer_name="a loop in numpy, one draw",
        unit="unit",
        units=N,
        peer_units=N,
    ),
    Case(
        name="ebp_bootstrap_1000000x4",
        setup=partial(population, sample=20),
        run=bootstrap,
        peer=partial(own_normals, draws=1),
        peer_name="the normals of one population",
        repeat=2,
        unit="replicate",
        units=4,
        peer_units=1,
        target="0.3 s a replicate, so that 200 take 60 s",
    ),
    Case(
        name="ebp_bootstrap_with_gini_quintile_share_1000000x2",
        setup=partial(population, sample=20),
        run=partial(bootstrap, names=ALL, replicates=2),
        peer=partial(own_normals, draws=50),
        peer_name="the normals of 50 populations",
        repeat=2,
        unit="replicate",
        units=2,
        peer_units=1,
        target="0.6 s a replicate, so that 200 take 60 s on two cores; under 400 MB",
    ),
    Case(
        name="ebp_bootstrap_emdi_25000x50x100",
        setup=EMDI,
        run=partial(bootstrap, names=("mean", *ALL), replicates=100),
        peer=partial(own_normals, draws=5000),
        peer_name="its own normals",
        repeat=2,
        unit="bootstrap",
        target="1.5 s; emdi takes 243 s",
    ),
    Case(
        name="ebp_bootstrap_households",
        setup=households,
        run=bootstrap_of_households,
        peer=numpy_figures,
        peer_name="figures of one population in numpy",
        check=same_figures,
        repeat=3,
        unit="population",
        units=20 * 51,
        peer_units=1,
        target="1.2 s: persons of households, two groups, the threshold of each sample; 20 replicates",
    ),
    Case(
        name="ebp_posterior_1000000x1000",
        setup=posterior,
        run=predictive,
        peer=partial(own_normals, draws=1000),
        peer_name="its own normals",
        repeat=1,
        unit="welfare",
        units=N * 1000,
        peer_units=N * 1000,
        target="10 s, under 400 MB: posterior, draws of λ and all parameters, a population of each",
    ),
]
