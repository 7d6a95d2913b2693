"""The base of every specification: options without data, readable from and writable to TOML."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from difflib import get_close_matches
from typing import Any, ClassVar, Self, get_args

from sae.calls import Answering, meant
from sae.errors import SaeSpecError, name_some
from sae.specs.formula import split_formula
from sae.specs.options import check_options
from sae.specs.terms import parse_terms

__all__ = ["Specification", "one_of"]


def one_of(option: str, value: object, allowed: Any) -> None:
    """Refuse a value that is not among `allowed`, with the one that is meant.

    Parameters
    ----------
    option : str
    value : object
    allowed : Literal or sequence of str

    Examples
    --------
    >>> one_of("method", "rmel", ["reml", "ml"])
    Traceback (most recent call last):
    ...
    sae.errors.SaeSpecError: method = 'rmel' does not exist; did you mean 'reml'?
    It takes reml, ml.
    """
    allowed = get_args(allowed) or tuple(allowed)
    if isinstance(value, str) and value in allowed:
        return
    raise SaeSpecError(
        f"{option} = {value!r} {meant(option, value, allowed)}", hint=f"It takes {', '.join(allowed)}."
    )


@dataclass(frozen=True)
class Specification(metaclass=Answering):
    """A model as a set of options, without data and without fitted state.

    Subclasses are frozen dataclasses that check their options as they are made.

    Attributes
    ----------
    kind : str
        The name a model bears in a model file.
    formula : str
        "outcome ~ covariates".
    domain : str
        Column of the area labels.
    level : float
        Of the intervals.
    """

    kind: ClassVar[str] = ""

    formula: str
    domain: str = "domain"
    level: float = field(default=0.95, kw_only=True)

    def __post_init__(self) -> None:
        check_options(self)
        for formula in (self.formula,) if isinstance(self.formula, str) else self.formula:
            parse_terms(split_formula(formula)[1])
        if not 0.0 < self.level < 1.0:
            raise SaeSpecError(f"level = {self.level} is not between 0 and 1.")

    @property
    def label(self) -> str:
        """The model in a few words, as it stands in the estimate table."""
        return f"{self.kind.replace('_', ' ')}: {self.formula}"

    @property
    def overlapping(self) -> tuple[str, ...]:
        """Columns of the estimate table whose rows count the same persons again, such as a total's."""
        return ()

    def _description(self) -> str:
        """Return what the model will do, in a sentence."""
        return ""

    def to_dict(self) -> dict[str, Any]:
        """Return kind, formula and every option that differs from its default, as TOML knows them."""
        options: dict[str, Any] = {"kind": self.kind}
        for option in fields(self):
            value = getattr(self, option.name)
            if value is not None and value != option.default:
                value = getattr(value, "text", value)  # a component such as AR1("year")
                options[option.name] = list(value) if isinstance(value, tuple) else value
        return options

    def to_toml(self) -> str:
        """Return the table ``[model]`` of a model file.

        The same specification gives the same text; `from_toml` reads it back.
        """
        # text, numbers, booleans and lists of them are written alike in JSON and TOML
        lines = [
            f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in self.to_dict().items()
        ]
        return "\n".join(["[model]", *lines, ""])

    @classmethod
    def from_dict(cls, options: Mapping[str, Any]) -> Self:
        """Return the specification of a mapping such as the table ``[model]`` of a model file.

        Raises
        ------
        SaeSpecError
            If the kind is another one's, an option is unknown, or the formula is missing.
        """
        given = dict(options)
        kind = given.pop("kind", cls.kind)
        if kind != cls.kind:
            raise SaeSpecError(f"kind = {kind!r} is not {cls.kind!r}, which {cls.__name__} reads.")
        known = [option.name for option in fields(cls)]
        unknown = [name for name in given if name not in known]
        if unknown:
            near = get_close_matches(unknown[0], known, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"It knows {', '.join(known)}."
            raise SaeSpecError(f"{cls.__name__} has no option {name_some(unknown)}.", hint=hint)
        required = [
            option.name
            for option in fields(cls)
            if option.default is MISSING and option.default_factory is MISSING
        ]
        absent = [name for name in required if name not in given]
        if absent:
            raise SaeSpecError(f"{cls.__name__} needs {name_some(absent)}.")
        arguments: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in given.items()
        }
        return cls(**arguments)

    @classmethod
    def from_toml(cls, text: str) -> Self:
        """Return the specification of a TOML text: the table ``[model]``, or the options at its top."""
        import tomllib

        try:
            tables = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise SaeSpecError(f"The specification is not valid TOML: {error}.") from None
        return cls.from_dict(tables.get("model", tables))

    def __repr__(self) -> str:
        options = [
            f"{name}={value!r}" for name, value in self.to_dict().items() if name not in ("kind", "formula")
        ]
        call = f"{type(self).__name__}({', '.join([repr(self.formula), *options])})"
        return "\n".join(filter(None, (call, self._description())))

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(repr(self))}</pre>"
