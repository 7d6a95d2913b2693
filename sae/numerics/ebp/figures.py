"""Kernels of indicators: figures of one population after the other, of its parts and of their groups.

A group's order is that of its part, so one sort serves both.
"""

from __future__ import annotations

import numpy as np

from sae.numerics.compile import compiled, inlined, inlined_sums

__all__ = ["TIE", "of_order", "of_sorted", "of_units"]

TIE = 1e-12  # share of the units within which a cumulated share is the one that is asked for


@inlined_sums
def _means(y, threshold, out):
    """Mean, head count, gap and severity of one population."""
    total, poor, gap, square = 0.0, 0.0, 0.0, 0.0
    for i in range(len(y)):
        total += y[i]
        below = 1.0 if y[i] < threshold else 0.0
        short = max(threshold - y[i], 0.0)  # 0 of infinite welfare too
        poor += below
        gap += short
        square += short * short
    m = len(y)
    out[0], out[1] = total / m, poor / m
    out[2], out[3] = gap / m / threshold, square / m / threshold**2


@inlined_sums
def _weighted_means(y, w, threshold, out):
    size, total, poor, gap, square = 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(len(y)):
        size += w[i]
        total += w[i] * y[i]
        short = max(threshold - y[i], 0.0)
        poor += w[i] if y[i] < threshold else 0.0
        gap += w[i] * short
        square += w[i] * short * short
    out[0], out[1] = total / size, poor / size
    out[2], out[3] = gap / size / threshold, square / size / threshold**2


@inlined_sums
def _sum(y, start, stop):
    total = 0.0
    for i in range(start, stop):
        total += y[i]
    return total


@inlined_sums
def _rank_sum(y):
    total = 0.0
    for i in range(len(y)):
        total += y[i] * (2.0 * i + 1.0)
    return total


@inlined
def _quantile(y, share):
    """Eurostat's quantile of sorted values: the mean of two where the share falls between them."""
    m = len(y)
    goal = share * m
    whole = np.int64(np.rint(goal))
    if abs(goal - whole) <= TIE * m and 0 < whole < m:
        return 0.5 * (y[whole - 1] + y[whole])
    return y[min(np.int64(np.floor(goal)), m - 1)]


@inlined
def _ranked_means(y, threshold, shares, out):
    """Fill means, quintile share, Gini and quantiles of sorted values."""
    m = len(y)
    _means(y, threshold, out)
    low, high = _quantile(y, 0.2), _quantile(y, 0.8)
    first, last = np.int64(0.2 * m), np.int64(0.8 * m)
    while first < m and y[first] <= low:
        first += 1
    while first > 0 and y[first - 1] > low:
        first -= 1
    while last < m and y[last] <= high:
        last += 1
    while last > 0 and y[last - 1] > high:
        last -= 1
    total = out[0] * m
    out[4] = _sum(y, last, m) / _sum(y, 0, first)
    out[5] = _rank_sum(y) / (m * total) - 1.0
    for k in range(len(shares)):
        out[6 + k] = _quantile(y, shares[k])


@inlined
def _weighted_quantile(y, w, cumulated, share):
    """Return the same where a value counts w times, and not at all where w is 0."""
    m = len(y)
    size = cumulated[m - 1]
    goal, slack = share * size, TIE * size
    place = min(_above(cumulated, goal - slack), m - 1)
    following = place + 1
    while following < m and w[following] == 0.0:
        following += 1
    if cumulated[place] > goal + slack or following == m:
        return y[place]
    return 0.5 * (y[place] + y[following])


@inlined
def _above(sorted_values, value):
    """Return how many sorted values are not above one."""
    low, high = 0, len(sorted_values)
    while low < high:
        middle = (low + high) // 2
        if sorted_values[middle] <= value:
            low = middle + 1
        else:
            high = middle
    return low


@inlined_sums
def _weighted_sum(y, w, start, stop):
    total = 0.0
    for i in range(start, stop):
        total += w[i] * y[i]
    return total


@inlined_sums
def _weighted_rank_sum(y, w, cumulated):
    total = 0.0
    for i in range(len(y)):
        total += w[i] * y[i] * (2.0 * cumulated[i] - w[i])
    return total


@inlined
def _weighted_ranked_means(y, w, room, threshold, shares, out):
    _weighted_means(y, w, threshold, out)
    cumulated, size = room[: len(y)], 0.0
    for i in range(len(y)):
        size += w[i]
        cumulated[i] = size
    first = _above(y, _weighted_quantile(y, w, cumulated, 0.2))
    last = _above(y, _weighted_quantile(y, w, cumulated, 0.8))
    out[4] = _weighted_sum(y, w, last, len(y)) / _weighted_sum(y, w, 0, first)
    out[5] = _weighted_rank_sum(y, w, cumulated) / (size * size * out[0]) - 1.0
    for k in range(len(shares)):
        out[6 + k] = _weighted_quantile(y, w, cumulated, shares[k])


