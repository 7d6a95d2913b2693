"""Direct estimates by domain: from a survey and an indicator to a table with design-based errors."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from warnings import warn

import numpy as np
import pandas as pd
from scipy import sparse

from sae.design_based.design import Design, read_design
from sae.design_based.distribution import distribution_estimates
from sae.design_based.domains import Domains, cross_domains
from sae.design_based.estimates import DomainEstimates, assess_domains
from sae.design_based.intervals import intervals
from sae.design_based.linear import linear_estimates, poisson_estimates
from sae.design_based.smoothing import smooth
from sae.errors import SaeInputError, SaeSpecError, SaeWarning, name_some
from sae.indicators import (
    BREAKS,
    Indicator,
    IndicatorArrays,
    arrays,
    break_marks,
    check_accept,
    check_domains,
    crossed_breaks,
    item_nonresponse,
    resolve,
)
from sae.literals import DesignVariance, Smoothing
from sae.specs import one_of
from sae.survey import Survey
from sae.tables import DirectEstimates, cv_of, label_text, labels

__all__ = ["direct", "direct_estimates"]


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
    indicators = _indicators(survey, indicator)
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

    log = [*_notes(survey, evaluated), *_summed_periods(survey, evaluated, domains), *domains.log]
    columns = []
    breaks: dict[str, dict[str, int]] = {}
    for data, of_domains in zip(evaluated, estimates, strict=True):
        numbers, lines = _columns(data.indicator, of_domains, domains, smoothing, level)
        crossed = crossed_breaks(survey, data.indicator, domains.by)
        if crossed:
            years = breaks[data.indicator.name] = {one.id: one.year for one in crossed}
            marks = break_marks(domains.labels["time"], years)
            status = [
                f"{word}; break {mark}" if mark else word
                for word, mark in zip(numbers["status"], marks, strict=True)
            ]
            numbers["status"] = np.array(status, dtype=object)
            log.extend(
                f"{data.indicator.name}: accepted across {one}; later rows are marked" for one in crossed
            )
        columns.append(numbers)
        log.extend(f"{data.indicator.name}: {line}" for line in (*of_domains.notes, *lines))
    labels = domains.labels
    if len(evaluated) > 1:
        labels = labels.iloc[np.tile(np.arange(len(domains)), len(evaluated))]
    numbers = {name: np.concatenate([part[name] for part in columns]) for name in columns[0]}
    methods = {"variance_method": _described(survey, method), "smoothing": smoothing or ""}
    # a mapping becomes the frame as the table is made
    table: Any = {**{str(name): labels[name].reset_index(drop=True) for name in labels}, **numbers, **methods}
    names = [data.indicator.name for data in evaluated]
    known = {data.indicator.name: _known_breaks(survey, data.indicator) for data in evaluated}
    known = {name: years for name, years in known.items() if years}
    provenance = {
        **survey.source,
        "layout": survey.layout,
        **({"release": survey.release.facts} if survey.release.facts else {}),
        "indicators": {data.indicator.name: data.indicator.definition for data in evaluated},
        "by": list(domains.by),
        "variance": method,
        "smoothing": smoothing,
        "level": level,
        **({"accept": sorted(accept)} if accept else {}),
        **({"breaks": breaks} if breaks else {}),
        **({"known_breaks": known} if known else {}),
    }
    if method == "bootstrap":
        provenance |= {"seed": seed if isinstance(seed, int) else "a Generator", "replicates": replicates}
    return DirectEstimates(
        table,
        domains.by,
        covariance=_covariance(design, names, estimates, domains) if covariance else None,
        units={name: of_domains.unit for name, of_domains in zip(names, estimates, strict=True)},
        log=tuple(log),
        provenance=provenance,
    )


def _known_breaks(survey: Survey, indicator: Indicator) -> dict[str, int]:
    """Return the breaks of the indicator in such a survey, crossed or not: for tables of other years."""
    if survey.release.survey not in ("", indicator.survey or survey.release.survey):
        return {}
    return {one: BREAKS[one].year for one in indicator.breaks}


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
    if not isinstance(level, int | float | np.number) or not 0.0 < level < 1.0:
        raise SaeSpecError(f"The confidence level lies between 0 and 1, but level={level!r}.")
    return method


def _indicators(survey: Survey, indicator: str | Indicator | Sequence[str | Indicator]) -> list[Indicator]:
    requested = [indicator] if isinstance(indicator, str | Indicator) else list(indicator)
    if not requested:
        raise SaeSpecError(
            "No indicator is asked for.", hint="Give a registry id, a column or an sae.Indicator."
        )
    indicators = [resolve(one, survey) for one in requested]
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


def _summed_periods(survey: Survey, evaluated: Sequence[IndicatorArrays], domains: Domains) -> list[str]:
    """Warn of totals over several periods, each of which may stand for the whole population."""
    totals = [data.indicator.name for data in evaluated if data.indicator.kind == "total"]
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
        stacklevel=4,
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
    return assess_domains(estimates, design, data)


def _columns(
    indicator: Indicator,
    estimates: DomainEstimates,
    domains: Domains,
    smoothing: Smoothing | None,
    level: float,
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Numbers of one indicator by column of the table, and what smoothing has to say."""
    low, high, names = intervals(
        estimates.estimate,
        estimates.variance,
        estimates.n,
        estimates.n_eff,
        estimates.df,
        share=estimates.share,
        level=level,
    )
    with np.errstate(invalid="ignore"):
        se = np.sqrt(estimates.variance)
    cv = cv_of(se, estimates.estimate)
    size = estimates.n.size
    columns = {
        "indicator": np.full(size, indicator.name, dtype=object),
        "definition": np.full(size, indicator.definition, dtype=object),
        "n": estimates.n,
        "n_eff": estimates.n_eff,
        "df": estimates.df,
        "estimate": estimates.estimate,
        "variance": estimates.variance,
        "se": se,
        "cv": cv,
        "ci_low": low,
        "ci_high": high,
        "interval": names,
        "deff": estimates.deff,
        "vardir": np.where(estimates.variance > 0, estimates.variance, np.nan),
        "status": estimates.status,
    }
    if smoothing is None:
        return columns, ()
    inputs = {name: columns[name] for name in ("n", "n_eff", "estimate", "variance", "deff", "df")}
    frame = pd.DataFrame({**inputs, "weight_total": estimates.weight_total})
    smoothed = smooth(frame, smoothing, share=estimates.share, groups=domains.peers())
    n_eff = np.where(np.isfinite(smoothed.n_eff), smoothed.n_eff, estimates.n_eff)
    return {**columns, "vardir": smoothed.vardir, "n_eff": n_eff}, smoothed.log


