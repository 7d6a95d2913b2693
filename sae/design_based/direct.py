"""Direct estimates by domain: from a survey and an indicator to a table with design-based errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import sparse

from sae.design_based.design import Design, read_design
from sae.design_based.distribution import distribution_estimates
from sae.design_based.domains import Domains, cross_domains, text
from sae.design_based.intervals import intervals
from sae.design_based.linear import linear_estimates, poisson_estimates
from sae.design_based.parts import Judged, judge
from sae.design_based.smoothing import smooth
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.indicators import Indicator, arrays, item_nonresponse, resolve
from sae.survey import Survey
from sae.tables import DirectEstimates

__all__ = ["direct"]

_NONRESPONSE = "item non-response"  # how the survey's note begins
METHODS = ("linearised", "replicate", "bootstrap", "poisson")


def direct(
    survey: Survey,
    indicator: str | Indicator | Sequence[str | Indicator],
    by: str | Sequence[str] = (),
    *,
    variance: Literal["linearised", "replicate", "bootstrap", "poisson"] | None = None,
    smoothing: Literal["deff", "gvf", "arcsine"] | None = None,
    covariance: bool = False,
    domain_sizes: Mapping[Any, float] | pd.Series | None = None,
    level: float = 0.95,
    seed: int | np.random.Generator | None = None,
    replicates: int = 200,
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
    smoothing : {"deff", "gvf", "arcsine"}, optional
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

    Returns
    -------
    DirectEstimates
        One row per indicator and domain. ``df`` counts sampling units minus strata where the domain has
        records (at most replicates - 1); ``deff`` compares with simple random sampling with replacement of
        the same n; ``n_eff`` is p(1-p)/v for shares, else n/deff; ``status`` says why a row is not "ok".

    Raises
    ------
    SaeSpecError
        If a column or an option does not exist or the options contradict each other.
    SaeInputError
        If a stratum has a lonely unit under the policy "fail", or a domain size is missing.

    References
    ----------
    Särndal, Swensson and Wretman (1992), ch. 5, 7 and 10; Deville and Särndal (1992); Rao, Wu and Yue (1992);
    Kish (1965) for design effects; Korn and Graubard (1998) for intervals of shares and degrees of freedom.

    Examples
    --------
    >>> frame = pd.DataFrame({"w": [2.0, 2, 2, 2, 2], "region": list("aabbb"), "works": [1, 0, 1, 1, 1]})
    >>> table = direct(Survey.from_frame(frame, weights="w"), "works", by="region")
    >>> table[["domain", "estimate", "se", "status"]].round(3).to_dict("list")
    {'domain': ['a', 'b'], 'estimate': [0.5, 1.0], 'se': [0.395, 0.0], 'status': ['ok', 'zero variance']}
    """
    method = _method(survey, variance, domain_sizes, seed, level)
    wanted = _indicators(survey, indicator)
    domains = cross_domains(survey, by)
    sizes = None if domain_sizes is None else _known_sizes(domain_sizes, domains)
    if method == "bootstrap":
        survey = survey.with_replicates("bootstrap", replicates=replicates, seed=seed)
    design = read_design(survey, domains, lonely=method == "linearised")
    parts = [_estimate(survey, design, definition, method, sizes) for definition in wanted]

    log = [*_notes(survey, wanted), *domains.log]
    columns = []
    for definition, part in zip(wanted, parts, strict=True):
        numbers, lines = _columns(definition, part, domains, smoothing, level)
        columns.append(numbers)
        log.extend(f"{definition.name}: {line}" for line in (*part.notes, *lines))
    labels = domains.labels.iloc[np.tile(np.arange(len(domains)), len(wanted))].reset_index(drop=True)
    numbers = {name: np.concatenate([part[name] for part in columns]) for name in columns[0]}
    told = {"variance_method": _described(survey, method), "smoothing": smoothing or ""}
    table = pd.concat([labels, pd.DataFrame({**numbers, **told}, index=labels.index)], axis=1)
    return DirectEstimates(
        table,
        domains.by,
        covariance=_covariance(design, wanted, parts, domains, method) if covariance else None,
        units={definition.name: part.unit for definition, part in zip(wanted, parts, strict=True)},
        log=tuple(log),
        provenance={
            **survey.source,
            "layout": survey.layout,
            "indicators": {definition.name: definition.definition for definition in wanted},
            "by": list(domains.by),
            "variance": method,
            "smoothing": smoothing,
            "level": level,
            **({"seed": seed if isinstance(seed, int) else "a Generator", "replicates": replicates}
               if method == "bootstrap" else {}),
        },
    )  # fmt: skip


# ---------------------------------------------------------------- what is asked for


def _method(survey: Survey, variance: str | None, domain_sizes: Any, seed: Any, level: float) -> str:
    method = variance or ("linearised" if survey.replicates is None else "replicate")
    if method not in METHODS:
        raise SaeSpecError(
            f"The variance method {method!r} does not exist.", hint=f"Choose one of {', '.join(METHODS)}."
        )
    if method == "replicate" and survey.replicates is None:
        raise SaeSpecError(
            "variance='replicate' needs replicate weights, and the survey has none.",
            hint="Name them in sae.read_survey(..., replicates=...), or use survey.with_replicates(...).",
        )
    if method == "bootstrap" and seed is None:
        raise SaeSpecError(
            "variance='bootstrap' is random and needs a seed.", hint="Give seed=1 or a numpy Generator."
        )
    if method != "poisson" and domain_sizes is not None:
        raise SaeSpecError(
            f"domain_sizes belongs to variance='poisson', but the variance is {method!r}.",
            hint="Leave it out, or post-stratify the survey to the known sizes.",
        )
    if not 0.0 < level < 1.0:
        raise SaeSpecError(f"The confidence level lies between 0 and 1, but level={level}.")
    return method


