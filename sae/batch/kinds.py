"""The models that a model file can ask for: every public specification of the families, by its kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from difflib import get_close_matches
from typing import Any

from sae import area_level
from sae.results import AreaModel

__all__ = ["KINDS", "option_complaints", "options"]

KINDS: dict[str, type[AreaModel[Any]]] = {
    found.kind: found
    for found in (getattr(area_level, name) for name in area_level.__all__)
    if isinstance(found, type) and issubclass(found, AreaModel)
}

# columns of a plain frame; in a run the direct estimates bring their own
_OF_FRAMES = ("domain", "vardir", "n_eff")
_TYPES: dict[type, tuple[tuple[type, ...], str]] = {
    str: ((str,), "text"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
}


def options(kind: str) -> list[str]:
    """Return the keys that ``[model]`` takes for a kind."""
    return ["kind", *(field.name for field in fields(KINDS[kind]) if field.name not in _OF_FRAMES)]


def option_complaints(model: Mapping[str, Any]) -> Iterator[tuple[str | None, str]]:
    """Yield what is wrong with the keys of ``[model]``: (unknown key, "") or (None, complaint)."""
    kind = model.get("kind", "fay_herriot")
    if kind not in KINDS:
        near = get_close_matches(str(kind), KINDS, n=1)
        meant = f'; did you mean "{near[0]}"?' if near else "."
        known = ", ".join(f'"{name}"' for name in KINDS)
        yield None, f'[model] kind = "{kind}" is not known{meant} It takes {known}.'
        return
    known_keys = options(kind)
    for key in model:
        if key not in known_keys:
            yield key, ""
    for field in fields(KINDS[kind]):
        value, default = model.get(field.name), field.default
        if value is None or default is None or default is MISSING or type(default) not in _TYPES:
            continue
        accepted, words = _TYPES[type(default)]
        if not isinstance(value, accepted) or isinstance(value, bool):
            yield None, f"[model] {field.name} = {value!r} cannot be used: it takes {words}."
