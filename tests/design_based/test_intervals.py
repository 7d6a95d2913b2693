"""Intervals: textbook forms, Clopper–Pearson as the limit, coverage of small cells."""

import numpy as np
import pytest
from scipy.stats import beta, binom, binomtest, t

from sae.design_based.intervals import FEW_CASES, intervals, korn_graubard

ROUNDING = 1e-12  # the same formula evaluated apart
NOMINAL = 0.95
# Exact coverage is a finite sum, not a simulation: nothing but rounding stands between it and the claim.
EXACT = 1e-9
# 4,000 simulated cells: the standard error of a coverage of 0.95 is 0.0034; three of them.
SIMULATED = 0.0103


def one(p, v, n, n_eff, df, **options):
    low, high, names = intervals(*(np.array([float(x)]) for x in (p, v, n, n_eff, df)), **options)
    return low[0], high[0], names[0]


def test_mean_is_the_t_interval():
    low, high, name = one(50.0, 4.0, 30, np.nan, 7, share=False)
    half = t.ppf(0.975, 7) * 2
    assert (low, high, name) == (pytest.approx(50 - half), pytest.approx(50 + half), "t")


@pytest.mark.parametrize(("v", "df"), [(0.0, 7), (np.nan, 7), (4.0, 0), (4.0, np.nan)])
def test_mean_without_a_variance_has_no_interval(v, df):
    low, high, name = one(50.0, v, 30, np.nan, df, share=False)
    assert np.isnan(low) and np.isnan(high) and name == ""


def test_share_with_many_cases_is_a_t_interval_on_the_logit():
    p, v, df = 0.3, 0.3 * 0.7 / 200, 40
    low, high, name = one(p, v, 300, np.nan, df, share=True)
    half = t.ppf(0.975, df) * np.sqrt(v) / (p * (1 - p))
    odds = np.log(p / (1 - p))
    assert name == "logit t"
    assert low == pytest.approx(1 / (1 + np.exp(-(odds - half))), rel=ROUNDING)
    assert high == pytest.approx(1 / (1 + np.exp(-(odds + half))), rel=ROUNDING)


def test_few_cases_take_korn_graubard_and_the_border_is_ten():
    n_eff = 100.0
    assert one(0.099, 0.099 * 0.901 / n_eff, 120, np.nan, 50, share=True)[2] == "Korn-Graubard"
    assert one(0.901, 0.099 * 0.901 / n_eff, 120, np.nan, 50, share=True)[2] == "Korn-Graubard"
    assert one(0.101, 0.101 * 0.899 / n_eff, 120, np.nan, 50, share=True)[2] == "logit t"
    assert FEW_CASES == 10


@pytest.mark.parametrize(("cases", "n"), [(1, 5), (2, 10), (7, 30), (29, 30)])
def test_clopper_pearson_at_design_effect_one(cases, n):
    p = cases / n
    low, high = korn_graubard(*(np.array([float(x)]) for x in (p, n, n, n - 1)))
    exact = binomtest(cases, n).proportion_ci(0.95, method="exact")
    assert low[0] == pytest.approx(exact.low, rel=1e-9) and high[0] == pytest.approx(exact.high, rel=1e-9)


def test_zero_cases_give_the_one_sided_bound_of_the_rule_of_three():
    low, high, name = one(0.0, 0.0, 100, np.nan, 99, share=True)
    assert (low, name) == (0.0, "one-sided Korn-Graubard")
    assert high == pytest.approx(1 - 0.05**0.01, rel=ROUNDING)  # about 3/n
    low, high, _ = one(1.0, 0.0, 100, np.nan, 99, share=True)
    assert high == 1.0 and low == pytest.approx(0.05**0.01, rel=ROUNDING)


