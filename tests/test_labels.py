"""Codes name the same areas whatever holds them: from the survey to the benchmark."""

import numpy as np
import pandas as pd
import pytest

import sae

KINDS = ["int64", "float64", "Int64", "category", "object", "string"]
CITIES = np.arange(1, 13)
SAMPLED = CITIES[:10]
LABELS = [str(city) for city in CITIES]


def of_kind(values, kind):
    """Codes as a column of a kind; "object" mixes whole numbers and floats, as a spreadsheet does."""
    if kind == "object":
        return pd.Series(
            [float(value) if k % 2 else int(value) for k, value in enumerate(values)], dtype=object
        )
    return pd.Series(values).astype("int64" if kind == "int64" else kind)


def survey_of(kind, rng):
    city = np.repeat(SAMPLED, 40)
    employed = (rng.random(len(city)) < 0.4 + 0.02 * city).astype(int)
    return sae.Survey.from_frame(
        pd.DataFrame({"city": of_kind(city, kind), "employed": employed, "w": 25.0}), weights="w"
    )


def areas_of(kind):
    columns = {
        "x": 0.4 + 0.02 * CITIES,
        "country": of_kind(CITIES % 2 + 1, kind),
        "population": 100.0 * CITIES,
    }
    return pd.DataFrame({"city": of_kind(CITIES, kind), **columns})


@pytest.fixture(scope="module")
def expected():
    rng = np.random.default_rng(5)
    table = sae.direct(survey_of("string", rng), "employed", by="city")
    return sae.FayHerriot("employed ~ x").fit(table, areas=areas_of("string"), seed=1)


@pytest.mark.parametrize("kind", KINDS)
def test_domains_have_the_same_labels_with_and_without_a_sample(expected, kind):
    survey = survey_of(kind, np.random.default_rng(5))
    table = sae.direct(survey, "employed", by="city")
    assert sorted(table["domain"], key=int) == LABELS[:10]
    for other in KINDS:
        if (other == "string") != (kind == "string"):
            continue  # text and numbers are not mixed: "01" and 1 may be two areas
        fit = sae.FayHerriot("employed ~ x").fit(table, areas=areas_of(other), seed=1)
        frame = fit.estimates.frame.set_index("domain")
        assert sorted(frame.index, key=int) == LABELS
        assert frame["in_sample"].loc[LABELS].tolist() == [True] * 10 + [False] * 2
        text = expected.estimates.frame.set_index("domain")
        np.testing.assert_allclose(frame["estimate"][LABELS], text["estimate"][LABELS], rtol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_a_plain_frame_a_map_weights_and_targets_meet_by_label(kind):
    rng = np.random.default_rng(2)
    frame = areas_of(kind).assign(y=0.5 + 0.05 * rng.normal(size=12), vardir=0.002).iloc[:10]
    edges = pd.DataFrame({"a": of_kind(CITIES[:-1], kind), "b": of_kind(CITIES[1:], kind)})
    areas = areas_of("float64" if kind != "string" else kind)[["city", "x", "country", "population"]]
    fit = sae.FayHerriot("y ~ x", domain="city", spatial=sae.SAR(edges), replicates=20).fit(
        frame[["city", "y", "vardir"]], areas=areas, seed=1
    )
    assert fit.estimates["domain"].tolist() == LABELS
    people = dict(zip(of_kind(CITIES, kind), 100.0 * CITIES, strict=True))
    goal = {2: 0.5, 1.0: 0.52}
    for weights in ("population", people, pd.Series(100.0 * CITIES, index=LABELS)):
        final = fit.benchmark(goal, within="country", weights=weights)
        country = CITIES % 2 + 1
        for label, figure in goal.items():
            inside = country == label
            share = np.average(final.estimates["estimate"].to_numpy()[inside], weights=CITIES[inside])
            assert share == pytest.approx(figure, abs=1e-12)
    units = fit.aggregate(by="country", weights=people)
    assert units["domain"].tolist() == ["1", "2"]


@pytest.mark.parametrize("kind", ["int64", "float64", "Int64", "category", "string"])
def test_streams_of_draws_are_named_by_the_label(expected, kind):
    survey = survey_of(kind, np.random.default_rng(5))
    table = sae.direct(survey, "employed", by="city")
    fit = sae.FayHerriot("employed ~ x").fit(table, areas=areas_of(kind), seed=1)
    place = [list(fit.estimates["domain"]).index(label) for label in LABELS]
    of_text = [list(expected.estimates["domain"]).index(label) for label in LABELS]
    np.testing.assert_allclose(
        fit.draws(50, seed=3).values[:, place], expected.draws(50, seed=3).values[:, of_text], rtol=1e-9
    )


def test_dates_and_periods_are_spelt_alike_in_tables_and_rows():
    periods = pd.period_range("2024Q1", periods=3, freq="Q")
    frame = pd.DataFrame({"area": np.tile(LABELS, 3), "when": np.repeat(periods, 12)})
    rng = np.random.default_rng(1)
    frame = frame.assign(y=rng.normal(size=36), x=rng.normal(size=36), vardir=0.5)
    days = frame.assign(when=frame["when"].dt.to_timestamp())
    for data, texts in ((frame, periods.astype(str)), (days, ["2024-01-01", "2024-04-01", "2024-07-01"])):
        fit = sae.FayHerriot("y ~ x", domain="area", per=["when"]).fit(data, seed=1)
        assert set(fit.draws(2, seed=1).to_frame().columns.get_level_values("when")) == set(texts)


@pytest.mark.parametrize("kind", KINDS)
def test_a_plan_takes_domains_and_strata_by_label(expected, kind):
    """The fit knows its domains as text; frames, targets, primary units and wishes may hold their codes."""
    domains = of_kind(SAMPLED, kind)
    frame = pd.DataFrame({"domain": domains, "population": 5000.0})
    targets = dict.fromkeys(domains, 0.1)
    plan = sae.planning.oversample(expected, frame, targets=targets)
    of_text = sae.planning.oversample(
        expected, frame.assign(domain=LABELS[:10]), targets=dict.fromkeys(LABELS[:10], 0.1)
    )
    assert set(plan.domains["domain"]) == set(LABELS[:10])
    pd.testing.assert_frame_equal(plan.domains, of_text.domains)

    strata = pd.DataFrame({"stratum": domains, "city": domains, "population": 5000, "share_rate": 0.4})
    strata = strata.assign(rho_rate=0.05)
    units = pd.DataFrame({"stratum": np.repeat(SAMPLED.astype(float), 50), "size": 100})
    design = sae.planning.TwoStage(units, take=10)
    target = sae.planning.Target("rate", sae.planning.CV(0.1), by="city", only={"city": [2, 3.0]})
    allocation = sae.planning.allocate(strata, target, design=design)
    assert allocation["stratum"].tolist() == LABELS[:10]
    assert allocation.targets["domain"].tolist() == ["2", "3"]
