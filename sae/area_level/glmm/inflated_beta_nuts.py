"""Zero/one-inflated beta: its density, the PyMC model with structured effects, and the result."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.special import expit, gammaln

import sae
from sae.area_level.multivariate.bayes import parameter_row
from sae.area_level.rows import AreaRows, read_rows
from sae.errors import SaeInputError, name_some
from sae.numerics.inference.priors import HALF_CAUCHY, HALF_NORMAL
from sae.numerics.random.streams import generator
from sae.numerics.spacetime.precision import walk_covariance
from sae.results import Result, posterior_joint, posterior_result
from sae.samplers import Sample
from sae.samplers.chains import ChainPosterior
from sae.samplers.pymc import CHAINS, Chains, sample_chains
from sae.specs import Design, split_formula
from sae.specs.design import check_rank
from sae.specs.priors import Prior, prior_of

if TYPE_CHECKING:
    from sae.area_level.glmm.inflated_beta import InflatedBetaFayHerriot

__all__ = ["ShareProblem", "beta_parts", "fit_inflated", "map_root", "read_shares", "sample_inflated"]

_FEWEST = 2.0  # effective persons at which shares strictly between 0 and 1 have no variance left
_WIDE = 10.0  # prior standard deviation of a coefficient, logits per standard deviation of the covariate
_NARROW = 1e-9  # smallest variance between 0 and 1, as a share of the largest possible


@dataclass(frozen=True, eq=False)
class ShareProblem:
    """Rows of the model as arrays.

    Attributes
    ----------
    rows : AreaRows
    X : ndarray, shape (M, p)
        Standardised by `centre` and `width`.
    design : Design
    centre, width : ndarray, shape (p,)
    area, period : ndarray of int, shape (M,)
    root : ndarray, shape (areas, r)
        Root of the covariance of the standardised effect over the map; no columns without a map.
    order : int
        0 no time effects, 1 AR(1), 2 random walk.
    walk : ndarray, shape (T, T)
        Root of the covariance of a random walk, its level taken out.
    """

    rows: AreaRows
    X: np.ndarray
    design: Design
    centre: np.ndarray
    width: np.ndarray
    area: np.ndarray
    period: np.ndarray
    root: np.ndarray
    order: int
    walk: np.ndarray
    islands: list[str]


def read_shares(spec: InflatedBetaFayHerriot, data: Any, areas: pd.DataFrame | None) -> ShareProblem:
    """Check the rows, and lay them on map and periods.

    Raises
    ------
    SaeInputError
    """
    outcome, covariates = split_formula(spec.formula)
    per = (spec.temporal.column,) if spec.temporal else ()  # type: ignore[union-attr]
    rows = read_rows(
        data, areas, outcome=outcome, domain=spec.domain, vardir="vardir", n_eff=spec.n_eff, per=per
    )
    on, y = rows.sampled, rows.direct
    with np.errstate(invalid="ignore"):
        outside, few = on & ((y < 0) | (y > 1)), on & ~(rows.n_eff > _FEWEST)
    if outside.any():
        raise SaeInputError(
            f"{int(outside.sum())} direct estimates lie outside [0, 1]: {name_some(rows.names[outside])}.",
            hint="Shares lie between 0 and 1; divide percentages by 100.", areas=rows.names[outside],
        )  # fmt: skip
    if few.any():
        raise SaeInputError(
            f"{int(few.sum())} of {int(on.sum())} areas have no effective sample size above {_FEWEST:g}: "
            f"{name_some(rows.names[few])}.",
            hint='Smooth it with sae.direct(..., smoothing="deff"), or drop the direct estimate so that '
            "these areas are predicted without a sample.",
            areas=rows.names[few], column=spec.n_eff,
        )  # fmt: skip
    design, learnt = Design.learn(covariates, rows.covariates[on], list(rows.names[on]))
    check_rank(learnt, design.columns)
    X = design.rebuild(rows.covariates, list(rows.names))
    constant = np.ptp(learnt, axis=0) == 0.0
    centre = np.where(constant | ~constant.any(), 0.0, learnt.mean(axis=0))
    width = np.where(constant, 1.0, learnt.std(axis=0, ddof=1))
    texts = rows.table["domain"].astype("string")
    if per and rows.groups != per:  # several columns make the domains: the area is all but the period
        texts = rows.table[[g for g in rows.groups if g != per[0]]].astype("string").agg(" / ".join, axis=1)
    labels = list(dict.fromkeys(texts))
    area = pd.Index(labels).get_indexer(pd.Index(texts))
    period, order, walk = _periods(spec, rows)
    root, islands = np.empty((len(labels), 0)), []
    if spec.spatial is not None:
        adjacency = spec.spatial.adjacency(labels)  # type: ignore[union-attr]
        root = map_root(adjacency)
        islands = [labels[d] for d in np.flatnonzero(np.asarray(adjacency.sum(axis=1)).ravel() == 0)]
    return ShareProblem(
        rows, (X - centre) / width, design, centre, width, area, period, root, order, walk, islands
    )


def _periods(spec: InflatedBetaFayHerriot, rows: AreaRows) -> tuple[np.ndarray, int, np.ndarray]:
    """Position of each row in time, 0 to T - 1, a gap of whole numbers being a gap in time."""
    if spec.temporal is None:
        return np.zeros(len(rows.direct), dtype=int), 0, np.ones((1, 1))
    column = spec.temporal.column  # type: ignore[union-attr]
    values = rows.covariates[column]
    numbers = pd.to_numeric(values, errors="coerce")
    if numbers.notna().all() and (numbers % 1 == 0).all():
        period = (numbers - numbers.min()).to_numpy(dtype=int)
    else:
        kinds = sorted(set(values.astype(str)))
        period = np.array([kinds.index(text) for text in values.astype(str)])
    T = int(period.max()) + 1
    if T < 2:
        raise SaeInputError(f"{column} has one period only.", hint="Leave temporal= out.", column=column)
    walk = walk_covariance(1, T)
    size, turn = np.linalg.eigh(walk)
    return period, 1 if type(spec.temporal).__name__ == "AR1" else 2, turn * np.sqrt(np.maximum(size, 0.0))


def map_root(adjacency: sparse.csr_matrix) -> np.ndarray:
    """Return a root of the covariance of the intrinsic autoregression, shape (D, r).

    Each connected part is scaled so that the geometric mean of its variances is 1, and sums to zero; an area
    without a neighbour has variance 1.
    """
    A = sparse.csr_matrix(adjacency).toarray().astype(float)
    _, label = connected_components(A, directed=False)
    root = np.zeros((len(A), 0))
    for part in range(label.max() + 1):
        inside = np.flatnonzero(label == part)
        own = np.ones((1, 1))
        if len(inside) > 1:
            W = A[np.ix_(inside, inside)]
            inverse = np.linalg.pinv(np.diag(W.sum(axis=1)) - W, hermitian=True)
            size, turn = np.linalg.eigh(inverse / np.exp(np.log(np.diag(inverse)).mean()))
            own = (turn * np.sqrt(np.maximum(size, 0.0)))[:, 1:]  # the first is the level
        columns = np.zeros((len(A), own.shape[1]))
        columns[inside] = own
        root = np.column_stack([root, columns])
    return root


def beta_parts(eta: Any, n: Any, xp: Any) -> tuple[Any, Any, Any, Any, Any]:
    """Return log P(0), log P(1), P(between) and the parameters of the beta between, from logit θ and n.

    `xp` is numpy or pytensor.tensor.
    """
    theta = 1.0 / (1.0 + xp.exp(-eta))
    log_one = -n * xp.log1p(xp.exp(-eta))
    log_zero = -n * xp.log1p(xp.exp(eta))
    one = xp.exp(log_one)
    between = xp.maximum(-xp.expm1(log_zero) - one, 1e-300)
    mean = (theta - one) / between
    second = (theta * theta + theta * (1.0 - theta) / n - one) / between
    largest = mean * (1.0 - mean)
    variance = xp.maximum(second - mean * mean, _NARROW * largest)
    precision = largest / variance - 1.0
    return log_zero, log_one, between, mean * precision, (1.0 - mean) * precision


def _log_density(eta: Any, y: Any, n: Any, xp: Any, log_gamma: Any) -> Any:
    """Log density of direct shares; with 0.5 standing in for 0 and 1, where the beta is not asked."""
    log_zero, log_one, between, a, b = beta_parts(eta, n, xp)
    inside = xp.where((y > 0) & (y < 1), y, 0.5)
    beta = (
        xp.log(between) + log_gamma(a + b) - log_gamma(a) - log_gamma(b)
        + (a - 1.0) * xp.log(inside) + (b - 1.0) * xp.log1p(-inside)
    )  # fmt: skip
    return xp.where(y <= 0, log_zero, xp.where(y >= 1, log_one, beta))


def sample_inflated(
    y: np.ndarray, n: np.ndarray, problem: ShareProblem, code: int, unit: float, mixed: bool, *, seed: int,
    draws: int = 1000, tune: int = 1000, chains: int = CHAINS,
) -> Chains:  # fmt: skip
    """Draw logits of all rows and the parameters.

    Parameters
    ----------
    y, n : ndarray, shape (m,)
        Direct shares and effective sizes of the sampled rows.
    problem : ShareProblem
    code, unit : int, float
        Prior of the standard deviations: see `hyperprior`.
    mixed : bool
        BYM2: an independent effect beside that over the map.
    """
    n_areas, rank = problem.root.shape  # rank 0 without a map
    T, order, on = len(problem.walk), problem.order, problem.rows.sampled
    p = problem.X.shape[1]

    def build(data: Mapping[str, Any]) -> None:
        import pymc as pm
        import pytensor.tensor as pt

        base = {HALF_NORMAL: pm.HalfNormal, HALF_CAUCHY: pm.HalfCauchy}.get(code, pm.Exponential)
        unit_ = data["unit"][0]
        beta = pm.Normal("beta", 0.0, _WIDE, shape=p)  # chains start within a logit of 0
        sigma = pm.Deterministic("sigma_u", base("sd_u", 1.0) * unit_)
        effect = 0.0
        if rank:
            effect = data["root"] @ pm.Normal("s", 0.0, 1.0, shape=rank)
        if mixed or not rank:
            alone = pm.Normal("v", 0.0, 1.0, shape=n_areas)
            if rank:
                share = pm.Uniform("rho", 0.0, 1.0)
                alone = data["inland"] * pt.sqrt(1.0 - share) * alone
                scale = data["inland"] * pt.sqrt(share) + (1.0 - data["inland"])
                effect = alone + scale * effect
            else:
                effect = alone
        eta = data["X"] @ beta + (sigma * effect)[data["area"]]
        if order:
            sd = pm.Deterministic("sigma_v", base("sd_v", 1.0) * unit_)
            z = pm.Normal("t", 0.0, 1.0, shape=(n_areas, T))
            if order == 1:
                phi = pm.Uniform("rho_time", -1.0, 1.0)
                lag = np.arange(T)[:, None] - np.arange(T)[None, :]
                power = pt.stack([phi**k if k else pt.ones(()) for k in range(T)])
                first = np.where(np.arange(T) == 0, 1.0, 0.0)
                columns = first + (1.0 - first) * pt.sqrt(1.0 - phi * phi)
                walk = power[np.maximum(lag, 0)] * (lag >= 0) * columns[None, :]
            else:
                walk = data["walk"]
            eta = eta + sd * (z @ walk.T)[data["area"], data["period"]]
        pm.Deterministic("eta", eta)
        here = eta[data["sampled"]]
        pm.Potential("likelihood", _log_density(here, data["y"], data["n"], pt, pt.gammaln).sum())

    inland = np.ones(n_areas)
    inland[[d for d, name in enumerate(_areas(problem)) if name in set(problem.islands)]] = 0.0
    data = {
        "X": problem.X, "area": problem.area.astype(np.int64), "period": problem.period.astype(np.int64),
        "sampled": np.flatnonzero(on).astype(np.int64), "y": y, "n": n, "unit": np.array([unit]),
        "root": problem.root, "walk": problem.walk, "inland": inland,
    }  # fmt: skip
    key = f"inflated beta, prior {code}, map {rank > 0}, mixed {mixed}, time {order}"
    found = sample_chains(build, key, data, seed=seed, draws=draws, tune=tune, chains=chains, acceptance=0.95)
    kept = [name for name in ("beta", "sigma_u", "rho", "sigma_v", "rho_time", "eta") if name in found.draws]
    return Chains.of({name: found.draws[name] for name in kept}, found.divergences)


def _areas(problem: ShareProblem) -> list[str]:
    """Labels of the areas in the order of their codes."""
    texts = problem.rows.table["domain"].astype("string").to_numpy(dtype=object)
    first = {int(code): str(text) for code, text in zip(problem.area[::-1], texts[::-1], strict=True)}
    return [first[code] for code in range(len(first))]


def fit_inflated(spec: InflatedBetaFayHerriot, problem: ShareProblem, seed: int) -> Result:
    """Sample, judge the chains, and wrap it up."""
    rows, on = problem.rows, problem.rows.sampled
    y, n = rows.direct[on], rows.n_eff[on]
    inside = np.clip(y, 0.5 / n, 1.0 - 0.5 / n)
    prior = prior_of(spec.prior).scaled(float(f"{np.std(np.log(inside / (1 - inside)), ddof=1):.3g}"))
    mixed = spec.spatial is not None and spec.spatial.structure == "bym2"  # type: ignore[union-attr]
    code, unit = prior.code
    found = sample_inflated(
        y, n, problem, code, unit, mixed, seed=seed, draws=-(-spec.draws // CHAINS)
    ).checked()
    hyper = found.joined()
    sample = _sample(hyper, y, n, on, seed)
    posterior = ChainPosterior(
        sample, f"NUTS, {CHAINS} chains of {found.draws['beta'].shape[1]}", found.diagnostics
    )
    _, sd = posterior.moments()
    some = sample.values[:: max(1, len(sample.values) // 400)]
    kept = ("sigma_u", "rho", "sigma_v", "rho_time")
    values: dict[str, np.ndarray] = {name: hyper[name] for name in kept if name in hyper}
    title = f"Zero/one-inflated beta{_structure_words(spec)} (Bayes)"
    beta = _natural(hyper["beta"], problem)
    tail = 0.5 * (1.0 - spec.level)
    low, median, high = np.quantile(beta, (tail, 0.5, 1.0 - tail), axis=0)
    return posterior_result(
        spec, posterior, rows.table,
        groups=rows.groups,
        in_sample=on,
        prior=_prior_text(prior, values),
        joint=posterior_joint(sd**2, (some - some.mean(axis=0)).T / np.sqrt(len(some) - 1)),
        title=title,
        model=f"{title}: {spec.formula}",
        run=_run_id(spec, problem, seed),
        seed=seed,
        coefficients=pd.DataFrame(
            {
                "coef": beta.mean(axis=0), "sd": beta.std(axis=0, ddof=1),
                "low": low, "median": median, "high": high,
            },
            index=pd.Index(problem.design.columns, name="term"),
        ),
        variance_components=pd.Series(
            parameter_row(values, np.full(len(beta), 1.0 / len(beta)), spec.level)
        ),
        diagnostics=pd.DataFrame([{
            "areas": len(on), "sampled": int(on.sum()), "coefficients": beta.shape[1],
            "zeros": int((y == 0).sum()), "ones": int((y == 1).sum()), "islands": len(problem.islands),
        }]),
        residuals=_residuals(problem, hyper, y, n),
        areas=rows.covariates,
        bounds=(0.0, 1.0),
        provenance={"direct": dict(rows.provenance), "islands": tuple(problem.islands)},
    )  # fmt: skip


def _sample(
    hyper: Mapping[str, np.ndarray], y: np.ndarray, n: np.ndarray, on: np.ndarray, seed: int
) -> Sample:
    eta = hyper["eta"]
    with np.errstate(over="ignore"):
        log_likelihood = _log_density(eta[:, on], y, n, np, gammaln)
        log_zero, log_one, _, a, b = beta_parts(eta[:, on], n, np)
    rng = generator(seed, "replicated shares")
    chance = rng.random(log_zero.shape)
    between = rng.beta(np.maximum(a, 1e-12), np.maximum(b, 1e-12))
    replicated = np.where(chance < np.exp(log_zero), 0.0, np.where(chance > -np.expm1(log_one), 1.0, between))
    parameters = {name: values for name, values in hyper.items() if name != "eta"}
    return Sample(expit(eta), parameters, log_likelihood, replicated)


def _natural(beta: np.ndarray, problem: ShareProblem) -> np.ndarray:
    """Coefficients of the covariates as they are; what was centred goes into the constant column."""
    found = beta / problem.width
    moved = found @ problem.centre
    if moved.any():
        constant = int(np.flatnonzero(np.ptp(problem.X, axis=0) == 0.0)[0])
        found[:, constant] -= moved / problem.X[0, constant]
    return found


def _residuals(
    problem: ShareProblem, hyper: Mapping[str, np.ndarray], y: np.ndarray, n: np.ndarray
) -> pd.DataFrame:
    """Direct less fitted shares at the mean coefficients, over the sampling deviation there."""
    seen = np.flatnonzero(problem.rows.sampled)
    fitted = expit(problem.X[seen] @ hyper["beta"].mean(axis=0))
    return pd.DataFrame({
        "domain": problem.rows.names[seen], "fitted": fitted, "residual": y - fitted,
        "standardised": (y - fitted) / np.sqrt(fitted * (1.0 - fitted) / n), "leverage": np.nan,
    }, index=pd.Index(seen, name="row"))  # fmt: skip


def _structure_words(spec: InflatedBetaFayHerriot) -> str:
    parts = [type(part).__name__ for part in (spec.spatial, spec.temporal) if part is not None]
    return f", {' + '.join(parts)}" if parts else ""


def _prior_text(prior: Prior, names: Iterable[str]) -> str:
    ranges = {"rho": "uniform(0, 1)", "rho_time": "uniform(-1, 1)"}
    parts = [f"{name} {ranges.get(name, prior.text)}" for name in names]
    return "; ".join([*parts, f"standardised coefficients normal(0, {_WIDE:g})"])


def _run_id(spec: InflatedBetaFayHerriot, problem: ShareProblem, seed: int) -> str:
    digest = hashlib.sha256()
    for text in (sae.__version__, spec.to_toml(), str(seed), *problem.design.columns, *problem.rows.labels):
        digest.update(text.encode() + b"\0")
    for array in (problem.rows.direct, problem.rows.n_eff, problem.X, problem.root):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:12]