def test_design_effect_and_few_clusters_widen():
    plain = one(0.0, 0.0, 40, np.nan, 39, share=True)[1]
    clustered = one(0.0, 0.0, 40, 20, 39, share=True)[1]
    few = one(0.0, 0.0, 40, 20, 4, share=True)[1]
    assert plain < clustered < few
    # the adjusted size: 20 (t_39/t_4)²
    size = 20 * (t.ppf(0.975, 39) / t.ppf(0.975, 4)) ** 2
    assert few == pytest.approx(beta.ppf(0.95, 1, size), rel=ROUNDING)


def test_effective_size_never_exceeds_the_records():
    assert one(0.0, 0.0, 40, 400, 39, share=True) == one(0.0, 0.0, 40, 40, 39, share=True)


@pytest.mark.parametrize(("p", "n", "low", "high"), [(1.0, 1, 0.05, 1.0), (0.0, 6, 0.0, 0.95)])
def test_one_record_or_one_cluster_counts_as_one_observation(p, n, low, high):
    got = one(p, np.nan, n, np.nan, 0, share=True)
    assert got == (pytest.approx(low), pytest.approx(high), "one-sided Korn-Graubard")


def test_no_sample_no_interval_and_rows_do_not_mix():
    low, high, names = intervals(
        np.array([np.nan, 0.5, 0.0]),
        np.array([np.nan, 0.01, 0.0]),
        np.array([0, 40, 40]),
        np.array([np.nan, 25.0, np.nan]),
        np.array([np.nan, 20.0, 20.0]),
        share=True,
    )
    assert names.tolist() == ["", "logit t", "one-sided Korn-Graubard"]
    assert np.isnan([low[0], high[0]]).all()
    assert 0 < low[1] < 0.5 < high[1] < 1


def test_a_calibrated_share_outside_0_1_keeps_its_t_interval():
    assert one(-0.01, 0.0004, 40, np.nan, 30, share=True)[2] == "t"


@pytest.mark.parametrize("n", [5, 10, 20, 30])
def test_exact_coverage_of_binomial_cells(n):
    """Over every outcome, 0 and n included, as a finite sum."""
    cases = np.arange(n + 1)
    p = cases / n
    low, high = korn_graubard(p, np.full(n + 1, float(n)), np.full(n + 1, float(n)), np.full(n + 1, n - 1.0))
    for truth in np.linspace(0.01, 0.99, 99):
        inside = (low <= truth) & (truth <= high)
        miss = binom.pmf(cases, n, truth)[~inside].sum()
        # the end rows spend the whole 5 % on their open side, so that both sides together may miss 7.5 %
        assert miss <= 0.075 + EXACT
        if truth <= 0.5:
            upper_miss = binom.pmf(cases, n, truth)[high < truth].sum()
            assert upper_miss <= 0.05 + EXACT


def test_mean_coverage_of_small_clustered_cells(rng):
    """Cells of 4 to 15 clusters of 3 with intraclass correlation 0.2, shares from 2 to 50 %."""
    cells = 4000
    sizes, truths = rng.integers(4, 16, cells), rng.choice([0.02, 0.05, 0.1, 0.25, 0.5], cells)
    p, v = np.zeros(cells), np.zeros(cells)
    for i, (m, truth) in enumerate(zip(sizes, truths, strict=True)):
        theta = rng.beta(truth * 4, (1 - truth) * 4, m)
        y = rng.binomial(3, theta) / 3
        p[i], v[i] = y.mean(), y.var(ddof=1) / m
    n = 3 * sizes
    deff = 1.4  # 1 + 2·0.2, as a smoothing would supply it where the cell itself shows no variance
    n_eff = np.where((v > 0) & (p > 0) & (p < 1), np.nan, n / deff)
    low, high, names = intervals(p, v, n, n_eff, sizes - 1.0, share=True)
    inside = (low <= truths) & (truths <= high)
    covered = inside.mean()
    assert np.all(names != "")
    assert covered > NOMINAL - SIMULATED
    edge = (p == 0) | (p == 1)
    naive = np.abs(p - truths) <= 1.96 * np.sqrt(v)
    assert edge.sum() > 500 and inside[edge].mean() > 0.9
    assert naive[edge].mean() == 0.0  # a variance of 0 taken for certainty never covers
