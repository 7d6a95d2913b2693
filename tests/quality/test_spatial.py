"""Moran's I and Geary's C: emdi, all permutations by brute force, error rates."""

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from sae.errors import SaeInputError, SaeSpecError
from sae.quality import gearys_c, morans_i

ORACLE = 1e-10  # figures of emdi with 15 digits
TESTS = [morans_i, gearys_c]


def ring(n):
    return np.roll(np.eye(n), 1, axis=1) + np.roll(np.eye(n), -1, axis=1)


def test_against_emdi(reference, shared_data):
    """emdi tests the direct estimates, one-sided, with the moments under randomisation."""
    W = pd.read_csv(shared_data / "emdi_eusilcA_prox.csv").to_numpy(float)
    values = pd.read_csv(shared_data / "emdi_eusilcA_smpAgg.csv")["Mean"].to_numpy()
    theirs = reference("emdi_spatialcor_tests")["outputs"]
    ours = [test(values, sparse.csr_array(W)) for test in TESTS]
    assert np.allclose([test.statistic for test in ours], theirs["value"], rtol=ORACLE)
    assert np.allclose([test.p_value for test in ours], theirs["p_value"], rtol=ORACLE)


@pytest.mark.parametrize("test", TESTS)
def test_statistic_and_moments_by_all_permutations(test, rng):
    x, W = rng.normal(size=6) ** 3, rng.uniform(size=(6, 6)) * (rng.uniform(size=(6, 6)) < 0.7)
    np.fill_diagonal(W, 0)

    def statistic(x):
        z = x - x.mean()
        if test is morans_i:
            return 6 / W.sum() * (z @ W @ z) / (z @ z)
        return 5 * np.sum(W * (x[:, None] - x) ** 2) / (2 * W.sum() * (z @ z))

    ours = test(x, W)
    every = np.array([statistic(np.array(order)) for order in permutations(x)])
    assert np.isclose(ours.statistic, statistic(x), rtol=ORACLE)
    assert np.isclose(ours.expected, every.mean(), rtol=ORACLE)
    assert np.isclose(ours.sd, every.std(), rtol=ORACLE)


@pytest.mark.parametrize("test", TESTS)
def test_error_rates(test, rng):
    """5 % under independence for skewed values too; certain under a strong pattern."""
    W, runs = ring(60), 2000
    analytic = [test(rng.exponential(size=60), W).p_value < 0.05 for _ in range(runs)]
    assert abs(np.mean(analytic) - 0.05) < 0.02  # 4 standard errors are 0.0195
    smooth = np.sin(np.arange(60) / 5)
    found = test(smooth, W, permutations=199, seed=1)
    assert found.p_value < 1e-6 and found.permutation_p_value == 1 / 200 and found.z > 5
    checkered = test(np.tile([1.0, -1.0], 30), W, permutations=199, seed=1, alternative="two-sided")
    assert checkered.z < -5 and checkered.p_value < 1e-6 and checkered.permutation_p_value == 1 / 200
    assert test(np.tile([1.0, -1.0], 30), W).p_value > 0.99


@pytest.mark.parametrize("test", TESTS)
def test_permutation_and_normal_p_values_agree(test, rng):
    x = rng.normal(size=80) + 0.4 * np.sin(np.arange(80) / 5)
    ours = test(x, ring(80), permutations=4999, seed=5)
    assert ours == test(x, ring(80), permutations=4999, seed=5)
    # a share p of 4999 permutations has a standard error √(p(1-p)/4999); 0.02 for the normal approximation
    assert abs(ours.permutation_p_value - ours.p_value) < 0.03
    two = test(x, ring(80), alternative="two-sided")
    assert np.isclose(two.p_value, 2 * min(ours.p_value, 1 - ours.p_value))


def test_islands_take_no_part(rng):
    x, W = rng.normal(size=12), np.zeros((14, 14))
    W[:12, :12] = ring(12)
    ours = morans_i(np.r_[x, np.nan, 5.0], W)
    plain = morans_i(x, ring(12))
    assert ours.islands == 2 and ours.n_areas == 12
    assert (ours.statistic, ours.p_value) == (plain.statistic, plain.p_value)


def test_scale_and_place_do_not_matter(rng):
    x = rng.normal(size=20)
    order = rng.permutation(20)
    for test in TESTS:
        plain = test(x, ring(20))
        assert np.isclose(test(1e6 + 1e3 * x, ring(20) * 7).z, plain.z, rtol=1e-8)
        assert np.isclose(test(x[order], ring(20)[np.ix_(order, order)]).z, plain.z, rtol=1e-8)


@pytest.mark.parametrize(
    ("change", "kind", "match"),
    [
        ({"values": np.ones(8)}, SaeInputError, "all equal"),
        ({"values": np.r_[np.nan, np.arange(7)]}, SaeInputError, "1 of 8 areas have neighbours but no value"),
        ({"neighbours": ring(7)}, SaeInputError, r"8 values, but the matrix of neighbours is \(7, 7\)"),
        ({"neighbours": ring(8) + np.eye(8)}, SaeInputError, "zero diagonal"),
        ({"neighbours": -ring(8)}, SaeInputError, "weights ≥ 0"),
        ({"neighbours": np.zeros((8, 8))}, SaeInputError, "Only 0 areas have neighbours"),
        ({"permutations": 99}, SaeSpecError, "needs a seed"),
        ({"alternative": "less"}, SaeSpecError, "alternative='less'"),
    ],
)
def test_bad_calls_are_refused(change, kind, match):
    given = {"values": np.arange(8.0), "neighbours": ring(8)} | change
    with pytest.raises(kind, match=match):
        morans_i(**given)
