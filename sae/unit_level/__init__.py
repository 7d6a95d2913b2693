"""Unit-level models: one row per person or household, area means from population means."""

from typing import TYPE_CHECKING

from sae.lazy import public

if TYPE_CHECKING:
    from sae.unit_level.diagnostics import area_influence as area_influence
    from sae.unit_level.diagnostics import unit_residuals as unit_residuals
    from sae.unit_level.ebp.model import EBP as EBP
    from sae.unit_level.glmm.logit import LogitMixed as LogitMixed
    from sae.unit_level.glmm.multinomial import MultinomialMixed as MultinomialMixed
    from sae.unit_level.m_quantile.model import MQuantile as MQuantile
    from sae.unit_level.nested_error.model import NestedError as NestedError
    from sae.unit_level.priors import FlatRatio as FlatRatio
    from sae.unit_level.robust.model import RobustNestedError as RobustNestedError
    from sae.unit_level.two_fold.model import TwoFoldNestedError as TwoFoldNestedError
else:
    __all__, __getattr__, __dir__ = public(
        __name__,
        {
            "diagnostics": ["area_influence", "unit_residuals"],
            "ebp.model": ["EBP"],
            "glmm.logit": ["LogitMixed"],
            "glmm.multinomial": ["MultinomialMixed"],
            "m_quantile.model": ["MQuantile"],
            "nested_error.model": ["NestedError"],
            "priors": ["FlatRatio"],
            "robust.model": ["RobustNestedError"],
            "two_fold.model": ["TwoFoldNestedError"],
        },
    )