def _covariance(
    design: Design, names: list[str], estimates: list[DomainEstimates], domains: Domains
) -> pd.DataFrame:
    variance = np.concatenate([one.variance for one in estimates])
    scores = [one.scores for one in estimates if one.scores is not None]
    factors = [one.factors for one in estimates if one.factors is not None]
    if scores:
        matrix = design.covariance(scores, np.nan_to_num(variance))
    elif sparse.issparse(factors[0]):
        records = sparse.vstack(factors)
        matrix = (records @ records.T).toarray()
    else:
        deviations = np.nan_to_num(np.vstack(factors))
        matrix = deviations @ deviations.T
    matrix[variance == 0, :] = 0.0  # all or nobody: what is left would be the error of the threshold alone
    matrix[:, variance == 0] = 0.0
    missing = ~np.isfinite(variance)
    matrix[missing, :] = np.nan
    matrix[:, missing] = np.nan
    index = pd.MultiIndex.from_tuples(
        [
            (name, domain, time)
            for name in names
            for domain, time in zip(domains.labels["domain"], domains.labels["time"], strict=True)
        ],
        names=["indicator", "domain", "time"],
    )
    return pd.DataFrame(matrix, index=index, columns=index)


def _described(survey: Survey, method: DesignVariance) -> str:
    words: str = method
    if method == "linearised" and survey.calibration is not None:
        words = "linearised, calibration residuals"
    elif method in ("replicate", "bootstrap") and survey.replicates is not None:
        words = f"{survey.replicates.method}, {survey.replicates.weights.shape[1]} replicates"
    return f"{words}, pooled periods {survey.panel}" if survey.panel else words
