"""Linearised variances of the poverty family: jackknife, bootstrap, laeken's bootstrap, repeated samples.

The variance of the total Σ w z is computed here by plain group sums, apart from the kernels that the package
uses for it.
"""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from sae.design_based import poverty
from sae.indicators import Indicator

# A bootstrap or simulated variance of R replicates has a relative sd of about sqrt(2/R); 3.5 of them bound
# the largest of the dozens of ratios looked at.
SIGMAS = 3.5
# Delete-one jackknife and linearisation differ by terms of the order of 1/(number of clusters), here 1/1000,
# times a constant of the order of 10 for a long right tail.
JACKKNIFE = 0.02
# Closed forms are met up to the noise of a kernel density, 1 % at 150,000 incomes, which enters squared.
CLOSED_FORM = 0.06
# The kernel density of a median biases its variance upwards, by about a tenth in samples of a few hundred.
KERNEL = 0.15
# The linearised variance of a poverty rate against the same with the true densities, in the same samples: 1
# to 3 % above at n = 300 to 5,000. A kernel on the incomes themselves is 3 to 9 % below: the fault held here.
DENSITY = 0.03

KINDS = ("median", "median_ratio", "arpr", "poverty_gap", "qsr", "gini", "threshold")
LAEKEN = {"arpr": ("arpr", 100), "poverty_gap": ("rmpg", 100), "qsr": ("qsr", 1), "gini": ("gini", 100)}


def design_variance(z, weights, strata, clusters):
    """Ultimate clusters within strata, with replacement."""
    totals = pd.Series(weights * z).groupby([strata, clusters]).sum()
    by_stratum = totals.groupby(level=0)
    return float((by_stratum.var() * by_stratum.size()).sum())


def solve(kind, income, weights, codes=None, n_domains=1, **options):
    n = len(income)
    codes = np.zeros(n, int) if codes is None else codes
    return poverty.estimate(
        Indicator("x", kind=kind), income, weights, np.ones(n, bool), codes, n_domains, **options
    )


@pytest.fixture(scope="module")
def eusilc(shared_data):
    frame = pd.read_csv(shared_data / "laeken_eusilc.csv.gz", usecols=["db030", "db040", "eqIncome", "rb050"])
    regions = pd.Categorical(frame.db040)
    return frame.assign(region=regions.codes.astype(int)), list(regions.categories)


@pytest.mark.parametrize("kind", LAEKEN)
def test_laeken_bootstrap_by_region(kind, eusilc, reference):
    frame, names = eusilc
    case, scale = LAEKEN[kind]
    drawn = reference(f"laeken_eusilc_{case}")["outputs"]["naive_cluster_mc"]
    income, weights = frame.eqIncome.to_numpy(), frame.rb050.to_numpy()
    assert drawn["var_by_region"]["stratum"] == names
    nation = solve(kind, income, weights)
    ours = [design_variance(nation.scores(0), weights, frame.region, frame.db030)]
    theirs = [drawn["var"]]
    if kind != "poverty_gap":  # in a region the poor median stands on a few dozen households, see below
        found = solve(kind, income, weights, frame.region.to_numpy(), 9)
        ours += [design_variance(found.scores(d), weights, frame.region, frame.db030) for d in range(9)]
        theirs += drawn["var_by_region"]["var"]
    distance = np.log(scale**2 * np.array(ours) / theirs) / np.sqrt(2 / 100)
    assert np.abs(distance).max() < SIGMAS


def clustered(rng, n_clusters):
    clusters = np.repeat(np.arange(n_clusters), 3)
    level = np.repeat(rng.lognormal(0, 0.7, n_clusters), 3)
    weights = np.repeat(rng.gamma(5, 1, n_clusters), 3)
    return level * rng.lognormal(0, 0.1, clusters.size), weights, clusters


def delete_one(statistic, income, weights, clusters):
    m = clusters.max() + 1
    theta = [statistic(income, np.where(clusters == c, 0.0, weights * m / (m - 1))) for c in range(m)]
    return (m - 1) / m * np.sum((theta - np.mean(theta)) ** 2)


