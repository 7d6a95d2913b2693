"""The models that a model file can ask for: every public specification of the families, by its kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from sae import area_level, unit_level
from sae.batch.values import shown

if TYPE_CHECKING:
    from sae.results import AreaModel, UnitModel

__all__ = ["KINDS", "UNIT_KINDS", "model_class", "option_complaints", "options", "unit_class"]

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
# of `sae.unit_level`: models of the records themselves, with a population
UNIT_KINDS = {
    "ebp": "EBP",
    "logit_mixed": "LogitMixed",
    "m_quantile": "MQuantile",
    "nested_error": "NestedError",
    "robust_nested_error": "RobustNestedError",
    "two_fold_nested_error": "TwoFoldNestedError",
}

# columns of a plain frame; in a run the direct estimates bring their own
_OF_FRAMES = ("domain", "vardir", "n_eff")
# what an option takes in a file, by the annotation of its field; a component such as AR1 stands there as text
_TAKEN: dict[str, tuple[tuple[type, ...], str]] = {
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "bool": ((bool,), "true or false"),
}
_BY_NAME: dict[str, tuple[tuple[type, ...], str]] = {
    "threshold": ((int, float, str), 'a number, or text such as "60% of the median"')
}
_TEXT: tuple[tuple[type, ...], str] = ((str,), "text, in quotes")
_LISTS = ("Sequence", "tuple", "Mapping", "Any")  # annotations of options that take lists or tables


def model_class(kind: str) -> type[AreaModel[Any]]:
    """Return the specification of a kind of area-level model."""
    model: type[AreaModel[Any]] = getattr(area_level, KINDS[kind])
    return model


def unit_class(kind: str) -> type[UnitModel[Any]]:
    """Return the specification of a kind of unit-level model."""
    model: type[UnitModel[Any]] = getattr(unit_level, UNIT_KINDS[kind])
    return model


def options(kind: str) -> list[str]:
    """Return the keys that ``[model]`` takes for a kind."""
    out = (*_OF_FRAMES, *(("trials",) if kind in UNIT_KINDS else ()))  # every record is one trial
    return ["kind", *(field.name for field in fields(_class(kind)) if field.name not in out)]


def option_complaints(model: Mapping[str, Any]) -> Iterator[tuple[str | None, str]]:
    """Yield what is wrong with the keys of ``[model]``: (unknown key, "") or (None, complaint)."""
    kind = model.get("kind", "fay_herriot")
    kinds = {**KINDS, **UNIT_KINDS}
    if not isinstance(kind, str) or kind not in kinds:
        near = get_close_matches(str(kind), kinds, n=1)
        meant = f'; did you mean "{near[0]}"?' if near else "."
        known = ", ".join(f'"{name}"' for name in kinds)
        yield None, f"[model] kind = {shown(kind)} is not known{meant} It takes {known}."
        return
    known_keys = options(kind)
    for key in model:
        if key not in known_keys:
            yield key, ""
    for field in fields(_class(kind)):
        taken = _BY_NAME.get(field.name) or _taken(str(field.type))
        if field.name in model and not _fits(model[field.name], taken[0]):
            wanted = taken[1]
            yield (
                None,
                f"[model] {field.name} = {shown(model[field.name])} cannot be used: it takes {wanted}.",
            )


def _class(kind: str) -> type[Any]:
    return unit_class(kind) if kind in UNIT_KINDS else model_class(kind)


def _taken(annotation: str) -> tuple[tuple[type, ...], str]:
    if "Sequence[Sequence" in annotation:
        return (dict, list), "a table of texts, or a list of lists of texts"
    if any(name in annotation for name in _LISTS):
        return (str, list), "text, or a list of texts"
    return _TAKEN.get(annotation.removesuffix(" | None"), _TEXT)


def _fits(value: Any, types: tuple[type, ...]) -> bool:
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        return False
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if dict in types and isinstance(value, list):
        return all(
            isinstance(part, list) and part and all(isinstance(p, str) for p in part) for part in parts
        )
    return all(isinstance(part, str) for part in parts)
