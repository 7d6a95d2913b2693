"""Segregation by hand and by brute force over pairs of persons."""

import numpy as np
import pytest

from sae.numerics.segregation import dissimilarity, isolation

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
