"""What welfare is made from where the sample has survey weights: the pseudo-EB predictor.

The predictor leans on the weighted mean ȳ_w of an area's transformed welfare instead of on all of its units:
given ȳ_w the area effect is normal with mean γ_w (ȳ_w - x̄_w'β) and variance σu² (1 - γ_w),
γ_w = σu² / (σu² + σe² δ²), δ² = Σ w̃² k². β solves the weighted equations of You and Rao; the variances, the
sizes k of errors and the parameter of the transformation are those of the likelihood without weights. Weights
are survey weights times k^-2, so that equal ones give the predictor without weights.
"""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from sae.numerics.ebp.population import Parameters
from sae.numerics.ebp.transforms import Scale
from sae.numerics.ebp.units import SampleUnits
from sae.numerics.nested_error.fit import NestedErrorFits
from sae.numerics.nested_error.profile import AreaSums
from sae.numerics.nested_error.pseudo import PseudoPredictions, WeightedUnits, predict_pseudo

__all__ = ["pseudo_parameters"]


def pseudo_parameters(
    scale: Scale,
    fits: NestedErrorFits,
    sums: AreaSums,
    units: SampleUnits,
    z: np.ndarray,
    weights: np.ndarray,
    *,
    method: str = "reml",
    outcome: int = 0,
) -> tuple[Parameters, PseudoPredictions]:
    """Take one of R fits and give its units their weights.

    Parameters
    ----------
    scale : Scale
    fits : NestedErrorFits
        Without weights, on the transformed scale.
    sums : AreaSums
        Of the same outcomes.
    units : SampleUnits
    z : ndarray of float, shape (n,)
        The outcome on the transformed scale, in the order of the units.
    weights : ndarray of float, shape (n,)
        In the same order.
    method : {"reml", "ml"}
    outcome : int
        Which of the R.

    References
    ----------
    Guadarrama, Molina and Rao (2018), Computational Statistics & Data Analysis 121, 20–40; You and Rao
    (2002), Canadian Journal of Statistics 30, 431–439.
    """
    one = NestedErrorFits(*(getattr(fits, field.name)[outcome : outcome + 1] for field in fields(fits)))
    sizes = np.ones(len(z)) if units.weight is None else units.weight**-0.5
    weighted = WeightedUnits(z, weights / sizes**2, sizes, units.X, units.area)
    pseudo = predict_pseudo(one, sums, weighted, np.zeros_like(sums.x_mean), method)
    u2, e2 = float(one.sigma2_u[0]), float(one.sigma2_e[0])
    spread = np.sqrt(u2 * (1.0 - pseudo.gamma))
    return Parameters(scale, pseudo.coefficients, u2, e2, pseudo.gamma * pseudo.residual, spread), pseudo
