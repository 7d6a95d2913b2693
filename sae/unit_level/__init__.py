"""Unit-level models: one row per person or household, area means from population means."""

from typing import TYPE_CHECKING

from sae.lazy import public

if TYPE_CHECKING:
    from sae.unit_level.glmm.logit import LogitMixed as LogitMixed
    from sae.unit_level.glmm.multinomial import MultinomialMixed as MultinomialMixed
    from sae.unit_level.nested_error.model import NestedError as NestedError
    from sae.unit_level.priors import FlatRatio as FlatRatio
else:
    __all__, __getattr__, __dir__ = public(
        __name__,
        {
            "glmm.logit": ["LogitMixed"],
            "glmm.multinomial": ["MultinomialMixed"],
            "nested_error.model": ["NestedError"],
            "priors": ["FlatRatio"],
        },
    )
