"""Periods pooled to years: weights, what is missing, and the variance of an overlapping panel by brute force.

The brute force: trajectories of households over four quarters from a two-state Markov chain, in rotating
panels that stay for two quarters; 6,000 draws give the true variance of the year's rate to 2 %, the mean of
60 estimated variances is known to 1 %.
"""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeInputError, SaeSpecError
from sae.survey import Overlap, Survey, pool_periods

MONTE_CARLO = 0.08  # 3 standard errors of the ratio of the mean estimate to the brute-force variance
EXACT = 1e-12  # the same sums in another order

QUARTERS, STAY, PANEL = 4, 2, 60  # a quarter's sample is two panels of 60 households
SHARE, KEEP = 0.6, 0.9  # employed share; correlation of a household's status over one quarter
CORRELATIONS = [KEEP, KEEP**2, KEEP**3]
SHARES = [0.5, 0.0, 0.0]


def trajectories(rng, *shape):
    """Stationary binary chains with correlation KEEP: the status is kept or drawn anew."""
    y = np.empty((*shape, QUARTERS))
    y[..., 0] = rng.random(shape) < SHARE
    for quarter in range(1, QUARTERS):
        anew = rng.random(shape) >= KEEP
        y[..., quarter] = np.where(anew, rng.random(shape) < SHARE, y[..., quarter - 1])
    return y


def panels(y):
    """Quarters in which each of the five panels is asked: panel p in quarters p - 1 and p."""
    return [(p, q) for p in range(y.shape[-3]) for q in range(QUARTERS) if 0 <= p - q < STAY]


def records(y):
    rows = [
        pd.DataFrame({"panel": p, "home": np.arange(PANEL), "t": f"2021Q{q + 1}", "employed": y[p, :, q]})
        for p, q in panels(y)
    ]
    frame = pd.concat(rows, ignore_index=True)
    return frame.assign(home=frame["panel"] * 1000 + frame["home"], w=10.0)


@pytest.fixture(scope="module")
def brute_force():
    rng = np.random.default_rng(11)
    totals = np.zeros(6_000)
    for start in range(0, totals.size, 2_000):
        y = trajectories(rng, 2_000, 5, PANEL)
        totals[start : start + 2_000] = sum(y[:, p, :, q].sum(axis=1) for p, q in panels(y))
    return (totals / (QUARTERS * STAY * PANEL)).var(ddof=1)


@pytest.fixture(scope="module")
def estimated():
    rng = np.random.default_rng(12)
    modes = {"linked": "linked", "independent": "independent", "stated": Overlap(SHARES, CORRELATIONS)}
    variances = {name: [] for name in modes}
    for _ in range(60):
        survey = Survey.from_frame(
            records(trajectories(rng, 5, PANEL)), weights="w", household="home", time="t"
        )
        for name, panel in modes.items():
            table = sae.direct(pool_periods(survey, panel), "employed", by="year").to_frame()
            variances[name].append(table["se"].item() ** 2)
    return {name: np.mean(values) for name, values in variances.items()}


def test_the_key_brings_the_overlap_into_the_variance(brute_force, estimated):
    assert estimated["linked"] / brute_force == pytest.approx(1, abs=MONTE_CARLO)


def test_the_stated_overlap_does_so_too(brute_force, estimated):
    assert estimated["stated"] / brute_force == pytest.approx(1, abs=MONTE_CARLO)
    assert estimated["stated"] / estimated["independent"] == pytest.approx(1 + 2 * 0.75 * 0.5 * KEEP)


def test_independence_is_wrong_by_the_factor_of_the_overlap(brute_force, estimated):
    factor = Overlap(SHARES, CORRELATIONS).factor(4)
    assert factor == pytest.approx(1.675)
    assert estimated["independent"] * factor / brute_force == pytest.approx(1, abs=MONTE_CARLO)


def year_of(panel, y, **options):
    frame = pd.DataFrame(
        {
            "home": np.tile(np.arange(len(y)), 4),
            "t": np.repeat([f"2021Q{q}" for q in range(1, 5)], len(y)),
            "y": np.tile(y, 4),
            "w": 8.0,
        }
    )
    survey = Survey.from_frame(frame, weights="w", household="home", time="t", **options)
    return survey, pool_periods(survey, panel)


def test_four_times_the_same_sample_is_one_sample():
    """The year of a panel that never changes has the variance of a quarter; with new samples, a fourth."""
    y = np.array([1.0, 0.0, 1.0, 1.0, 0.0, 1.0])
    survey, linked = year_of("linked", y)
    quarter = sae.direct(survey, "y", by="t").to_frame()["se"].iloc[0] ** 2
    year = sae.direct(linked, "y", by="year").to_frame()
    assert year["se"].item() ** 2 == pytest.approx(quarter, rel=EXACT)
    assert year["estimate"].item() == pytest.approx(y.mean(), rel=EXACT)
    assert linked.weights.sum() == pytest.approx(8.0 * 6) and survey.weights.sum() == pytest.approx(
        4 * 8.0 * 6
    )
    new = sae.direct(year_of("independent", y)[1], "y", by="year").to_frame()["se"].item() ** 2
    assert new == pytest.approx(quarter / 4, rel=EXACT)
    same = year_of(Overlap([1, 1, 1], [1, 1, 1]), y)[1]
    table = sae.direct(same, "y", by="year").to_frame()
    assert table["se"].item() ** 2 == pytest.approx(quarter, rel=EXACT)
    assert table["variance_method"].item() == "linearised, pooled periods stated overlap"
    assert year["variance_method"].item() == "linearised, pooled periods linked"


