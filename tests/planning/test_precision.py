"""Precision rules: golden numbers of the regulation, policies reversed, refusals."""

import tomllib
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest

from sae.errors import SaeInputError, SaeSpecError
from sae.planning import CV, RMSE, EffectiveSize, HalfWidth, Published, Regulation, Target, allocate
from sae.planning.direct.constraints import constraints_of
from sae.planning.direct.strata import StrataFrame


def largest_se(rule, N, p):
    return float(np.sqrt(rule.bound(np.array([p]), np.array([p * (1 - p)]), np.array([N]))[0]))


@pytest.mark.parametrize(
    ("name", "millions", "f", "p", "se"),
    [
        ("lfs_unemployment_national", 35.0, 41645.42, 0.05, 0.001068),
        ("lfs_unemployment_national", 3.2, 9453.06, None, None),
        ("silc_arope_national", 18.0, 6418.38, 0.21, 0.005084),
        ("silc_arope_national", 4.1, 4422.36, None, None),
        ("silc_arope_nuts2", 0.8, 536.66, 0.21, 0.017582),
    ],
)
def test_regulation_golden(name, millions, f, p, se):
    rule = Regulation(name)
    assert rule.effective_size(np.array([millions * 1e6]))[0] == pytest.approx(f, abs=0.005)
    if p is not None:
        assert largest_se(rule, millions * 1e6, p) == pytest.approx(se, abs=5.1e-7)


def test_regulation_exempts_and_rounds():
    rule = Regulation("lfs_unemployment_national")
    assert np.isinf(largest_se(rule, 0.3e6, 0.05))
    # N in millions with three decimals
    assert rule.effective_size(np.array([3.2004e6]))[0] == rule.effective_size(np.array([3.2e6]))[0]
    nuts2 = Regulation("lfs_unemployment_nuts2")
    at, half = nuts2.effective_size(np.array([0.3e6, 0.15e6]))
    assert half == pytest.approx(at / 2)
    assert "not verified" in nuts2.text and "not verified" not in rule.text


def test_regulation_table_says_its_sources(tmp_path):
    rows = tomllib.loads((files("sae.planning") / "regulation.toml").read_text(encoding="utf-8"))
    assert all(row["source"] and isinstance(row["verified"], bool) for row in rows.values())
    own = tmp_path / "own.toml"
    own.write_text('[mine]\na = 100.0\nb = 0.0\nsource = "ministry"\nverified = true\n', encoding="utf-8")
    assert Regulation("mine", table=own).effective_size(np.array([4e6])).tolist() == [200.0]
    with pytest.raises(SaeSpecError, match="did you mean 'silc_arope_national'"):
        Regulation("silc_arope_nationl")
    with pytest.raises(SaeSpecError, match="cannot be read"):
        Regulation("mine", table=tmp_path / "absent.toml")


def test_simple_rules():
    p, v, n = np.array([0.9]), np.array([0.09]), np.array([1e6])
    assert CV(0.1).bound(p, v, n)[0] == pytest.approx(0.09**2)
    assert CV(0.1, smaller_side=True).bound(p, v, n)[0] == pytest.approx(0.01**2)
    assert RMSE(0.02).bound(p, v, n)[0] == pytest.approx(4e-4)
    assert HalfWidth(0.05).bound(p, v, n)[0] == pytest.approx((0.05 / 1.959964) ** 2)
    assert EffectiveSize(100).bound(p, v, n)[0] == pytest.approx(9e-4)


def test_policies_reversed():
    assert Published("statcan").text == "statcan: reliable (CV <= 16.5 %)"
    assert Published("statcan", grade="publishable").text == "statcan: publishable (CV <= 33.3 %)"
    silc = Published("eurostat_silc")
    assert silc.least_n == 50 and np.isinf(silc.bound(np.ones(1), np.ones(1), np.ones(1))[0])
    own = Published({"name": "office", "rules": [{"measure": "ci_width", "suppress_above": 0.1}]})
    assert own.bound(np.ones(1), np.ones(1), np.ones(1))[0] == pytest.approx((0.05 / 1.959964) ** 2)
    with pytest.raises(SaeSpecError, match="more interviews can reach"):
        Published({"name": "office", "rules": [{"measure": "pcmiss", "suppress_above": 0.5}]})


@pytest.mark.parametrize(
    "make",
    [
        lambda: CV(0),
        lambda: CV(10),
        lambda: RMSE(-1),
        lambda: HalfWidth(0.1, level=95),
        lambda: EffectiveSize(float("nan")),
        lambda: Published("statcan", grade="good"),
        lambda: Target("rate", 0.1),
    ],
)
def test_refusals(make):
    with pytest.raises(SaeSpecError):
        make()


