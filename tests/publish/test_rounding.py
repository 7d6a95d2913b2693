"""Rounding by the error: shares, money, counts; intervals outwards, and never narrower than they were."""

import numpy as np
import pytest

from sae.publish.rounding import decimals_of, rounded, rounded_outwards

# a step is told from its neighbours to six decimals of it: two routes to the same number agree
SLACK = 1e-6


def test_shares_lose_their_decimal_above_one_percentage_point_or_without_an_error():
    se = np.array([0.0, 0.0099, 0.01, 0.0101, 0.3, np.nan])
    yes = np.ones(6, bool)
    assert decimals_of(np.full(6, 0.5), se, share=yes, whole=~yes).tolist() == [3, 3, 3, 2, 2, 2]


@pytest.mark.parametrize(
    ("estimate", "se", "whole", "decimals"),
    [
        (18_234.0, 400.0, False, -2),
        (18_234.0, 1_001.0, False, -3),
        (-18_234.0, 400.0, False, -2),
        (9.87, 0.05, False, 2),
        (9.87, 0.05, True, 0),
        (1_234_567.0, 2e4, True, -4),
        (0.0, 0.0, False, 2),
        (0.0, 0.0, True, 0),
    ],
)
def test_other_figures_by_their_size(estimate, se, whole, decimals):
    no = np.zeros(1, bool)
    got = decimals_of(np.array([estimate]), np.array([se]), share=no, whole=np.array([whole]))
    assert got.tolist() == [decimals]


def test_an_interval_is_never_narrower_and_holds_its_rounded_estimate():
    draw = np.random.default_rng(1)
    decimals = draw.integers(-3, 4, 5_000)
    estimate = draw.normal(0, 10.0 ** (3 - decimals))
    half = np.abs(draw.normal(0, 10.0 ** (1 - decimals)))
    low, high = rounded_outwards(estimate - half, estimate + half, decimals)
    middle = rounded(estimate, decimals)
    slack = SLACK * 10.0**-decimals
    assert (low <= estimate - half + slack).all() and (high >= estimate + half - slack).all()
    assert (low <= middle).all() and (middle <= high).all()
    step = 10.0**-decimals
    assert (estimate - half - low < step * (1 + SLACK)).all() and (
        high - estimate - half < step * (1 + SLACK)
    ).all()


def test_steps_that_binary_numbers_miss_stay_where_they_are_and_gaps_are_gaps():
    low, high = rounded_outwards(np.array([0.29, np.nan]), np.array([0.57, np.nan]), np.array([2, 2]))
    assert low[0] == 0.29 and high[0] == 0.57 and np.isnan([low[1], high[1]]).all()
    assert str(rounded(np.array([-0.001]), np.array([2]))[0]) == "0.0"
