import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from sae.numerics.compile import compiled
from sae.numerics.random.normals import (
    _HEIGHT,
    _UNIT,
    exponential,
    gamma,
    new_stream,
    normal,
    normals_of,
    uniform,
)
from sae.numerics.random.streams import stream_keys

SIZE = 1_000_000
ALMOST_NEVER = 1e-4  # of a p-value: seeds are fixed, so that this cannot flicker


@compiled
def variates(key, count, shape):
    state = new_stream(key, 0)
    out = np.empty((4, count))
    for k in range(count):
        out[0, k], out[1, k] = normal(state), uniform(state)
        out[2, k], out[3, k] = exponential(state), gamma(state, shape)
    return out


def test_layers_have_equal_areas():
    """Every layer of the ziggurat has the area that the tail's layer has."""
    edges = _UNIT[: len(_UNIT) // 2] * 2.0**52  # those to the right of 0
    areas = edges[:-1] * (_HEIGHT[:-2] - _HEIGHT[1:-1])
    tail = edges[-2] * _HEIGHT[-1] + stats.norm.sf(edges[-2]) * np.sqrt(2 * np.pi)
    np.testing.assert_allclose(areas, tail, rtol=1e-9)  # the published constants have 12 digits


def test_normals_are_normal():
    x = normals_of(np.uint64(3), 0, SIZE)
    assert stats.kstest(x, "norm").pvalue > ALMOST_NEVER
    cells = stats.norm.ppf(np.linspace(0, 1, 1001))
    assert stats.chisquare(np.histogram(x, cells)[0]).pvalue > ALMOST_NEVER
    far = (np.abs(x) > 3.6541528853610088).sum()  # beyond the last layer
    assert abs(far - SIZE * 2 * stats.norm.sf(3.6541528853610088)) < 4 * np.sqrt(far)
    assert abs(np.corrcoef(x[:-1], x[1:])[0, 1]) < 4 / np.sqrt(SIZE)


@pytest.mark.parametrize("shape", [0.3, 1.0, 7.5])
def test_other_variates(shape):
    x = variates(np.uint64(11), 200_000, shape)
    laws = stats.norm(), stats.uniform(), stats.expon(), stats.gamma(shape)
    for row, law in zip(x, laws, strict=True):
        assert stats.kstest(row, law.cdf).pvalue > ALMOST_NEVER


def test_streams_and_blocks_are_apart():
    keys = stream_keys(1, "area effect", ["AT11", "AT13"])
    parts = [normals_of(key, block, 100_000) for key in keys for block in (0, 1, 2**40)]
    off = np.corrcoef(parts)[np.triu_indices(6, 1)]
    assert np.abs(off).max() < 4.5 / np.sqrt(100_000)


def test_same_name_same_numbers_in_another_process():
    code = """
import numpy as np
from sae.numerics.random.normals import normals_of
print(normals_of(np.uint64(9), 4, 3).tolist())
"""
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert eval(other.stdout) == normals_of(np.uint64(9), 4, 3).tolist()
