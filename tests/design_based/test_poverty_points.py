"""Points of the poverty family against laeken, emdi, the golden values and brute force."""

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from sae.design_based import poverty
from sae.errors import SaeInputError
from sae.indicators import Indicator, arrays
from sae.survey import Survey

EXACT = 1e-9  # same formula, same file: only the order of summation differs
RESIDUE = 1e-12  # a sum of debts and incomes this small beside their sizes is rounding of 0
GOLDEN = 5e-5  # the golden values of docs/domain.md §1.6 are printed to four decimals
LAEKEN = {"arpr": ("arpr", 100), "poverty_gap": ("rmpg", 100), "qsr": ("qsr", 1), "gini": ("gini", 100)}


@pytest.fixture(scope="module")
def eusilc(shared_data):
    columns = ["db040", "pb220a", "age", "eqIncome", "rb050"]
    return pd.read_csv(shared_data / "laeken_eusilc.csv.gz", usecols=columns)


@pytest.fixture(scope="module")
def districts(shared_data):
    return pd.read_csv(
        shared_data / "emdi_eusilcA_smp.csv", usecols=["eqIncome", "weight", "state", "district"]
    )


def by(kind, income, weights, labels=None, order=None, inside=None):
    n = len(income)
    codes = np.zeros(n, int) if labels is None else pd.Categorical(labels, categories=order).codes.astype(int)
    got = poverty.estimate(
        Indicator("income", kind=kind),
        np.asarray(income, float),
        np.asarray(weights, float),
        np.ones(n, bool) if inside is None else inside,
        codes,
        1 if order is None else len(order),
    )
    return got.estimates


@pytest.mark.parametrize("kind", LAEKEN)
def test_laeken_national_and_by_region(kind, eusilc, reference):
    case, scale = LAEKEN[kind]
    expected = reference(f"laeken_eusilc_{case}")["outputs"]
    assert by(kind, eusilc.eqIncome, eusilc.rb050)[0] * scale == pytest.approx(expected["overall"], abs=EXACT)
    regions = expected["by_region"]
    got = by(kind, eusilc.eqIncome, eusilc.rb050, eusilc.db040, regions["stratum"])
    np.testing.assert_allclose(got * scale, regions["value"], rtol=0, atol=EXACT)


def test_laeken_median_and_threshold(eusilc, reference):
    expected = reference("laeken_weighted_quantiles")["outputs"]
    assert by("median", eusilc.eqIncome, eusilc.rb050)[0] == pytest.approx(expected["median"], abs=EXACT)
    assert by("threshold", eusilc.eqIncome, eusilc.rb050)[0] == pytest.approx(expected["arpt"], abs=EXACT)


def test_golden_values_of_the_reference(eusilc):
    # docs/domain.md §1.6, printed to four to seven digits
    golden = {"median": 18098.7267, "threshold": 10859.2360, "qsr": 3.970004, "gini": 0.2648962}
    golden |= {"arpr": 0.1444422, "poverty_gap": 0.1892860, "median_ratio": 1.0}
    for kind, value in golden.items():
        assert by(kind, eusilc.eqIncome, eusilc.rb050)[0] == pytest.approx(value, rel=3e-7, abs=GOLDEN / 1000)
    regions = {
        "Burgenland": 19.5398,
        "Carinthia": 13.0863,
        "Lower Austria": 13.8436,
        "Salzburg": 13.7873,
        "Styria": 14.3746,
        "Tyrol": 15.3082,
        "Upper Austria": 10.8898,
        "Vienna": 17.2347,
        "Vorarlberg": 16.5373,
    }
    got = by("arpr", eusilc.eqIncome, eusilc.rb050, eusilc.db040, list(regions))
    np.testing.assert_allclose(100 * got, list(regions.values()), rtol=0, atol=GOLDEN)
    ratio = by("median_ratio", eusilc.eqIncome, eusilc.rb050, eusilc.db040, list(regions))
    median = by("median", eusilc.eqIncome, eusilc.rb050, eusilc.db040, list(regions))
    np.testing.assert_allclose(ratio, median / golden["median"], rtol=3e-9)


