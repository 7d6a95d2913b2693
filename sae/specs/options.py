"""What an option of a specification takes, by the annotation of its field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from numbers import Integral, Real
from typing import Any

from sae.errors import SaeSpecError

__all__ = ["check_options"]


def check_options(specification: Any) -> None:
    """Refuse options of the wrong type: text for a number, a number for the name of a column.

    Literals, priors and components have checks of their own, which know what they take.

    Raises
    ------
    SaeSpecError
        Naming the first option at fault.
    """
    for option in fields(specification):
        value, annotation = getattr(specification, option.name), str(option.type)
        if value is None and annotation.endswith("| None"):
            continue
        if option.name == "formula" and annotation == "Any":
            annotation = "str | Sequence[str]"
        wanted = _refused(value, annotation.removesuffix(" | None"))
        if wanted:
            text = repr(value)
            text = text if len(text) <= 80 else f"{text[:80]}..."
            if hasattr(value, "columns") or isinstance(value, Mapping):
                raise SaeSpecError(
                    f"{option.name} is a {type(value).__name__}; it takes {wanted}.",
                    hint='A specification holds no data. Give them to fit: FayHerriot("y ~ x").fit(data).',
                )
            raise SaeSpecError(f"{option.name} = {text} cannot be used: it takes {wanted}.")


def _refused(value: Any, annotation: str) -> str:
    """Return what an option takes, where it does not take `value`."""
    match annotation:
        case "str":
            return "" if isinstance(value, str) else "text"
        case "int":
            return "" if _is_number(value, Integral) else "a whole number"
        case "float":
            return "" if _is_number(value, Real) else "a number"
        case "str | Sequence[str]" | "tuple[str, ...]":
            names = isinstance(value, str) or _is_list(value, str)
            return "" if names else "text, or a list of texts"
        case "Mapping[Any, str] | Sequence[Sequence[str]]" | "Mapping[Any, Any] | Sequence[tuple[Any, ...]]":
            pairs = isinstance(value, Mapping) or (_is_list(value, list | tuple) and all(map(len, value)))
            return "" if pairs else "a mapping, or a list of lists"
    return ""


def _is_number(value: Any, kind: type) -> bool:
    if not isinstance(value, kind) or isinstance(value, bool):
        return False
    try:
        float(value)  # type: ignore[arg-type]
    except OverflowError:
        return False
    return True


def _is_list(value: Any, kind: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(part, kind) for part in value)
