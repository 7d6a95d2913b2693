"""From the tree of a formula to its terms: crossed, nested and bounded, each call from a short list."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import NoReturn

from sae.errors import SaeSpecError, name_some
from sae.specs.formula import Call, Chain, Name, Node, Number, Power, Sign, Text, parse, spell

__all__ = ["CODINGS", "Factor", "Term", "Terms", "parse_terms"]

FUNCTIONS = ("log", "exp", "sqrt", "I", "scale", "standardize", "center")  # one number a row
BASES: Mapping[str, tuple[str, ...]] = {  # several columns, and the options of each in their order
    "poly": ("degree",),
    "bs": ("df", "degree"),
    "cs": ("df",),
    "cr": ("df",),
}
CODINGS = ("Treatment", "Sum", "Helmert", "Diff", "Poly")
_MOST_TERMS = 1_000
_MOST_VARIABLES = 4  # in one interaction
_MOST_WORK = 20_000  # products while a formula is multiplied out
_LARGEST_OPTION = 30


@dataclass(frozen=True)
class Factor:
    """One part of a term.

    Attributes
    ----------
    text : str
        As it is written in a formula.
    kind : str
        "column": whatever the column holds; "levels": a column taken as levels, by C(); "number": a
        calculation; "basis": several columns, of poly(), bs(), cs() or cr().
    of : node
        The column, or the expression that is calculated.
    variables : tuple of str
        The columns it uses.
    function : str
        Of a basis.
    options : tuple of (str, int)
        Of a basis.
    coding : str
        Of levels.
    base : str or None
        Reference level of levels.
    """

    text: str
    kind: str
    of: Node
    variables: tuple[str, ...]
    function: str = ""
    options: tuple[tuple[str, int], ...] = ()
    coding: str = "Treatment"
    base: str | None = None

    @property
    def name(self) -> str:
        """As the columns of the design call it: a column by its bare name."""
        return self.of.name if self.kind == "column" and isinstance(self.of, Name) else self.text


Term = tuple[Factor, ...]


@dataclass(frozen=True)
class Terms:
    """What a right-hand side consists of.

    Attributes
    ----------
    intercept : bool
    terms : tuple of tuple of Factor
        Main effects before interactions of two before those of three, else as they are written.
    """

    intercept: bool
    terms: tuple[Term, ...]

    @property
    def variables(self) -> tuple[str, ...]:
        """Columns of the data that the formula uses, sorted."""
        return tuple(sorted({name for term in self.terms for factor in term for name in factor.variables}))

    @property
    def factors(self) -> tuple[Factor, ...]:
        """Each factor once."""
        return tuple(dict.fromkeys(factor for term in self.terms for factor in term))

    @property
    def texts(self) -> tuple[str, ...]:
        """The terms as they are written in a formula."""
        return tuple(":".join(factor.text for factor in term) for term in self.terms)


@lru_cache(maxsize=512)
def parse_terms(right: str) -> Terms:
    """Return the terms of the right-hand side of a formula; nothing is executed.

    Names are columns (odd ones in `back-ticks`); ``+ - : * / **`` mean what they mean in R; the calls are
    ``C``, ``log``, ``exp``, ``sqrt``, ``I``, ``poly``, ``bs``, ``cs``, ``cr``, ``scale``, ``standardize``,
    ``center`` and ``Q``. Anything else is refused: attributes, subscripts, braces, text outside Q() and
    Treatment(), interactions of more than 4 variables, more than 1,000 terms.

    Raises
    ------
    SaeSpecError
        If the formula is not of this language, or too large.

    Examples
    --------
    >>> from sae.specs.terms import parse_terms
    >>> parse_terms("x * C(g) + log(z)").texts
    ('x', 'C(g)', 'log(z)', 'x:C(g)')
    >>> parse_terms("0 + `pop.share`").intercept
    False
    """
    return _Expansion(right).terms()


class _Expansion:
    """Multiplies a formula out; `work` counts the products, so that no formula takes long."""

    def __init__(self, right: str) -> None:
        self.right = right
        self.work = 0

    def terms(self) -> Terms:
        kept = self.sum(parse(self.right), {frozenset(): ()})
        listed = sorted((term for term in kept.values() if term), key=len)
        return Terms(frozenset() in kept, tuple(listed))

    def sum(self, node: Node, start: Mapping[frozenset[str], Term]) -> dict[frozenset[str], Term]:
        """Add and take away terms in their order; 0 and 1 are the intercept."""
        kept = dict(start)
        for symbol, operand in _summands(node):
            add = symbol == "+"
            if operand in (Number(0.0), Number(1.0)):
                add = add == (operand == Number(1.0))
                part: dict[frozenset[str], Term] = {frozenset(): ()}
            else:
                part = self.product(operand)
            for key, term in part.items():
                if add:
                    kept.setdefault(key, term)
                elif kept.pop(key, None) is None and term:
                    self.refuse(
                        f"takes away {':'.join(f.text for f in term)}, which is not in it", "Leave it out."
                    )
            if len(kept) > _MOST_TERMS:
                self.refuse(f"has more than {_MOST_TERMS} terms", "Leave interactions out.")
        return kept

    def product(self, node: Node) -> dict[frozenset[str], Term]:
        match node:
            case Name() | Call():
                factor = _factor(node, self.right)
                return {frozenset([factor.text]): (factor,)}
            case Number(value):
                self.refuse(
                    f"uses the number {value:g} as a covariate",
                    "Only 0 and 1 (without and with an intercept) stand alone; write I(2 * x) to calculate.",
                )
            case Power(base, exponent):
                return self.power(self.product(base), exponent)
            case Chain(first, rest) if rest[0][0] in "*/:":
                terms = self.product(first)
                for symbol, operand in rest:
                    terms = self.cross(symbol, terms, self.product(operand))
                return terms
            case Chain() | Sign():
                return self.sum(node, {})
        self.refuse(
            f"uses the text {spell(node)} as a covariate", "Write Q(...) around the name of a column."
        )

    def cross(
        self, symbol: str, left: dict[frozenset[str], Term], right: dict[frozenset[str], Term]
    ) -> dict[frozenset[str], Term]:
        if symbol == ":":
            return self.pairs(left, right)
        if symbol == "*":
            return {**left, **right, **self.pairs(left, right)}
        whole: Term = tuple({factor.text: factor for term in left.values() for factor in term}.values())
        return {**left, **self.pairs({frozenset(factor.text for factor in whole): whole}, right)}

    def pairs(
        self, left: dict[frozenset[str], Term], right: dict[frozenset[str], Term]
    ) -> dict[frozenset[str], Term]:
        self.work += len(left) * len(right)
        if self.work > _MOST_WORK:
            self.refuse("multiplies out to too many terms", "Leave interactions out.")
        crossed: dict[frozenset[str], Term] = {}
        for a, first in left.items():
            for b, second in right.items():
                term = (*first, *(factor for factor in second if factor.text not in a))
                if len(term) > _MOST_VARIABLES:
                    self.refuse(
                        f"crosses more than {_MOST_VARIABLES} variables",
                        "Leave out interactions that nobody can interpret.",
                    )
                crossed.setdefault(a | b, term)
        return crossed

    def power(self, terms: dict[frozenset[str], Term], exponent: Node) -> dict[frozenset[str], Term]:
        """All interactions of up to so many of the terms, as (a + b + c)**2."""
        if exponent not in [Number(float(n)) for n in range(1, _MOST_VARIABLES + 1)]:
            self.refuse(
                f"raises terms to the power of {spell(exponent)}",
                f"(a + b + c)**2 has all interactions of two; up to {_MOST_VARIABLES} are read. "
                "Write I(x**2) for a square.",
            )
        if len(terms) == 1 and exponent != Number(1.0):
            (term,) = terms.values()
            name = ":".join(factor.text for factor in term)
            self.refuse(
                f"raises {name} to the power of {spell(exponent)}, which in a formula is {name} again",
                f"Write I({name}**{spell(exponent)}) for the power of its numbers.",
            )
        crossed = terms
        for _ in range(int(exponent.value) - 1 if isinstance(exponent, Number) else 0):
            crossed = {**crossed, **self.pairs(crossed, terms)}
        return crossed

    def refuse(self, what: str, hint: str) -> NoReturn:
        _refuse(self.right, what, hint)


def _summands(node: Node, sign: str = "+") -> Iterator[tuple[str, Node]]:
    """Return the terms of a sum with their signs, those in brackets too."""
    if isinstance(node, Sign):
        yield from _summands(node.of, _times(sign, node.symbol))
    elif isinstance(node, Chain) and node.rest[0][0] in "+-":
        yield from _summands(node.first, sign)
        for symbol, operand in node.rest:
            yield from _summands(operand, _times(sign, symbol))
    else:
        yield sign, node


def _times(sign: str, other: str) -> str:
    return "+" if sign == other else "-"


def _factor(node: Name | Call, right: str) -> Factor:
    if isinstance(node, Name):
        return _column(node)
    if node.function == "Q":
        return _column(_quoted(node, right))
    if node.function == "C":
        return _levels(node, right)
    if node.function in BASES:
        return _basis(node, right)
    of = _arithmetic(node, right)
    return Factor(spell(of), "number", of, _named(of, right))


def _column(node: Name) -> Factor:
    return Factor(spell(node), "column", node, (node.name,))


def _quoted(node: Call, right: str) -> Name:
    match node.arguments, node.options:
        case (Text(name),), ():
            return Name(name)
    _refuse(right, f"writes {spell(node)}", 'Q takes the name of a column in quotes: Q("pop.share").')


def _levels(node: Call, right: str) -> Factor:
    """Read C(g), C(g, Sum) or C(g, Treatment("level"))."""
    match node.arguments, node.options:
        case (column, *coding), () if len(coding) <= 1:
            column = _quoted(column, right) if isinstance(column, Call) and column.function == "Q" else column
            match column, coding:
                case Name(), []:
                    return Factor(f"C({spell(column)})", "levels", column, (column.name,))
                case Name(), [Name(name)] if name in CODINGS:
                    text = f"C({spell(column)}, {name})"
                    return Factor(text, "levels", column, (column.name,), coding=name)
                case Name(), [Call("Treatment", (base,), ()) | Call("Treatment", (), (("base", base),))]:
                    if isinstance(base, Text | Number):
                        text = f"C({spell(column)}, Treatment({spell(base)}))"
                        level = base.value if isinstance(base, Text) else f"{base.value:.15g}"
                        return Factor(text, "levels", column, (column.name,), base=level)
    _refuse(
        right,
        f"writes {spell(node)}",
        f'C takes a column, and perhaps a coding ({", ".join(CODINGS)}): C(g), C(g, Treatment("level")).',
    )


def _basis(node: Call, right: str) -> Factor:
    """Read poly(x, 2), bs(x, df=4), cs(x, df=4) or cr(x, df=4)."""
    known = BASES[node.function]
    given = [*zip(known, node.arguments[1:], strict=False), *node.options]
    options = {
        name: int(value.value) for name, value in given if isinstance(value, Number) and _is_size(value)
    }
    if not node.arguments or len(node.arguments) > 1 + len(known) or not {*options} <= {*known}:
        given = []
    if not given or len(options) < len(given):
        _refuse(
            right,
            f"writes {spell(node)}",
            f"{node.function} takes a column or a calculation and {name_some(known)}, a whole number of at "
            f"most {_LARGEST_OPTION}: {node.function}(x, {known[0]}=3).",
        )
    of = _arithmetic(node.arguments[0], right)
    listed = ", ".join(f"{name}={value}" for name, value in options.items())
    text = f"{node.function}({spell(of)}, {listed})"
    return Factor(
        text, "basis", of, _named(of, right), function=node.function, options=tuple(options.items())
    )


def _is_size(number: Number) -> bool:
    return number.value == int(number.value) and 1 <= number.value <= _LARGEST_OPTION


def _arithmetic(node: Node, right: str) -> Node:
    """Check a calculation and return it with its Q("name") as names."""
    match node:
        case Name() | Number():
            return node
        case Sign(symbol, of):
            return Sign(symbol, _arithmetic(of, right))
        case Power(base, exponent):
            return Power(_arithmetic(base, right), _arithmetic(exponent, right))
        case Chain(first, rest) if rest[0][0] != ":":
            operands = tuple((symbol, _arithmetic(operand, right)) for symbol, operand in rest)
            return Chain(_arithmetic(first, right), operands)
        case Call("Q"):
            return _quoted(node, right)
        case Call(function, (of,), ()) if function in FUNCTIONS:
            return Call(function, (_arithmetic(of, right),), ())
        case Call(function) if function in FUNCTIONS:
            _refuse(
                right, f"writes {spell(node)}", f"{function} takes one column or calculation: {function}(x)."
            )
        case Call(function):
            known = ["C", *FUNCTIONS, *BASES, "Q"]
            near = get_close_matches(function, known, n=1)
            hint = (
                "Transform the column beforehand."
                if function not in ("C", *BASES)
                else "It stands by itself."
            )
            meant = f"Did you mean {near[0]}? " if near and function not in known else ""
            _refuse(right, f"calls {function}()", f"{meant}Formulas know {', '.join(known)}. {hint}")
    _refuse(
        right, f"writes {spell(node)} in a calculation", "Calculate with + - * / ** and columns of numbers."
    )


def _named(node: Node, right: str) -> tuple[str, ...]:
    """Return the columns of a calculation, which must use one."""
    names = tuple(dict.fromkeys(_names(node)))
    if not names:
        _refuse(right, f"calculates {spell(node)}, which uses no column", "Leave it out; 1 is the intercept.")
    return names


def _names(node: Node) -> Iterator[str]:
    match node:
        case Name(name):
            yield name
        case Sign(_, of):
            yield from _names(of)
        case Power(base, exponent):
            yield from _names(base)
            yield from _names(exponent)
        case Chain(first, rest):
            for operand in (first, *(operand for _, operand in rest)):
                yield from _names(operand)
        case Call(_, arguments, _):
            for argument in arguments:
                yield from _names(argument)


def _refuse(right: str, what: str, hint: str) -> NoReturn:
    shown = right if len(right) <= 200 else f"{right[:150]}..."
    raise SaeSpecError(f"The formula {shown!r} {what}.", hint=hint)
