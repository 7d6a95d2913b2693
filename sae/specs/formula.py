"""The language of formulas: columns, operators and a few calls, read into a tree and never executed."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from sae.errors import SaeSpecError

__all__ = [
    "Call",
    "Chain",
    "Name",
    "Node",
    "Number",
    "Power",
    "Sign",
    "Text",
    "parse",
    "spell",
    "split_formula",
]

_LONGEST = 20_000  # characters
_DEEPEST = 20  # brackets, signs and powers inside each other
_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[^\W\d]\w*(?:\.\w+)*)"
    r"|`(?P<quoted>[^`]+)`|(?P<text>'[^'\\]*'|\"[^\"\\]*\")|(?P<operator>\*\*|[-+*/:^(),=]))"
)
_PARTS = re.compile(r"`[^`]*`|'[^']*'|\"[^\"]*\"|(?P<tilde>~)")
_NO_OUTCOME = re.compile(r"[(){}\[\]=*/:,'\"]")
_LEVELS = (("+", "-"), ("*", "/"), (":",))  # what binds loosely first


@dataclass(frozen=True)
class Name:
    """A column."""

    name: str


@dataclass(frozen=True)
class Number:
    """A number in a calculation; 0 and 1 are the intercept."""

    value: float


@dataclass(frozen=True)
class Text:
    """A name or a level in quotes."""

    value: str


@dataclass(frozen=True)
class Sign:
    """A sign before an operand."""

    symbol: str
    of: Node


@dataclass(frozen=True)
class Power:
    """A base and its exponent."""

    base: Node
    exponent: Node


@dataclass(frozen=True)
class Chain:
    """Operands of operators that bind alike: first, then each with the operator before it."""

    first: Node
    rest: tuple[tuple[str, Node], ...]


@dataclass(frozen=True)
class Call:
    """A function with its arguments, those with a name last."""

    function: str
    arguments: tuple[Node, ...]
    options: tuple[tuple[str, Node], ...]


Node = Name | Number | Text | Sign | Power | Chain | Call


def split_formula(formula: str) -> tuple[str, str]:
    """Split "y ~ x1 + x2" into what is modelled and the covariates.

    Raises
    ------
    SaeSpecError
        If there is not exactly one "~" with something on both sides, or the outcome is no name.

    Examples
    --------
    >>> split_formula("employment_rate ~ share_tertiary + C(birth)")
    ('employment_rate', 'share_tertiary + C(birth)')
    """
    if not isinstance(formula, str):
        raise SaeSpecError(
            f"The formula is {formula!r}, which is no text.", hint='Write "indicator ~ covariate".'
        )
    return _split(formula)


@lru_cache(maxsize=512)
def _split(formula: str) -> tuple[str, str]:
    tildes = [part.start() for part in _PARTS.finditer(formula) if part["tilde"]]
    left, right = (formula[: tildes[0]].strip(), formula[tildes[0] + 1 :].strip()) if tildes else ("", "")
    if not left or not right or len(tildes) != 1:
        raise SaeSpecError(
            f"The formula {_shown(formula)} does not say what is modelled by what.",
            hint='Write it as "indicator ~ covariate + covariate", or "indicator ~ 1" without covariates.',
        )
    if left.startswith("`") and left.endswith("`") and left.count("`") == 2:
        return unicodedata.normalize("NFC", left[1:-1]), right
    wrong = _NO_OUTCOME.search(left)
    if wrong:
        raise SaeSpecError(
            f"The outcome of the formula {_shown(formula)} is {_shown(left)}, which is no name.",
            hint="The left-hand side names a column or an indicator, one with odd signs in `back-ticks`; a "
            "transformation is the model's transform=.",
        )
    return unicodedata.normalize("NFC", left), right


def parse(right: str) -> Node:
    """Read the right-hand side of a formula into a tree, without executing anything.

    Raises
    ------
    SaeSpecError
        If a sign has no meaning in a formula, brackets do not match, or it is too long or too deep.

    Examples
    --------
    >>> from sae.specs.formula import parse, spell
    >>> spell(parse("x+C( g )+log(x**2)"))
    'x + C(g) + log(x ** 2)'
    """
    if len(right) > _LONGEST:
        raise SaeSpecError(
            f"The formula has {len(right)} characters; {_LONGEST} are the most that is read.",
            hint="Leave covariates out.",
        )
    return _Parser(unicodedata.normalize("NFC", right)).whole()


class _Parser:
    """Recursive descent over the tokens; `depth` bounds the recursion."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = _tokens(text)
        self.place = 0
        self.depth = 0

    def whole(self) -> Node:
        tree = self.chain(0)
        if self.kind() != "end":
            self.refuse()
        return tree

    def kind(self) -> str:
        return self.tokens[self.place][0]

    def value(self) -> str:
        return self.tokens[self.place][1]

    def operator(self, *symbols: str) -> str:
        """Step over one of these operators and return it, "" where there is none."""
        if self.kind() == "operator" and self.value() in symbols:
            self.place += 1
            return self.tokens[self.place - 1][1]
        return ""

    def chain(self, level: int) -> Node:
        if level == len(_LEVELS):
            return self.signed()
        first, rest = self.chain(level + 1), []
        while symbol := self.operator(*_LEVELS[level]):
            rest.append((symbol, self.chain(level + 1)))
        if not rest:
            return first
        if isinstance(first, Chain) and _binding(first) == level:  # brackets that change nothing
            return Chain(first.first, (*first.rest, *rest))
        return Chain(first, tuple(rest))

    def signed(self) -> Node:
        symbol = self.operator("+", "-")
        if not symbol:
            return self.power()
        self.descend()
        node = Sign(symbol, self.signed())
        self.depth -= 1
        return node

    def power(self) -> Node:
        base = self.atom()
        if not self.operator("**", "^"):
            return base
        self.descend()
        node = Power(base, self.signed())
        self.depth -= 1
        return node

    def atom(self) -> Node:
        kind, value = self.kind(), self.value()
        if self.operator("("):
            return self.bracket()
        if kind not in ("number", "name", "quoted", "text"):
            self.refuse()
        self.place += 1
        if kind == "number":
            return Number(float(value))
        if kind == "text":
            return Text(value)
        if kind == "name" and self.operator("("):
            return self.call(value)
        return Name(value)

    def bracket(self) -> Node:
        self.descend()
        node = self.chain(0)
        self.depth -= 1
        if not self.operator(")"):
            self.refuse()
        return node

    def call(self, function: str) -> Node:
        self.descend()
        arguments: list[Node] = []
        options: list[tuple[str, Node]] = []
        while not self.operator(")"):
            if (arguments or options) and not self.operator(","):
                self.refuse()
            named = self.kind() == "name" and self.tokens[self.place + 1] == ("operator", "=")
            if named:
                option = self.value()
                self.place += 2
                options.append((option, self.chain(0)))
            elif options:
                self.refuse()
            else:
                arguments.append(self.chain(0))
        self.depth -= 1
        return Call(function, tuple(arguments), tuple(options))

    def descend(self) -> None:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise SaeSpecError(
                f"The formula {_shown(self.text)} is nested more than {_DEEPEST} deep.",
                hint="Write it with fewer brackets.",
            )

    def refuse(self) -> None:
        what = f"{self.value()!r} stands where a covariate or an operator is expected"
        if self.kind() == "end":
            what = "it ends where something is expected"
        raise SaeSpecError(
            f"The formula {_shown(self.text)} cannot be read: {what}.",
            hint='Write it as "x1 + x2 + C(group)".',
        )


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens, place = [], 0
    end = len(text.rstrip())
    while place < end:
        match = _TOKEN.match(text, place)
        if match is None:
            _refuse_sign(text, text[place:].lstrip()[0])
        else:
            kind = str(match.lastgroup)
            value = match[kind]
            if kind == "name" and "." in value:
                _refuse_attribute(text, value)
            tokens.append((kind, value[1:-1] if kind == "text" else value))
            place = match.end()
    return [*tokens, ("end", "")]


