"""Which covariates: stepwise selection by an information criterion, all candidates of a step in one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sae.area_level.arrays import AreaArrays
from sae.area_level.fay_herriot.model import FayHerriot
from sae.area_level.reading import read_rows
from sae.area_level.rows import AreaRows
from sae.calls import answered
from sae.errors import SaeSpecError
from sae.numerics.fay_herriot.criteria import bootstrap_penalties
from sae.numerics.fay_herriot.fit import FayHerriotFits, fit_batch
from sae.numerics.random.streams import seed_of
from sae.quality import information_criteria
from sae.specs import one_of, parse_terms, split_formula

if TYPE_CHECKING:
    from sae.tables import Covariates, DirectEstimates

__all__ = ["CRITERIA", "Selection", "criteria_table", "select"]

_BOOTSTRAP = ("aicc", "aicb1", "aicb2", "kicc", "kicb1", "kicb2")
CRITERIA = ("aic", "bic", "kic", *_BOOTSTRAP)
DIRECTIONS = ("backward", "both", "forward")


@dataclass(frozen=True, eq=False)
class Selection:
    """A chosen specification and the way to it.

    Attributes
    ----------
    spec : FayHerriot
        The specification given, with the chosen formula: call ``spec.fit(...)``.
    criterion : str
    trace : DataFrame
        One row per candidate: step, change ("- x" drops, "+ x" adds, "none" stays), coefficients, the
        criterion (of bootstrap criteria with its Monte Carlo error), and whether it was chosen; the best of a
        step first.
    """

    spec: FayHerriot
    criterion: str
    trace: pd.DataFrame

    def __repr__(self) -> str:
        steps = [
            f"step {step}\n" + rows.drop(columns="step").to_string(index=False, float_format="{:.4f}".format)
            for step, rows in self.trace.groupby("step", sort=True)
        ]
        return "\n".join([*steps, f"chosen by {self.criterion.upper()}: {self.spec.formula}"])


@answered
def select(
    spec: FayHerriot,
    data: DirectEstimates | pd.DataFrame,
    *,
    areas: pd.DataFrame | Covariates | None = None,
    criterion: str = "bic",
    direction: str = "backward",
    seed: int | np.random.Generator | None = None,
    replicates: int = 200,
) -> Selection:
    """Choose covariates of the specification's formula, step by step.

    Parameters
    ----------
    spec : FayHerriot
        With the largest formula to consider, and a likelihood method.
    data, areas
        As in `FayHerriot.fit`.
    criterion : {"bic", "aic", "kic", "aicc", "aicb1", "aicb2", "kicc", "kicb1", "kicb2"}
        The smallest wins. The bootstrap criteria need a seed.
    direction : {"backward", "both", "forward"}
        Drop terms from the whole formula, also take dropped ones back, or add terms to none. A term stays
        while an interaction holds it.
    seed : int or Generator, optional
    replicates : int
        Of the bootstrap.

    Returns
    -------
    Selection

    Raises
    ------
    SaeSpecError
        If the method has no likelihood, `per` or effects over space or time are asked for, or a bootstrap
        criterion has no seed.

    Notes
    -----
    What is fitted after a choice made on the same data looks more certain than it is: standard errors and
    mean squared errors do not know of the selection.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> frame = pd.DataFrame({"area": range(40), "x": rng.normal(size=40), "w": rng.normal(size=40)})
    >>> frame = frame.assign(y=2 * frame["x"] + rng.normal(size=40), vardir=0.5)
    >>> sae.area_level.select(sae.FayHerriot("y ~ x + w", domain="area", method="ml"), frame).spec.formula
    'y ~ x'
    """
    one_of("criterion", criterion, CRITERIA)
    one_of("direction", direction, DIRECTIONS)
    _check(spec, criterion, seed, replicates)
    outcome, covariates = split_formula(spec.formula)
    rows = read_rows(
        data, areas, outcome=outcome, domain=spec.domain, vardir=spec.vardir, n_eff=spec.n_eff, per=()
    )
    intercept, terms = _terms(covariates)
    number = None if seed is None else seed_of(seed)
    now: tuple[str, ...] = () if direction == "forward" else terms
    lines: list[pd.DataFrame] = []
    best = ""
    while best != "none":
        changes = {"none": now, **_changes(now, terms, direction)}
        changes = {change: chosen for change, chosen in changes.items() if chosen or intercept}
        formulas = [_right_side(intercept, chosen, terms) for chosen in changes.values()]
        table = _evaluate(spec, rows, formulas, criterion, number, replicates)
        table = table.assign(step=len(lines) + 1, change=list(changes)).sort_values(criterion, kind="stable")
        best = table["change"].iloc[0]
        lines.append(table.assign(chosen=table["change"] == best))
        now = changes[best]
    errors = [f"{criterion}_error"] if criterion in _BOOTSTRAP else []
    trace = pd.concat(lines, ignore_index=True)[
        ["step", "change", "coefficients", criterion, *errors, "chosen"]
    ]
    formula = f"{outcome} ~ {_right_side(intercept, now, terms)}"
    return Selection(replace(spec, formula=formula), criterion, trace)


def criteria_table(
    spec: FayHerriot,
    data: DirectEstimates | pd.DataFrame,
    formulas: Sequence[str],
    *,
    areas: pd.DataFrame | Covariates | None = None,
    seed: int | np.random.Generator | None = None,
    replicates: int = 200,
) -> pd.DataFrame:
    """Compare given sets of covariates by all criteria; the bootstrap ones where there is a seed.

    Parameters
    ----------
    spec : FayHerriot
        Whose formula names the outcome.
    data, areas, seed, replicates
        As in `select`.
    formulas : sequence of str
        Right-hand sides.

    Returns
    -------
    DataFrame
        One row per right-hand side: coefficients, loglik, the criteria, Monte Carlo errors of the bootstrap
        ones.
    """
    _check(spec, "aic", seed, replicates)
    outcome, _ = split_formula(spec.formula)
    rows = read_rows(
        data, areas, outcome=outcome, domain=spec.domain, vardir=spec.vardir, n_eff=spec.n_eff, per=()
    )
    number = None if seed is None else seed_of(seed)
    table = _evaluate(spec, rows, list(formulas), "aic" if seed is None else "kicb2", number, replicates)
    return table.set_index(pd.Index(list(formulas), name="covariates"))


def _check(spec: FayHerriot, criterion: str, seed: object, replicates: int) -> None:
    if not spec.method.endswith("ml"):
        raise SaeSpecError(
            f'Information criteria need a likelihood; method="{spec.method}" has none.',
            hint='Use method="ml".',
        )
    for name in ("per", "spatial", "temporal", "source"):
        if getattr(spec, name):
            raise SaeSpecError(
                f"Covariates cannot be selected with {name}=: select on one fit of independent area effects.",
                hint=f"Leave out {name}= for the selection and put it back with the chosen formula.",
            )
    if criterion in _BOOTSTRAP and seed is None:
        raise SaeSpecError(
            f"{criterion} comes from a bootstrap, which draws random numbers; it has no seed.",
            hint="Call select(..., seed=1), with any number.",
        )
    if replicates < 2:
        raise SaeSpecError(f"replicates = {replicates}: a bootstrap needs at least 2.")


def _terms(covariates: str) -> tuple[bool, tuple[str, ...]]:
    """Return whether there is an intercept, and the other terms in their order."""
    terms = parse_terms(covariates)
    return terms.intercept, terms.texts


def _right_side(intercept: bool, chosen: Sequence[str], terms: Sequence[str]) -> str:
    parts = [term for term in terms if term in chosen]
    if intercept:
        return " + ".join(parts) if parts else "1"
    return " + ".join(["0", *parts])


def _changes(now: Sequence[str], terms: Sequence[str], direction: str) -> dict[str, tuple[str, ...]]:
    """Return what the next step may do, respecting interactions."""
    parts = {term: {factor.text for factor in parse_terms(term).factors} for term in terms}
    changes = {}
    if direction != "forward":
        for term in now:
            if not any(parts[term] < parts[other] for other in now):
                changes[f"- {term}"] = tuple(other for other in now if other != term)
    if direction != "backward":
        for term in terms:
            below = [other for other in terms if parts[other] < parts[term]]
            if term not in now and all(other in now for other in below):
                changes[f"+ {term}"] = (*now, term)
    return changes


def _evaluate(
    spec: FayHerriot,
    rows: AreaRows,
    formulas: Sequence[str],
    criterion: str,
    seed: int | None,
    replicates: int,
) -> pd.DataFrame:
    """Fit all candidates, those of one size in one kernel call, and compute the criteria."""
    candidates = [AreaArrays.build(rows, spec._transform, formula) for formula in formulas]
    sizes = np.array([arrays.X.shape[1] for arrays in candidates])
    lines: dict[int, dict[str, float]] = {}
    for size in dict.fromkeys(sizes.tolist()):
        members = np.flatnonzero(sizes == size)
        inside = [candidates[k].sampled for k in members]
        y, D, X = (
            np.concatenate([getattr(candidates[k], name)[candidates[k].sampled] for k in members])
            for name in ("y", "D", "X")
        )
        X = np.ascontiguousarray(X.T)
        offsets = np.concatenate([[0], np.cumsum([use.sum() for use in inside])])
        fits = fit_batch(y, D, X, offsets, spec.method)
        for place, k in enumerate(members):
            criteria = information_criteria(float(fits.loglik[0, place]), size + 1, int(inside[place].sum()))
            lines[int(k)] = {
                "coefficients": size,
                "loglik": criteria.loglik,
                "aic": criteria.aic,
                "bic": criteria.bic,
                "kic": criteria.kic,
            }
        if criterion in _BOOTSTRAP and seed is not None:
            labels = [
                name
                for k, use in zip(members, inside, strict=True)
                for name in np.array(candidates[k].labels, dtype=object)[use]
            ]
            _add_bootstrap(lines, members, fits, (y, D, X, offsets, labels), spec.method, replicates, seed)
    return pd.DataFrame([lines[k] for k in range(len(candidates))])


def _add_bootstrap(
    lines: dict[int, dict[str, float]],
    members: np.ndarray,
    fits: FayHerriotFits,
    data: tuple,
    method: str,
    replicates: int,
    seed: int,
) -> None:
    penalties = bootstrap_penalties(fits, *data, method=method, replicates=replicates, seed=seed)
    for place, k in enumerate(members):
        line = lines[int(k)]
        for kind, penalty, error in (
            ("c", penalties.aicc, penalties.aicc_error),
            ("b1", penalties.aicb1, penalties.aicb1_error),
            ("b2", penalties.aicb2, penalties.aicb2_error),
        ):
            line[f"aic{kind}"] = -2.0 * line["loglik"] + float(penalty[place])
            line[f"aic{kind}_error"] = float(error[place])
            line[f"kic{kind}"] = line[f"aic{kind}"] + float(penalties.kullback[place])
            line[f"kic{kind}_error"] = float(np.hypot(error[place], penalties.kullback_error[place]))
