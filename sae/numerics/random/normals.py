"""Random numbers inside compiled kernels: normals at the speed of memory, each stream named by what it draws.

A kernel seeds a stream from (key, block), where the key comes from `streams.stream_keys` and names content
(seed, what is drawn, label), never a position. The same key and block give the same numbers in any process
and on any number of threads.

References
----------
Doty-Humphrey (2010), PractRand, SFC64; Steele, Lea and Flood (2014), OOPSLA, splitmix;
Marsaglia and Tsang (2000), J. Stat. Software 5(8), the ziggurat with 256 layers.
"""

from __future__ import annotations

import math

import numpy as np

from sae.numerics.compile import compiled, inlined

__all__ = ["exponential", "fill_normals", "gamma", "new_stream", "normal", "normals_of", "uniform"]

_LAYERS = 256
_RIGHT = 3.6541528853610088  # where the tail begins
_AREA = 0.00492867323399  # of each layer, tail included


def _ziggurat() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Layer by layer: the integer below which a point is inside, its unit in x, the density at its edge.

    After the units to the right of 0 come those to the left: so the sign costs nothing.
    """
    scale = 2.0**52
    edge = np.empty(_LAYERS + 1)
    edge[_LAYERS] = _AREA / math.exp(-0.5 * _RIGHT**2)  # a pseudo-edge: base strip and tail as one box
    edge[_LAYERS - 1] = _RIGHT
    for k in range(_LAYERS - 2, 0, -1):
        edge[k] = math.sqrt(-2.0 * math.log(_AREA / edge[k + 1] + math.exp(-0.5 * edge[k + 1] ** 2)))
    edge[0] = 0.0
    inside = (edge[:-1] / edge[1:] * scale).astype(np.uint64)
    unit = edge[1:] / scale
    return inside, np.concatenate([unit, -unit]), np.exp(-0.5 * edge**2)


_INSIDE, _UNIT, _HEIGHT = _ziggurat()
# the pseudo-edge has no height: its layer ends at the tail
_HEIGHT[_LAYERS] = math.exp(-0.5 * _RIGHT**2)

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S11, _S3, _S24, _S40 = np.uint64(11), np.uint64(3), np.uint64(24), np.uint64(40)
_S27, _S30, _S31, _S9, _S8 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(9), np.uint64(8)
_ONE, _LAYER, _SIDE = np.uint64(1), np.uint64(_LAYERS - 1), np.uint64(2 * _LAYERS - 1)
_52_BITS, _NEXT = np.uint64((1 << 52) - 1), np.uintp(1)


@inlined
def _mixed(value):
    value = (value ^ (value >> _S30)) * _FIRST
    value = (value ^ (value >> _S27)) * _SECOND
    return value ^ (value >> _S31)


@inlined
def _next(state):
    out = state[0] + state[1] + state[3]
    state[3] += _ONE
    state[0] = state[1] ^ (state[1] >> _S11)
    state[1] = state[2] + (state[2] << _S3)
    state[2] = ((state[2] << _S24) | (state[2] >> _S40)) + out
    return out


@inlined
def new_stream(key, block):
    """Return the state of block number `block` of the stream `key`: uint64, shape (4,)."""
    state = np.empty(4, np.uint64)
    place = _mixed(key) + _mixed(np.uint64(block) * _GOLDEN + _GOLDEN)
    for k in range(3):
        place += _GOLDEN
        state[k] = _mixed(place)
    state[3] = _ONE
    for _ in range(12):
        _next(state)
    return state


@inlined
def uniform(state):
    """Return a uniform strictly inside (0, 1)."""
    return (np.float64(_next(state) >> _S11) + 0.5) * 2.0**-53


@inlined
def exponential(state):
    """Return a standard exponential."""
    return -math.log(uniform(state))


@inlined
def _outside(state, layer, x):
    """Finish a point that the rectangle of its layer did not settle: (accepted, value)."""
    if layer == _LAYERS - 1:
        while True:
            tail = exponential(state) / _RIGHT
            if 2.0 * exponential(state) > tail * tail:
                return True, _RIGHT + tail if x > 0.0 else -_RIGHT - tail
    height = _HEIGHT[layer + 1] + (_HEIGHT[layer] - _HEIGHT[layer + 1]) * uniform(state)
    return height < math.exp(-0.5 * x * x), x


@inlined
def normal(state):
    """Return a standard normal."""
    while True:
        bits = _next(state)
        layer, size = np.uintp(bits & _LAYER), (bits >> _S9) & _52_BITS
        x = np.float64(size) * _UNIT[np.uintp(bits & _SIDE)]
        if size < _INSIDE[layer]:
            return x
        done, x = _outside(state, layer, x)
        if done:
            return x


@inlined
def fill_normals(state, out):
    """Fill the vector `out` with standard normals; the state stays in registers on the way."""
    a, b, c, counter = state[0], state[1], state[2], state[3]
    place, end = np.uintp(0), np.uintp(out.size)
    while place < end:
        bits = a + b + counter
        counter += _ONE
        a = b ^ (b >> _S11)
        b = c + (c << _S3)
        c = ((c << _S24) | (c >> _S40)) + bits
        layer, size = np.uintp(bits & _LAYER), (bits >> _S9) & _52_BITS
        x = np.float64(size) * _UNIT[np.uintp(bits & _SIDE)]
        if size < _INSIDE[layer]:
            out[place] = x
            place += _NEXT
            continue
        state[0], state[1], state[2], state[3] = a, b, c, counter
        done, x = _outside(state, layer, x)
        a, b, c, counter = state[0], state[1], state[2], state[3]
        if done:
            out[place] = x
            place += _NEXT
    state[0], state[1], state[2], state[3] = a, b, c, counter


@inlined
def gamma(state, shape):
    """Return a gamma variate with this shape and scale 1 (Marsaglia and Tsang 2000, ACM TOMS 26, 363-372)."""
    boost = 1.0
    if shape < 1.0:
        boost = uniform(state) ** (1.0 / shape)
        shape += 1.0
    d = shape - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)
    while True:
        x = normal(state)
        v = (1.0 + c * x) ** 3
        if v > 0.0 and math.log(uniform(state)) < 0.5 * x * x + d - d * v + d * math.log(v):
            return boost * d * v


@compiled
def normals_of(key, block, count):
    """Return the first `count` normals of a block of a stream, shape (count,).

    Parameters
    ----------
    key : uint64
        From `streams.stream_keys`.
    block, count : int

    Examples
    --------
    >>> key = np.uint64(7)
    >>> bool((normals_of(key, 0, 3) == normals_of(key, 0, 5)[:3]).all())
    True
    """
    out = np.empty(count)
    fill_normals(new_stream(key, block), out)
    return out
