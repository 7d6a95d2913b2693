"""The calculations that a formula may hold, on columns of floats."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from sae.errors import SaeInputError
from sae.specs.formula import Call, Chain, Name, Node, Number, Power, Sign, spell

__all__ = ["Moments", "calculate", "learns"]

Moments = dict[
    str, tuple[float, float]
]  # of what scale() and center() were learnt on: mean, standard deviation

_FUNCTIONS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "log": np.log,
    "exp": np.exp,
    "sqrt": np.sqrt,
    "I": np.asarray,
}


def calculate(node: Node, columns: Mapping[str, np.ndarray], moments: Moments) -> np.ndarray:
    """Return the values of a calculation; what is not finite stays so, for the caller to name.

    Parameters
    ----------
    node : Node
        Checked by `sae.specs.terms`.
    columns : mapping of str to ndarray of float
    moments : dict
        Mean and standard deviation of what ``scale`` and ``center`` take, by its text; what is not there
        is learnt here and added.

    Raises
    ------
    SaeInputError
        If ``scale`` meets a constant.

    Examples
    --------
    >>> from sae.specs.calculation import calculate
    >>> from sae.specs.formula import parse
    >>> calculate(parse("I(x**2 / 2)"), {"x": np.array([1.0, 2.0])}, {}).tolist()
    [0.5, 2.0]
    """
    with np.errstate(all="ignore"):
        return _values(node, columns, moments)


def learns(node: Node) -> bool:
    """Whether a calculation rests on moments of its columns, as that of ``scale`` or ``center`` does.

    Examples
    --------
    >>> from sae.specs.calculation import learns
    >>> from sae.specs.formula import parse
    >>> learns(parse("I(x**2 / 2)")), learns(parse("log(1 + scale(x))"))
    (False, True)
    """
    match node:
        case Sign(_, of):
            return learns(of)
        case Power(base, exponent):
            return learns(base) or learns(exponent)
        case Chain(first, rest):
            return learns(first) or any(learns(operand) for _, operand in rest)
        case Call(function, arguments, _):
            return function not in _FUNCTIONS or any(map(learns, arguments))
    return False


def _values(node: Node, columns: Mapping[str, np.ndarray], moments: Moments) -> np.ndarray:
    match node:
        case Name(name):
            return columns[name]
        case Number(value):
            return np.asarray(value)
        case Sign(symbol, of):
            values = _values(of, columns, moments)
            return -values if symbol == "-" else values
        case Power(base, exponent):
            return np.power(_values(base, columns, moments), _values(exponent, columns, moments))
        case Chain(first, rest):
            values = _values(first, columns, moments)
            for symbol, operand in rest:
                values = _combined(symbol, values, _values(operand, columns, moments))
            return values
        case Call(function, (of,), _):
            values = _values(of, columns, moments)
            if function in _FUNCTIONS:
                return _FUNCTIONS[function](values)
            mean, sd = moments.setdefault(spell(node), _moments(node, values))
            return values - mean if function == "center" else (values - mean) / sd
    raise AssertionError(f"{node} is no calculation")


def _combined(symbol: str, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    if symbol == "+":
        return left + right
    if symbol == "-":
        return left - right
    return left * right if symbol == "*" else left / right


def _moments(node: Call, values: np.ndarray) -> tuple[float, float]:
    mean = float(np.mean(values))
    sd = float(np.std(values, ddof=1)) if values.size > 1 else 0.0
    if node.function != "center" and not sd > 0.0:
        raise SaeInputError(f"{spell(node)}: {spell(node.arguments[0])} is constant, so it has no scale.")
    return mean, sd
