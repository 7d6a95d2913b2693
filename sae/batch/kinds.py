"""The models that a model file can ask for: every public specification of the families, by its kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from sae import area_level
from sae.batch.values import shown

if TYPE_CHECKING:
    from sae.results import AreaModel

__all__ = ["KINDS", "model_class", "option_complaints", "options"]

# name in `sae.area_level`, which loads the one that a file names and no other
KINDS = {
    "beta_binomial_mixed": "BetaBinomialMixed",
    "beta_fay_herriot": "BetaFayHerriot",
    "binomial_mixed": "BinomialMixed",
    "fay_herriot": "FayHerriot",
    "horseshoe_fay_herriot": "HorseshoeFayHerriot",
    "inflated_beta_fay_herriot": "InflatedBetaFayHerriot",
    "measurement_error_fay_herriot": "MeasurementErrorFayHerriot",
    "multivariate_fay_herriot": "MultivariateFayHerriot",
    "poisson_mixed": "PoissonMixed",
    "robust_fay_herriot": "RobustFayHerriot",
    "student_fay_herriot": "StudentFayHerriot",
    "two_fold_fay_herriot": "TwoFoldFayHerriot",
    "unmatched_fay_herriot": "UnmatchedFayHerriot",
    "you_chapman": "YouChapman",
}

# columns of a plain frame; in a run the direct estimates bring their own
_OF_FRAMES = ("domain", "vardir", "n_eff")
# what an option takes in a file, by the annotation of its field; a component such as AR1 stands there as text
_TAKEN: dict[str, tuple[tuple[type, ...], str]] = {
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "bool": ((bool,), "true or false"),
}
_TEXT: tuple[tuple[type, ...], str] = ((str,), "text, in quotes")
_LISTS = ("Sequence", "tuple", "Mapping", "Any")  # annotations of options that take lists or tables


def model_class(kind: str) -> type[AreaModel[Any]]:
    """Return the specification of a kind."""
    model: type[AreaModel[Any]] = getattr(area_level, KINDS[kind])
    return model


def options(kind: str) -> list[str]:
    """Return the keys that ``[model]`` takes for a kind."""
    return ["kind", *(field.name for field in fields(model_class(kind)) if field.name not in _OF_FRAMES)]


def option_complaints(model: Mapping[str, Any]) -> Iterator[tuple[str | None, str]]:
    """Yield what is wrong with the keys of ``[model]``: (unknown key, "") or (None, complaint)."""
    kind = model.get("kind", "fay_herriot")
    if not isinstance(kind, str) or kind not in KINDS:
        near = get_close_matches(str(kind), KINDS, n=1)
        meant = f'; did you mean "{near[0]}"?' if near else "."
        known = ", ".join(f'"{name}"' for name in KINDS)
        yield None, f"[model] kind = {shown(kind)} is not known{meant} It takes {known}."
        return
    known_keys = options(kind)
    for key in model:
        if key not in known_keys:
            yield key, ""
    for field in fields(model_class(kind)):
        if field.name in model and not _fits(model[field.name], str(field.type)):
            wanted = _taken(str(field.type))[1]
            yield (
                None,
                f"[model] {field.name} = {shown(model[field.name])} cannot be used: it takes {wanted}.",
            )


def _taken(annotation: str) -> tuple[tuple[type, ...], str]:
    if "Sequence[Sequence" in annotation:
        return (dict, list), "a table of texts, or a list of lists of texts"
    if any(name in annotation for name in _LISTS):
        return (str, list), "text, or a list of texts"
    return _TAKEN.get(annotation.removesuffix(" | None"), _TEXT)


def _fits(value: Any, annotation: str) -> bool:
    types = _taken(annotation)[0]
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        return False
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if dict in types and isinstance(value, list):
        return all(
            isinstance(part, list) and part and all(isinstance(p, str) for p in part) for part in parts
        )
    return all(isinstance(part, str) for part in parts)
