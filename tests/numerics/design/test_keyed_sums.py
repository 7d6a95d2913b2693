"""Keyed sums against a group-by of pandas, and whether order of blocks and of merges shows."""

import numpy as np
import pandas as pd
import pytest

from sae.numerics.design.keyed_sums import INSIDE, MOMENTS, UNANSWERED, YES, KeyedSums

TOL = 1e-12  # sums of a few thousand terms of like size, taken in another order


@pytest.fixture
def records():
    rng = np.random.default_rng(5)
    n = 5000
    keys = np.column_stack([rng.integers(-2, 3, n), rng.integers(0, 2**40, 700)[rng.integers(0, 700, n)]])
    domain = (keys[:, 1] % 7).astype(np.int64) - 1  # a cell lies in one domain; some in none
    flags = np.array([[0, INSIDE, INSIDE | YES, UNANSWERED]], np.uint8)[0][rng.integers(0, 4, (2, n))]
    values = rng.normal(size=(1, 2, n))
    return keys, domain, rng.uniform(0.1, 9, n), flags, values, np.array([-1, 0])


def part(records, rows):
    keys, domain, weights, flags, values, place = records
    return keys[rows], domain[rows], weights[rows], flags[:, rows], values[:, :, rows], place


def table(records, parts):
    sums = KeyedSums(2, 2)
    for rows in parts:
        sums.add(*part(records, rows))
    return sums


def frame(sums):
    columns = {"a": sums.keys[: sums.size, 0], "b": sums.keys[: sums.size, 1]}
    for j in range(2):
        columns |= {f"wy{j}": sums.totals[: sums.size, j, 0], f"wx{j}": sums.totals[: sums.size, j, 1]}
        columns[f"present{j}"] = sums.present[: sums.size, j]
    return pd.DataFrame(columns).sort_values(["a", "b"], ignore_index=True)


def test_totals_and_moments_are_those_of_a_group_by(records):
    keys, domain, w, flags, values, _ = records
    sums = table(records, [slice(0, 1300), slice(1300, 5000)])
    y, x = values[0]
    inside, yes = (flags & INSIDE > 0) & (domain >= 0), flags & YES > 0
    expected = pd.DataFrame(
        {
            "a": keys[:, 0],
            "b": keys[:, 1],
            "wy0": w * (inside[0] & yes[0]),
            "wx0": w * inside[0],
            "present0": inside[0],
            "wy1": w * y * inside[1],
            "wx1": w * x * inside[1],
            "present1": inside[1],
        }
    )
    expected = expected.groupby(["a", "b"], as_index=False).sum()
    for name in ("present0", "present1"):
        expected[name] = (expected[name] > 0).astype(np.uint8)
    pd.testing.assert_frame_equal(frame(sums), expected[list(frame(sums))], rtol=TOL, atol=TOL)

    by_domain = pd.DataFrame({"domain": domain, "n": inside[1] * 1.0})
    for name, value in {"w": w, "ww": w * w, "wyy": w * y * y, "wxy": w * x * y, "wxx": w * x * x}.items():
        by_domain[name] = value * inside[1]
    by_domain["unanswered"] = flags[1] & UNANSWERED > 0
    by_domain = by_domain[by_domain["domain"] >= 0].groupby("domain").sum()
    np.testing.assert_allclose(sums.moments[:, 1], by_domain[list(MOMENTS)].to_numpy(float), rtol=TOL)
    assert (sums.moments[:, 0, [1, 3, 4, 5]] == 0).all()  # of a yes/no indicator they follow from the totals


def test_blocks_of_another_length_give_the_same_bytes(records):
    one = table(records, [slice(0, 5000)])
    many = table(records, [slice(k, k + 97) for k in range(0, 5000, 97)])
    assert one.size == many.size > 600
    for name in ("keys", "totals", "present"):
        assert getattr(one, name)[: one.size].tobytes() == getattr(many, name)[: one.size].tobytes()
    assert one.moments.tobytes() == many.moments.tobytes()


def test_a_merge_adds_by_key(records):
    halves = [table(records, [rows]) for rows in (slice(0, 2500), slice(2500, 5000))]
    halves[1].trim()
    halves[0].merge(halves[1])
    whole = table(records, [slice(0, 5000)])
    pd.testing.assert_frame_equal(frame(halves[0]), frame(whole), rtol=TOL, atol=TOL)
    np.testing.assert_allclose(halves[0].moments, whole.moments, rtol=TOL)


def test_a_merge_into_an_empty_table_changes_no_bit(records):
    whole, empty = table(records, [slice(0, 5000)]), KeyedSums(2, 2)
    empty.merge(whole)
    assert empty.totals[: empty.size].tobytes() == whole.totals[: whole.size].tobytes()