@compiled
def of_units(Y, weight, bounds, columns, starts, threshold, out):
    """Fill means, (L, P, 1 + G, 4), of parts and of their groups.

    Parameters
    ----------
    Y : ndarray of float, shape (L, m)
    weight : ndarray of float, shape (m,), or None
    bounds : ndarray of int, shape (P + 1,)
    columns : ndarray of int, shape (m,)
        Units in the order of parts and groups; empty without groups.
    starts : ndarray of int, shape (P, G + 1)
        Where each group starts in it, and the last one stops.
    threshold : float
    out : ndarray of float
        What is nan stays so where a group has no units.
    """
    y = np.empty(len(columns))
    w = y if weight is None else weight[columns]
    for row in range(len(Y)):
        for part in range(len(bounds) - 1):
            start, stop = bounds[part], bounds[part + 1]
            if weight is None:
                _means(Y[row, start:stop], threshold, out[row, part, 0])
            else:
                _weighted_means(Y[row, start:stop], weight[start:stop], threshold, out[row, part, 0])
        for i in range(len(columns)):
            y[i] = Y[row, columns[i]]
        for part in range(len(starts)):
            for group in range(starts.shape[1] - 1):
                start, stop = starts[part, group], starts[part, group + 1]
                if start == stop:
                    continue
                if weight is None:
                    _means(y[start:stop], threshold, out[row, part, 1 + group])
                else:
                    _weighted_means(y[start:stop], w[start:stop], threshold, out[row, part, 1 + group])


@compiled
def of_sorted(Y, bounds, threshold, shares, out):
    """Fill means, quintile share, Gini and quantiles, (L, P, 1, 6 + S), of parts that are sorted."""
    for row in range(len(Y)):
        for part in range(len(bounds) - 1):
            _ranked_means(Y[row, bounds[part] : bounds[part + 1]], threshold, shares, out[row, part, 0])


@inlined
def _unpack(y, packed, low, values, places):
    """Fill the values in their order, which packed ones have but for the last bits, and their places."""
    for i in range(len(y)):
        place = np.uintp(packed[i] & low)
        value = y[place]
        j = i
        while j > 0 and values[j - 1] > value:
            values[j], places[j] = values[j - 1], places[j - 1]
            j -= 1
        values[j], places[j] = value, place


@inlined
def _gather(weight, places, out):
    for i in range(len(weight)):
        out[i] = weight[np.uintp(places[i])]


@inlined
def _divide(places, group, values, weights, first, last):
    """Copy sorted values and their weights group by group, each to between its first and its last place.

    From both ends at once, which meet in the middle: where a value goes has to wait for the one before.
    """
    m = len(group)
    for i in range((m + 1) // 2):
        slot = np.uintp(group[np.uintp(places[i])] + 1)
        j = np.uintp(first[slot])
        values[j], weights[j] = values[i], weights[i]
        first[slot] += 1
        k = np.uintp(m - 1 - i)
        slot = np.uintp(group[np.uintp(places[k])] + 1)
        last[slot] -= 1
        j = np.uintp(last[slot])
        values[j], weights[j] = values[k], weights[k]


@compiled
def of_order(Y, weight, bounds, packed, low, group, starts, threshold, shares, out):
    """Fill the same, (L, P, 1 + G, 6 + S), of parts and of their groups.

    Parameters
    ----------
    Y, weight, bounds, threshold, out
        As of `of_units`.
    packed, low
        Of `pack_rows`.
    group : ndarray of int, shape (m,)
        Group of each unit, -1 of none; empty without groups.
    starts : ndarray of int, shape (P, G + 2)
        As of `of_units`, units of no group before the others.
    shares : ndarray of float, shape (S,)
        Of the quantiles.
    """
    longest = np.diff(bounds).max()
    values, weights = np.empty(2 * longest), np.empty(2 * longest)  # of a part, then again by group
    places, room = np.empty(longest, np.uint32), np.empty(longest)
    for row in range(len(Y)):
        for part in range(len(bounds) - 1):
            start, stop = bounds[part], bounds[part + 1]
            m = stop - start
            ends = starts[part] - start + m
            _unpack(Y[row, start:stop], packed[row, start:stop], low, values, places)
            if weight is not None:
                _gather(weight[start:stop], places, weights)
            if len(ends) > 2:
                _divide(places, group[start:stop], values, weights, ends[:-1].copy(), ends[1:].copy())
            for k in range(len(ends) - 1):
                first, last = (ends[k], ends[k + 1]) if k else (0, m)
                if first == last:
                    continue
                if weight is None:
                    _ranked_means(values[first:last], threshold, shares, out[row, part, k])
                else:
                    own = weights[first:last]
                    _weighted_ranked_means(
                        values[first:last], own, room, threshold, shares, out[row, part, k]
                    )
