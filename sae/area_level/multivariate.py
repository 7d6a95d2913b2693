"""The multivariate Fay–Herriot model: several direct estimates of each area, joined by correlated effects."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from scipy import sparse

import sae
from sae.area_level.multivariate_inputs import ComponentRows, read_components
from sae.area_level.multivariate_learnt import (
    coefficient_table,
    correlation_table,
    degenerate,
    fit_diagnostics,
    residual_table,
    variance_table,
    warn,
)
from sae.area_level.multivariate_result import MultivariateResult, interval_ends
from sae.errors import SaeSpecError, name_some
from sae.numerics.block_structures import STRUCTURES
from sae.numerics.blocks import BlockFit, fit_blocks, mse_blocks, root_of
from sae.numerics.blocks_bootstrap import bootstrap_blocks
from sae.numerics.blocks_posterior import BlockPosterior, block_posterior
from sae.numerics.joint_error import JointError
from sae.numerics.streams import seed_of
from sae.numerics.transforms import TRANSFORMS
from sae.results import NormalDraws
from sae.specs import Design, Specification, one_of, split_formula
from sae.specs.design import check_rank
from sae.tables import EstimateTable

if TYPE_CHECKING:
    from sae.tables import DirectEstimates

__all__ = ["MultivariateFayHerriot"]

FEW_AREAS = 50  # with fewer, the error of the variances and of the MSE itself is no longer small
_STRUCTURE_WORDS = {
    "diagonal": "independent effects",
    "common": "independent effects of one variance",
    "ar1": "AR(1) effects",
    "har1": "heteroscedastic AR(1) effects",
    "unstructured": "correlated effects",
}
_METHODS = ("reml", "ml")


@dataclass(frozen=True, repr=False)
class MultivariateFayHerriot(Specification):
    """Multivariate Fay–Herriot model of R direct estimates per area.

    y_d = X_d β + u_d + e_d, u_d ~ N(0, V_u), e_d ~ N(0, Ψ_d) with the R × R sampling covariances Ψ_d known.

    Parameters
    ----------
    formula : str or sequence of str
        One "outcome ~ covariates" per component (several indicators of `DirectEstimates`, or columns of a
        frame with one row per area); or one formula for the levels of `components`. Every component has
        coefficients of its own.
    components : str
        Grouping column of `DirectEstimates` whose levels are the components, such as "birth".
    domain : str
        Column of a plain frame with the labels of the areas.
    vardir : mapping
        Columns of a plain frame: {"y1": variance, "y2": variance, ("y1", "y2"): covariance}; a covariance may
        be 0 where the samples are independent. `DirectEstimates` bring their own, with
        ``sae.direct(..., covariance=True)``; smoothed variances keep the correlations, which are 0 where the
        design variance was 0 or missing.
    structure : {"unstructured", "diagonal", "common", "ar1", "har1"}
        V_u: any covariance; independent effects; of one variance; AR(1) along the components, stationary, or
        with a variance each and starting from an effect of variance 1, in squared units of the estimates
        (Benavent and Morales' models 1 to 3): the last one depends on the unit, the AR ones on the order.
    method : {"reml", "ml"}
    mse : {"auto", "analytical", "bootstrap"}
        "auto" is the analytical one, G1 + G2 + 2 G3. The parametric bootstrap needs a seed.
    level : float
        Of the intervals: Student's t on the MSE with 50 sampled areas or more in every component and effects
        of positive variance that are not perfectly correlated; else quantiles of the posterior with a flat
        prior on the covariance of the effects.
    replicates : int
        Of the bootstrap.

    References
    ----------
    Benavent and Morales (2016), CSDA 94, 372–390; Rao and Molina (2015), section 4.4.1.

    Examples
    --------
    >>> frame = pd.DataFrame({
    ...     "area": list("ABCDEFGH"), "x": [1, 2, 3, 4, 5, 6, 7, 8],
    ...     "native": [3.1, 4.2, 5.0, 6.3, 7.1, 8.0, 8.8, 10],
    ...     "foreign": [2.2, 2.9, 4.5, 4.8, 6.3, 6.6, 8.1, None], "v_n": 0.02, "v_f": 0.2})
    >>> spec = MultivariateFayHerriot(["native ~ x", "foreign ~ x"], domain="area",
    ...                               vardir={"native": "v_n", "foreign": "v_f", ("native", "foreign"): 0})
    >>> gap = spec.fit(frame).contrast({"foreign": 1, "native": -1}, name="gap")
    >>> gap[["domain", "estimate"]].round(1).tail(1).values.tolist()  # H has no foreign-born sample
    [['H', -1.1]]
    """

    kind: ClassVar[str] = "multivariate_fay_herriot"

    formula: str | Sequence[str]
    components: str = ""
    domain: str = "domain"
    vardir: Mapping[Any, Any] | Sequence[tuple[Any, ...]] = ()
    structure: str = "unstructured"
    method: str = "reml"
    mse: str = "auto"
    level: float = 0.95
    replicates: int = 200

    def __post_init__(self) -> None:
        formulas = (self.formula,) if isinstance(self.formula, str) else tuple(self.formula)
        object.__setattr__(self, "formula", formulas)
        entries = (
            self.vardir.items()
            if isinstance(self.vardir, Mapping)
            else ((v[:-1], v[-1]) for v in self.vardir)
        )
        vardir = tuple((*((key,) if isinstance(key, str) else key), column) for key, column in entries)
        object.__setattr__(self, "vardir", vardir)
        outcomes = [split_formula(formula)[0] for formula in formulas]
        if len(set(outcomes)) < len(outcomes) or not outcomes:
            raise SaeSpecError(
                f"The formulas model {name_some(outcomes)}: one formula per component is needed."
            )
        if self.components and len(formulas) > 1:
            raise SaeSpecError(
                f'components="{self.components}" takes one formula; there are {len(formulas)}.',
                hint="The components are either several indicators or the levels of one column.",
            )
        one_of("structure", self.structure, list(STRUCTURES))
        one_of("method", self.method, _METHODS)
        one_of("mse", self.mse, ("auto", "analytical", "bootstrap"))
        if not 0.0 < self.level < 1.0:
            raise SaeSpecError(f"level = {self.level} is not between 0 and 1.")
        if self.replicates < 2:
            raise SaeSpecError(f"replicates = {self.replicates}: a bootstrap needs at least 2.")

    @property
    def words(self) -> str:
        """The model in a few words, as it stands in the estimate table."""
        split = f" by {self.components}" if self.components else ""
        head = f"multivariate Fay–Herriot, {self.structure}, {self.method.upper()}"
        return f"{head}: {'; '.join(self.formula)}{split}"

    def _words(self) -> str:
        outcomes = ", ".join(split_formula(formula)[0] for formula in self.formula)
        split = f" by {self.components}" if self.components else ""
        return (
            f"models {outcomes}{split} together, with {_STRUCTURE_WORDS[self.structure]}; "
            f"{self.method.upper()}; MSE: {self._mse_words}"
        )

    @property
    def _mse_words(self) -> str:
        if self.mse == "bootstrap":
            return f"parametric bootstrap, {self.replicates} replicates"
        return "analytical, Benavent–Morales"

    def fit(
        self,
        data: DirectEstimates | pd.DataFrame,
        *,
        areas: pd.DataFrame | None = None,
        seed: int | np.random.Generator | None = None,
    ) -> MultivariateResult:
        """Fit the model and predict every component of every area, with or without a direct estimate.

        Parameters
        ----------
        data : DirectEstimates or DataFrame
            Direct estimates with their covariances; a frame has one row per area.
        areas : DataFrame, optional
            Covariates, joined by name; their areas that `data` lacks are predicted too.
        seed : int or Generator, optional
            Of the bootstrap.

        Returns
        -------
        MultivariateResult
            One row per area and component.

        Raises
        ------
        SaeInputError
            If an estimate lacks a positive variance or its covariances, these are not positive definite, or a
            component has no more areas than coefficients; areas and components are named.
        SaeSpecError
            If the bootstrap has no seed.
        """
        if self.mse == "bootstrap" and seed is None:
            raise SaeSpecError(
                "The MSE comes from a parametric bootstrap, which draws random numbers; it has no seed.",
                hint="Call fit(..., seed=1), with any number.",
            )
        outcomes, covariates = zip(*map(split_formula, self.formula), strict=True)
        rows = read_components(
            data,
            areas,
            outcomes=outcomes,
            split=self.components,
            domain=self.domain,
            vardir=tuple(self.vardir),
        )
        X, terms = _designs(rows, covariates * (1 if len(covariates) > 1 else len(rows.components)))
        return _solve(self, rows, X, terms, None if seed is None else seed_of(seed))


def _designs(rows: ComponentRows, covariates: Sequence[str]) -> tuple[np.ndarray, list[tuple[str, str]]]:
    """Return the designs, shape (D, R, p), every component with columns of its own, and their names."""
    size, parts, terms = len(rows.components), [], []
    for r, (component, formula) in enumerate(zip(rows.components, covariates, strict=True)):
        frame, names = rows.covariates.iloc[r::size], rows.names[r::size]
        seen = rows.sampled[:, r]
        design, learnt = Design.learn(formula, frame[seen], list(names[seen]))
        check_rank(learnt, design.columns, f" of {component}")
        parts.append(design.rebuild(frame, list(names)))
        terms += [(component, column) for column in design.columns]
    X = np.zeros((len(rows.direct), size, len(terms)))
    start = 0
    for r, part in enumerate(parts):
        X[:, r, start : start + part.shape[1]] = part
        start += part.shape[1]
    return X, terms


def _solve(
    spec: MultivariateFayHerriot,
    rows: ComponentRows,
    X: np.ndarray,
    terms: list[tuple[str, str]],
    seed: int | None,
) -> MultivariateResult:
    """Fit, predict, measure the error and wrap it all up."""
    y, psi, size = rows.direct, rows.psi, len(rows.components)
    fit = fit_blocks(y, X, psi, spec.structure, method=spec.method)
    parts = mse_blocks(fit, y, X, psi)
    mse, own = parts.mse, parts.mse - parts.g2
    if spec.mse == "bootstrap" and seed is not None:
        mse = bootstrap_blocks(fit, y, X, psi, rows.labels, replicates=spec.replicates, seed=seed)
        own = mse - parts.g2
    error = _joint_error(own, parts.shared)
    freedom = rows.sampled.sum(axis=0) - np.array(
        [sum(name == c for name, _ in terms) for c in rows.components]
    )
    posterior, interval = _rule(spec, rows, X, fit, freedom)
    estimate, flat_mse = fit.eblup.ravel(), np.einsum("drr->dr", mse).ravel()
    low, high = interval_ends(
        posterior, np.broadcast_to(np.eye(size), (len(y), size, size)), estimate, flat_mse,
        np.tile(freedom, len(y)), interval, spec.level,
    )  # fmt: skip
    run = _run_id(spec, rows, X, seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        cv = np.where(estimate != 0, np.sqrt(flat_mse) / np.abs(estimate), np.nan)
    table = rows.table.assign(
        estimate=estimate, mse=flat_mse, se=np.sqrt(flat_mse), cv=cv, ci_low=low, ci_high=high,
        interval=interval, gamma=np.einsum("drr->dr", parts.weights).ravel(), in_sample=rows.sampled.ravel(),
        flag="e",
        prior=_prior(spec.structure) if posterior else "", mse_method=spec._mse_words,
        method=f"multivariate EBLUP, {spec.method.upper()}", model=spec.words, run=run,
    )  # fmt: skip
    messages = warn(rows, X, terms, fit, interval)
    labels = tuple(f"{component}\x1f{term}" for component, term in terms)
    components = pd.Index(rows.components, name="component")
    return MultivariateResult(
        estimates=EstimateTable(table, rows.groups),
        coefficients=coefficient_table(fit, terms),
        variance_components=variance_table(fit, components),
        diagnostics=fit_diagnostics(rows, X, terms, fit, parts, components),
        residuals=residual_table(rows, X, fit),
        provenance={
            "sae": sae.__version__, "model": spec.to_toml(), "seed": seed, "run": run, "warnings": messages,
            "direct": dict(rows.provenance),
        },
        spec=spec,
        areas=rows.covariates,
        title=f"Multivariate Fay–Herriot ({_STRUCTURE_WORDS[spec.structure]}, {spec.method.upper()})",
        joint=error,
        source=NormalDraws(estimate, error, TRANSFORMS["identity"], rows.labels, labels),
        effect_covariance=pd.DataFrame(fit.covariance, index=components, columns=components),
        correlations=correlation_table(fit, rows.components),
        rows=rows,
        freedom=freedom,
        posterior=posterior,
    )  # fmt: skip


def _joint_error(own: np.ndarray, shared: np.ndarray) -> JointError:
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
    return JointError(scale, sparse.csr_array(shared.reshape(n * size, -1)), left, right)


def _prior(structure: str) -> str:
    return "flat-variance" if structure in ("diagonal", "common") else "flat-covariance"


def _rule(
    spec: MultivariateFayHerriot, rows: ComponentRows, X: np.ndarray, fit: BlockFit, freedom: np.ndarray
) -> tuple[BlockPosterior | None, str]:
    """Choose what the intervals rest on, and name it."""
    if rows.sampled.sum(axis=0).min() >= FEW_AREAS and not degenerate(fit):
        return None, "t on the MSE"
    needed = 2 if spec.structure in ("diagonal", "common") else 2 * len(rows.components)
    if freedom.min() <= needed:
        return None, "none: too few areas"
    posterior = block_posterior(fit, rows.direct, X, rows.psi)
    return posterior, f"posterior, {_prior(spec.structure)} prior"


def _run_id(spec: MultivariateFayHerriot, rows: ComponentRows, X: np.ndarray, seed: int | None) -> str:
    """Twelve hexadecimal digits that change with version, options, data, labels or seed."""
    digest = hashlib.sha256()
    for text in (sae.__version__, spec.to_toml(), str(seed), *rows.labels):
        digest.update(text.encode() + b"\0")
    for array in (rows.direct, rows.psi, X):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:12]