def _indicators(survey: Survey, indicator: Any) -> list[Indicator]:
    asked = [indicator] if isinstance(indicator, str | Indicator) else list(indicator)
    if not asked:
        raise SaeSpecError(
            "No indicator is asked for.", hint="Give a registry id, a column or an sae.Indicator."
        )
    wanted = [resolve(one, survey) for one in asked]
    names = [one.name for one in wanted]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SaeSpecError(
            f"The indicators {name_some(twice)} are asked for twice.", hint="Give each its own id."
        )
    return wanted


def _known_sizes(domain_sizes: Any, domains: Domains) -> np.ndarray:
    """Domain sizes matched by label, in the order of the domains."""
    pairs: dict[Any, Any] = {"all": domain_sizes} if np.isscalar(domain_sizes) else dict(domain_sizes)
    known = {tuple(text(part) for part in (key if isinstance(key, tuple) else (key,))): float(value)
             for key, value in pairs.items()}  # fmt: skip
    labels = [domains.labels[name] for name in domains.by]
    keys = [tuple(text(part) for part in row) for row in zip(*labels, strict=True)] if labels else [("all",)]
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


def _notes(survey: Survey, wanted: list[Indicator]) -> list[str]:
    """Return the notes of the survey, with item non-response counted within the universes, not overall."""
    notes = [note for note in survey.notes if not note.startswith(_NONRESPONSE)]
    if len(notes) == len(survey.notes):
        return notes
    for definition in wanted:
        counts = [f"{name} {count:,}" for name, count in item_nonresponse(definition, survey).items()]
        if counts:
            universe = f" with {definition.universe}" if definition.universe else ""
            notes.append(f"{definition.name}: {_NONRESPONSE} (records{universe}): {', '.join(counts)}")
    return notes


def _estimate(
    survey: Survey, design: Design, definition: Indicator, method: str, sizes: np.ndarray | None
) -> Judged:
    data = arrays(definition, survey)
    replicates = survey.replicates if method in ("replicate", "bootstrap") else None
    if method == "poisson":
        part = poisson_estimates(design, definition, data, sizes)
    elif definition.distributional:
        part = distribution_estimates(design, definition, data, replicates)
    else:
        part = linear_estimates(design, definition, data, replicates)
    return judge(part, design, data)


def _columns(
    definition: Indicator, part: Judged, domains: Domains, smoothing: Any, level: float
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Numbers of one indicator by column of the table, and what smoothing has to say."""
    low, high, names = intervals(
        part.estimate, part.variance, part.n, part.n_eff, part.df, share=part.share, level=level
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        se = np.sqrt(part.variance)
        cv = np.where(part.estimate != 0, se / np.abs(part.estimate), np.nan)
    columns = {
        "indicator": np.full(part.n.size, definition.name, dtype=object),
        "definition": np.full(part.n.size, definition.definition, dtype=object),
        "n": part.n, "n_eff": part.n_eff, "df": part.df, "estimate": part.estimate, "variance": part.variance,
        "se": se, "cv": cv, "ci_low": low, "ci_high": high, "interval": names, "deff": part.deff,
        "vardir": np.where(part.variance > 0, part.variance, np.nan), "status": part.status,
    }  # fmt: skip
    if smoothing is None:
        return columns, ()
    inputs = {name: columns[name] for name in ("n", "n_eff", "estimate", "variance", "deff", "df")}
    frame = pd.DataFrame({**inputs, "weight_total": part.weight_total})
    smoothed = smooth(frame, smoothing, share=part.share, groups=domains.peers())
    n_eff = np.where(np.isfinite(smoothed.n_eff), smoothed.n_eff, part.n_eff)
    return {**columns, "vardir": smoothed.vardir, "n_eff": n_eff}, smoothed.log


def _covariance(
    design: Design, wanted: list[Indicator], parts: list[Judged], domains: Domains, method: str
) -> pd.DataFrame:
    variance = np.concatenate([part.variance for part in parts])
    if method == "linearised":
        matrix = design.covariance([part.spread for part in parts], np.nan_to_num(variance))
    else:
        rows = [part.spread for part in parts]
        if method == "poisson":
            stacked = sparse.vstack(rows)
            matrix = (stacked @ stacked.T).toarray()
        else:
            stacked = np.nan_to_num(np.vstack(rows))
            matrix = stacked @ stacked.T
    missing = ~np.isfinite(variance)
    matrix[missing, :] = np.nan
    matrix[:, missing] = np.nan
    index = pd.MultiIndex.from_tuples(
        [
            (definition.name, domain, time)
            for definition in wanted
            for domain, time in zip(domains.labels["domain"], domains.labels["time"], strict=True)
        ],
        names=["indicator", "domain", "time"],
    )
    return pd.DataFrame(matrix, index=index, columns=index)


def _described(survey: Survey, method: str) -> str:
    if method == "linearised" and survey.calibration is not None:
        return "linearised, calibration residuals"
    if method in ("replicate", "bootstrap") and survey.replicates is not None:
        return f"{survey.replicates.method}, {survey.replicates.weights.shape[1]} replicates"
    return method
