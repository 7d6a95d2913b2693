"""Arithmetic on numbers side by side, one of each of eight matrices: vector instructions by hand.

numba turns a loop over eight numbers into scalar code, or into one with checks that cost more than the work.
An array of n numbers of each of w matrices is flat, of length n w; all places and counts below are in units
of w. The argument `lanes` is a tuple of w empty ones: w is a part of its type, and a kernel compiled for it.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from sae.numerics.compile import inlined

__all__ = [
    "EIGHT",
    "LANES",
    "ONE",
    "add",
    "add_dot",
    "add_multiples",
    "copy",
    "fill_window",
    "product",
    "take_off",
    "take_off_dot",
    "take_off_multiples",
]

LANES = 8
ONE, EIGHT = ((),), ((),) * LANES  # empty, so that nothing is handed over
_FUSED = ("contract",)  # a product and a sum may be rounded once; nothing is reordered


class _Code:
    """Loads and stores of vectors while a kernel is built."""

    def __init__(self, context: Any, builder: Any, signature: Any, values: Any) -> None:
        self.builder = builder
        lanes, *kinds = signature.args
        number = ir.DoubleType()
        self.kind = number if lanes.count == 1 else ir.VectorType(number, lanes.count)
        self.values = [
            self._start(context, kind, value) if isinstance(kind, types.Array) else value
            for kind, value in zip(kinds, values[1:], strict=True)
        ]
        self.nothing = context.get_dummy_value()

    def _start(self, context: Any, kind: Any, value: Any) -> Any:
        data = context.make_array(kind)(context, self.builder, value).data
        return self.builder.bitcast(data, self.kind.as_pointer())

    def ones(self) -> Any:
        return self._all(1.0)

    def zeros(self) -> Any:
        return self._all(0.0)

    def _all(self, value: float) -> Any:
        count = getattr(self.kind, "count", 0)
        return ir.Constant(self.kind, [value] * count if count else value)

    def load(self, array: Any, place: Any) -> Any:
        return self.builder.load(self.builder.gep(array, [place]), align=8)

    def store(self, value: Any, array: Any, place: Any) -> None:
        self.builder.store(value, self.builder.gep(array, [place]), align=8)

    def less(self, value: Any, one: Any, other: Any) -> Any:
        """Return value - one * other."""
        return self.builder.fsub(value, self.builder.fmul(one, other, flags=_FUSED), flags=_FUSED)


@intrinsic
def add(typing, lanes, x, to, y, at):
    """x[to] += y[at]."""

    def build(context, builder, signature, values):
        code = _Code(context, builder, signature, values)
        x, to, y, at = code.values
        code.store(builder.fadd(code.load(x, to), code.load(y, at)), x, to)
        return code.nothing

    return types.void(lanes, x, to, y, at), build


@intrinsic
def copy(typing, lanes, x, to, y, at):
    """x[to] = y[at]."""

    def build(context, builder, signature, values):
        code = _Code(context, builder, signature, values)
        x, to, y, at = code.values
        code.store(code.load(y, at), x, to)
        return code.nothing

    return types.void(lanes, x, to, y, at), build


@intrinsic
def product(typing, lanes, x, to, y, at, z, by):
    """x[to] = y[at] z[by]."""

    def build(context, builder, signature, values):
        code = _Code(context, builder, signature, values)
        x, to, y, at, z, by = code.values
        code.store(builder.fmul(code.load(y, at), code.load(z, by)), x, to)
        return code.nothing

    return types.void(lanes, x, to, y, at, z, by), build


def _columns(count: int) -> Any:
    @intrinsic
    def take(typing, lanes, x, to, n, y, at, step, weights, first):
        def build(context, builder, signature, values):
            code = _Code(context, builder, signature, values)
            x, to, n, y, at, step, weights, first = code.values
            one, starts, times = first.type(1), [at], [code.load(weights, first)]
            for _ in range(count - 1):
                first = builder.add(first, one)
                starts.append(builder.add(starts[-1], step))
                times.append(code.load(weights, first))
            with cgutils.for_range(builder, n) as loop:
                place = builder.add(to, loop.index)
                total = code.load(x, place)
                for start, weight in zip(starts, times, strict=True):
                    total = code.less(total, weight, code.load(y, builder.add(start, loop.index)))
                code.store(total, x, place)
            return code.nothing

        return types.void(lanes, x, to, n, y, at, step, weights, first), build

    return take


_take_off_one, _take_off_two, _take_off_four = (_columns(count) for count in (1, 2, 4))


@inlined
def take_off(lanes, x, to, n, y, at, step, weights, first, count):
    """x[to + i] -= sum over k < count of weights[first + k] y[at + k step + i] for i < n."""
    k = 0
    while k + 4 <= count:
        _take_off_four(lanes, x, to, n, y, at + k * step, step, weights, first + k)
        k += 4
    if k + 2 <= count:
        _take_off_two(lanes, x, to, n, y, at + k * step, step, weights, first + k)
        k += 2
    if k < count:
        _take_off_one(lanes, x, to, n, y, at + k * step, step, weights, first + k)


@intrinsic
def take_off_multiples(typing, lanes, x, to, z, of, n, y, at):
    """x[to + i] -= y[at] z[of + i] for i < n."""

    def build(context, builder, signature, values):
        code = _Code(context, builder, signature, values)
        x, to, z, of, n, y, at = code.values
        times = code.load(y, at)
        with cgutils.for_range(builder, n) as loop:
            place = builder.add(to, loop.index)
            other = code.load(z, builder.add(of, loop.index))
            code.store(code.less(code.load(x, place), times, other), x, place)
        return code.nothing

    return types.void(lanes, x, to, z, of, n, y, at), build


@intrinsic
def take_off_dot(typing, lanes, x, to, y, at, z, by, n):
    """x[to] -= sum over i < n of y[at + i] z[by + i]."""

    def build(context, builder, signature, values):
        code = _Code(context, builder, signature, values)
        x, to, y, at, z, by, n = code.values
        total = cgutils.alloca_once_value(builder, code.load(x, to))
        with cgutils.for_range(builder, n) as loop:
            one = code.load(y, builder.add(at, loop.index))
            other = code.load(z, builder.add(by, loop.index))
            builder.store(code.less(builder.load(total), one, other), total)
        code.store(builder.load(total), x, to)
        return code.nothing

    return types.void(lanes, x, to, y, at, z, by, n), build


@intrinsic
def add_multiples(typing, lanes, x, to, n, y, at, z, by):
    """x[to + i] += z[by] y[at + i] for i < n, rounded twice."""

    def build(context, builder, signature, values):
        code = _Code(context, builder, signature, values)
        x, to, n, y, at, z, by = code.values
        times = code.load(z, by)
        with cgutils.for_range(builder, n) as loop:
            place = builder.add(to, loop.index)
            more = builder.fmul(times, code.load(y, builder.add(at, loop.index)))
            code.store(builder.fadd(code.load(x, place), more), x, place)
        return code.nothing

    return types.void(lanes, x, to, n, y, at, z, by), build


@intrinsic
def add_dot(typing, lanes, x, to, n, y, at, z, by):
    """x[to] += sum over i < n of y[at + i] z[by + i], rounded twice."""

    def build(context, builder, signature, values):
        code = _Code(context, builder, signature, values)
        x, to, n, y, at, z, by = code.values
        total = cgutils.alloca_once_value(builder, code.load(x, to))
        with cgutils.for_range(builder, n) as loop:
            one = code.load(y, builder.add(at, loop.index))
            other = code.load(z, builder.add(by, loop.index))
            builder.store(builder.fadd(builder.load(total), builder.fmul(one, other)), total)
        code.store(builder.load(total), x, to)
        return code.nothing

    return types.void(lanes, x, to, n, y, at, z, by), build


@intrinsic
def fill_window(typing, lanes, x, y, middle, half, factors, sums):
    """x[half + k] = y[middle + k] w[k] for -half <= k <= half, w[0] = 1; sums[1] is the sum of x.

    w[k + 1] = w[k] r q^(2 k + 1) to the right, w[k - 1] = w[k] / r q^(2 |k| + 1) to the left, with r and q in
    factors[0] and factors[1]; sums[0] is the sum left of the middle.
    """

    def build(context, builder, signature, values):
        code = _Code(context, builder, signature, values)
        x, y, middle, half, factors, sums = code.values
        one, zero = half.type(1), half.type(0)
        ratio, q = code.load(factors, zero), code.load(factors, one)
        square, ones = builder.fmul(q, q), code.ones()
        centre = code.load(y, middle)
        code.store(centre, x, half)
        starts = (ones, builder.fmul(ratio, q), ones, builder.fdiv(q, ratio), centre, code.zeros())
        right, up, left, down, high, low = (cgutils.alloca_once_value(builder, each) for each in starts)
        with cgutils.for_range(builder, half) as loop:
            k = builder.add(loop.index, one)
            for weight, factor, total, step in (
                (right, up, high, builder.add),
                (left, down, low, builder.sub),
            ):
                now = builder.fmul(builder.load(weight), builder.load(factor))
                builder.store(now, weight)
                builder.store(builder.fmul(builder.load(factor), square), factor)
                value = builder.fmul(code.load(y, step(middle, k)), now)
                code.store(value, x, step(half, k))
                builder.store(builder.fadd(builder.load(total), value), total)
        code.store(builder.load(low), sums, zero)
        code.store(builder.fadd(builder.load(low), builder.load(high)), sums, one)
        return code.nothing

    return types.void(lanes, x, y, middle, half, factors, sums), build
