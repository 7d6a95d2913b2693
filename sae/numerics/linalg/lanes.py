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
    "copy",
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
