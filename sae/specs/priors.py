"""Priors of the standard deviation of a random effect; each is part of the name of a result.

Coefficients are flat by default. A prior without a scale takes the data's own unit: the standard deviation of
what is modelled, over the rows of the fit.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from sae.errors import SaeSpecError
from sae.numerics.inference import priors as hyperprior

__all__ = ["PC", "FlatSd", "FlatVariance", "HalfCauchy", "HalfNormal", "Prior", "prior_of"]


@dataclass(frozen=True)
class Prior:
    """What every prior of a standard deviation shares."""

    name: ClassVar[str]

    @property
    def text(self) -> str:
        """The prior as it stands in a model file and in the table."""
        return self.name

    @property
    def code(self) -> tuple[int, float]:
        """The prior as kernels know it; its scale must be known: see `scaled`."""
        raise NotImplementedError

    @property
    def spare(self) -> int:
        """How many areas beyond the number of coefficients make the posterior proper."""
        return hyperprior.SPARE[self.code[0]]

    def scaled(self, unit: float) -> Self:
        """Return the prior with its scale filled in from the data's own unit, where it has none."""
        return self

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class FlatVariance(Prior):
    """p(σ²) constant. Improper: needs more areas than coefficients + 2."""

    name: ClassVar[str] = "flat-variance"

    @property
    def code(self) -> tuple[int, float]:
        """Code and scale for the kernels."""
        return hyperprior.FLAT_VARIANCE, 1.0


@dataclass(frozen=True)
class FlatSd(Prior):
    """p(σ) constant. Improper: needs more areas than coefficients + 1."""

    name: ClassVar[str] = "flat-sd"

    @property
    def code(self) -> tuple[int, float]:
        """Code and scale for the kernels."""
        return hyperprior.FLAT_SD, 1.0


@dataclass(frozen=True)
class _Scaled(Prior):
    scale: float | None = None
    kernel: ClassVar[int]

    def __post_init__(self) -> None:
        if self.scale is not None and not (math.isfinite(self.scale) and self.scale > 0):
            raise SaeSpecError(f"The scale of the {self.name} prior is {self.scale}; it must be positive.")

    @property
    def text(self) -> str:
        """The prior as it stands in a model file and in the table."""
        return self.name if self.scale is None else f"{self.name}({self.scale:g})"

    @property
    def code(self) -> tuple[int, float]:
        """Code and scale for the kernels."""
        return self.kernel, 1.0 if self.scale is None else self.scale

    def scaled(self, unit: float) -> Self:
        """Return the prior with `unit` for its scale, where it has none."""
        return self if self.scale is not None else replace(self, scale=unit if unit > 0 else 1.0)


@dataclass(frozen=True)
class HalfNormal(_Scaled):
    """σ ~ N(0, scale²) above 0: the default, with the data's own unit for its scale.

    Examples
    --------
    >>> sae.priors.HalfNormal(0.5).text, sae.priors.HalfNormal().scaled(2.0).text
    ('half-normal(0.5)', 'half-normal(2)')
    """

    name: ClassVar[str] = "half-normal"
    kernel: ClassVar[int] = hyperprior.HALF_NORMAL


@dataclass(frozen=True)
class HalfCauchy(_Scaled):
    """σ ~ Cauchy(0, scale) above 0. Reference: Gelman (2006), Bayesian Analysis 1, 515-534."""

    name: ClassVar[str] = "half-cauchy"
    kernel: ClassVar[int] = hyperprior.HALF_CAUCHY


@dataclass(frozen=True)
class PC(Prior):
    """Penalised complexity: P(σ > u) = alpha, σ exponential. Reference: Simpson et al. (2017), Stat. Sci. 32.

    Examples
    --------
    >>> sae.priors.PC(1.0, 0.01).text
    'pc(1, 0.01)'
    """

    u: float
    alpha: float = 0.01
    name: ClassVar[str] = "pc"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.u) and self.u > 0 and 0 < self.alpha < 1):
            raise SaeSpecError(f"PC({self.u}, {self.alpha}): u must be positive, alpha between 0 and 1.")

    @property
    def text(self) -> str:
        """The prior as it stands in a model file and in the table."""
        return f"pc({self.u:g}, {self.alpha:g})"

    @property
    def code(self) -> tuple[int, float]:
        """Code and scale for the kernels."""
        return hyperprior.PC, -self.u / math.log(self.alpha)


_KNOWN: dict[str, type[Prior]] = {
    prior.name: prior for prior in (FlatVariance, FlatSd, HalfNormal, HalfCauchy, PC)
}


def prior_of(prior: Prior | str | None) -> Prior:
    """Return the prior that a specification names: an object, or its text in a model file.

    Raises
    ------
    SaeSpecError
        If there is no such prior, or its arguments do not fit.

    Examples
    --------
    >>> sae.priors.prior_of("half-cauchy(0.2)"), sae.priors.prior_of(None).text
    (HalfCauchy(scale=0.2), 'half-normal')
    """
    if prior is None:
        return HalfNormal()
    if isinstance(prior, Prior):
        return prior
    found = re.fullmatch(r"\s*([a-z-]+)\s*(?:\(([^()]*)\))?\s*", str(prior))
    if found is None or found[1] not in _KNOWN:
        raise SaeSpecError(f"prior = {prior!r} does not exist.", hint=f"It takes {', '.join(_KNOWN)}.")
    try:
        numbers = [float(part) for part in (found[2] or "").split(",") if part.strip()]
        return _KNOWN[found[1]](*numbers)
    except (ValueError, TypeError):
        raise SaeSpecError(
            f"prior = {prior!r}: its arguments do not fit.",
            hint="Write half-normal(0.5), half-cauchy(0.5) or pc(1, 0.01); the flat ones take none.",
        ) from None