def test_what_is_pooled_is_said():
    survey, linked = year_of("linked", np.array([1.0, 0.0, 1.0]))
    assert linked.time == "year" and linked.frame["year"].tolist() == ["2021"] * 12
    assert linked.notes[-1] == (
        "pooled to years (t): weights divided by 4, the periods of a year; linked by home: 3 of 3 units of a "
        "year occur in several periods, 4.00 on average"
    )
    assert linked.design.endswith("errors linearised; periods pooled, linked")
    apart = pool_periods(survey, "independent")
    assert apart.stages[0].n_strata == 4 and apart.stages[0].n_psu == 12
    assert apart.stages[0].strata_labels[0] == "all 2021Q1"
    assert "periods taken as independent" in apart.notes[-1]
    with pytest.raises(SaeSpecError, match="The survey is a subset"):
        pool_periods(survey.subset("y == 1"), "linked")


def test_nothing_is_assumed():
    survey, _ = year_of("linked", np.array([1.0, 0.0]))
    with pytest.raises(SaeSpecError, match="How the periods hang together is not said"):
        pool_periods(survey, None)
    with pytest.raises(SaeSpecError, match="2 lags, but 4 periods have 3"):
        pool_periods(survey, Overlap([0.5, 0], [0.8, 0]))
    with pytest.raises(SaeSpecError, match="shares is a list of numbers from 0 to 1"):
        Overlap([50], [0.8])
    with pytest.raises(SaeSpecError, match="2 shares, but 1 correlations"):
        Overlap([0.5, 0.2], [0.8])
    with pytest.raises(SaeSpecError, match="cannot carry the overlap"):
        pool_periods(survey, Overlap([1, 1, 1], [1, 1, 1])).with_replicates("jk1")
    with pytest.raises(SaeSpecError, match=r"poisson(.|\n)*linked"):
        sae.direct(pool_periods(survey, "linked"), "y", by="year", variance="poisson")


def test_missing_periods_are_named():
    frame = pd.DataFrame(
        {
            "w": 1.0,
            "home": [1, 2] * 6,
            "t": np.repeat(["2020Q1", "2020Q3", *(f"2021Q{q}" for q in range(1, 5))], 2),
        }
    )
    survey = Survey.from_frame(frame, weights="w", household="home", time="t")
    with pytest.raises(SaeInputError, match="2020Q2, 2020Q4"):
        pool_periods(survey, "linked")
    pooled = pool_periods(survey, "linked", partial=True)
    assert pooled.weights.tolist() == [0.5] * 4 + [0.25] * 8
    assert pooled.notes[-1] == "years that lack periods: 2020Q2, 2020Q4"
    assert "2020 2, 2021 4" in pooled.notes[-2]
    months = survey.frame.assign(t=[f"2021-{month:02d}" for month in range(1, 13)])
    monthly = Survey.from_frame(months.drop(columns="w"), weights=np.ones(12), household="home", time="t")
    assert pool_periods(monthly, "linked").weights.sum() == pytest.approx(1.0)
    with pytest.raises(SaeInputError, match="2021-12"):
        part = months.drop(columns="w").iloc[:11]
        pool_periods(Survey.from_frame(part, weights=np.ones(11), household="home", time="t"), "linked")


def test_a_country_without_some_of_the_periods_is_refused():
    """Two quarters of BG, divided by the four of AT, would count half of its population."""
    rows = [("AT", q, home) for q in (1, 2, 3, 4) for home in "ab"]
    rows += [("BG", q, home) for q in (1, 2) for home in "cd"]
    frame = pd.DataFrame(rows, columns=["country", "quarter", "home"])
    frame = frame.assign(w=100.0, t="2022Q" + frame["quarter"].astype(str))
    survey = sae.Survey.from_frame(frame, weights="w", household="home", time="t")
    for partial in (False, True):
        with pytest.raises(SaeInputError, match="BG 2022Q3, BG 2022Q4"):
            pool_periods(survey, "linked", partial=partial)
    later = frame.assign(t=frame["t"].where(frame["country"] == "AT", "2023" + frame["t"].str[4:]))
    survey = sae.Survey.from_frame(later, weights="w", household="home", time="t")
    assert pool_periods(survey, "linked", partial=True).weights.tolist() == [25.0] * 8 + [50.0] * 4


