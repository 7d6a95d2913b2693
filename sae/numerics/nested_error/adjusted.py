"""The variance between areas by an adjusted likelihood, which is never 0.

The profile of the restricted or full likelihood in λ = σu²/σe² times √λ, a factor that is 0 at the boundary,
and moves a variance that is far from it little: for what 0 would falsify, such as the effects of a bootstrap.
Where the likelihood is largest at 0 it gives about one standard error of σu.
"""

from __future__ import annotations

import numpy as np

from sae.numerics.nested_error.profile import AreaSums, Profile

__all__ = ["adjusted_variance"]

_GRID = 801
_ENDS = 1e-6, 1e3  # of λ times the mean number of units


def adjusted_variance(sums: AreaSums, method: str = "reml") -> float:
    """Return σu² where the likelihood of one outcome times √λ is largest.

    Parameters
    ----------
    sums : AreaSums
    method : {"reml", "ml"}

    References
    ----------
    Chung, Rabe-Hesketh, Dorie, Gelman and Liu (2013), Psychometrika 78, 685–709 (a factor σu); Li and Lahiri
    (2010), J. Multivariate Anal. 101, 882–892 (a factor σu², in the model of areas).

    Examples
    --------
    >>> from sae.numerics.nested_error.profile import area_sums
    >>> y = np.array([1.0, 5.0, 2.0, 4.0, 1.5, 4.5])  # areas alike
    >>> round(adjusted_variance(area_sums(y, np.ones((6, 1)), np.repeat([0, 1, 2], 2), 3)), 3)
    1.438
    """
    profile = Profile.of(sums)
    ratio = np.geomspace(*_ENDS, _GRID) / (profile.n @ profile.counts / profile.areas)
    point = profile.at(ratio)
    best = int((profile.loglik(point, method == "reml") + 0.5 * np.log(ratio)).argmax())
    freedom = profile.units - (len(profile.root) if method == "reml" else 0)
    return float(ratio[best] * point.rss[best] / freedom)