def test_golden_rate_by_citizenship_keeps_the_national_threshold(eusilc):
    # 16 and over; the threshold comes from everybody, children included
    got = by("arpr", eusilc.eqIncome, eusilc.rb050, eusilc.pb220a, ["AT", "EU", "Other"])
    np.testing.assert_allclose(100 * got, [12.8888, 16.1719, 22.8158], rtol=0, atol=GOLDEN)


@pytest.mark.parametrize(("kind", "column"), [("arpr", "Head_Count"), ("gini", "Gini"), ("median", "Median")])
def test_emdi_districts(kind, column, districts, reference):
    expected = reference("emdi_direct_district_defaultthreshold")["outputs"]["point"]
    got = by(kind, districts.eqIncome, districts.weight, districts.district, expected["Domain"])
    np.testing.assert_allclose(got, expected[column], rtol=0, atol=EXACT)


def test_emdi_quintile_share_is_a_ratio_of_means_ours_of_totals(districts, reference):
    """emdi divides mean incomes, Eurostat and laeken total incomes; exact ties differ besides."""
    expected = reference("emdi_direct_district_defaultthreshold")["outputs"]["point"]
    ours = by("qsr", districts.eqIncome, districts.weight, districts.district, expected["Domain"])
    as_means, tied = [], []
    for name in expected["Domain"]:
        part = districts[districts.district == name].sort_values("eqIncome", kind="stable")
        x, w = part.eqIncome.to_numpy(), part.weight.to_numpy()
        low, high = by_fractions(x, w, 1, 5), by_fractions(x, w, 4, 5)
        top, bottom = x > high[0], x <= low[0]
        totals = (w * x)[top].sum() / (w * x)[bottom].sum()
        as_means.append(totals * w[bottom].sum() / w[top].sum())
        tied.append(low[1] or high[1])
        assert ours[expected["Domain"].index(name)] == pytest.approx(totals, abs=EXACT)
    off = np.abs(np.array(as_means) - expected["Quintile_Share"]) > EXACT
    assert off.sum() <= 6
    assert not np.any(off & ~np.array(tied))


def test_emdi_poverty_gap_is_the_mean_gap_an_expression(districts, reference):
    """The gap of emdi is Foster–Greer–Thorbecke's mean gap, not the relative median gap."""
    expected = reference("emdi_direct_district_fixedthreshold")["outputs"]["point"]
    survey = Survey.from_frame(districts, weights="weight")
    gap = Indicator("(eqIncome < 11064.82) * (11064.82 - eqIncome) / 11064.82")
    rate = Indicator("eqIncome < 11064.82")
    for indicator, column in ((gap, "Poverty_Gap"), (rate, "Head_Count")):
        found = arrays(indicator, survey)
        codes = pd.Categorical(districts.district, categories=expected["Domain"]).codes
        top = np.bincount(codes, survey.weights * found.numerator)
        bottom = np.bincount(codes, survey.weights * found.denominator)
        np.testing.assert_allclose(top / bottom, expected[column], rtol=0, atol=EXACT)


def by_fractions(x, w, numerator, denominator):
    """Quantile of sorted x in exact arithmetic, and whether the share was met exactly."""
    weights = [Fraction(float(one)) for one in w]
    goal = sum(weights) * numerator / denominator
    running = Fraction(0)
    for j, weight in enumerate(weights):
        running += weight
        if running == goal:
            return (x[j] + x[j + 1]) / 2, True
        if running > goal:
            return x[j], False
    raise AssertionError("a share below 1 is always met")


