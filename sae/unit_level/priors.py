"""Priors of the area effects of a unit-level model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sae.numerics.nested_error.posterior import HyperPrior
from sae.specs.priors import FlatVariance, Prior, prior_of

__all__ = ["FlatRatio", "hyper_prior", "unit_prior"]


@dataclass(frozen=True)
class FlatRatio(FlatVariance):
    """p(σu²/σe²) constant, what hbsae takes. Improper: needs more areas than coefficients + 2.

    Unlike "flat-variance", p(σu²) constant whatever σe is, it puts p(σu² | σe²) = 1/σe².
    """

    name: ClassVar[str] = "flat-ratio"


def unit_prior(prior: Prior | str | None) -> Prior:
    """Return the prior that a specification names: those of `sae.priors`, of σu, and "flat-ratio".

    Examples
    --------
    >>> unit_prior("flat-ratio").text, unit_prior("half-normal(2)").text
    ('flat-ratio', 'half-normal(2)')
    """
    if isinstance(prior, str) and prior.strip() == FlatRatio.name:
        return FlatRatio()
    return prior_of(prior)


def hyper_prior(prior: Prior) -> HyperPrior:
    """Return the prior as kernels know it."""
    return HyperPrior(*prior.code, ratio=isinstance(prior, FlatRatio))
