"""Welfare that Box–Cox with a negative λ does not reach.

Then h(y) ends at -1/λ, and a normal goes on: near the end welfare is Pareto with an exponent of |λ| < 1, so
that neither its mean nor, beyond the end, welfare itself is finite, and truncating the normal at its end
(Poirier 1978) does not help. Welfare of everybody is therefore held at five times the largest of the sample.
It moves no share of the poor and hardly a quantile; of a mean, a quintile share or a Gini it is told what
part rests on it, and refused where that is much.

References
----------
Poirier (1978), JASA 73, 284–287; Freeman and Modarres (2006), Stat. Probab. Lett. 76, 764–772 (moments of the
power-normal distribution).
"""

from __future__ import annotations

import numpy as np

from sae.errors import SaeInputError, SaeWarning, name_some
from sae.numerics.ebp.indicators import Indicators, quantile_share
from sae.numerics.ebp.transforms import Scale
from sae.results import Message

__all__ = ["FINITE", "reach_messages"]

FINITE = ("head_count", "gap", "severity")  # finite whatever welfare is
_LEAST, _MUCH, _MOST = 1e-4, 0.02, 0.1  # of the mean of the sample: for a note, a warning, a refusal


def reach_messages(
    indicators: Indicators, scale: Scale, y: np.ndarray, share: float, *, posterior: bool = False
) -> list[Message]:
    """Say what rests on persons at the top of a scale.

    Parameters
    ----------
    indicators : Indicators
    scale : Scale
    y : ndarray of float, shape (n,)
        Welfare of the sample.
    share : float
        Of the persons of the population who are expected there.
    posterior : bool
        Whether the share is a mean over the posterior of λ.

    Raises
    ------
    SaeInputError
        If so much rests on them that the scale says nothing of means.
    """
    affected = [name for name in indicators.names if name not in FINITE and quantile_share(name) is None]
    if not affected:
        return []
    bottom = scale.bottom
    part = share * (scale.top - bottom) / (float(y.mean()) - bottom) if share > 0.0 else 0.0
    if part < _LEAST:
        return []
    what = f"λ = {scale.parameter:.3g}" if not posterior else "λ drawn below 0"
    text = (
        f"Box–Cox with {what} ends before all of welfare: {100.0 * share:.2g} % of the persons are expected "
        f"beyond it or above {scale.top:.6g}, five times the largest of the sample, and have that for their "
        f"welfare: {100.0 * part:.2g} % of the mean"
    )
    if part > _MOST:
        raise SaeInputError(
            f"{name_some(affected)}: {text}, which a mean cannot rest on.",
            hint='Use transform="log" or "dual-power", which reach all of it.',
        )
    return [Message(f"{text}.", SaeWarning if part > _MUCH else None)]