def test_periods_that_are_none_and_keys_that_link_nothing():
    frame = pd.DataFrame({"w": 1.0, "home": range(8), "t": np.repeat([f"2021Q{q}" for q in range(1, 5)], 2)})
    survey = Survey.from_frame(frame, weights="w", household="home", time="t")
    with pytest.raises(SaeInputError, match=r"No sampling unit .home. occurs in two periods"):
        pool_periods(survey, "linked")
    for bad in ("2021", "spring"):
        other = Survey.from_frame(frame.assign(t=bad), weights="w", household="home", time="t")
        with pytest.raises(SaeInputError, match=f"no quarters or months of a year: {bad}"):
            pool_periods(other, "independent")
    with pytest.raises(SaeInputError, match="has a column 'year'"):
        pool_periods(Survey.from_frame(frame.assign(year=7), weights="w", time="t"), "independent")


def test_strata_and_lonely_units_of_a_period():
    frame = pd.DataFrame(
        {
            "w": 1.0,
            "stratum": ["a", "a", "a", "b", "b", "b", "b"],
            "home": [1, 2, 1, 3, 4, 3, 4],
            "t": ["2021Q1", "2021Q1", "2021Q2", *["2021Q1"] * 2, *["2021Q2"] * 2],
        }
    )
    survey = Survey.from_frame(frame, weights="w", strata="stratum", household="home", time="t")
    assert pool_periods(survey, "linked", partial=True).stages[0].n_strata == 2
    with pytest.raises(SaeInputError, match="1 of 4 stratum has a single"):
        pool_periods(survey, "independent", partial=True)
    lenient = Survey.from_frame(
        frame, weights="w", strata="stratum", household="home", time="t", lonely_psu="collapse"
    )
    apart = pool_periods(lenient, "independent", partial=True)
    assert apart.stages[0].n_strata == 3 and "joined to the next" in apart.notes[-2]


def test_replicates_go_on_over_the_periods():
    survey, _ = year_of("linked", np.array([1.0, 0.0, 1.0, 1.0]))
    pooled = pool_periods(survey.with_replicates("jk1"), "linked")
    direct = sae.direct(pooled, "y", by="year").to_frame()
    linearised = sae.direct(pool_periods(survey, "linked"), "y", by="year").to_frame()
    assert direct["se"].item() == pytest.approx(linearised["se"].item(), rel=EXACT)  # jackknife of a mean
    with pytest.raises(SaeSpecError, match="replicate weights repeat"):
        pool_periods(survey.with_replicates("jk1"), "independent")


def test_weights_of_a_yearly_file_are_not_divided():
    survey, _ = year_of("linked", np.array([1.0, 0.0, 1.0]))
    overlap = Overlap([0.5, 0, 0], [0.8, 0, 0])
    yearly = pool_periods(survey, overlap, yearly_weights=True)
    assert yearly.weights.tolist() == survey.weights.tolist()
    assert "the weights are the year's; stated overlap" in yearly.notes[-1]
    same = [
        sae.direct(one, "y", by="year").to_frame()["se"].item()
        for one in (yearly, pool_periods(survey, overlap))
    ]
    assert same[0] == pytest.approx(same[1], rel=EXACT)  # a rate does not know the scale of the weights


@pytest.mark.slow
def test_the_panel_of_the_synthetic_country():
    """200 panels of one country: 5/6 of the dwellings stay from quarter to quarter, the PSUs all the year.

    The status of a person is that of the year: the correlation is 1. Two PSUs or a few more in each region,
    drawn systematically: the estimate, made for draws with replacement, is a little too large.
    """
    land = sae.datasets.country(seed=1, regions=12)
    estimates, variances = [], {"linked": [], "independent": []}
    for seed in range(200):
        survey = sae.datasets.lfs_panel([land], seed=seed)
        for panel, values in variances.items():
            table = sae.direct(pool_periods(survey, panel), "employment_rate", by="year").to_frame()
            values.append(table["se"].item() ** 2)
        estimates.append(table["estimate"].item())
    true = np.var(estimates, ddof=1)  # known to 10 %
    assert 0.8 < np.mean(variances["linked"]) / true < 1.4
    assert np.mean(variances["independent"]) / true < 0.45


def test_argentine_dwellings_link_the_quarters(shared_data):
    """The panel 2-2-2: a dwelling is in two quarters, out two, in two; the README of the file says so."""
    survey = sae.read_survey(shared_data / "real/ar_eph2013_2014_persons.csv.gz", layout="argentina_eph")
    variances = {}
    for panel in ("linked", "independent"):
        pooled = pool_periods(survey, panel)
        table = sae.direct(pooled, "employment_rate", by="year").to_frame()
        assert table["year"].tolist() == ["2013", "2014"]
        variances[panel] = table["se"].to_numpy() ** 2
    ratio = variances["linked"] / variances["independent"]
    assert (ratio > 1.15).all() and (ratio < Overlap([0.5, 0, 0], [1, 0, 0]).factor(4)).all()
