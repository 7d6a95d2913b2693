"""Random streams named by content."""

import numpy as np
import pytest
from scipy import stats

from sae.errors import SaeSpecError
from sae.numerics.random.streams import generator, normals, seed_of, stream_keys

LEVEL = 1e-4  # fixed seeds: these tests pass or fail for good, and one in ten thousand seeds would fail


def test_neighbours_and_blocks_change_nothing():
    few, many = stream_keys(1, "effect", ["AT11", "AT13"]), stream_keys(1, "effect", ["AA", "AT13", "AT11"])
    assert np.array_equal(normals(few, 0, 50)[:, 1], normals(many, 0, 50)[:, 1])
    blocks = np.vstack([normals(few, 0, 7), normals(few, 7, 43)])
    assert np.array_equal(blocks, normals(few, 0, 50))


def test_names_are_told_apart():
    keys = {
        int(stream_keys(seed, what, [label])[0])
        for seed in (1, 2, 11)
        for what in ("a", "1a", "ab")
        for label in ("b", "bb", "1", "")
    }
    assert len(keys) == 36


def test_normals_are_normal_and_independent():
    z = normals(stream_keys(5, "effect", range(400)), 0, 1000)
    assert stats.kstest(z.ravel(), "norm").pvalue > LEVEL
    assert stats.kstest(z.mean(axis=0) * np.sqrt(1000), "norm").pvalue > LEVEL  # streams
    assert stats.kstest(z.mean(axis=1) * 20, "norm").pvalue > LEVEL  # numbers of one place
    lag = (z[1:] * z[:-1]).sum() / np.sqrt(z[1:].size)
    across = (z[:, 1:] * z[:, :-1]).sum() / np.sqrt(z[:, 1:].size)
    assert abs(lag) < 4
    assert abs(across) < 4
    assert np.isfinite(z).all()


def test_generator_and_seed():
    assert generator(3, "x", "a").normal() == generator(3, "x", "a").normal()
    assert generator(3, "x", "a").normal() != generator(3, "x", "b").normal()
    assert seed_of(12) == 12
    assert seed_of(np.random.default_rng(0)) == seed_of(np.random.default_rng(0))


@pytest.mark.parametrize("seed", ["abc", "1", 1.5, True, None, [1], np.random.RandomState(1)])
def test_a_seed_is_a_whole_number_or_a_generator(seed):
    with pytest.raises(SaeSpecError, match="neither a whole number nor a numpy"):
        seed_of(seed)
    assert seed_of(np.int32(7)) == seed_of(7) == 7
