"""What only a posterior can tell of a fit: draws for ArviZ, leave-one-out, predictive checks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from sae.auxiliary import Neighbours
from sae.auxiliary import neighbours as read_edges
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.numerics.random.streams import seed_of
from sae.samplers import Posterior
from sae.samplers.checks import predictive_check
from sae.tables import joined_labels, label_text, labels

__all__ = ["arviz_of", "loo_table", "neighbour_weights", "predictive_doubts", "predictive_table"]

_FEWEST = 100  # replicates from which a p-value of 0.05 can be told
_DOUBT = 0.05  # p-value below which a check speaks against a fit
_MANY = 5000  # rows from which on a check by itself takes too long


def arviz_of(
    posterior: Posterior,
    frame: pd.DataFrame,
    rows: pd.DataFrame,
    coefficients: pd.DataFrame,
    n: int,
    seed: int | np.random.Generator | None,
) -> Any:
    """Return n joint draws as ArviZ knows them: see `Result.to_arviz`.

    Parameters
    ----------
    posterior : Posterior
    frame : DataFrame
        The estimate table.
    rows : DataFrame
        The columns that tell its rows apart.
    coefficients : DataFrame
        By term, the last level of the index.
    n, seed
        Of the draws.
    """
    number = _seed("to_arviz", seed)
    if n < 16 or n % 4:
        raise SaeSpecError(f"n = {n}: ArviZ gets 4 chains, so that n is a multiple of 4, at least 16.")
    from sae.samplers.arviz import to_arviz

    keys = rows.apply(labels, keep_missing=True).fillna("")
    columns = [str(name) for name in rows]
    names = keys["domain"] if keys["domain"].is_unique else joined_labels(keys, columns)
    terms = coefficients.index.get_level_values(-1).astype(str).unique().to_numpy()
    attributes = {"source": posterior.source, "prior": "; ".join(frame["prior"].unique())}
    return to_arviz(
        posterior.draw(n, number),
        names.to_numpy(dtype=str),
        _direct(frame),
        _sampled(frame),
        terms,
        attributes,
    )


def loo_table(posterior: Posterior, frame: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the leave-one-out predictive densities: see `Result.loo`."""
    elpd, k = posterior.loo()
    table = rows[_sampled(frame)].assign(elpd=elpd, k=k)
    return table[table["elpd"].notna() | ~table.duplicated("domain")]  # units of an area are left out once


def predictive_table(
    posterior: Posterior,
    frame: pd.DataFrame,
    noise: np.ndarray | None,
    neighbours: sparse.sparray | None,
    n: int,
    seed: int | np.random.Generator | None,
) -> pd.DataFrame:
    """Return the posterior predictive check: see `Result.predictive_check`.

    Parameters
    ----------
    posterior : Posterior
    frame : DataFrame
        The estimate table.
    noise : ndarray, shape (n_rows,), optional
        Sampling variances, or what has their order.
    neighbours : sparse array, shape (n_rows, n_rows), optional
        Weights.
    n, seed
        Of the replicates.
    """
    on, number = np.flatnonzero(_sampled(frame)), _seed("predictive_check", seed)
    if n < _FEWEST:
        raise SaeSpecError(f"n = {n}: a p-value needs at least {_FEWEST} replicates.")
    known = None if noise is None or not np.isfinite(noise[on]).all() else noise[on]
    near = None if neighbours is None else sparse.csr_array(neighbours)[on][:, on]
    check = predictive_check(posterior.fresh(n, number), _direct(frame), known, near)
    names = ("observed", "low", "median", "high", "p_value")
    table = pd.DataFrame({name: getattr(check, name) for name in names})
    table.loc["outside"] = [check.outside, *[np.nan] * 4]
    table.loc["overall"] = [*[np.nan] * 4, check.overall]
    return table


def predictive_doubts(
    posterior: Posterior | None, frame: pd.DataFrame, noise: np.ndarray | None
) -> list[str]:
    """Return what speaks against a posterior, for the reasons of a row; replicates are always the same."""
    if posterior is None or int(_sampled(frame).sum()) > _MANY:
        return []
    p = predictive_table(posterior, frame, noise, None, 1000, 0)["p_value"]
    if p["overall"] >= _DOUBT:
        return []
    worst = str(p.drop("overall").idxmin())
    return [f"predictive check doubtful ({worst}, p {p['overall']:.2g})"]


def neighbour_weights(
    neighbours: Neighbours | pd.DataFrame, frame: pd.DataFrame, rows: pd.DataFrame
) -> sparse.csr_array:
    """Return which rows of a table are neighbours, shape (n_rows, n_rows), matched by domain.

    Rows of different periods, groups or indicators are not.

    Raises
    ------
    SaeInputError
        If the map lacks a domain, or has no pair of the table's domains.
    """
    edges = neighbours if isinstance(neighbours, Neighbours) else read_edges(neighbours)
    place = {label_text(name): k for k, name in enumerate(edges.areas)}
    domains = list(labels(frame["domain"]))
    absent = [name for name in dict.fromkeys(domains) if name not in place]
    if absent:
        raise SaeInputError(
            f"The map lacks {len(absent)} domains: {name_some(absent)}.",
            hint="Give an area without neighbours as an island: sae.auxiliary.neighbours(edges, areas=...).",
            areas=absent,
        )
    a, b = edges.pairs.T
    size = len(edges.areas)
    near = sparse.csr_array((np.ones(2 * len(a)), (np.append(a, b), np.append(b, a))), shape=(size, size))
    at = np.array([place[name] for name in domains])
    pairs = near[at][:, at].tocoo()
    others = rows.drop(columns="domain").apply(labels, keep_missing=True).fillna("")
    group = others.agg("\x1f".join, axis=1).to_numpy() if len(others.columns) else np.zeros(len(at))
    same = group[pairs.row] == group[pairs.col]
    found = sparse.csr_array((pairs.data[same], (pairs.row[same], pairs.col[same])), shape=pairs.shape)
    if not found.nnz:
        raise SaeInputError("The map has no pair of neighbours among the domains of the table.")
    return found


def _seed(verb: str, seed: int | np.random.Generator | None) -> int:
    if seed is None:
        raise SaeSpecError(f"{verb}(...) needs a seed.", hint=f"Call {verb}(seed=1), with any number.")
    return seed_of(seed)


def _sampled(frame: pd.DataFrame) -> np.ndarray:
    return frame["in_sample"].to_numpy(dtype=bool)


def _direct(frame: pd.DataFrame) -> np.ndarray:
    return frame["direct"].to_numpy(dtype=float)[_sampled(frame)]
