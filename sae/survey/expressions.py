"""Conditions and arithmetic on the columns of a survey, written as text and evaluated safely.

The text is parsed by Python's own grammar and walked node by node: nothing is ever executed. Missing
values follow Kleene's three-valued logic, so a result is missing only where it really depends on a
missing value.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from sae.errors import SaeSpecError, name_some
from sae.survey.operands import Operand, Text, Values, any_of, both, either, fetch, known_truth, sortable

__all__ = ["Evaluated", "comparisons_in", "evaluate", "names_in", "odd_names_hint"]

_COMPARE: dict[type, Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_MIRROR: dict[type, type] = {ast.Lt: ast.Gt, ast.LtE: ast.GtE, ast.Gt: ast.Lt, ast.GtE: ast.LtE}
_SIGNS: dict[type, str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.In: "in",
    ast.NotIn: "not in",
}
_LARGEST = 1e300
_DEEPEST = 200  # operations inside each other
_ARITHMETIC: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


@dataclass(frozen=True)
class Evaluated:
    """What an expression gives, record by record.

    Attributes
    ----------
    values : ndarray of bool or float, shape (n,)
        Truth of a condition, or a number; False (condition) or nan (number) where missing.
    missing : ndarray of bool, shape (n,)
        Where the result cannot be known.
    """

    values: np.ndarray
    missing: np.ndarray


def evaluate(expression: str, frame: pd.DataFrame, fetched: dict[str, Operand] | None = None) -> Evaluated:
    """Evaluate a condition or an arithmetic expression on the columns of a frame.

    Parameters
    ----------
    expression : str
        Names of columns, numbers, quoted text, ``True`` and ``False``, comparisons that may be chained
        (``20 <= age <= 64``), ``and``, ``or``, ``not``, ``in`` and ``not in`` with a list, ``+ - * /``.
        A result that is not finite (a division by zero) is missing. Text has an order where it is an ordered
        category, which then decides, or where its digits stand in the same places (``'02'``, ``'2020Q1'``);
        letters are not compared.
    frame : DataFrame
        The records, n rows. Text columns compare fastest as `Categorical`.
    fetched : dict, optional
        Operands of columns of this very frame, by name: used and added to.

    Returns
    -------
    Evaluated
        Values and missing marks, both of shape (n,).

    Raises
    ------
    SaeSpecError
        If the text is not such an expression, names an unknown column or an unknown level (near matches are
        given), compares text with numbers, or asks for an order that text does not have.
    SaeInputError
        If a column holds an infinite number.

    References
    ----------
    Kleene (1952), Introduction to Metamathematics, section 64 (the strong three-valued connectives).

    Examples
    --------
    >>> frame = pd.DataFrame({"age": [17, 30, None], "sex": ["f", "m", "f"]})
    >>> evaluate("20 <= age <= 64 or sex == 'f'", frame).values.tolist()
    [True, True, True]
    >>> evaluate("20 <= age <= 64 and sex == 'f'", frame).missing.tolist()
    [False, False, True]
    """
    result = _Walker(expression, frame, fetched).walk(_parse(expression).body)
    n = len(frame)
    if isinstance(result, Text):
        raise SaeSpecError(
            f"The expression {expression!r} is text, not a condition or a number.",
            hint="Compare it with a level, for example: birth == 'foreign'.",
        )
    missing = np.zeros(n, dtype=bool) if result.missing is None else result.missing
    if result.kind == "condition":
        return Evaluated(np.broadcast_to(result.values, n), missing)
    values = np.broadcast_to(np.asarray(result.values, dtype=np.float64), n)
    if result.missing is not None:
        values = np.where(missing, np.nan, values)
    return Evaluated(values, missing)


def names_in(expression: str) -> tuple[str, ...]:
    """Return the column names that an expression uses, each once, in the order of appearance.

    Examples
    --------
    >>> names_in("20 <= age <= 64 and birth == 'foreign'")
    ('age', 'birth')
    """
    return _names(_parse(expression), expression)


@lru_cache(1000)
def _names(tree: ast.Expression, expression: str) -> tuple[str, ...]:
    names: dict[str, None] = {}

    def collect(node: ast.AST) -> None:
        if isinstance(node, ast.Name | ast.Attribute):
            names[_dotted(node, expression)] = None
            return
        for child in ast.iter_child_nodes(node):
            collect(child)

    collect(tree.body)
    return tuple(names)


def odd_names_hint(expression: str, columns: Iterable[object]) -> str:
    """Say how a column is reached whose name is none in an expression, such as one with blanks.

    Examples
    --------
    >>> from sae.survey.expressions import odd_names_hint
    >>> odd_names_hint("Age in years >= 20", ["Age in years", "w"])
    "A name with blanks or signs cannot stand in an expression: give it another in the layout, \
columns = {'age': 'Age in years'}. "
    """
    odd = [
        name
        for name in map(str, columns)
        if name in expression and not all(part.isidentifier() for part in name.split("."))
    ]
    if not odd:
        return ""
    plain = re.sub(r"\W.*", "", odd[0]).lower() or "name"
    return (
        "A name with blanks or signs cannot stand in an expression: give it another in the layout, "
        f"columns = {{{plain!r}: {odd[0]!r}}}. "
    )


def comparisons_in(expression: str) -> list[tuple[str, str, Any]]:
    """Return what an expression compares its columns with: name, sign, and the constant or list.

    Examples
    --------
    >>> comparisons_in("20 <= age <= 64 and birth in ['eu', 'non_eu']")
    [('age', '>=', 20), ('age', '<=', 64), ('birth', 'in', ['eu', 'non_eu'])]
    """
    compared = []
    for node in ast.walk(_parse(expression)):
        if not isinstance(node, ast.Compare):
            continue
        sides = [node.left, *node.comparators]
        for left, op, right in zip(sides, node.ops, sides[1:], strict=False):
            sign = type(op)
            if not isinstance(left, ast.Name | ast.Attribute):
                left, right, sign = right, left, _MIRROR.get(sign, sign)
            if not isinstance(left, ast.Name | ast.Attribute):
                continue
            try:
                value = ast.literal_eval(right)
            except (ValueError, TypeError):
                continue  # two columns, or arithmetic
            value = list(value) if isinstance(value, tuple | set) else value
            compared.append((_dotted(left, expression), _SIGNS[sign], value))
    return compared


class _Walker:
    """Walks one parsed expression; columns are fetched once."""

    def __init__(self, expression: str, frame: pd.DataFrame, fetched: dict[str, Operand] | None):
        self.expression = expression
        self.frame = frame
        self.fetched = {} if fetched is None else fetched

    def refuse(self, what: str, hint: str = "", column: str | None = None) -> SaeSpecError:
        return SaeSpecError(f"In the expression {self.expression!r}: {what}", hint=hint, column=column)

    def walk(self, node: ast.AST) -> Operand:
        if isinstance(node, ast.Constant):
            return self.constant(node.value)
        if isinstance(node, ast.Name | ast.Attribute):
            return self.column(_dotted(node, self.expression))
        if isinstance(node, ast.BoolOp):
            parts = [self.condition(self.walk(part)) for part in node.values]
            join = both if isinstance(node.op, ast.And) else any_of
            result = parts[0]
            for part in parts[1:]:
                result = join(result, part)
            return result
        if isinstance(node, ast.UnaryOp):
            return self.unary(node)
        if isinstance(node, ast.Compare):
            return self.chain(node)
        if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            return self.arithmetic(node)
        hint = "Use columns, numbers, quoted text, comparisons, and, or, not, in, and + - * /."
        signs: dict[type, str] = {ast.BitAnd: "a and b", ast.BitOr: "a or b"}
        ours = signs.get(type(getattr(node, "op", None)), "")
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "isin":
            ours = "region in ('01', '02')"
        raise self.refuse(
            f"{ast.unparse(node)!r} is not understood.", hint=f"Write {ours}. {hint}" if ours else hint
        )

    def constant(self, value: object) -> Operand:
        if isinstance(value, bool):
            return Values(np.bool_(value), None, "condition", str(value))
        if isinstance(value, int | float) and abs(value) <= _LARGEST:
            # no integer column can be compared with an integer beyond 64 bits
            return Values(value if abs(value) < 2**63 else float(value), None, "number", str(value))
        if isinstance(value, str):
            return Text(None, [value], repr(value))
        if isinstance(value, int | float):
            raise self.refuse("a constant is beyond the numbers that can be computed with.")
        raise self.refuse(f"the constant {value!r} is neither a number nor text.")

    def column(self, name: str) -> Operand:
        if name not in self.fetched:
            if name not in self.frame:
                near = get_close_matches(name, [str(column) for column in self.frame], n=3)
                hint = f"Did you mean {name_some(near)}? " if near else ""
                hint = odd_names_hint(self.expression, self.frame) or hint
                hint += f"Text is quoted ('{name}'). Columns: {name_some(self.frame.columns, limit=12)}."
                raise self.refuse(f"{name!r} is not a column.", hint=hint, column=name)
            self.fetched[name] = fetch(self.frame[name], name)
        return self.fetched[name]

    def condition(self, operand: Operand) -> Values:
        """Read an operand as true or false: numbers only when they are all 0 or 1."""
        if isinstance(operand, Text):
            raise self.refuse(
                f"{operand.label} is text and cannot stand as a condition.",
                hint="Compare it with a level, for example: birth == 'foreign'.",
            )
        if operand.kind == "condition":
            return operand
        values = np.asarray(operand.values)
        truth = values == 1
        known = truth | (values == 0)
        if operand.missing is not None:
            known = known | operand.missing
        if not known.all():
            raise self.refuse(
                f"{operand.label} holds numbers other than 0 and 1 and cannot stand as a condition.",
                hint="Compare it with a number, for example: age >= 18.",
            )
        return Values(truth, operand.missing, "condition", operand.label)

    def unary(self, node: ast.UnaryOp) -> Operand:
        if isinstance(node.op, ast.Not):
            inner = self.condition(self.walk(node.operand))
            values = ~inner.values
            if inner.missing is not None:
                values = values & ~inner.missing
            return Values(values, inner.missing, "condition", f"not {inner.label}")
        if isinstance(node.op, ast.USub | ast.UAdd):
            inner = self.number(self.walk(node.operand))
            sign = -1 if isinstance(node.op, ast.USub) else 1
            return Values(sign * inner.values, inner.missing, "number", inner.label)
        raise self.refuse(f"the operator in {ast.unparse(node)!r} is not understood.", hint="Write not a.")

    def number(self, operand: Operand) -> Values:
        if isinstance(operand, Text):
            raise self.refuse(f"{operand.label} is text and cannot be used in arithmetic.")
        values = operand.values
        if np.ndim(values) or isinstance(values, np.generic):
            # small integers would overflow, and a condition counts as 0 or 1
            values = np.asarray(values, dtype=np.float64)
        return Values(values, operand.missing, "number", operand.label)

    def arithmetic(self, node: ast.BinOp) -> Values:
        left, right = self.number(self.walk(node.left)), self.number(self.walk(node.right))
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            values = _ARITHMETIC[type(node.op)](np.asarray(left.values, np.float64), right.values)
        missing = either(left.missing, right.missing)
        not_finite = ~np.isfinite(values)
        if np.any(not_finite):
            not_finite = np.broadcast_to(not_finite, len(self.frame))
            missing = not_finite if missing is None else missing | not_finite
        return Values(values, missing, "number", ast.unparse(node))

    def chain(self, node: ast.Compare) -> Values:
        result: Values | None = None
        left_node: ast.AST = node.left
        for op, right_node in zip(node.ops, node.comparators, strict=True):
            if isinstance(op, ast.In | ast.NotIn):
                part = self.member(self.walk(left_node), right_node, isinstance(op, ast.NotIn))
            elif type(op) in _COMPARE:
                part = self.compare(self.walk(left_node), type(op), self.walk(right_node))
            else:
                raise self.refuse(f"the comparison in {ast.unparse(node)!r} is not understood.")
            result = part if result is None else both(result, part)
            left_node = right_node
        assert result is not None  # the grammar gives at least one comparison
        return result

    def compare(self, left: Operand, op: type, right: Operand) -> Values:
        if isinstance(left, Text) != isinstance(right, Text):
            text, other = (left, right) if isinstance(left, Text) else (right, left)
            raise self.refuse(
                f"{text.label} is text and is compared with {other.label}, which is not.",
                hint="Quote the code if the column holds codes as text ('01'), or leave the quotes out if "
                "it holds numbers.",
            )
        if isinstance(left, Text) and isinstance(right, Text):
            return self.compare_text(left, op, right)
        assert isinstance(left, Values) and isinstance(right, Values)
        missing = either(left.missing, right.missing)
        order = left.order or right.order
        if order and op not in (ast.Eq, ast.NotEq):
            column = left.label if left.order else right.label
            raise self.refuse(
                f"the categories of {column} are ordered {order}, not by size.",
                hint="Take them for numbers before, or list the ones meant: grade in [1, 2].",
            )
        values = np.asarray(_COMPARE[op](left.values, right.values))
        return Values(known_truth(values, missing), missing, "condition", f"{left.label}, {right.label}")

    def compare_text(self, left: Text, op: type, right: Text) -> Values:
        if left.codes is None and right.codes is not None:
            return self.compare_text(right, _MIRROR.get(op, op), left)
        missing = either(left.missing, right.missing)
        ranks = self.alike(left, right) if op in (ast.Eq, ast.NotEq) else self.order(left, right)
        first, second = (_placed(text, rank) for text, rank in zip((left, right), ranks, strict=True))
        values = np.asarray(_COMPARE[op](first, second))
        return Values(known_truth(values, missing), missing, "condition", f"{left.label}, {right.label}")

    def alike(self, left: Text, right: Text) -> tuple[list[int], list[int]]:
        """Numbers of the labels of both sides, the same for the same label."""
        if left.codes is not None and right.codes is None:
            return list(range(len(left.labels))), [self.code_of(left, right.labels[0])]
        number: dict[Any, int] = {}
        for level in (*left.labels, *right.labels):
            number.setdefault(level, len(number))
        return [number[level] for level in left.labels], [number[level] for level in right.labels]

    def order(self, left: Text, right: Text) -> tuple[list[int], list[int]]:
        """Ranks of the labels of both sides, where their order is known."""
        of_left = list(range(len(left.labels)))
        if left.ordered and right.codes is None:
            return of_left, [self.code_of(left, right.labels[0])]
        if left.ordered and right.ordered and left.labels == right.labels:
            return of_left, of_left
        together = list(dict.fromkeys([*left.labels, *right.labels]))
        if left.ordered or right.ordered or not sortable(together):
            text = right if right.ordered and not left.ordered else left
            raise self.refuse(
                f"{text.label} is text, and {name_some(together, limit=4)} have no order that is known.",
                hint="List the levels meant (edu in ['medium', 'high']), or make the column an ordered "
                "category, or numbers.",
                column=text.label,
            )
        ranks = {level: rank for rank, level in enumerate(sorted(together))}
        return [ranks[level] for level in left.labels], [ranks[level] for level in right.labels]

    def code_of(self, text: Text, level: object) -> int:
        if level in text.labels:
            return text.labels.index(level)
        near = get_close_matches(str(level), [str(known) for known in text.labels], n=3)
        hint = f"Did you mean {name_some(near)}? " if near else ""
        raise self.refuse(
            f"{level!r} is not a level of {text.label}.",
            hint=f"{hint}Its levels: {name_some(sorted(text.labels, key=str), limit=12)}.",
            column=text.label,
        )

    def member(self, operand: Operand, node: ast.AST, negate: bool) -> Values:
        if not isinstance(node, ast.List | ast.Tuple | ast.Set):
            raise self.refuse(f"'in' needs a list of values, not {ast.unparse(node)!r}.")
        try:
            wanted = ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError, MemoryError):
            raise self.refuse(
                f"the list {ast.unparse(node)!r} may hold only numbers or quoted text."
            ) from None
        is_text = isinstance(operand, Text)
        odd = [item for item in wanted if isinstance(item, str) != is_text or isinstance(item, bool)]
        if odd or not all(
            isinstance(item, str) or (isinstance(item, int | float) and abs(item) <= _LARGEST)
            for item in wanted
        ):
            kind = "text" if is_text else "numbers"
            raise self.refuse(
                f"{operand.label} holds {kind}, but the list holds {name_some(map(repr, wanted))}."
            )
        if isinstance(operand, Text):
            if operand.codes is None:
                return Values(
                    np.bool_((operand.labels[0] in wanted) != negate), None, "condition", operand.label
                )
            truth = np.zeros(len(operand.labels) + 1, dtype=bool)  # the last cell serves code -1
            truth[[self.code_of(operand, item) for item in wanted]] = True
            values = truth[operand.codes]
        else:
            small = all(abs(item) < 2**63 for item in wanted)
            values = np.isin(operand.values, np.array(list(wanted), dtype=None if small else np.float64))
        missing = operand.missing
        return Values(
            known_truth(~values if negate else values, missing), missing, "condition", operand.label
        )


def _placed(text: Text, ranks: list[int]) -> Any:
    """Rank of every record, or of the one constant; codes that are ranks already are not copied."""
    if text.codes is None:
        return ranks[0]
    return text.codes if ranks == list(range(len(ranks))) else np.array([*ranks, -1])[text.codes]


def _too_deep(expression: str) -> SaeSpecError:
    return SaeSpecError(
        f"The expression {expression[:40]!r}... nests too deeply ({len(expression):,} characters).",
        hint="Write conditions on one variable as a list: region in ['a', 'b', 'c'].",
    )


def _parse(expression: str) -> ast.Expression:
    if not isinstance(expression, str) or not expression.strip():
        raise SaeSpecError(f"An expression is text such as '20 <= age <= 64', not {expression!r}.")
    return _tree(expression)


@lru_cache(1000)  # the blocks of a large file are asked the same
def _tree(expression: str) -> ast.Expression:
    try:
        tree = ast.parse(expression.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as problem:
        raise SaeSpecError(
            f"The expression {expression!r} cannot be read: {getattr(problem, 'msg', problem)}.",
            hint="Write it as in Python: 20 <= age <= 64 and birth == 'foreign'.",
        ) from None
    level: list[ast.AST] = [tree]
    for _ in range(_DEEPEST):  # counted, as Python's own limit of recursion is moved by other packages
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            return tree
    raise _too_deep(expression)


def _dotted(node: ast.AST, expression: str) -> str:
    """Name of a column; a dotted name such as ``sch.wide`` is one name here."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value, expression)}.{node.attr}"
    raise SaeSpecError(
        f"In the expression {expression!r}: {ast.unparse(node)!r} is not the name of a column."
    )
