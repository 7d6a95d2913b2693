"""The transformed scale of welfare, and the model that is fitted on it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from sae.errors import SaeConvergenceError, SaeWarning
from sae.numerics.ebp.empirical import NORMAL, UnitErrors
from sae.numerics.ebp.parameter import ParameterFit, estimate_parameter
from sae.numerics.ebp.population import Parameters
from sae.numerics.ebp.sizes import SizeLikelihood
from sae.numerics.ebp.transforms import ESTIMATED, Scale
from sae.numerics.ebp.weights import pseudo_parameters
from sae.numerics.nested_error.fit import NestedErrorFits, fit_nested_error
from sae.numerics.nested_error.profile import AreaSums
from sae.numerics.nested_error.pseudo import PseudoPredictions
from sae.numerics.nested_error.two_fold import TwoFoldSums, fit_two_fold
from sae.results import (
    Message,
    boundary,
)
from sae.unit_level.ebp.clusters import cluster_messages, refuse_unclustered
from sae.unit_level.ebp.sample import EbpArrays

__all__ = ["EbpFit", "fit_scale", "standard_residuals", "unit_residuals"]

_TOP = 5.0  # times the largest welfare of the sample: see `reach`


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
    two : TwoFoldSums or None
        Of the clusters, where the units of one share an effect. `fits` is then without their variance.
    """

    scale: Scale
    profile: ParameterFit | None
    sums: AreaSums
    fits: NestedErrorFits
    parameters: Parameters
    messages: tuple[Message, ...]
    pseudo: PseudoPredictions | None = None
    two: TwoFoldSums | None = None


def fit_scale(
    arrays: EbpArrays,
    *,
    outcome: str,
    transform: str,
    shift: float | None,
    method: str,
    clusters: str | None = None,
    errors: str = "normal",
) -> EbpFit:
    """Choose the scale and fit the nested error model on it, with the distribution of the errors of units.

    Raises
    ------
    SaeInputError
        If welfare has no such transformation, or the units cannot tell the model.
    SaeConvergenceError
        If the sizes of errors do not settle.
    """
    units, y = arrays.units, arrays.y
    constant, messages = arrays.shift(transform, outcome, shift)
    profile, two, mine, shape = None, None, arrays.clusters, NORMAL
    try:
        if y.min() == y.max():  # its transformed values differ by rounding alone
            raise ValueError("the outcome does not vary within areas", -2)
        if transform in ESTIMATED:
            height = None if mine is None else partial(mine.loglik, method=method)
            profile = estimate_parameter(units, y, transform, shift=constant, method=method, height=height)
        if errors == "heteroscedastic":
            profile, shape = _sizes(arrays, profile, transform, constant, method)
            size = shape.sizes(units.X)
            units, mine = units.sized(size), None if mine is None else mine.sized(size)
        top = _TOP * (float(y.max()) + constant) - constant if transform == "box-cox" else np.inf
        scale = Scale(transform, profile.parameter if profile else 0.0, constant, top)
        z = scale.forward(y)
        sums = units.sums(z[None])
        if mine is None:
            fits = fit_nested_error(sums, method)
            parameters = Parameters.of_fit(scale, fits, sums)
        else:
            two = mine.two(z[None])
            both = fit_two_fold(two, method)
            parameters = Parameters.of_two_folds(scale, both, two)
            fits = NestedErrorFits(
                both.sigma2_v, both.sigma2_e, both.coefficients, both.root, both.loglik, np.ones(1, dtype=int)
            )
    except SaeConvergenceError:
        raise
    except ValueError as reason:
        if mine is not None and clusters is not None:
            refuse_unclustered(mine, clusters, outcome, reason)
        arrays.refuse(reason)
    if profile is not None and profile.at_end:
        messages.append(
            Message(
                f"The parameter of {transform} is {profile.parameter:.6g}, an end of its range "
                f"{profile.grid[0]:.4g} to {profile.grid[-1]:.4g}: it is not told by these units.",
                SaeWarning,
            )
        )
    if fits.sigma2_u[0] == 0.0 and mine is None:
        rest = "The bootstrap draws area effects of the variance where the likelihood times σu is largest."
        messages.append(boundary(rest=rest))
    pseudo = None
    if arrays.weighted:
        assert arrays.weights is not None
        parameters, pseudo = pseudo_parameters(scale, fits, sums, units, z, arrays.weights, method=method)
    elif mine is not None and clusters is not None:
        messages += cluster_messages(mine, arrays.people.rows.clusters, parameters, clusters)
    parameters = replace(parameters, errors=shape)
    fit = EbpFit(scale, profile, sums, fits, parameters, tuple(messages), pseudo, two)
    if errors == "normal":
        return fit
    if errors == "heteroscedastic":
        least, most = np.exp(shape.ends)
        sizes = Message(f"Errors of units have {least:.2f} to {most:.2f} times σe, by the covariates.")
        fit = replace(fit, messages=(*fit.messages, sizes))
    shape = shape.of_residuals(standard_residuals(arrays, fit))
    return replace(fit, parameters=replace(parameters, errors=shape))


def _sizes(
    arrays: EbpArrays, profile: ParameterFit | None, transform: str, shift: float, method: str
) -> tuple[ParameterFit | None, UnitErrors]:
    """Return the sizes of errors by covariates, and the transformation's parameter given them.

    With clusters those of a model with one effect of each cluster: they tell themselves within clusters.
    """
    units, y = arrays.units if arrays.clusters is None else arrays.clusters.units, arrays.y
    likelihood = SizeLikelihood.of(units, y[None], transform, shift=shift, method=method)
    sizes = likelihood.fit(profile.parameter if profile else 0.0)
    alpha = sizes.alpha[0]
    if not sizes.converged:
        pull = np.abs(alpha) * np.ptp(units.X, axis=0)
        raise SaeConvergenceError(
            "The sizes of errors by covariates do not settle: "
            f"{arrays.design.columns[int(pull.argmax())]} moves them most.",
            hint='Use errors="empirical", or join levels that few units have.',
        )
    shape = UnitErrors.of_sizes(units.X, alpha)
    if profile is None:
        return None, shape
    given = estimate_parameter(units.sized(shape.sizes(units.X)), y, transform, shift=shift, method=method)
    se = np.nan if given.at_end else sizes.se
    return replace(given, parameter=float(sizes.parameter[0]), se=se), shape


def unit_residuals(arrays: EbpArrays, fit: EbpFit) -> np.ndarray:
    """Return what the fit leaves of the transformed welfare of every unit, shape (n,)."""
    return fit.parameters.residuals(fit.scale.forward(arrays.y), arrays.units, arrays.clusters)


def standard_residuals(arrays: EbpArrays, fit: EbpFit) -> np.ndarray:
    """Return the residuals over the sizes of their errors, shape (n,)."""
    size = fit.parameters.errors.sizes(arrays.units.X)
    residuals = unit_residuals(arrays, fit)
    return residuals / size if len(size) else residuals
