"""The transformed scale of welfare, and the model that is fitted on it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sae.errors import SaeWarning
from sae.numerics.ebp.empirical import UnitErrors
from sae.numerics.ebp.parameter import ParameterFit, estimate_parameter
from sae.numerics.ebp.population import Parameters
from sae.numerics.ebp.transforms import ESTIMATED, Scale
from sae.numerics.ebp.weights import pseudo_parameters
from sae.numerics.nested_error.fit import NestedErrorFits, fit_nested_error
from sae.numerics.nested_error.profile import AreaSums
from sae.numerics.nested_error.pseudo import PseudoPredictions
from sae.results import (
    Message,
    boundary,
)
from sae.unit_level.ebp.sample import EbpArrays

__all__ = ["EbpFit", "fit_scale", "unit_residuals", "with_residuals"]


@dataclass(frozen=True, eq=False)
class EbpFit:
    """The model on its transformed scale, fitted to one sample.

    Attributes
    ----------
    scale : Scale
    profile : ParameterFit or None
        Of the transformation's parameter, where it has one.
    sums : AreaSums
    fits : NestedErrorFits
    parameters : Parameters
    messages : tuple of Message
    pseudo : PseudoPredictions or None
        Where the fit leans on survey weights.
    """

    scale: Scale
    profile: ParameterFit | None
    sums: AreaSums
    fits: NestedErrorFits
    parameters: Parameters
    messages: tuple[Message, ...]
    pseudo: PseudoPredictions | None = None


def fit_scale(arrays: EbpArrays, *, outcome: str, transform: str, shift: float | None, method: str) -> EbpFit:
    """Choose the scale and fit the nested error model on it.

    Raises
    ------
    SaeInputError
        If welfare has no such transformation, or the units cannot tell the model.
    """
    units, y = arrays.units, arrays.y
    constant, messages = arrays.shift(transform, outcome, shift)
    profile = None
    try:
        if y.min() == y.max():  # its transformed values differ by rounding alone
            raise ValueError("the outcome does not vary within areas", -2)
        if transform in ESTIMATED:
            profile = estimate_parameter(units, y, transform, shift=constant, method=method)
        scale = Scale(transform, profile.parameter if profile else 0.0, constant)
        z = scale.forward(y)
        sums = units.sums(z[None])
        fits = fit_nested_error(sums, method)
    except ValueError as reason:
        arrays.refuse(reason)
    if profile is not None and profile.at_end:
        messages.append(
            Message(
                f"The parameter of {transform} is {profile.parameter:.6g}, an end of its range "
                f"{profile.grid[0]:.4g} to {profile.grid[-1]:.4g}: it is not told by these units.",
                SaeWarning,
            )
        )
    if fits.sigma2_u[0] == 0.0:
        messages.append(
            boundary(rest="The bootstrap then draws no area effects, and its errors come out too small.")
        )
    if not arrays.weighted:
        return EbpFit(scale, profile, sums, fits, Parameters.of_fit(scale, fits, sums), tuple(messages))
    assert arrays.weights is not None
    parameters, pseudo = pseudo_parameters(scale, fits, sums, units, z, arrays.weights, method=method)
    return EbpFit(scale, profile, sums, fits, parameters, tuple(messages), pseudo)


def with_residuals(arrays: EbpArrays, fit: EbpFit, *, sized: bool) -> EbpFit:
    """Return the fit with its residuals for the distribution of the errors of units, their sizes by x."""
    errors = UnitErrors.of_residuals(unit_residuals(arrays, fit), arrays.units.X if sized else None)
    return replace(fit, parameters=replace(fit.parameters, errors=errors))


def unit_residuals(arrays: EbpArrays, fit: EbpFit) -> np.ndarray:
    """Return what the fit leaves of the transformed welfare of every unit, shape (n,)."""
    return fit.parameters.residuals(fit.scale.forward(arrays.y), arrays.units)
