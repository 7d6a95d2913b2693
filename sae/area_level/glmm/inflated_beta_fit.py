"""The posterior of zero/one-inflated beta shares: rows on map and periods, chains, tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from sae.area_level.arrays import design_of
from sae.area_level.effects.spatial import BYM2, CAR, map_cut
from sae.area_level.effects.temporal import AR1, RW1
from sae.area_level.priors import resolved_prior
from sae.area_level.reading import read_rows
from sae.area_level.rows import AreaRows
from sae.errors import SaeInputError, name_some
from sae.numerics.glmm.inflated_beta import FEWEST
from sae.numerics.inference.standardise import Standardised, standardise
from sae.numerics.spacetime.precision import map_root, walk_covariance
from sae.results import (
    FitTables,
    FittedData,
    Message,
    PosteriorFit,
    chains_apart,
    coefficient_index,
    covariate_messages,
    credible_table,
    parameter_row,
    posterior_joint,
    residual_table,
)
from sae.samplers.chains import ChainPosterior, coefficient_prior, draw_summary, prior_text
from sae.samplers.inflated_beta import SharePanel, numbers, sample_inflated, sample_of
from sae.specs import split_formula
from sae.specs.design import check_rank
from sae.specs.priors import Prior
from sae.tables.labels import labels

__all__ = ["Shares", "fit_inflated", "read_shares"]

_RANGES = {"rho": "uniform(0, 1)", "rho_time": "uniform(-1, 1)"}


@dataclass(frozen=True, eq=False)
class Shares:
    """What a model has read.

    Attributes
    ----------
    rows : AreaRows
    data : FittedData
    standard : Standardised
        Of the designs.
    panel : SharePanel
    order : ndarray of int
        The rows by their names.
    islands : tuple of str
        Areas without a neighbour.
    gaps : list of Message
        Periods that no row has, and areas of the map that the data lack.
    """

    rows: AreaRows
    data: FittedData
    standard: Standardised
    panel: SharePanel
    order: np.ndarray
    islands: tuple[str, ...]
    gaps: list[Message]


def read_shares(
    data: Any,
    areas: pd.DataFrame | None,
    formula: str,
    *,
    domain: str = "domain",
    n_eff: str = "n_eff",
    spatial: BYM2 | CAR | None = None,
    temporal: AR1 | RW1 | None = None,
) -> Shares:
    """Check the rows, and lay them on map and periods; arguments as of the model and its `fit`.

    Raises
    ------
    SaeInputError
        If a share lies outside [0, 1], has no effective sample size above 2 or no covariates, there is one
        period only, or map and areas do not match; areas are named.
    """
    outcome, covariates = split_formula(formula)
    per = () if temporal is None else (temporal.column,)
    rows = read_rows(data, areas, outcome=outcome, domain=domain, vardir="vardir", n_eff=n_eff, per=per)
    _refuse_shares(rows, n_eff)
    sampled, names = rows.sampled, rows.names
    design, X = design_of(rows, covariates)
    check_rank(X[sampled], design.columns)
    # chains take rows and areas in the order of their names, so that the order of the data changes nothing
    order = np.argsort(names.strings.astype(str), kind="stable")
    standard = standardise(X[order][sampled[order]])
    texts = labels(rows.table["domain"])
    if per and rows.groups != per:  # several columns make the domains: the area is all but the period
        groups = [labels(rows.table[name]) for name in rows.groups if name != per[0]]
        texts = pd.concat(groups, axis=1).agg(" / ".join, axis=1)
    places = sorted(set(texts))
    root, island = np.empty((len(places), 0)), np.zeros(len(places), dtype=bool)
    left_out: tuple[str, ...] = ()
    if spatial is not None:
        adjacency, left_out = spatial.on(places)
        root, island = map_root(adjacency), np.asarray(adjacency.sum(axis=1)).ravel() == 0
    period, gaps, walk = np.zeros(len(names), dtype=int), list[Message](), np.ones((1, 1))
    if temporal is not None:
        axis = temporal.axis(rows.fits.iloc[:, 0])
        period, gaps = axis.place[rows.fit], axis.messages
        size, turn = np.linalg.eigh(walk_covariance(1, int(period.max()) + 1))
        walk = turn * np.sqrt(np.maximum(size, 0.0))
    panel = SharePanel(
        rows.direct[sampled],
        rows.n_eff[sampled],
        sampled,
        standard.of(X),
        pd.Index(places).get_indexer(pd.Index(texts)),
        period,
        root,
        island,
        mixed=isinstance(spatial, BYM2),
        temporal=None if temporal is None else "rw1" if temporal.order else "ar1",
        walk=walk,
    )
    fitted = FittedData.of_areas(rows.direct, np.full(len(names), np.nan), X, design.columns, sampled, names)
    islands = tuple(places[d] for d in np.flatnonzero(island))
    return Shares(rows, fitted, standard, panel, order, islands, [*gaps, *map_cut(left_out)])


def _refuse_shares(rows: AreaRows, n_eff: str) -> None:
    on, y = rows.sampled, rows.direct
    with np.errstate(invalid="ignore"):
        outside, few = on & ((y < 0) | (y > 1)), on & ~(rows.n_eff > FEWEST)
    if outside.any():
        raise SaeInputError(
            f"{int(outside.sum())} direct estimates lie outside [0, 1]: {name_some(rows.names[outside])}.",
            hint="Shares lie between 0 and 1; divide percentages by 100.",
            areas=rows.names[outside],
        )
    if few.any():
        raise SaeInputError(
            f"{int(few.sum())} of {int(on.sum())} areas have no effective sample size above {FEWEST:g}: "
            f"{name_some(rows.names[few])}.",
            hint='Smooth it with sae.direct(..., smoothing="deff"), or drop the direct estimate so that '
            "these areas are predicted without a sample.",
            areas=rows.names[few],
            column=n_eff,
        )


def fit_inflated(
    shares: Shares, *, prior: Prior | str | None, level: float, draws: int, seed: int
) -> PosteriorFit:
    """Run the chains.

    Parameters
    ----------
    shares : Shares
    prior : Prior, str or None
        Of every standard deviation, as a specification has it; a proper one.
    level : float
        Of the intervals.
    draws : int
        Kept draws of all chains together.
    seed : int

    Raises
    ------
    SaeConvergenceError
        If the chains do not agree.
    """
    panel, data = shares.panel, shares.data
    named = panel.ordered(shares.order)
    inside = np.clip(named.y, 0.5 / named.n, 1.0 - 0.5 / named.n)
    resolved = resolved_prior(prior, np.log(inside / (1 - inside)))
    chains = sample_inflated(named, resolved.code, seed=seed, **numbers(draws)).checked()
    hyper = {**chains.joined()}
    hyper["eta"] = hyper["eta"][:, np.argsort(shares.order)]
    posterior = ChainPosterior(
        sample_of(hyper, panel, seed), f"Hamiltonian Monte Carlo, {chains.lengths}", chains.diagnostics
    )
    _, sd = posterior.moments()
    values = {name: draws for name, draws in hyper.items() if name not in ("beta", "eta")}
    return PosteriorFit(
        posterior,
        posterior_joint(sd**2, posterior.shared()),
        prior_text({name: _RANGES.get(name, resolved.text) for name in values}, coefficient_prior()),
        _tables(shares, hyper["beta"], values, level),
        bounds=(0.0, 1.0),
        messages=(
            *shares.gaps,
            *covariate_messages(data.X, data.columns, data.sampled, data.labels),
            *chains_apart(chains.doubt),
        ),
        more={"islands": shares.islands},
    )


def _tables(shares: Shares, beta: np.ndarray, values: Mapping[str, np.ndarray], level: float) -> FitTables:
    """Tables of draws of coefficients, shape (S, p), and of the other parameters by name."""
    panel, data = shares.panel, shares.data
    diagnostics = {
        "areas": len(data.sampled),
        "sampled": int(data.sampled.sum()),
        "coefficients": beta.shape[1],
        "zeros": int((panel.y == 0).sum()),
        "ones": int((panel.y == 1).sum()),
        "islands": len(shares.islands),
    }
    # direct less fitted shares at the mean coefficients, over the sampling deviation there
    rows = np.flatnonzero(data.sampled)
    fitted = expit(panel.X[rows] @ beta.mean(axis=0))
    residual = panel.y - fitted
    standardised = residual / np.sqrt(fitted * (1.0 - fitted) / panel.n)
    return FitTables(
        credible_table(*draw_summary(shares.standard.natural(beta), level), coefficient_index(data.columns)),
        pd.Series(parameter_row(values, np.full(len(beta), 1.0 / len(beta)), level), dtype=float),
        pd.DataFrame([diagnostics]),
        residual_table(rows, data.labels[rows], fitted, residual, standardised, np.nan),
    )
