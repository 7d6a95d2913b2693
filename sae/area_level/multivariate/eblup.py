"""Fitting the multivariate model: each fit alone, then one result of all."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

import sae
from sae.area_level.finite_population import FinitePopulation
from sae.area_level.intervals import FEW_AREAS
from sae.area_level.multivariate.result import IntervalRule, MultivariateResult, interval_ends
from sae.area_level.multivariate.rows import ComponentRows
from sae.area_level.multivariate.tables import (
    coefficient_table,
    correlation_table,
    degenerate,
    fit_diagnostics,
    residual_table,
    variance_table,
    warn,
)
from sae.numerics.inference.joint_error import JointError
from sae.numerics.inference.transforms import TRANSFORMS
from sae.numerics.multivariate.bootstrap import bootstrap_blocks
from sae.numerics.multivariate.fit import BlockFit, BlockMse, fit_blocks, mse_blocks, root_of
from sae.numerics.multivariate.posterior import block_posterior
from sae.results import NormalDraws
from sae.tables import EstimateTable

if TYPE_CHECKING:
    from sae.area_level.multivariate.model import MultivariateFayHerriot

__all__ = ["joint_error", "run_id", "solve"]


@dataclass(frozen=True, eq=False)
class _Part:
    """One fit: its rows and what was learnt from them."""

    rows: ComponentRows
    X: np.ndarray
    fit: BlockFit
    errors: BlockMse
    mse: np.ndarray
    rule: IntervalRule


def solve(
    spec: MultivariateFayHerriot,
    rows: ComponentRows,
    X: np.ndarray,
    terms: list[tuple[str, str]],
    seed: int | None,
) -> MultivariateResult:
    """Fit, predict, measure the error and wrap it all up.

    Parameters
    ----------
    spec : MultivariateFayHerriot
    rows : ComponentRows
    X : ndarray, shape (D, R, p)
    terms : list of (component, term)
        Names of the p columns.
    seed : int, optional
        Of the bootstrap.
    """
    finite = FinitePopulation.of_rows(rows, spec.population) if spec.population else None
    parts = [_fit(spec, rows, k, X, terms, seed, finite) for k in range(len(rows.fits))]
    order = np.argsort(np.concatenate([part.rule.areas for part in parts]), kind="stable")

    def joined(arrays: list[np.ndarray]) -> np.ndarray:
        return np.concatenate(arrays)[order]

    size = len(rows.components)
    ends = [_ends(spec, part) for part in parts]
    low, high = (joined([pair[side].reshape(-1, size) for pair in ends]).ravel() for side in (0, 1))
    estimate = joined([part.fit.eblup for part in parts]).ravel()
    matrices = joined([part.mse for part in parts])
    mse = np.einsum("drr->dr", matrices).ravel()
    interval, prior = (
        np.repeat(joined([np.full(len(p.X), getattr(p.rule, name), dtype=object) for p in parts]), size)
        for name in ("words", "prior")
    )
    own = joined([part.mse - part.errors.g2 for part in parts])
    places = (order[:, None] * size + np.arange(size)).ravel()
    blocks = [sparse.csr_array(part.errors.shared.reshape(-1, X.shape[2])) for part in parts]
    error = joint_error(own, sparse.csr_array(sparse.block_diag(blocks, format="csr"))[places])
    run = run_id(spec, rows, X, f"{seed} {finite.text if finite else ''}".strip())
    with np.errstate(divide="ignore", invalid="ignore"):
        cv = np.where(estimate != 0, np.sqrt(mse) / np.abs(estimate), np.nan)
    table = rows.table.assign(
        estimate=estimate, mse=mse, se=np.sqrt(mse), cv=cv, ci_low=low, ci_high=high, interval=interval,
        gamma=joined([np.einsum("drr->dr", part.errors.weights) for part in parts]).ravel(),
        in_sample=rows.sampled.ravel(), flag="e", prior=prior, mse_method=spec.mse_words,
        method=f"multivariate EBLUP, {spec.method.upper()}", model=spec.words, run=run,
    )  # fmt: skip
    messages = warn(rows, X, terms, [part.fit for part in parts], interval[::size])
    components = pd.Index(rows.components, name="component")
    fits = ["\x1f".join(map(str, values)) for values in rows.fits.to_numpy()]
    labels = tuple(
        "\x1f".join(filter(None, (fit, component, term))) for fit in fits for component, term in terms
    )
    return MultivariateResult(
        estimates=EstimateTable(table, rows.groups),
        coefficients=_by_fit(rows, [coefficient_table(part.fit, terms) for part in parts]),
        variance_components=_by_fit(rows, [variance_table(part.fit, components) for part in parts]),
        diagnostics=_by_fit(
            rows, [fit_diagnostics(p.rows, p.X, terms, p.fit, p.errors, components) for p in parts]
        ),
        residuals=_residuals(parts, size),
        provenance={
            "sae": sae.__version__, "model": spec.to_toml(), "seed": seed, "run": run, "warnings": messages,
            "direct": dict(rows.provenance),
        },
        spec=spec,
        areas=rows.covariates,
        title=f"Multivariate Fay–Herriot ({spec.effects}, {spec.method.upper()})",
        joint=error,
        source=NormalDraws(estimate, error, TRANSFORMS["identity"], rows.labels, labels),
        effect_covariance=_by_fit(
            rows, [pd.DataFrame(part.fit.covariance, index=components, columns=components) for part in parts]
        ),
        correlations=_by_fit(rows, [correlation_table(part.fit, rows.components) for part in parts]),
        rows=rows,
        rules=tuple(part.rule for part in parts),
    )  # fmt: skip


def _fit(
    spec: MultivariateFayHerriot, rows: ComponentRows, k: int, X: np.ndarray, terms: list[tuple[str, str]],
    seed: int | None, finite: FinitePopulation | None,
) -> _Part:  # fmt: skip
    areas, own = rows.of_fit(k)
    if finite is not None:
        finite = finite.take(np.arange(rows.direct.size).reshape(rows.direct.shape)[areas].ravel())
        own = replace(own, psi=finite.superpopulation_matrix(own.psi))
    y, psi, X = own.direct, own.psi, X[areas]
    fit = fit_blocks(y, X, psi, spec.structure, method=spec.method)
    errors = mse_blocks(fit, y, X, psi)
    mse = errors.mse
    if spec.mse == "bootstrap" and seed is not None:
        mse = bootstrap_blocks(fit, y, X, psi, own.labels, replicates=spec.replicates, seed=seed)
    rule = _rule(spec, own, X, terms, fit, areas)
    if finite is None:
        return _Part(own, X, fit, errors, mse, rule)
    eblup, mse, errors = finite.blocks(fit.eblup, mse, errors, psi)
    if rule.posterior is not None:
        rule = replace(rule, posterior=finite.posterior(rule.posterior))
    rule = replace(rule, words=f"{rule.words}, finite population")
    return _Part(own, X, replace(fit, eblup=eblup), errors, mse, rule)


def _rule(
    spec: MultivariateFayHerriot, rows: ComponentRows, X: np.ndarray, terms: list[tuple[str, str]],
    fit: BlockFit, areas: np.ndarray,
) -> IntervalRule:  # fmt: skip
    """Choose what the intervals of a fit rest on, and name it."""
    sampled = rows.sampled.sum(axis=0)
    freedom = sampled - np.array([sum(name == c for name, _ in terms) for c in rows.components])
    if sampled.min() >= FEW_AREAS and not degenerate(fit):
        return IntervalRule(areas, freedom, None, "t on the MSE", "")
    alone = spec.structure in ("diagonal", "common")
    if freedom.min() <= (2 if alone else 2 * len(rows.components)):
        return IntervalRule(areas, freedom, None, "none: too few areas", "")
    prior = "flat-variance" if alone else "flat-covariance"
    posterior = block_posterior(fit, rows.direct, X, rows.psi)
    return IntervalRule(areas, freedom, posterior, f"posterior, {prior} prior", prior)


def _ends(spec: MultivariateFayHerriot, part: _Part) -> tuple[np.ndarray, np.ndarray]:
    n, size = part.fit.eblup.shape
    each = np.broadcast_to(np.eye(size), (n, size, size))
    mse = np.einsum("drr->dr", part.mse).ravel()
    return interval_ends(
        part.rule, each, part.fit.eblup.ravel(), mse, np.tile(part.rule.freedom, n), spec.level
    )


def _by_fit(rows: ComponentRows, frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Put the tables of the fits one below the other, labelled by the `per` columns."""
    per = list(rows.fits)
    if not per:
        return frames[0]
    keys = rows.fits[per[0]].tolist() if len(per) == 1 else list(rows.fits.itertuples(index=False, name=None))
    return pd.concat(frames, keys=keys, names=per)


