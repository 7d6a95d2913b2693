"""Sort many rows drawn from one distribution, several times faster than one by one.

A row is scattered into as many buckets as it has values, by the distribution function of a first row; what is
then out of place is so by little, and is put right by insertion. The result is that of any sort.

Where it has to be known which value went where, the last bits of each make room for its place in the row.
"""

from __future__ import annotations

import numpy as np

from sae.numerics.compile import compiled, inlined

__all__ = ["pack_rows", "sort_rows"]

_SHORTEST, _LONGEST = 64, 1 << 14  # rows for which it is worth while, and whose buckets stay near
_FEWEST = 4  # rows that share a first one
_CELLS, _IN_CELL = 256, 8  # straight pieces of the distribution function at most; values to each
_CROWDED = 2.5  # pairs that share a bucket, to a value, beyond which insertion takes too long
_ONE, _LOW, _HIGH = np.uint32(1), np.uint32(0xFFFF), np.uint32(16)
_SIGN = np.uint64(1 << 63)
_INFINITE = np.uint64(0x7FF0000000000000)  # bits; those of the largest number are one less
_NEXT, _FOUR, _LAST = np.uintp(1), np.uint64(0x0001000100010001), np.uint64(48)


def sort_rows(Y: np.ndarray, bounds: np.ndarray | None = None) -> None:
    """Sort the rows of Y, (L, m), in place.

    Parameters
    ----------
    Y : ndarray of float, shape (L, m)
    bounds : ndarray of int, shape (P + 1,), optional
        Columns bounds[k] .. bounds[k + 1] are sorted by themselves; by default all together.

    Examples
    --------
    >>> Y = np.random.default_rng(1).lognormal(size=(20, 500))
    >>> wanted = np.sort(Y, axis=1)
    >>> sort_rows(Y)
    >>> bool((Y == wanted).all())
    True
    """
    bounds = np.array([0, Y.shape[1]]) if bounds is None else bounds
    sizes = np.diff(bounds)
    together = (sizes >= _SHORTEST) & (sizes <= _LONGEST) & (len(Y) >= _FEWEST)
    for start, size, alike in zip(bounds.tolist(), sizes.tolist(), together.tolist(), strict=False):
        if alike:
            Y[0, start : start + size].sort()
        else:
            Y[:, start : start + size].sort(axis=1)
    if not together.any():
        return
    crowded = np.zeros((len(Y), len(sizes)), dtype=np.bool_)
    _scatter(Y, bounds, together, crowded)
    for row, part in np.argwhere(crowded):
        Y[row, bounds[part] : bounds[part + 1]].sort()


def pack_rows(
    Y: np.ndarray, bounds: np.ndarray, room: np.ndarray | None = None
) -> tuple[np.ndarray, np.uint64]:
    """Return the rows of Y, sorted within parts, with places for the last bits, and which bits these are.

    Values that agree in all other bits come in any order.

    Parameters
    ----------
    Y, bounds
        As of `sort_rows`; Y stays as it is.
    room : ndarray of float, flat, optional
        Memory for the result: new memory takes longer than the sort.

    Returns
    -------
    packed : ndarray of uint64, shape (L, m)
    low : uint64
        Bits that hold a place, counted from the first column of its part.

    Examples
    --------
    >>> packed, low = pack_rows(np.array([[3.0, 1.0, 5.0, 2.0]]), np.array([0, 3, 4]))
    >>> packed & low
    array([[1, 0, 2, 0]], dtype=uint64)
    """
    low = np.uint64((1 << int(np.diff(bounds).max() - 1).bit_length()) - 1)
    room = np.empty(Y.size) if room is None else room[: Y.size]
    packed = room.view(np.uint64).reshape(Y.shape)
    _pack(np.ascontiguousarray(Y).view(np.uint64), bounds, low, packed)
    sort_rows(packed.view(np.float64), bounds)
    return packed, low


@compiled
def _pack(bits, bounds, low, out):
    for row in range(len(bits)):
        for part in range(len(bounds) - 1):
            values = bits[row, bounds[part] : bounds[part + 1]]
            packed = out[row, bounds[part] : bounds[part + 1]]
            for i in range(len(values)):
                value = values[i] - np.uint64(values[i] & ~_SIGN == _INFINITE)
                packed[i] = (value & ~low) | np.uint64(i)


