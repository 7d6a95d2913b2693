"""Random numbers named by content: the same name gives the same numbers, whatever is drawn beside it.

A stream belongs to (seed, what is drawn, label of the area or block), never to a position: adding an area,
a replicate or a worker leaves all other numbers as they were.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import scipy

from sae.errors import SaeSpecError

__all__ = ["by_content", "generator", "normals", "seed_of", "stream_keys"]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def seed_of(seed: int | np.random.Generator) -> int:
    """Return the seed as a number; a generator gives its next one.

    Raises
    ------
    SaeSpecError
        If it is neither a whole number nor a generator.

    Examples
    --------
    >>> seed_of(7), seed_of(np.random.default_rng(7)) == seed_of(np.random.default_rng(7))
    (7, True)
    """
    if isinstance(seed, np.random.Generator):
        return int(seed.integers(2**63))
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise SaeSpecError(
            f"seed = {seed!r} is neither a whole number nor a numpy.random.Generator.", hint="Write seed=1."
        )
    return int(seed)


def _framed(part: object) -> bytes:
    """Return a text after its length, so that no two different names run together."""
    text = str(part).encode()
    return len(text).to_bytes(8, "little") + text


def by_content(area: np.ndarray, *columns: np.ndarray) -> np.ndarray:
    """Return the order of units by area and then by their values: the same however their rows came.

    Parameters
    ----------
    area : ndarray, shape (n,)
    columns : ndarray, shapes (n,) or (n, p)

    Examples
    --------
    >>> from sae.numerics.random.streams import by_content
    >>> by_content(np.array([1, 0, 1]), np.array([7.0, 9.0, 5.0])).tolist()
    [1, 2, 0]
    """
    return np.lexsort([area, *np.column_stack(columns).T][::-1])


def generator(seed: int, what: str, label: object = "") -> np.random.Generator:
    """Return the generator of one stream, for draws that need more than normals.

    Examples
    --------
    >>> a, b = generator(1, "bootstrap", "AT13"), generator(1, "bootstrap", "AT13")
    >>> bool(a.normal() == b.normal())
    True
    """
    digest = blake2b(_framed(seed) + _framed(what) + _framed(label), digest_size=16).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))


def stream_keys(seed: int, what: str, labels: Sequence[object]) -> np.ndarray:
    """Return the 64-bit key of the stream of each label, shape (n_labels,).

    Examples
    --------
    >>> keys = stream_keys(1, "area effect", ["AT11", "AT13"])
    >>> bool(keys[1] == stream_keys(1, "area effect", ["AT13"])[0])
    True
    """
    head = blake2b(_framed(seed) + _framed(what), digest_size=8)

    def digest(label: object) -> bytes:
        own = head.copy()
        own.update(_framed(label))
        return own.digest()

    return np.frombuffer(b"".join(map(digest, labels)), dtype="<u8").astype(np.uint64)


def normals(keys: np.ndarray, start: int, count: int) -> np.ndarray:
    """Return the standard normals number start .. start + count of each stream.

    A counter passes through the finaliser of splitmix64; 53 bits become a uniform strictly inside (0, 1)
    and the normal quantile of it.

    Parameters
    ----------
    keys : ndarray of uint64, shape (n_streams,)
        From `stream_keys`.
    start, count : int
        Which numbers of each stream.

    Returns
    -------
    ndarray of float, shape (count, n_streams)

    References
    ----------
    Steele, Lea and Flood (2014), OOPSLA, Fast splittable pseudorandom number generators.

    Examples
    --------
    >>> keys = stream_keys(1, "area effect", ["AT11", "AT13"])
    >>> bool((normals(keys, 0, 4)[2:] == normals(keys, 2, 2)).all())
    True
    """
    counters = np.arange(start + 1, start + count + 1, dtype=np.uint64)[:, None]
    with np.errstate(over="ignore"):
        bits = keys + counters * _GOLDEN
        bits = (bits ^ (bits >> np.uint64(30))) * _FIRST
        bits = (bits ^ (bits >> np.uint64(27))) * _SECOND
    bits ^= bits >> np.uint64(31)
    uniforms = (bits >> np.uint64(11)).astype(np.float64)
    uniforms += 0.5
    uniforms *= 2.0**-53
    return scipy.special.ndtri(uniforms, out=uniforms)
