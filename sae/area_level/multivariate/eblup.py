"""EBLUPs of the multivariate model: each fit alone, then all put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import sparse

from sae.area_level.finite_population import FinitePopulation
from sae.area_level.multivariate.result import IntervalRule, interval_ends
from sae.area_level.multivariate.rows import ComponentRows
from sae.area_level.multivariate.tables import (
    component_index,
    correlation_table,
    degenerate,
    fit_diagnostics,
    messages_of,
    residuals_of,
    variance_table,
)
from sae.numerics.inference.joint_error import JointError
from sae.numerics.inference.psis import K_LIMIT
from sae.numerics.inference.transforms import TRANSFORMS
from sae.numerics.linalg.basis import Basis
from sae.numerics.multivariate.areas import BlockAreas, block_basis
from sae.numerics.multivariate.bootstrap import bootstrap_blocks
from sae.numerics.multivariate.fit import BlockFit, BlockMse, fit_blocks, mse_blocks, root_of
from sae.numerics.multivariate.flat_prior import flat_posterior
from sae.results import (
    FEW_AREAS,
    Eblup,
    FitTables,
    Interval,
    IntervalKind,
    NormalDraws,
    coefficient_table,
    same_source,
)
from sae.tables import label_text

__all__ = ["MultivariateEblup", "fit_multivariate", "joint_error"]


@dataclass(frozen=True, slots=True, eq=False)
class MultivariateEblup:
    """What a multivariate fit gives.

    Attributes
    ----------
    eblup : Eblup
        One row per area and component.
    effect_covariance, correlations : DataFrame
        As of `MultivariateResult`.
    rules : tuple of IntervalRule
        One per fit.
    """

    eblup: Eblup
    effect_covariance: pd.DataFrame
    correlations: pd.DataFrame
    rules: tuple[IntervalRule, ...]


@dataclass(frozen=True, eq=False)
class _Part:
    """One fit: its rows and what was estimated from them, designs and coefficients in `basis`."""

    rows: ComponentRows
    basis: Basis
    X: np.ndarray
    fit: BlockFit
    errors: BlockMse
    mse: np.ndarray
    rule: IntervalRule
    mse_name: str = ""


def fit_multivariate(
    rows: ComponentRows,
    X: np.ndarray,
    terms: list[tuple[str, str]],
    *,
    structure: str,
    method: str,
    bootstrap: bool,
    mse_name: str,
    level: float,
    replicates: int | None,
    seed: int | None,
    finite: FinitePopulation | None = None,
) -> MultivariateEblup:
    """Fit, predict and measure the error.

    Parameters
    ----------
    rows : ComponentRows
        D areas with R components.
    X : ndarray, shape (D, R, p)
    terms : list of (component, term)
        Names of the p columns.
    structure : str
        Of the covariance of the effects.
    method : {"reml", "ml"}
    bootstrap : bool
        Whether the MSE is that of the parametric bootstrap; else it is analytical.
    mse_name : str
        As it stands in the estimate table.
    level : float
        Of the intervals.
    replicates, seed
        Of the bootstrap.
    finite : FinitePopulation, optional
        Sizes of the populations whose figures are predicted.
    """
    size, finite_text = len(rows.components), "" if finite is None else ", finite population"
    parts = []
    for k in range(len(rows.fits)):
        areas, own = rows.of_fit(k)
        population = None
        if finite is not None:
            population = finite.take(np.arange(rows.direct.size).reshape(rows.direct.shape)[areas].ravel())
            own = replace(own, psi=population.superpopulation_matrix(own.psi))
        part = replace(_fit(own, X[areas], areas, terms, structure, method), mse_name=mse_name)
        if bootstrap and seed is not None:
            mse, tally = bootstrap_blocks(
                part.fit,
                part.errors,
                own.direct,
                part.X,
                own.psi,
                own.labels,
                replicates=replicates,
                seed=seed,
            )
            part = replace(part, mse=mse, mse_name=f"parametric bootstrap, {tally.text}{finite_text}")
        parts.append(part if population is None else _of_population(part, population))
    order = np.argsort(np.concatenate([part.rule.areas for part in parts]), kind="stable")

    def joined(arrays: list[np.ndarray]) -> np.ndarray:
        return np.concatenate(arrays)[order]

    def by_row(value: Callable[[_Part], object]) -> np.ndarray:
        return np.repeat(joined([np.full(len(part.X), value(part), dtype=object) for part in parts]), size)

    ends = [_ends(part, level) for part in parts]
    low, high = (joined([pair[side].reshape(-1, size) for pair in ends]).ravel() for side in (0, 1))
    estimate = joined([part.fit.eblup for part in parts]).ravel()
    own_error = joined([part.mse - part.errors.g2 for part in parts])
    places = (order[:, None] * size + np.arange(size)).ravel()
    blocks = [sparse.csr_array(part.errors.shared.reshape(-1, X.shape[2])) for part in parts]
    error = joint_error(own_error, sparse.csr_array(sparse.block_diag(blocks, format="csr"))[places])
    components = pd.Index(rows.components, name="component")
    fits = ["\x1f".join(map(label_text, values)) for values in rows.fits.to_numpy()]
    streams = tuple(
        "\x1f".join(filter(None, (fit, component, term))) for fit in fits for component, term in terms
    )
    tables = FitTables(
        _by_fit(rows, [_coefficients(part, terms) for part in parts]),
        _by_fit(rows, [variance_table(part.fit, components) for part in parts]),
        _by_fit(rows, [fit_diagnostics(p.rows, p.X, terms, p.fit, p.errors, components) for p in parts]),
        _residuals(parts, size),
    )
    missing = [k for k, part in enumerate(parts) if part.rule.kind is IntervalKind.NONE]
    posteriors = [part.rule.posterior for part in parts]
    uncertain = [k for k, own in enumerate(posteriors) if own is not None and own.nodes.k_hat > K_LIMIT]
    normal = NormalDraws(estimate, error, TRANSFORMS["identity"], rows.labels, streams)
    error, source = same_source(
        [_interval(part, *pair) for part, pair in zip(parts, ends, strict=True)],
        [(part.rule.areas[:, None] * size + np.arange(size)).ravel() for part in parts],
        estimate,
        error,
        normal,
    )
    eblup = Eblup(
        estimate,
        np.einsum("drr->dr", joined([part.mse for part in parts])).ravel(),
        low,
        high,
        by_row(lambda part: part.rule.text),
        by_row(lambda part: part.rule.prior),
        joined([np.einsum("drr->dr", part.errors.weights) for part in parts]).ravel(),
        by_row(lambda part: part.mse_name),
        error,
        source,
        tables,
        tuple(messages_of(rows, X, terms, [part.fit for part in parts], missing, uncertain)),
    )
    return MultivariateEblup(
        eblup,
        _by_fit(
            rows, [pd.DataFrame(part.fit.covariance, index=components, columns=components) for part in parts]
        ),
        _by_fit(rows, [correlation_table(part.fit, rows.components) for part in parts]),
        tuple(part.rule for part in parts),
    )


def _fit(
    rows: ComponentRows,
    X: np.ndarray,
    areas: np.ndarray,
    terms: list[tuple[str, str]],
    structure: str,
    method: str,
) -> _Part:
    basis = block_basis(rows.direct, X)
    X = basis.of(X)
    fit = fit_blocks(rows.direct, X, rows.psi, structure, method=method)
    errors = mse_blocks(fit, rows.direct, X, rows.psi)
    return _Part(rows, basis, X, fit, errors, errors.mse, _rule(rows, X, terms, fit, areas))


def _of_population(part: _Part, finite: FinitePopulation) -> _Part:
    """Take a fit from the rates to the figures of finite populations."""
    eblup, mse, errors = finite.blocks(part.fit.eblup, part.mse, part.errors, part.rows.psi)
    rule = replace(part.rule, details=("finite population",))
    if rule.posterior is not None:
        rule = replace(rule, posterior=finite.posterior(rule.posterior))
    return replace(part, fit=replace(part.fit, eblup=eblup), errors=errors, mse=mse, rule=rule)


def _rule(
    rows: ComponentRows, X: np.ndarray, terms: list[tuple[str, str]], fit: BlockFit, areas: np.ndarray
) -> IntervalRule:
    """Choose what the intervals of a fit rest on."""
    sampled = rows.sampled.sum(axis=0)
    freedom = sampled - np.array([sum(name == c for name, _ in terms) for c in rows.components])
    if sampled.min() >= FEW_AREAS and not degenerate(fit):
        return IntervalRule(areas, freedom, IntervalKind.T)
    alone = fit.structure in ("diagonal", "common")
    if freedom.min() <= (2 if alone else 2 * len(rows.components)):
        return IntervalRule(areas, freedom, IntervalKind.NONE)
    prior = "flat-variance" if alone else "flat-covariance"
    posterior = flat_posterior(fit, BlockAreas(rows.direct, X, rows.psi))
    return IntervalRule(areas, freedom, IntervalKind.POSTERIOR, prior, posterior)


def _ends(part: _Part, level: float) -> tuple[np.ndarray, np.ndarray]:
    n, size = part.fit.eblup.shape
    each = np.broadcast_to(np.eye(size), (n, size, size))
    mse = np.einsum("drr->dr", part.mse).ravel()
    return interval_ends(part.rule, each, part.fit.eblup.ravel(), mse, np.tile(part.rule.freedom, n), level)


def _interval(part: _Part, low: np.ndarray, high: np.ndarray) -> Interval:
    """Return the intervals of a fit with the joint posterior that they are quantiles of."""
    rule = part.rule
    joint = None if rule.posterior is None else rule.posterior.joint
    return Interval(low, high, rule.kind, rule.prior, details=rule.details, posterior=joint)


def _coefficients(part: _Part, terms: list[tuple[str, str]]) -> pd.DataFrame:
    beta, cov = part.basis.natural(part.fit.beta), part.basis.natural_covariance(part.fit.beta_cov)
    return coefficient_table(beta, np.sqrt(np.diag(cov)), component_index(terms))


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
        X, fit = part.X, part.fit
        total = np.diag(fit.covariance) + np.einsum("drr->dr", part.rows.psi)
        left = total - np.einsum("drp,pq,drq->dr", X, fit.beta_cov, X, optimize=True)
        frame = residuals_of(part.rows, X @ fit.beta, left, total)
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
