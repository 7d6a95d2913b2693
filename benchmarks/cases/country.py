"""The synthetic country: one year, every variable of it, five years, a year of 1.5 million interviews."""

from harness import Case

PERSONS = 377_131  # of country(1)
INTERVIEWS = 1_500_000


def draw(_):
    from sae.datasets import country

    return country(1)


def every_variable(_):
    return draw(None).population


def five_years(_):
    from sae.datasets import countries

    return countries(1)


def uniforms(_):
    """Draw what the core of the persons rests on at least: ten numbers each."""
    import numpy as np

    return np.random.default_rng(1).random((10, PERSONS))


def large():
    from sae.datasets import country

    land = country(1, regions=999)
    land.population  # noqa: B018  drawn when first asked for, and not on the clock
    return land


def interviews(land):
    from sae.datasets import lfs_panel

    return lfs_panel([land], seed=1, persons=INTERVIEWS // 4).frame


def gather(land):
    """Take as many rows of the population as there are interviews."""
    import numpy as np

    return land.population.take(
        np.sort(np.random.default_rng(1).integers(len(land.population), size=INTERVIEWS))
    )


def same_size(_, sample, rows):
    assert abs(len(sample) / len(rows) - 1) < 0.02, (len(sample), len(rows))


CASES = [
    Case(
        name=name,
        run=run,
        peer=uniforms,
        peer_name="ten uniform numbers per person",
        unit="person",
        units=n,
        peer_units=PERSONS,
    )
    for name, run, n in (
        ("country_120", draw, PERSONS),
        ("country_120_every_variable", every_variable, PERSONS),
        ("country_120_five_years", five_years, 5 * PERSONS),
    )
] + [
    Case(
        name="country_panel_1500k",
        setup=large,
        run=interviews,
        peer=gather,
        peer_name="taking as many rows of the population",
        check=same_size,
        unit="interview",
        units=INTERVIEWS,
        peer_units=INTERVIEWS,
        repeat=3,
        target="memory below 2 GB",
    )
]
