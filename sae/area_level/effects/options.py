"""Checks of the options that come with structured area effects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sae.errors import SaeSpecError
from sae.specs import split_formula
from sae.specs.priors import Prior, prior_of

if TYPE_CHECKING:
    from sae.area_level.effects.spatial import SpatialEffect
    from sae.area_level.effects.temporal import TemporalEffect

__all__ = ["BOOTSTRAPS", "check_structure", "free_parameters", "read_component", "structure_description"]

_METHODS = ("reml", "ml")
BOOTSTRAPS = ("bootstrap", "bootstrap-corrected", "nonparametric", "nonparametric-corrected")


def free_parameters(spatial: SpatialEffect | None, temporal: TemporalEffect | None) -> tuple[str, ...]:
    """Parameters that a combination of components estimates, in the order of the kernel."""
    from sae.area_level.effects.temporal import AR1

    names = ["sigma2_u", *(["rho_u"] if spatial else [])]
    if temporal:
        names += ["sigma2_v", *(["rho_v"] if isinstance(temporal, AR1) and temporal.rho is None else [])]
    return tuple(names)


def structure_description(
    formula: str,
    spatial: SpatialEffect | None,
    temporal: TemporalEffect | None,
    method: str,
    prior: Prior | str | None,
) -> str:
    """Return what a specification with components will do, in a sentence."""
    outcome, covariates = split_formula(formula)
    effects = [repr(part.text) for part in (spatial, temporal) if part is not None]
    name = method.upper()
    if method == "bayes":
        name = f"exact posterior, {prior_of(prior).text} prior of standard deviations"
    return f"models {outcome} by {covariates} and area effects {' and '.join(effects)}; {name}"


def read_component(option: str, value: Any, *, bayes: bool) -> Any:
    """Return the component that an option names, read from its text where it is one.

    Parameters
    ----------
    option : {"spatial", "temporal"}
    value : component, str or None
    bayes : bool
        Whether the model takes components that have a posterior only.

    Raises
    ------
    SaeSpecError
        If it is no component of this kind, or one for Bayes only.
    """
    if value is None:
        return None
    kinds = _kinds(option)
    by_likelihood = next(iter(kinds.values()))
    if isinstance(value, str):
        kind = value.partition(":")[0].strip().lower()
        value = kinds.get(kind, by_likelihood).of_text(value)
    if not isinstance(value, tuple(kinds.values())):
        names = ", ".join(f"{option}=sae.{known.__name__}(...)" for known in kinds.values())
        raise SaeSpecError(f"{option} = {value!r} is no component.", hint=f"Give one of {names}.")
    if not isinstance(value, by_likelihood) and not bayes:
        raise SaeSpecError(
            f"{option}={value!r} is estimated by Bayes only.",
            hint='Use sae.FayHerriot(..., method="bayes"), or sae.SAR and sae.AR1, which have a '
            "likelihood estimate too.",
        )
    return value


def _kinds(option: str) -> dict[str, Any]:
    """Return the components of an option by the name in their text; the first has a likelihood estimate."""
    if option == "spatial":
        from sae.area_level.effects.spatial import BYM2, CAR, SAR, Leroux

        return {"sar": SAR, "bym2": BYM2, "leroux": Leroux, "car": CAR}
    from sae.area_level.effects.temporal import AR1, RW1, RW2

    return {"ar1": AR1, "rw1": RW1, "rw2": RW2}


def check_structure(
    spatial: object, temporal: object, *, method: str, transform: str | None, per: tuple[str, ...], mse: str
) -> None:
    """Refuse options that have no meaning with components, or without them."""
    if spatial is None and temporal is None:
        if mse in BOOTSTRAPS[2:]:
            raise SaeSpecError(f'mse="{mse}" has no meaning without spatial=sae.SAR(...).')
        return
    structure = " and ".join(
        name for name, part in (("spatial", spatial), ("temporal", temporal)) if part is not None
    )
    known = ("auto", *BOOTSTRAPS[:2]) if temporal else ("auto", "analytical", *BOOTSTRAPS)
    refused = {
        f'method="{method}"': method not in (*_METHODS, "bayes"),
        f'transform="{transform}"': transform is not None,
        f"per={per}": bool(per),
        f'mse="{mse}"': method != "bayes" and mse not in known,
    }
    for option, bad in refused.items():
        if bad:
            raise SaeSpecError(
                f"{option} has no meaning with {structure} effects.",
                hint='They are estimated by method="reml", "ml" or "bayes" on the scale of the data; with '
                "effects over time the MSE of a likelihood estimate comes from the parametric bootstrap.",
            )
