"""The two sides of a formula."""

from __future__ import annotations

from sae.errors import SaeSpecError

__all__ = ["split_formula"]


def split_formula(formula: str) -> tuple[str, str]:
    """Split "y ~ x1 + x2" into what is modelled and the covariates.

    Raises
    ------
    SaeSpecError
        If there is not exactly one name before one "~" and something after it.

    Examples
    --------
    >>> split_formula("employment_rate ~ share_tertiary + C(birth)")
    ('employment_rate', 'share_tertiary + C(birth)')
    """
    left, _, right = (part.strip() for part in formula.partition("~"))
    left = left.strip("`")
    if not left or not right or "~" in right:
        raise SaeSpecError(
            f"The formula {formula!r} does not say what is modelled by what.",
            hint='Write it as "indicator ~ covariate + covariate", or "indicator ~ 1" without covariates.',
        )
    return left, right