FRAME = pd.DataFrame(
    {
        "stratum": ["a", "b", "c"],
        "population": [1000.0, 2000, 3000],
        "region": ["N", "N", "S"],
        "share_rate": [0.5, 0.3, 0.2],
        "density_foreign": [0.5, 0.1, 0.0],
        "share_rate_foreign": [0.6, 0.2, 0.1],
        "deff": [1.0, 2.0, 1.5],
    }
)


def test_constraint_of_a_group_is_the_variance_of_its_mean(rng):
    """Simple random samples from populations that hold the moments exactly: the ratio mean of the group."""
    strata = StrataFrame.of_strata(FRAME.assign(deff=1.0))
    target = Target("rate", CV(0.2), by="region", group="foreign", only={"region": "N"})
    limits = constraints_of(strata, target)
    assert limits.labels["mean"][0] == pytest.approx((500 * 0.6 + 200 * 0.2) / 700)
    n, draws = np.array([200.0, 400, 300]), 3000
    estimates = np.empty(draws)
    populations = []
    for N, P, share in ((1000, 0.5, 0.6), (2000, 0.1, 0.2)):
        member = np.arange(N) < N * P
        yes = np.arange(N) < N * P * share
        populations.append((member, yes))
    for k in range(draws):
        top = bottom = 0.0
        for (member, yes), size in zip(populations, n[:2].astype(int), strict=True):
            drawn = rng.choice(len(member), size, replace=False)
            weight = len(member) / size
            top, bottom = top + weight * yes[drawn].sum(), bottom + weight * member[drawn].sum()
        estimates[k] = top / bottom
    # linearisation, and S² with N instead of N - 1: about 1 %; Monte-Carlo 2.6 %
    assert estimates.var() == pytest.approx(limits.variance(n)[0], rel=0.10)


def test_constraint_without_group_is_stratified_sampling():
    limits = constraints_of(StrataFrame.of_strata(FRAME), Target("rate", CV(0.1)))
    N, p, deff = FRAME["population"], FRAME["share_rate"], FRAME["deff"]
    n = np.array([50.0, 60, 70])
    by_hand = ((N / N.sum()) ** 2 * deff * p * (1 - p) * (1 / n - 1 / N)).sum()
    assert limits.variance(n)[0] == pytest.approx(by_hand)
    assert limits.allowed[0] == pytest.approx((0.1 * (N * p).sum() / N.sum()) ** 2)
    assert limits.variance(N.to_numpy())[0] == pytest.approx(0, abs=1e-18)


@pytest.mark.parametrize(
    ("frame", "target", "words"),
    [
        (FRAME, Target("income", CV(0.1)), "says nothing of 'income'"),
        (FRAME, Target("rate", CV(0.1), by="city"), "no column 'city'"),
        (FRAME, Target("rate", CV(0.1), by="region", group="foreign"), "nobody of the group 'foreign'.*: S"),
        (FRAME, Target("rate", CV(0.1), by="region", only={"region": ["W"]}), "never takes the values W"),
        (FRAME.assign(share_rate=0.0), Target("rate", CV(0.1), by="region"), "mean is 0.*N, S"),
        (FRAME.assign(share_rate=[0.5, 1.3, 0.2]), Target("rate", CV(0.1)), "in 1 of 3 strata: b"),
        (FRAME.assign(stratum=["a", "b", "b"]), Target("rate", CV(0.1)), "more than once: b"),
        (FRAME.assign(population=[1, np.nan, 3]), Target("rate", CV(0.1)), "population is not .* b"),
        (FRAME.drop(columns="stratum"), Target("rate", CV(0.1)), "no column 'stratum'"),
        (FRAME.iloc[:0], Target("rate", CV(0.1)), "is empty"),
    ],
)
def test_refusals_by_name(frame, target, words):
    with pytest.raises(SaeInputError, match=words):
        allocate(frame, target)


def test_a_policy_reversed_for_estimates_of_models():
    """eurostat_silc asks n of direct rows only, and a CV of model rows only."""
    rule = Published("eurostat_silc", grade="publishable", rows="model")
    bound = rule.bound(np.array([0.8]), np.array([0.16]), np.array([1.0]))
    assert rule.least_n == 0 and bound == pytest.approx([(0.333 * 0.2) ** 2])
    with pytest.raises(SaeSpecError, match="none"):
        Published("eurostat_silc", rows="both")