def shared_quintiles(income, weights):
    """S80/S20 with the record at the quantile split between both sides: smooth in the weights.

    The published definition moves a whole record at a time. That is of order 1/n in the estimate, but the
    delete-one jackknife multiplies it by n: it fails for it as it does for a median.
    """
    order = np.argsort(income)
    x, w = income[order], weights[order]
    above = np.cumsum(w)

    def part(share):
        return np.sum(x * np.clip(share * above[-1] - (above - w), 0.0, w))

    return (np.sum(w * x) - part(0.8)) / part(0.2)


def gini(income, weights):
    return solve("gini", income, weights).estimates[0]


@pytest.mark.parametrize(("kind", "statistic"), [("gini", gini), ("qsr", shared_quintiles)])
def test_delete_one_cluster_jackknife(kind, statistic, rng):
    income, weights, clusters = clustered(rng, 1000)
    jackknife = delete_one(statistic, income, weights, clusters)
    zero = np.zeros(income.size, int)
    linearised = design_variance(solve(kind, income, weights).scores(0), weights, zero, clusters)
    assert linearised == pytest.approx(jackknife, rel=JACKKNIFE)


def lognormal_variance(kind, sigma):
    """n times the asymptotic variance for independent lognormal incomes of median 1, in closed form.

    Every influence value is a linear combination of 1[x ≤ q], 1[x < t] and 1[x ≤ m], q the poor median.
    """
    t = 0.6
    rate = norm.cdf(np.log(t) / sigma)
    q = np.exp(sigma * norm.ppf(rate / 2))
    shares = np.array([rate / 2, rate, 0.5])
    covariance = np.minimum.outer(shares, shares) - np.outer(shares, shares)

    def density(x):
        return norm.pdf(np.log(x) / sigma) / (sigma * x)

    poorer, poor, below = np.eye(3)
    median = -below / density(1.0)
    line = 0.6 * median
    of_rate = poor + density(t) * line
    of_q = (of_rate / 2 - poorer) / density(q)
    gap = q / t**2 * line - of_q / t
    parts = {"median": median, "threshold": line, "arpr": of_rate, "poverty_gap": gap}
    return float(parts[kind] @ covariance @ parts[kind])


@pytest.mark.parametrize("sigma", [0.5, 0.9])
@pytest.mark.parametrize("kind", ["median", "threshold", "arpr", "poverty_gap"])
def test_closed_form_for_lognormal_incomes(kind, sigma, rng):
    """The jackknife is inconsistent for quantiles: these are held to closed forms in a large sample."""
    n = 150_000
    found = solve(kind, rng.lognormal(0, sigma, n), np.ones(n))
    assert np.sum(found.scores(0) ** 2) * n == pytest.approx(lognormal_variance(kind, sigma), rel=CLOSED_FORM)


def poverty_rates(n, sigma, draws, rng):
    """Rates of lognormal samples, their variances, and these with the true densities put in."""
    line = np.log(0.6) / sigma
    slope = 0.6 * norm.pdf(line) / 0.6 / norm.pdf(0.0)  # 0.6 f(t)/f(m) of the population
    rates, estimated, true = np.zeros(draws), np.zeros(draws), np.zeros(draws)
    for draw in range(draws):
        income = rng.lognormal(0, sigma, n)
        found = solve("arpr", income, np.ones(n))
        rates[draw], threshold = found.estimates[0], found.thresholds[0]
        z = (income < threshold) - rates[draw] - slope * ((income <= threshold / 0.6) - 0.5)
        estimated[draw] = n * np.var(found.scores(0), ddof=1)
        true[draw] = np.var(z, ddof=1) / n
    return rates, estimated, true


@pytest.mark.parametrize("sigma", [0.5, 0.9])
def test_the_variance_of_a_poverty_rate_is_that_of_the_true_densities(sigma, rng):
    _, estimated, true = poverty_rates(1200, sigma, 300, rng)
    assert estimated.mean() == pytest.approx(true.mean(), rel=DENSITY)