def test_threshold_by_period_and_pooled_domains():
    income = np.array([1.0, 10, 20, 2, 100, 200])
    groups = np.array([0, 0, 0, 1, 1, 1])
    args = (income, np.ones(6), np.ones(6, bool))
    apart = poverty.estimate(Indicator("x", kind="arpr"), *args, groups, 2, groups=groups)
    np.testing.assert_allclose(apart.thresholds, [6.0, 60.0])
    np.testing.assert_allclose(apart.estimates, [1 / 3, 1 / 3])
    pooled = poverty.estimate(Indicator("x", kind="poverty_gap"), *args, np.zeros(6, int), 1, groups=groups)
    # relative incomes of the poor 1/6 and 2/60: Eurostat median of two equal weights is their mean
    assert pooled.estimates[0] == pytest.approx(1 - (1 / 6 + 2 / 60) / 2)
    line = poverty.estimate(Indicator("x", kind="threshold"), *args, np.zeros(6, int), 1, groups=groups)
    assert line.estimates[0] == pytest.approx(33.0)


def test_a_subset_does_not_move_the_threshold():
    income = np.array([1.0, 2, 3, 100, 110, 120])
    inside = np.array([True, True, True, False, False, False])
    got = poverty.estimate(Indicator("x", kind="arpr"), income, np.ones(6), inside, np.zeros(6, int), 1)
    assert got.estimates[0] == 1.0  # national median 51.5, threshold 30.9


def test_other_share_of_the_median():
    income = np.array([3.0, 5.5, 10, 11, 12])
    rates = [
        poverty.estimate(
            Indicator("x", kind="arpr", threshold_share=share),
            income,
            np.ones(5),
            np.ones(5, bool),
            np.zeros(5, int),
            1,
        ).estimates[0]
        for share in (0.4, 0.5, 0.6)
    ]
    assert rates == pytest.approx([0.2, 0.2, 0.4])


def test_empty_domain_nobody_poor_and_no_negative_totals():
    income, codes = np.array([10.0, 11, 12, 1]), np.array([0, 0, 0, 1])
    args = (income, np.ones(4), np.ones(4, bool), codes, 3)
    rate = poverty.estimate(Indicator("x", kind="arpr"), *args)
    np.testing.assert_array_equal(rate.estimates, [0.0, 1.0, np.nan])
    gap = poverty.estimate(Indicator("x", kind="poverty_gap"), *args)
    assert np.isnan(gap.estimates[[0, 2]]).all() and gap.estimates[1] == pytest.approx(1 - 1 / 6.3)
    for kind in ("median", "qsr", "gini", "threshold", "arpr", "poverty_gap"):
        got = poverty.estimate(Indicator("x", kind=kind), *args)
        assert (
            np.isfinite(got.local).all() and np.isfinite(got.common).all() and np.isfinite(got.loadings).all()
        )
        assert np.isnan(got.estimates[2])
    debts = poverty.estimate(
        Indicator("x", kind="gini"), np.array([-5.0, 1]), np.ones(2), np.ones(2, bool), np.zeros(2, int), 1
    )
    assert np.isnan(debts.estimates[0])


def test_missing_incomes_are_in_no_sum():
    income = np.array([1.0, np.nan, 10, 11, 12])
    known = np.isfinite(income)
    got = poverty.estimate(Indicator("x", kind="arpr"), income, np.ones(5), known, np.zeros(5, int), 1)
    assert got.estimates[0] == 0.25
    assert got.scores(0)[1] == 0.0


def test_thresholds_that_make_no_sense_are_refused():
    zeros = np.zeros(4)
    with pytest.raises(SaeInputError, match="median income must be above 0"):
        poverty.estimate(
            Indicator("x", kind="arpr"), zeros, np.ones(4), np.ones(4, bool), np.zeros(4, int), 1
        )
    with pytest.raises(SaeInputError, match="No record has an income"):
        poverty.estimate(
            Indicator("x", kind="arpr"),
            np.full(4, np.nan),
            np.ones(4),
            np.zeros(4, bool),
            np.zeros(4, int),
            1,
        )