@inlined
def _pieces(first, low, width, base, slope):
    """Fill the straight pieces, from `low` on, of the ranks of sorted values."""
    place, before = 0, 0.0
    for k in range(len(base) + 1):
        edge = low + width * k
        while place < len(first) and first[place] <= edge:
            place += 1
        rank = place * 1.0
        if 0 < place < len(first):
            rank += (edge - first[place - 1]) / (first[place] - first[place - 1]) - 0.5
        if k > 0:
            slope[k - 1] = (rank - before) / width
            base[k - 1] = before - slope[k - 1] * (edge - width)
        before = rank


@inlined
def _bucket(y, low, per_cell, base, slope, bucket):
    """Fill the bucket of every value: two loops, of which the first runs on the vector units."""
    last, top = np.float64(len(base) - 1), np.float64(len(y) - 1)
    for i in range(len(y)):
        cell = (y[i] - low) * per_cell
        cell = cell if cell > 0.0 else 0.0
        bucket[i] = np.uint32(np.int32(cell if cell < last else last))
    for i in range(len(y)):
        k = np.uintp(bucket[i])
        place = base[k] + slope[k] * y[i]
        place = place if place > 0.0 else 0.0
        bucket[i] = np.uint32(np.int32(place if place < top else top))


@inlined
def _count(bucket, word, count):
    """Turn counts into first places, and add to each bucket, from bit 16 on, how many came before.

    Four counts of 16 bits make a word. Returns the number of pairs that share a bucket.
    """
    word[:] = 0
    pairs = np.int64(0)
    for i in range(len(bucket)):
        own = bucket[i]
        before = np.uint32(count[np.uintp(own)])
        count[np.uintp(own)] = np.uint16(before + _ONE)
        pairs += np.int64(before)
        bucket[i] = own | (before << _HIGH)
    total = np.uint64(0)
    for k in range(len(word)):
        here = word[k]
        sums = here * _FOUR  # running sums of the four
        word[k] = total + sums - here
        total += (sums >> _LAST) * _FOUR
    return pairs


@inlined
def _swap(y, start, out):
    """Put pairs of neighbours in order: most of what is out of place, without a branch."""
    for k in range((len(y) - start) // 2):
        i = np.uintp(2 * k + start)
        one, two = y[i], y[i + _NEXT]
        out[i] = one if one < two else two
        out[i + _NEXT] = two if one < two else one


@inlined
def _scatter_rows(Y, start, stop, crowded):
    """Sort all rows by the first, which is sorted, but those whose values crowd in few buckets."""
    m = stop - start
    first = Y[0, start:stop]
    low, high = first[m // 100], first[m - 1 - m // 100]
    if not 0.0 < high - low < np.inf:
        crowded[1:] = True
        return
    cells = min(_CELLS, m // _IN_CELL)
    base, slope = np.empty(cells), np.empty(cells)
    _pieces(first, low, (high - low) / cells, base, slope)
    word = np.empty((m + 3) // 4, np.uint64)
    count = word.view(np.uint16)
    bucket, out = np.empty(m, np.uint32), np.empty(m)
    for r in range(1, len(Y)):
        y = Y[r, start:stop]
        _bucket(y, low, cells / (high - low), base, slope, bucket)
        if _count(bucket, word, count) > _CROWDED * m:
            crowded[r] = True
            continue
        for i in range(m):
            own = bucket[i]
            place = np.uint32(count[np.uintp(own & _LOW)]) + (own >> _HIGH)
            out[np.uintp(place)] = y[i]
        _swap(out, 0, out)
        y[0], y[m - 1] = out[0], out[m - 1]
        _swap(out, 1, y)
        for i in range(1, m):
            value = y[i]
            if value >= y[i - 1]:
                continue
            j = i
            while j > 0 and y[j - 1] > value:
                y[j] = y[j - 1]
                j -= 1
            y[j] = value


@compiled
def _scatter(Y, bounds, together, crowded):
    for part in range(len(together)):
        if together[part]:
            _scatter_rows(Y, bounds[part], bounds[part + 1], crowded[:, part])