@pytest.mark.slow
@pytest.mark.parametrize("n", [300, 1200, 5000])
@pytest.mark.parametrize("sigma", [0.5, 0.7, 0.9])
def test_the_variance_of_a_poverty_rate_is_that_of_repeated_samples(n, sigma, rng):
    draws = 6000
    rates, estimated, true = poverty_rates(n, sigma, draws, rng)
    assert estimated.mean() == pytest.approx(true.mean(), rel=DENSITY + 0.01)
    distance = np.log(estimated.mean() / rates.var(ddof=1))
    assert abs(distance) < SIGMAS * np.sqrt(2 / draws) + DENSITY


@pytest.mark.parametrize("kind", KINDS)
def test_cluster_bootstrap_by_domain(kind, eusilc):
    """Own bootstrap of households within regions: points and threshold recomputed each time."""
    frame, _ = eusilc
    replicates = 250
    income, weights = frame.eqIncome.to_numpy(), frame.rb050.to_numpy()
    region = frame.region.to_numpy()
    household = pd.factorize(frame.db030)[0]
    of_household = pd.Series(region).groupby(household).first().to_numpy()
    rng = np.random.default_rng(4)
    factor = np.zeros((household.max() + 1, replicates))
    for g in range(9):
        mine = np.flatnonzero(of_household == g)
        m = mine.size - 1  # drawing one fewer and scaling up makes the bootstrap variance unbiased
        factor[mine] = rng.multinomial(m, np.full(mine.size, 1 / mine.size), replicates).T * mine.size / m
    # three domains of about 5,000 persons; the poor median of a third stands on lumps of equal incomes,
    # which a bootstrap repeats and a sample does not, so that it is compared over the nation
    n_domains = 1 if kind == "poverty_gap" else 3
    domain = region // 3 if n_domains == 3 else np.zeros_like(region)
    everybody = np.ones(income.size, bool)
    theta = poverty.replicate(
        Indicator("x", kind=kind), income, weights[:, None] * factor[household], everybody, domain, n_domains
    )
    found = solve(kind, income, weights, domain, n_domains)
    linearised = [design_variance(found.scores(d), weights, region, household) for d in range(n_domains)]
    distance = np.log(linearised / theta.var(axis=0, ddof=1)) / np.sqrt(2 / replicates)
    assert np.abs(distance).max() < SIGMAS


def test_an_estimated_threshold_changes_the_variance(rng):
    """In a very unequal country (σ = 1.2) a threshold taken for known would make the variance 1.8 times."""
    n, sigma = 150_000, 1.2
    found = solve("arpr", rng.lognormal(0, sigma, n), np.ones(n))
    rate = norm.cdf(np.log(0.6) / sigma)
    assert np.sum(found.scores(0) ** 2) * n == pytest.approx(
        lognormal_variance("arpr", sigma), rel=CLOSED_FORM
    )
    assert np.sum(found.local**2) * n == pytest.approx(rate * (1 - rate), rel=CLOSED_FORM)
    assert rate * (1 - rate) > 1.7 * lognormal_variance("arpr", sigma)


def test_scores_sum_to_zero_and_reach_beyond_the_domain(eusilc):
    frame, _ = eusilc
    income, weights, region = frame.eqIncome.to_numpy(), frame.rb050.to_numpy(), frame.region.to_numpy()
    for kind in ("arpr", "gini"):
        found = solve(kind, income, weights, region, 9)
        z = found.scores(4)
        # the median splits the weights up to one record, hence not exactly 0 for the rate
        assert abs(np.sum(weights * z)) < 1e-4
        assert np.any(z[region != 4] != 0) == (kind == "arpr")