def _residuals(parts: Sequence[_Part], size: int) -> pd.DataFrame:
    frames = []
    for part in parts:
        places = (part.rule.areas[:, None] * size + np.arange(size)).ravel()
        frame = residual_table(part.rows, part.X, part.fit)
        frames.append(frame.set_axis(pd.Index(places[frame.index], name="row")))
    return pd.concat(frames).sort_index()


def joint_error(own: np.ndarray, shared: sparse.csr_array) -> JointError:
    """Joint error of all rows: blocks within areas, and what all share through the coefficients."""
    n, size = own.shape[:2]
    root = root_of(own)
    scale = np.einsum("drr->dr", root).ravel()
    place = np.arange(n * size).reshape(n, size)
    off = ~np.eye(size, dtype=bool)
    to, of = (np.broadcast_to(place[:, :, None], root.shape), np.broadcast_to(place[:, None, :], root.shape))
    shape = (n * size, n * size)
    left = sparse.csr_array((root[:, off].ravel(), (to[:, off].ravel(), of[:, off].ravel())), shape=shape)
    right = sparse.csr_array(sparse.eye_array(n * size))
    return JointError(scale, shared, left, right)


def run_id(spec: MultivariateFayHerriot, rows: ComponentRows, X: np.ndarray, seed: str) -> str:
    """Twelve hexadecimal digits that change with version, options, data, labels or seed."""
    digest = hashlib.sha256()
    for text in (sae.__version__, spec.to_toml(), seed, *rows.labels):
        digest.update(text.encode() + b"\0")
    for array in (rows.direct, rows.psi, X):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:12]
