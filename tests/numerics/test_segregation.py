"""Segregation by hand and by brute force over pairs of persons."""

import numpy as np
import pytest

from sae.numerics.segregation import (
    INDICES,
    atkinson,
    dissimilarity,
    entropy,
    exposure,
    gini,
    isolation,
)

ROUNDING = 1e-12  # the same sums in another order


def test_by_hand():
    # area 0: parts (3, 1) and (1, 1); area 1: nobody lives together; area 2: alike everywhere
    group, other = np.array([3.0, 1, 4, 0, 2, 4]), np.array([1.0, 1, 0, 5, 1, 2])
    area = np.array([0, 0, 1, 1, 2, 2])
    np.testing.assert_allclose(dissimilarity(group, other, area, 3), [0.25, 1, 0], atol=ROUNDING)
    np.testing.assert_allclose(isolation(group, other, area, 3), [11 / 16, 1, 2 / 3], atol=ROUNDING)


@pytest.mark.parametrize("empty_part", [False, True])
def test_brute_force_person_by_person(rng, empty_part):
    group, other = rng.integers(1, 30, 12), rng.integers(1, 30, 12)
    if empty_part:
        group[3] = other[3] = 0
    area = np.repeat([1, 0], 6)
    got = isolation(group.astype(float), other.astype(float), area, 2)
    for a in range(2):
        parts = np.flatnonzero(area == a)
        met = [group[i] / (group[i] + other[i]) for i in parts for _ in range(group[i])]
        assert got[a] == pytest.approx(np.mean(met), rel=ROUNDING)
        # D is the largest gap between the shares of both groups that any choice of parts holds
        subsets = [parts[np.array(list(f"{k:06b}"), int).astype(bool)] for k in range(64)]
        gaps = [group[s].sum() / group[parts].sum() - other[s].sum() / other[parts].sum() for s in subsets]
        index = dissimilarity(group.astype(float), other.astype(float), area, 2)[a]
        assert index == pytest.approx(max(gaps), rel=1e-9)


def test_without_members_there_is_no_index():
    nobody, some, one = np.zeros(2), np.ones(2), np.zeros(2, int)
    assert (
        np.isnan(dissimilarity(nobody, some, one, 1))[0] and np.isnan(dissimilarity(some, nobody, one, 1))[0]
    )
    assert np.isnan(isolation(nobody, some, one, 1))[0]


def test_entropy_gini_and_atkinson_by_hand():
    group, other, area = np.array([3.0, 1]), np.array([1.0, 3]), np.zeros(2, int)
    quarter = -0.25 * np.log(0.25) - 0.75 * np.log(0.75)
    assert entropy(group, other, area, 1)[0] == pytest.approx(1 - quarter / np.log(2), rel=ROUNDING)
    assert gini(group, other, area, 1)[0] == pytest.approx(0.5, rel=ROUNDING)  # two parts: D
    assert atkinson(group, other, area, 1)[0] == pytest.approx(0.25, rel=ROUNDING)  # 1 - (2 sqrt(3)/4)^2
    assert exposure(group, other, area, 1)[0] == pytest.approx(3 / 8, rel=ROUNDING)
    assert exposure(group, other, area, 1, np.array([8.0, 4]))[0] == pytest.approx(9 / 32, rel=ROUNDING)


def test_entropy_gini_and_atkinson_as_massey_and_denton_write_them(rng):
    group, other = rng.integers(0, 30, 40).astype(float), rng.integers(0, 30, 40).astype(float)
    area = rng.permutation(np.repeat([0, 1, 2, 3], 10))
    got = {name: index(group, other, area, 4, group + other) for name, index in INDICES.items()}
    for a in range(4):
        x, t = group[area == a], (group + other)[area == a]
        p, total = np.divide(x, t, out=np.zeros(10), where=t > 0), t.sum()
        mean = x.sum() / total
        pairs = sum(t[i] * t[j] * abs(p[i] - p[j]) for i in range(10) for j in range(10))
        assert got["gini"][a] == pytest.approx(pairs / (2 * total**2 * mean * (1 - mean)), rel=1e-9)
        inner = ((1 - p) ** 0.5 * p**0.5 * t / (mean * total)).sum()
        assert got["atkinson"][a] == pytest.approx(1 - mean / (1 - mean) * inner**2, rel=1e-9)
        mix = [-sum(s * np.log(s) for s in (q, 1 - q) if s > 0) for q in (*p, mean)]
        assert got["entropy"][a] == pytest.approx(1 - (t * mix[:-1]).sum() / (total * mix[-1]), rel=1e-9)
        assert got["isolation"][a] + got["exposure"][a] == pytest.approx(1.0, rel=1e-9)


def test_replicates_are_leading_axes(rng):
    group, other = rng.integers(0, 9, (5, 3, 12)).astype(float), rng.integers(1, 9, (5, 3, 12)).astype(float)
    area = np.array([0, 1, 2, 1] * 3)
    for index in INDICES.values():
        got = index(group, other, area, 4, group + other)
        assert got.shape == (5, 3, 4) and np.isnan(got[..., 3]).all()
        one = index(group[2, 1], other[2, 1], area, 4, (group + other)[2, 1])
        np.testing.assert_allclose(got[2, 1], one, rtol=1e-9, atol=ROUNDING)
