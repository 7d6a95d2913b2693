"""Unit-level models: one row per person or household, area means from population means."""

from sae.unit_level.glmm.logit import LogitMixed
from sae.unit_level.glmm.multinomial import MultinomialMixed
from sae.unit_level.nested_error.model import NestedError
from sae.unit_level.priors import FlatRatio

__all__ = ["FlatRatio", "LogitMixed", "MultinomialMixed", "NestedError"]
