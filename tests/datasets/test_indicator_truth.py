"""The truth of every indicator against the estimators: on the census exactly, on samples within errors."""

import numpy as np
import pytest

import sae
from sae.datasets import country
from sae.datasets.indicator_truth import INDICATORS
from sae.errors import SaeInputError
from sae.indicators import REGISTRY

EXACT = 1e-9  # the same sums in another order; the median of many incomes is the same number
# Over samples: the mean of the z-scores of an indicator within 4 standard errors, and their spread over all
# indicators near 1 (the variance estimators are of PSUs with replacement, some of few persons).
Z, SPREAD = 4.0, (0.7, 1.3)
SEEDS = range(8)
SAMPLED = [name for name, one in REGISTRY.items() if one.kind not in ("register_rate", "segregation")]


@pytest.fixture(scope="module")
def land():
    return country(seed=3, regions=6)


@pytest.fixture(scope="module")
def census(land):
    people = land.population.assign(one=1.0)
    return sae.Survey.from_frame(people, weights="one", strata="region", psu="psu", household="household")


def test_every_indicator_of_the_registry_has_its_truth():
    assert set(REGISTRY) == set(INDICATORS)


@pytest.mark.parametrize("indicator", SAMPLED)
def test_direct_on_the_census_is_the_truth(land, census, indicator):
    by = ["sex"] if indicator == "qsr" else ["region", "birth"]  # ties at a quintile of a small domain
    direct = sae.direct(census, indicator, by=by, accept=[indicator]).frame
    direct = direct.astype(dict.fromkeys(by, str)).set_index(by)
    true = land.truth_of(by, indicator).set_index(by)[indicator].dropna()
    assert len(true) > 1
    estimate = direct["estimate"].astype(float).dropna()
    np.testing.assert_allclose(estimate.reindex(true.index), true, rtol=EXACT)
    assert len(estimate) == len(true)


@pytest.mark.parametrize(("survey", "measures"), [("lfs", 16), ("silc", 24)])
def test_samples_meet_the_truth_within_their_errors(land, survey, measures):
    names = [name for name in SAMPLED if (REGISTRY[name].survey == "EU-LFS") == (survey == "lfs")]
    assert len(names) >= measures
    true = land.truth_of(["sex"], *names).set_index("sex").loc["female", names].astype(float)
    scores = []
    for seed in SEEDS:
        sample = getattr(land, survey)(seed, persons=2_500)
        table = sae.direct(sample, names, by=["sex"], accept=names).frame
        women = table[table["sex"] == "female"].set_index("indicator")
        scores.append((women["estimate"] - true) / women["se"])
    z = np.array(scores, dtype=float)
    assert np.isfinite(z).all()
    mean = z.mean(axis=0)
    assert (np.abs(mean) < Z / np.sqrt(len(SEEDS))).all(), dict(zip(names, mean, strict=True))
    assert SPREAD[0] < np.sqrt((z**2).mean()) < SPREAD[1]


@pytest.mark.parametrize("indicator", ["naturalisation_rate", "long_term_residence_share"])
def test_register_rates_are_the_truth(land, indicator):
    rates = sae.indicators.register_rate(land.registers, indicator, group="citizenship_group")
    rates = rates.set_index(["area", "citizenship_group"])["value"]
    true = land.truth_of(["region", "citizenship_group"], indicator)
    true = true.set_index(["region", "citizenship_group"])[indicator].dropna()
    np.testing.assert_allclose(rates.reindex(true.index), true, rtol=EXACT)
    assert len(rates) == len(true) >= 6


@pytest.mark.parametrize("indicator", ["dissimilarity", "isolation"])
def test_segregation_of_the_parts_is_the_truth(land, indicator):
    parts = land.population.groupby(["region", "psu", "birth"], observed=True).size().unstack(fill_value=0)
    index = sae.indicators.segregation(
        parts.reset_index(), indicator, area="region", part="psu", group="foreign", other="native"
    )
    true = land.truth_of(["region"], indicator)
    assert index["region"].astype(str).tolist() == true["region"].tolist()
    np.testing.assert_allclose(index["value"], true[indicator], rtol=EXACT)


def test_truth_by_hand(land):
    people = land.population
    names = ("over_qualification_rate", "arope", "dissimilarity", "naturalisation_rate")
    row = land.truth_of([], *names).iloc[0]
    skilled = people.query("20 <= age <= 64 and education == 'tertiary' and labour_status == 'employed'")
    jobs = skilled["occupation"].value_counts()
    below = jobs["low_or_medium_skilled"]
    assert row["over_qualification_rate"] == pytest.approx(below / (below + jobs["high_skilled"]))
    line = 0.6 * np.median(people["income"])
    out = (people["income"] < line).to_numpy()
    out = out | (people["severe_material_social_deprivation"] == "yes").to_numpy()
    out = out | (people["low_work_intensity"] == "yes").to_numpy()
    assert row["arope"] == pytest.approx(out.mean())
    table = people.groupby(["psu", "birth"], observed=True).size().unstack(fill_value=0)
    share = table / table.sum()
    assert row["dissimilarity"] == pytest.approx((share["native"] - share["foreign"]).abs().sum() / 2)
    totals = land.registers.groupby("indicator")["value"].sum()
    assert row["naturalisation_rate"] == pytest.approx(
        totals["naturalisations"] / totals["foreign_residents"]
    )
    with pytest.raises(SaeInputError, match="truth of 'height'"):
        land.truth_of([], "height")


def test_registers_and_persons_agree(land):
    wide = land.registers.pivot_table(index="area", columns="indicator", values="value", aggfunc="sum")
    true = land.truth_of(["region"], "naturalisation_rate", "long_term_residence_share").set_index("region")
    ratio = wide["naturalisations"] / wide["foreign_residents"]
    np.testing.assert_allclose(ratio, true["naturalisation_rate"], rtol=EXACT)
    ratio = wide["long_term_residents"] / wide["valid_permits"]
    np.testing.assert_allclose(ratio, true["long_term_residence_share"], rtol=EXACT)
    assert not land.registers.duplicated(["area", "year", "citizenship_group", "indicator"]).any()
