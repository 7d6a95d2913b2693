"""Direct estimates by domain: from a survey and an indicator to a table with design-based errors."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any
from warnings import warn

import numpy as np
import pandas as pd

from sae.calls import answered
from sae.design_based.design import Design, read_design
from sae.design_based.direct_table import covariance_table, direct_table
from sae.design_based.distribution import distribution_estimates
from sae.design_based.domains import Domains, cross_domains
from sae.design_based.estimates import DomainEstimates, assess_domains
from sae.design_based.linear import linear_estimates, poisson_estimates
from sae.errors import SaeInputError, SaeSpecError, SaeWarning, name_some
from sae.indicators import (
    Indicator,
    IndicatorArrays,
    arrays,
    check_accept,
    check_domains,
    item_nonresponse,
    resolve,
)
from sae.literals import DesignVariance, Smoothing
from sae.specs import one_of
from sae.survey import Survey
from sae.tables import DirectEstimates, label_text, labels

__all__ = ["check_level", "direct", "direct_estimates", "named_indicators", "summed_periods"]


@answered
def direct(
    survey: Survey,
    indicator: str | Indicator | Sequence[str | Indicator],
    by: str | Sequence[str] = (),
    *,
    variance: DesignVariance | None = None,
    smoothing: Smoothing | None = None,
    covariance: bool = False,
    domain_sizes: Mapping[Any, float] | pd.Series | None = None,
    level: float = 0.95,
    seed: int | np.random.Generator | None = None,
    replicates: int = 200,
    accept: str | Sequence[str] = (),
) -> DirectEstimates:
    """Estimate indicators from the survey alone, in every domain, with their design-based errors.

    Parameters
    ----------
    survey : Survey
        Records with their design. A subset keeps the full design: records outside count as zeros.
    indicator : str, Indicator or a sequence of them
        An id of the registry, a column of the survey, or a definition.
    by : str or sequence of str
        Columns whose observed levels are crossed into domains; combinations without a record are rows too.
    variance : {"linearised", "replicate", "bootstrap", "poisson"}, optional
        "linearised": residuals by sampling unit, stage by stage as far as population counts (fpc) are known;
        on calibration residuals if the weights are calibrated. "replicate": the survey's replicate weights.
        "bootstrap": rescaled bootstrap over the first-stage units (needs `seed`). "poisson": mean over the
        known `domain_sizes`, records included independently. By default the replicate weights if there are
        any, else linearised.
    smoothing : {"deff", "gvf", "arcsin"}, optional
        How ``vardir`` is smoothed over the domains of an indicator: see `sae.design_based.smoothing.smooth`.
    covariance : bool
        Also give the covariances between all domains and indicators.
    domain_sizes : mapping or Series, optional
        Known number of persons N_d of the universe by domain label (tuples of labels, or a MultiIndex, with
        several columns).
    level : float
        Confidence level.
    seed : int or numpy.random.Generator, optional
        Needed by the bootstrap.
    replicates : int
        Number of bootstrap replicates.
    accept : str or sequence of str
        What runs by name only: the id of a remembered definition; "layout.variable" for codes that the layout
        remembers, or for a level that the file never holds; the id of a break that the periods cross.

    Returns
    -------
    DirectEstimates
        One row per indicator and domain. ``df`` counts sampling units minus strata where the domain has
        records (at most replicates - 1); ``deff`` compares with simple random sampling with replacement of
        the same n; ``n_eff`` is p(1-p)/v for shares, else n/deff; ``status`` says why a row is not "ok", and
        names the accepted breaks before its year.

    Raises
    ------
    SaeSpecError
        If a column or an option does not exist, the options contradict each other, or something runs by name
        only and is not accepted.
    SaeInputError
        If a stratum has a lonely unit under the policy "fail", or a domain size is missing.

    References
    ----------
    Särndal, Swensson and Wretman (1992), ch. 5, 7 and 10; Deville and Särndal (1992); Rao, Wu and Yue (1992);
    Kish (1965) for design effects; Korn and Graubard (1998) for intervals of shares and degrees of freedom.

    Examples
    --------
    >>> frame = pd.DataFrame({"w": [2.0, 2, 2, 2, 2], "region": list("aabbb"), "works": [1, 0, 1, 1, 1]})
    >>> table = sae.direct(sae.Survey.from_frame(frame, weights="w"), "works", by="region")
    >>> table[["domain", "estimate", "se", "status"]].round(3).to_dict("list")
    {'domain': ['a', 'b'], 'estimate': [0.5, 1.0], 'se': [0.395, 0.0], 'status': ['ok', 'zero variance']}
    """
    if not isinstance(survey, Survey):
        raise SaeInputError(
            f"Direct estimates are made of a Survey, not of a {type(survey).__name__}: without the design of "
            "the sample they have no error.",
            hint='Say the design: sae.direct(sae.Survey.from_frame(frame, weights="weight", strata=..., '
            'psu=...), "indicator", by="region").',
        )
    indicators = named_indicators(survey, indicator)
    accepted = check_accept(accept, indicators)
    evaluated = [arrays(one, survey, accepted) for one in indicators]
    return direct_estimates(
        survey,
        evaluated,
        cross_domains(survey, by),
        variance=variance,
        smoothing=smoothing,
        covariance=covariance,
        domain_sizes=domain_sizes,
        level=level,
        seed=seed,
        replicates=replicates,
        accept=accepted,
    )


def direct_estimates(
    survey: Survey,
    evaluated: Sequence[IndicatorArrays],
    domains: Domains,
    *,
    variance: DesignVariance | None = None,
    smoothing: Smoothing | None = None,
    covariance: bool = False,
    domain_sizes: Mapping[Any, float] | pd.Series | None = None,
    level: float = 0.95,
    seed: int | np.random.Generator | None = None,
    replicates: int = 200,
    accept: Collection[str] = (),
) -> DirectEstimates:
    """Estimate indicators that are already evaluated on the survey, in domains that are already crossed.

    Parameters
    ----------
    survey : Survey
    evaluated : sequence of IndicatorArrays
    domains : Domains
    variance, smoothing, covariance, domain_sizes, level, seed, replicates
        As in `direct`.
    accept : collection of str
        What is accepted by name, as `check_accept` returns it.
    """
    check_domains(domains.by, survey, frozenset(accept))
    method = _method(survey, variance, domain_sizes, seed, level)
    if smoothing is not None:
        one_of("smoothing", smoothing, Smoothing)
    sizes = None if domain_sizes is None else _known_sizes(domain_sizes, domains)
    if method == "bootstrap":
        survey = survey.with_replicates("bootstrap", replicates=replicates, seed=seed)
    design = read_design(survey, domains, lonely=method == "linearised")
    estimates = [_estimate(survey, design, data, method, sizes) for data in evaluated]

    indicators = [data.indicator for data in evaluated]
    names = [indicator.name for indicator in indicators]
    drawn: dict[str, Any] = {}
    if method == "bootstrap":
        drawn = {"seed": seed if isinstance(seed, int) else "a Generator", "replicates": replicates}
    return direct_table(
        survey,
        indicators,
        estimates,
        domains,
        method=method,
        described=_described(survey, method),
        smoothing=smoothing,
        level=level,
        accept=accept,
        log=[*_notes(survey, evaluated), *summed_periods(survey, indicators, domains)],
        covariance=covariance_table(design, names, estimates, domains) if covariance else None,
        drawn=drawn,
    )


# ---------------------------------------------------------------- options


def _method(
    survey: Survey,
    variance: DesignVariance | None,
    domain_sizes: Mapping[Any, float] | pd.Series | None,
    seed: int | np.random.Generator | None,
    level: float,
) -> DesignVariance:
    method = variance or ("linearised" if survey.replicates is None else "replicate")
    one_of("variance", method, DesignVariance)
    if method == "replicate" and survey.replicates is None:
        raise SaeSpecError(
            "variance='replicate' needs replicate weights, and the survey has none.",
            hint="Name them in sae.read_survey(..., replicates=...), or use survey.with_replicates(...).",
        )
    if method == "bootstrap" and seed is None:
        raise SaeSpecError(
            "variance='bootstrap' is random and needs a seed.", hint="Give seed=1 or a numpy Generator."
        )
    if method == "poisson" and survey.panel not in ("", "independent"):
        raise SaeSpecError(
            "variance='poisson' takes every record as drawn by itself, but the survey is pooled over periods "
            f"whose samples overlap ({survey.panel}).",
            hint="Use variance='linearised'.",
        )
    if method != "poisson" and domain_sizes is not None:
        raise SaeSpecError(
            f"domain_sizes belongs to variance='poisson', but the variance is {method!r}.",
            hint="Leave it out, or post-stratify the survey to the known sizes.",
        )
    check_level(level)
    return method


def check_level(level: float) -> None:
    """Refuse a confidence level that is none."""
    if not isinstance(level, int | float | np.number) or not 0.0 < level < 1.0:
        raise SaeSpecError(f"The confidence level lies between 0 and 1, but level={level!r}.")


def named_indicators(
    survey: Survey, indicator: str | Indicator | Sequence[str | Indicator]
) -> list[Indicator]:
    """Resolve the indicators that are asked for, each once."""
    requested: list[Any] = [indicator]
    if isinstance(indicator, Iterable) and not isinstance(indicator, str | Indicator):
        requested = list(indicator)
    if not requested:
        raise SaeSpecError(
            "No indicator is asked for.", hint="Give a registry id, a column or an sae.Indicator."
        )
    indicators = list(map(resolve, requested, repeat(survey)))  # a warning counts frames: no comprehension
    names = [one.name for one in indicators]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SaeSpecError(
            f"The indicators {name_some(twice)} are asked for twice.", hint="Give each its own id."
        )
    return indicators


def _known_sizes(domain_sizes: Any, domains: Domains) -> np.ndarray:
    """Domain sizes matched by label, in the order of the domains."""
    if not isinstance(domain_sizes, Mapping | pd.Series):
        domain_sizes = {"all": domain_sizes}
    known: dict[tuple[str, ...], float] = {}
    for (
        label,
        value,
    ) in domain_sizes.items():  # of a Series one by one: a dict keeps the last of two like labels
        key = tuple(map(label_text, label if isinstance(label, tuple) else (label,)))
        if key in known:
            raise SaeInputError(
                f"domain_sizes has two sizes for {' / '.join(key)}.",
                hint="Give each domain once.",
                areas=[key],
            )
        try:
            known[key] = float(value)
        except (TypeError, ValueError):
            raise SaeInputError(f"The size of {' / '.join(key)} is {value!r}, not a number.") from None
    parts = [labels(domains.labels[name]) for name in domains.by]
    keys = list(zip(*parts, strict=True)) if parts else [("all",)]
    names = [" / ".join(key) for key in keys]
    missing = [name for name, key in zip(names, keys, strict=True) if key not in known]
    if missing:
        raise SaeInputError(
            f"domain_sizes has no size for {len(missing)} of {len(keys)} domains: {name_some(missing)}.",
            hint=f"Index it by {', '.join(domains.by) or 'the one domain, all'}.",
            areas=missing,
        )
    sizes = np.array([known[key] for key in keys])
    bad = [name for name, size in zip(names, sizes, strict=True) if not (np.isfinite(size) and size > 0)]
    if bad:
        raise SaeInputError(f"domain_sizes must be above 0, but is not for {name_some(bad)}.", areas=bad)
    return sizes


# ---------------------------------------------------------------- numbers to rows


def _notes(survey: Survey, evaluated: Sequence[IndicatorArrays]) -> list[str]:
    """Return the notes of the survey, with item non-response counted within the universes, not overall."""
    notes = [*survey.notes, *(note for data in evaluated for note in data.notes)]
    if not survey.missing:
        return notes
    for data in evaluated:
        counts = [f"{name} {count:,}" for name, count in item_nonresponse(data, survey).items()]
        if counts:
            universe = f" with {data.indicator.universe}" if data.indicator.universe else ""
            notes.append(f"{data.indicator.name}: item non-response (records{universe}): {', '.join(counts)}")
    return notes


def summed_periods(survey: Survey, indicators: Sequence[Indicator], domains: Domains) -> list[str]:
    """Warn of totals over several periods, each of which may stand for the whole population."""
    totals = [indicator.name for indicator in indicators if indicator.kind == "total"]
    if survey.time is None or survey.time in domains.by or not totals:
        return []
    column = survey.frame[survey.time]
    periods = (column if survey.mask is None else column[survey.mask]).nunique()
    if periods < 2:
        return []
    line = (
        f"{name_some(totals)}: summed over the {periods} periods of {survey.time}; where the weights of each "
        f"stand for the population, it counts {periods} times"
    )
    warn(
        f"{line}. Add {survey.time!r} to by, or pool the periods (sae.survey.pool_periods).",
        SaeWarning,
        stacklevel=5,
    )
    return [line]


def _estimate(
    survey: Survey, design: Design, data: IndicatorArrays, method: DesignVariance, sizes: np.ndarray | None
) -> DomainEstimates:
    replicates = survey.replicates if method in ("replicate", "bootstrap") else None
    if method == "poisson":
        estimates = poisson_estimates(design, data, sizes)
    elif data.indicator.distributional:
        estimates = distribution_estimates(design, data, replicates)
    else:
        estimates = linear_estimates(design, data, replicates)
    return assess_domains(estimates, design, design.counts(data.item_missing))


def _described(survey: Survey, method: DesignVariance) -> str:
    words: str = method
    if method == "linearised" and survey.calibration is not None:
        words = "linearised, calibration residuals"
    elif method in ("replicate", "bootstrap") and survey.replicates is not None:
        words = f"{survey.replicates.method}, {survey.replicates.weights.shape[1]} replicates"
    return f"{words}, pooled periods {survey.panel}" if survey.panel else words