def _refuse_sign(text: str, sign: str) -> None:
    hints = {
        "{": "Python code is not run; a calculation stands in I(...), such as I(x1 + x2).",
        "[": "Lists and subscripts have no place here.",
        "~": 'The outcome stands before "~", once; here only the covariates are meant.',
        "`": "A back-tick is opened and not closed.",
        "%": "Write a:b for an interaction.",
        "|": "One formula has one right-hand side; random effects come from the model.",
    }
    raise SaeSpecError(
        f"The formula {_shown(text)} holds {sign!r}, which has no meaning in a formula.",
        hint=hints.get(sign, "Put a name with odd signs into `back-ticks`."),
    )


def _refuse_attribute(text: str, name: str) -> None:
    module, _, function = name.rpartition(".")
    hint = f"If {name} is a column, write `{name}` in back-ticks."
    if module in ("np", "numpy", "math"):
        hint = f"Write {function}(x) in place of {name}(x)."
    if module == "contr":
        hint = 'Write C(g, Sum), or C(g, Treatment("level")) for another reference level.'
    raise SaeSpecError(
        f"The formula {_shown(text)} uses {name}: a dot has no meaning in a formula.", hint=hint
    )


def _shown(text: str) -> str:
    return repr(text if len(text) <= 200 else f"{text[:150]}...")


def spell(node: Node) -> str:
    """Return the text of a tree in one spelling; read again, it gives the same tree."""
    match node:
        case Name(name):
            return name if name.isidentifier() else f"`{name}`"
        case Number(value):
            return f"{value:g}" if value == float(f"{value:g}") else repr(value)
        case Text(value):
            return f'"{value}"' if '"' not in value else f"'{value}'"
        case Sign(symbol, of):
            return f"{symbol}{_bracketed(of, 2)}"
        case Power(base, exponent):
            return f"{_bracketed(base, 4)} ** {_bracketed(exponent, 3)}"
        case Chain(first, rest):
            binding = _binding(node)
            parts = [_bracketed(first, binding)]
            for symbol, operand in rest:
                parts.append(":" if symbol == ":" else f" {symbol} ")
                parts.append(_bracketed(operand, binding + 0.5))
            return "".join(parts)
        case Call(function, arguments, options):
            listed = [*map(spell, arguments), *(f"{name}={spell(value)}" for name, value in options)]
            return f"{function}({', '.join(listed)})"


def _binding(node: Node) -> float:
    """How strongly the outermost operator of a tree binds."""
    if isinstance(node, Chain):
        return next(level for level, symbols in enumerate(_LEVELS) if node.rest[0][0] in symbols)
    return 3 if isinstance(node, Sign) else 3.5 if isinstance(node, Power) else 5


def _bracketed(node: Node, least: float) -> str:
    return spell(node) if _binding(node) >= least else f"({spell(node)})"