def repeated(kind, draws, n_clusters, rng, spread):
    """Points and linearised variances over samples of clusters from two lognormal domains, two periods."""
    points, variances = [], []
    clusters = np.repeat(np.arange(n_clusters), 2)
    for _ in range(draws):
        domain = np.repeat(rng.integers(0, 2, n_clusters), 2)
        period = np.repeat(rng.integers(0, 2, n_clusters), 2)
        level = np.repeat(rng.normal(0, spread, n_clusters), 2) + 0.15 * domain + 0.05 * period
        income = np.exp(level + rng.normal(0, 0.1, clusters.size))
        weights = np.repeat(rng.gamma(8, 1, n_clusters), 2)
        found = solve(kind, income, weights, domain, 2, groups=period)
        points.append(found.estimates)
        zero = np.zeros(clusters.size, int)
        variances.append([design_variance(found.scores(d), weights, zero, clusters) for d in range(2)])
    return np.array(points), np.array(variances)


@pytest.mark.parametrize("kind", KINDS)
def test_repeated_samples_small(kind, rng):
    draws = 150
    points, variances = repeated(kind, draws, 500, rng, 0.6)
    distance = np.log(variances.mean(axis=0) / points.var(axis=0, ddof=1))
    assert np.all(np.abs(distance) < SIGMAS * np.sqrt(2 / draws) + KERNEL)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_repeated_samples(kind, rng):
    draws = 1500
    points, variances = repeated(kind, draws, 500, rng, 0.6)
    ratio = variances.mean(axis=0) / points.var(axis=0, ddof=1)
    assert np.all(np.abs(np.log(ratio)) < SIGMAS * np.sqrt(2 / draws) + KERNEL), ratio


@pytest.mark.slow
def test_repeated_samples_of_a_real_population(shared_data):
    """Households drawn from a synthetic Austria, 5 % of each region, 40 to 290 households a region.

    Its incomes are lumpy, so that the variance of a quantile in one region is off by up to a half whatever
    the bandwidth; what is held is the coverage over all regions and the mean ratio of variances.
    """
    population = pd.read_csv(
        shared_data / "simFrame_eusilcP.csv.gz", usecols=["hid", "region", "eqIncome"]
    ).sort_values("hid", kind="stable")
    hid = pd.factorize(population.hid)[0]
    income, region = population.eqIncome.to_numpy(), pd.factorize(population.region, sort=True)[0]
    size = np.bincount(hid)
    start = np.cumsum(size) - size
    of_household = region[start]
    rng = np.random.default_rng(2)
    draws = 500
    points = {kind: [] for kind in ("arpr", "median", "gini", "qsr", "poverty_gap")}
    variances = {kind: [] for kind in points}
    for _ in range(draws):
        picked, n, N = [], np.zeros(9), np.bincount(of_household)
        for g in range(9):
            mine = np.flatnonzero(of_household == g)
            n[g] = round(0.05 * mine.size)
            picked.append(rng.choice(mine, int(n[g]), replace=False))
        picked = np.concatenate(picked)
        rows = np.concatenate([np.arange(start[h], start[h] + size[h]) for h in picked])
        cluster = np.repeat(np.arange(picked.size), size[picked])
        stratum = of_household[picked]
        weights = (N / n)[region[rows]]
        for kind in points:
            found = solve(kind, income[rows], weights, region[rows], 9)
            points[kind].append(found.estimates)
            drawn = []
            for d in range(9):
                total = np.bincount(cluster, weights * found.scores(d), minlength=picked.size)
                mean = np.bincount(stratum, total) / n
                squares = np.bincount(stratum, (total - mean[stratum]) ** 2)
                drawn.append(np.sum((1 - n / N) * n / (n - 1) * squares))
            variances[kind].append(drawn)
    for kind in points:
        theta, variance = np.array(points[kind]), np.array(variances[kind])
        ratio = variance.mean(axis=0) / theta.var(axis=0, ddof=1)
        covered = np.mean(np.abs(theta - theta.mean(axis=0)) < 1.96 * np.sqrt(variance))
        assert 0.88 < covered < 0.97, (kind, covered)
        assert abs(np.mean(np.log(ratio))) < 0.2, (kind, ratio)