@pytest.mark.parametrize(
    "kind", ["median", "median_ratio", "arpr", "poverty_gap", "qsr", "gini", "threshold"]
)
@pytest.mark.parametrize("periods", [1, 2])
def test_replicates_equal_one_estimate_each(kind, periods, rng):
    n = 300
    income, codes = rng.lognormal(0, 0.8, n), rng.integers(-1, 4, n)
    inside, groups = rng.random(n) < 0.9, rng.integers(0, periods, n)
    weights = rng.gamma(2, 1, (n, 5)) * (rng.random((n, 5)) < 0.8)
    indicator = Indicator("x", kind=kind)
    got = poverty.replicate(indicator, income, weights, inside, codes, 4, groups=groups)
    for r in range(5):
        one = poverty.estimate(indicator, income, weights[:, r], inside, codes, 4, groups=groups)
        np.testing.assert_allclose(got[r], one.estimates, rtol=1e-12)


# ---------------------------------------------------------------- ties


def exact_share(x, weights, share):
    """Income of exactly the lowest `share` of the weight, in rational arithmetic."""
    left, income = sum(weights) * share, Fraction(0)
    for value, weight in sorted(zip(map(Fraction, x), weights, strict=True)):
        income += value * min(weight, left)
        left -= min(weight, left)
    return income


def exact_quintiles(x, weights):
    """S80/S20 with the weight at a quintile split."""
    whole = sum(Fraction(value) * weight for value, weight in zip(x, weights, strict=True))
    return (whole - exact_share(x, weights, Fraction(4, 5))) / exact_share(x, weights, Fraction(1, 5))


@pytest.mark.parametrize(
    ("income", "expected"),
    [
        ([5.0] + [10.0] * 6 + [20.0, 30.0, 40.0], 70 / 15),  # whole records: 70 / 65
        ([7.0] * 9, 1.0),  # whole records: nobody above q80, 0
        ([1.0, 2.0, 3.0], 3.0),  # no tie, but nobody above q80
        ([4.0], 1.0),
        ([1.0] * 3 + [2.0] * 10 + [3.0] * 2 + [9.0] * 5, 36 / 5),  # 9s on both sides of q80
    ],
)
def test_quintile_shares_split_what_ties_at_a_quintile(income, expected):
    got = poverty.estimate(
        Indicator("x", kind="qsr"),
        np.array(income),
        np.ones(len(income)),
        np.ones(len(income), bool),
        np.zeros(len(income), int),
        1,
    )
    assert got.estimates[0] == pytest.approx(expected, rel=1e-12)
    assert float(exact_quintiles(income, [Fraction(1)] * len(income))) == pytest.approx(expected)
    assert any("split so that both sides hold a fifth, in 1 of 1" in note for note in got.notes)


def test_without_ties_the_quintile_shares_are_eurostats(rng):
    income, weights = rng.lognormal(0, 0.7, 200), rng.gamma(2, 1, 200)
    args = (np.ones(200, bool), np.zeros(200, int), 1)
    got = poverty.estimate(Indicator("x", kind="qsr"), income, weights, *args)
    order = np.argsort(income)
    reached = np.cumsum(weights[order]) / weights.sum()
    low, high = income[order][np.searchsorted(reached, [0.2, 0.8], side="right")]
    rich, poor = income > high, income <= low
    expected = (weights * income)[rich].sum() / (weights * income)[poor].sum()
    assert got.estimates[0] == pytest.approx(expected, rel=1e-12)
    assert got.notes == ("S80/S20 by Eurostat's rule: income above q80 over income up to q20, whole records",)


def test_replicates_split_where_the_full_weights_do(rng):
    """The rule is chosen once: a replicate that has no tie of its own does not jump to the other rule."""
    income = np.array([5.0] + [10.0] * 2 + list(rng.uniform(11, 40, 20)))
    full = np.ones(income.size)
    weights = np.column_stack([full, np.where(np.arange(income.size) == 1, 0.0, full)])
    args = (np.ones(income.size, bool), np.zeros(income.size, int), 1)
    indicator = Indicator("x", kind="qsr")
    income[1:6] = 10.0  # five records at q20
    got = poverty.replicate(indicator, income, weights, *args, full=full)[:, 0]
    for r in range(2):
        expected = exact_quintiles(income, [Fraction(int(w)) for w in weights[:, r]])
        assert got[r] == pytest.approx(float(expected), rel=1e-12)


