"""Units that are alike beyond their area are named, and hardly ever those that are not."""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.unit_level.alike import alike_messages, intra_cluster, shared_values

pytestmark = pytest.mark.filterwarnings("ignore::sae.errors.SaeWarning")
# of a level of 0.13 %: 10 alarms in 1,000 by chance have less than 1 in 10,000
MOST = 9


def clustered(rng, areas=12, each=5, most=9):
    """Areas and clusters of units, of 1 to `most` units."""
    sizes = rng.integers(1, most + 1, size=areas * each)
    cluster = np.repeat(np.arange(areas * each), sizes)
    return cluster // each, cluster


@pytest.mark.parametrize("tail", ["normal", "heavy", "skewed"])
def test_correlations_by_chance_are_not_told(tail):
    alarms = 0
    for seed in range(500):
        rng = np.random.default_rng(seed)
        area, cluster = clustered(rng)
        e = rng.normal(size=len(area)) if tail != "heavy" else rng.standard_t(4, size=len(area))
        e = np.exp(e) if tail == "skewed" else e
        alarms += intra_cluster(e + rng.normal(size=12)[area], area, cluster)[1] > 3.0
    assert alarms <= MOST


def test_the_correlation_is_the_moment_estimator():
    """Mean of 60 samples with a correlation of .3 within .03, three standard errors."""
    found = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        area, cluster = clustered(rng, areas=20)
        v = np.sqrt(0.3) * rng.normal(size=100)[cluster]
        found.append(intra_cluster(v + np.sqrt(0.7) * rng.normal(size=len(area)), area, cluster))
    assert np.mean([one[0] for one in found]) == pytest.approx(0.3, abs=0.03)
    assert all(one[1] > 3.0 for one in found)
    assert np.isnan(intra_cluster(np.arange(4.0), np.array([0, 0, 1, 1]), np.arange(4))).all()


def incomes(seed, areas=20, households=30, spread=0.2):
    rng = np.random.default_rng(seed)
    area = np.repeat(np.arange(areas), households)
    return area, np.exp(10.0 + spread * rng.normal(size=areas)[area] + 0.6 * rng.normal(size=len(area)))


@pytest.mark.parametrize(("areas", "households", "spread"), [(5, 15, 0.8), (20, 30, 0.2), (150, 40, 0.4)])
@pytest.mark.parametrize("step", [1.0, 100.0, 1_000.0, 5_000.0])
def test_rounding_is_not_told(areas, households, spread, step):
    for seed in range(5):
        area, y = incomes(seed, areas, households, spread)
        half = np.where(np.arange(len(y)) % 2 == 0, np.round(y / step) * step, np.round(y, 2))  # heaped
        for values in (
            np.round(y / step) * step,
            half,
            np.where(y < 15_000, 0.0, y),
            np.round(np.log(y) * 4),
        ):
            assert shared_values(values, area) == 0


@pytest.mark.parametrize("areas", [5, 40])
def test_persons_of_a_household_are_told(areas):
    rng = np.random.default_rng(3)
    area, y = incomes(3, areas)
    persons = rng.integers(1, 5, size=len(y))
    twins = shared_values(np.repeat(y, persons).round(-1), np.repeat(area, persons))
    assert twins == pytest.approx(persons[persons > 1].sum(), rel=0.05)
    few = np.where(rng.random(len(y)) < 0.02, 2, 1)  # a single pair here and there
    assert shared_values(np.repeat(y, few), np.repeat(area, few)) == 0


@pytest.fixture(scope="module")
def persons():
    rng = np.random.default_rng(1)
    n = 12 * 4 * 8
    frame = pd.DataFrame(
        {"area": np.repeat(np.arange(12), 32).astype(str), "x": rng.normal(size=n), "w": 1.0}
    )
    frame["psu"] = np.repeat(np.arange(48), 8)
    frame["household"] = np.arange(n) // 2
    frame["y"] = np.exp(
        9.0
        + np.repeat(rng.normal(size=12), 32)
        + 0.2 * frame["x"]
        + 0.5 * rng.normal(size=48)[frame["psu"]]
        + 0.6 * rng.normal(size=n)
    )
    return frame


def ebp(**options):
    given = {"domain": "area", "indicators": "mean", "transform": "log", "mse": "none", **options}
    return sae.EBP("y ~ x", **given)


def texts(fit):
    return [
        message.text
        for message in fit.messages
        if "are alike" in message.text or "have exactly" in message.text
    ]


def test_a_survey_tells_its_units(persons):
    survey = sae.Survey.from_frame(persons, weights="w", psu="psu")
    population = persons[["area", "psu", "x"]]
    (text,) = texts(ebp().fit(survey, areas=population))
    assert "Units of one psu are alike: correlation 0." in text and 'clusters="psu" gives each' in text
    assert not texts(ebp(clusters="psu").fit(survey, areas=population))
    (text,) = texts(sae.NestedError("y ~ 1", domain="area").fit(survey))
    assert 'sae.TwoFoldNestedError(domain="psu", area="area")' in text
    assert texts(sae.RobustNestedError("y ~ 1", domain="area", replicates=2).fit(survey, seed=1)) != []
    assert not texts(ebp().fit(persons, areas=population))  # nobody says what its clusters are
    some = survey.subset("x > -1")  # the units inside, in their places
    assert "alike" in texts(ebp().fit(some, areas=population))[0]
    mixed = sae.Survey.from_frame(persons.sample(frac=1, random_state=1), weights="w", psu="psu")
    assert texts(ebp().fit(mixed, areas=population))[0].startswith(
        texts(ebp().fit(survey, areas=population))[0][:60]
    )
    own = persons.assign(y=np.exp(9.0 + 0.6 * np.random.default_rng(2).normal(size=len(persons))))
    assert not texts(ebp().fit(sae.Survey.from_frame(own, weights="w", psu="psu"), areas=population))


def test_shared_incomes_are_told_first(persons):
    shared = persons.assign(y=persons.groupby("household")["y"].transform("mean"))
    survey = sae.Survey.from_frame(shared, weights="w", psu="psu")
    places = shared[["psu", "area"]].drop_duplicates()
    for fit in (
        ebp().fit(shared, areas=persons),
        ebp(clusters="psu").fit(survey, areas=persons),
        sae.NestedError("y ~ 1", domain="area").fit(survey),
        sae.NestedError("y ~ 1", domain="area", method="bayes").fit(shared),
        sae.RobustNestedError("y ~ 1", domain="area", replicates=2).fit(survey, seed=1),
        sae.MQuantile("y ~ 1", domain="area").fit(shared),
        sae.TwoFoldNestedError("y ~ 1", domain="psu", area="area").fit(shared, areas=places),
    ):
        (text,) = texts(fit)
        assert text.startswith("384 of 384 units have exactly the y of another unit of their area")
    assert "population_weights" in texts(ebp().fit(shared, areas=persons))[0]


def test_nothing_to_say():
    y = np.array([1.0, 2.0, 3.0, 4.0])
    assert alike_messages(pd.DataFrame(), y, y, np.array([0, 0, 1, 1]), outcome="y", remedy="") == []
