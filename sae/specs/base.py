"""The base of every specification: options without data, readable from and writable to TOML."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from difflib import get_close_matches
from typing import Any, ClassVar, Self

from sae.errors import SaeSpecError, name_some

__all__ = ["Specification", "one_of"]


def one_of(option: str, value: object, allowed: Sequence[str]) -> None:
    """Refuse a value that is not among `allowed`, with the nearest one that is.

    Examples
    --------
    >>> one_of("method", "rmel", ["reml", "ml"])
    Traceback (most recent call last):
    ...
    sae.errors.SaeSpecError: method = 'rmel' does not exist; did you mean 'reml'?
    It takes reml, ml.
    """
    if value in allowed:
        return
    near = get_close_matches(str(value), allowed, n=1)
    meant = f"; did you mean {near[0]!r}?" if near else "."
    raise SaeSpecError(f"{option} = {value!r} does not exist{meant}", hint=f"It takes {', '.join(allowed)}.")


@dataclass(frozen=True)
class Specification:
    """A model as a set of options, without data and without fitted state.

    Subclasses are frozen dataclasses whose first field is the formula, with ``kind``, the name they bear in a
    model file, and ``_words``, what they will do in a few words.
    """

    kind: ClassVar[str] = ""

    def to_dict(self) -> dict[str, Any]:
        """Return kind, formula and every option that differs from its default, as TOML knows them."""
        options: dict[str, Any] = {"kind": self.kind}
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and value != field.default:
                value = getattr(value, "text", value)  # a component such as AR1("year")
                options[field.name] = list(value) if isinstance(value, tuple) else value
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
        known = [field.name for field in fields(cls)]
        unknown = [name for name in given if name not in known]
        if unknown:
            near = get_close_matches(unknown[0], known, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"It knows {', '.join(known)}."
            raise SaeSpecError(f"{cls.__name__} has no option {name_some(unknown)}.", hint=hint)
        required = [
            field.name
            for field in fields(cls)
            if field.default is MISSING and field.default_factory is MISSING
        ]
        absent = [name for name in required if name not in given]
        if absent:
            raise SaeSpecError(f"{cls.__name__} needs {name_some(absent)}.")
        return cls(
            **{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
        )

    @classmethod
    def from_toml(cls, text: str) -> Self:
        """Return the specification of a TOML text: the table ``[model]``, or the options at its top."""
        import tomllib

        try:
            tables = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise SaeSpecError(f"The specification is not valid TOML: {error}.") from None
        return cls.from_dict(tables.get("model", tables))

    def _words(self) -> str:
        return ""

    def __repr__(self) -> str:
        options = [
            f"{name}={value!r}" for name, value in self.to_dict().items() if name not in ("kind", "formula")
        ]
        formula = getattr(self, "formula", "")
        call = f"{type(self).__name__}({', '.join([repr(formula), *options])})"
        return f"{call}\n{self._words()}" if self._words() else call