def brute(kind, x, weights, line):
    """A statistic of incomes with small whole weights, written out person by person."""
    people = np.repeat(x, weights)
    if kind == "gini":
        with np.errstate(divide="ignore", invalid="ignore"):
            value = np.abs(people[:, None] - people).mean() / (2 * people.mean())
        return value if people.sum() > RESIDUE * np.abs(people).sum() else np.nan
    if kind == "median":
        return np.median(people)
    poor = people[people < line]
    if kind == "arpr":
        return poor.size / people.size
    if kind == "poverty_gap":
        return 1 - np.median(poor) / line if poor.size else np.nan
    if kind == "threshold":
        return line
    exact = [Fraction(int(weight)) for weight in weights]
    poor = exact_share(x, exact, Fraction(1, 5))
    return float(exact_quintiles(x, exact)) if poor > RESIDUE * np.abs(people).sum() else np.nan


def check_random_incomes(rng, inputs):
    """Every statistic of heaped incomes, zeros and debts, weights 0 to 4, two domains: right, or refused."""
    refused = 0
    for _ in range(inputs):
        n = int(rng.integers(1, 30))
        x = (
            rng.choice([0.0, 1, 2, 3, 5, 10, 100], n)
            if rng.random() < 0.7
            else rng.lognormal(1, 1, n).round(1)
        )
        if rng.random() < 0.2:
            x -= 1.0
        w, codes = rng.integers(0, 5, n), rng.integers(0, 2, n)
        if not w.any():
            continue
        line = 0.6 * np.median(np.repeat(x, w))
        for kind in ("median", "gini", "qsr", "arpr", "poverty_gap", "threshold"):
            args = (x, w.astype(float), w > 0, codes, 2)
            try:
                got = poverty.estimate(Indicator("x", kind=kind), *args)
            except SaeInputError:
                assert line <= 0 and kind in ("arpr", "poverty_gap", "threshold")
                refused += 1
                continue
            assert np.isfinite(got.local).all() and np.isfinite(got.loadings).all()
            for d in range(2):
                mine = (codes == d) & (w > 0)
                expected = brute(kind, x[mine], w[mine], line) if mine.any() else np.nan
                value = got.estimates[d]
                if kind == "qsr" and mine.any() and not any("ties" in note for note in got.notes):
                    expected = eurostat_quintiles(x[mine], w[mine])
                if kind == "qsr" and np.isfinite(value):
                    assert value >= 1.0
                    if any("ties" in note for note in got.notes):  # one of the two domains may have none
                        whole = eurostat_quintiles(x[mine], w[mine])
                        expected = whole if whole == pytest.approx(value, rel=1e-9) else expected
                assert value == pytest.approx(expected, rel=1e-9, abs=1e-12, nan_ok=True), (kind, x, w, codes)
    return refused


def eurostat_quintiles(x, w):
    low, high = (by_quantile(x, w, share) for share in (Fraction(1, 5), Fraction(4, 5)))
    poor = (x * w)[x <= low].sum()
    return (x * w)[x > high].sum() / poor if poor > RESIDUE * np.abs(x * w).sum() else np.nan


def by_quantile(x, w, share):
    people = np.sort(np.repeat(x, w))
    position = share * people.size
    k = int(position)
    return people[k] if position != k else (people[k - 1] + people[k]) / 2


def test_random_incomes(rng):
    assert check_random_incomes(rng, 250) > 0


@pytest.mark.slow
def test_ten_thousand_random_incomes(rng):
    assert check_random_incomes(rng, 10_000) > 0
