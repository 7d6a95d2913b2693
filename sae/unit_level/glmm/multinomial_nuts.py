"""Counts of categories by area, the PyMC model of their shares, and its result."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.special import log_softmax

import sae
from sae.errors import SaeInputError, name_some
from sae.numerics.inference.priors import HALF_CAUCHY, HALF_NORMAL
from sae.numerics.inference.psis import psis_loo
from sae.numerics.random.streams import generator
from sae.results import Result, parameter_columns, posterior_joint, posterior_result
from sae.samplers import Sample
from sae.samplers.chains import ChainPosterior
from sae.samplers.pymc import CHAINS, Chains, sample_chains
from sae.specs import Design
from sae.specs.design import check_rank
from sae.specs.priors import Prior, prior_of
from sae.tables.joins import join_by_name, unmatched

if TYPE_CHECKING:
    from sae.unit_level.glmm.multinomial import MultinomialMixed

__all__ = ["Counts", "MultinomialPosterior", "fit_multinomial", "read_counts", "sample_multinomial"]

_WIDE = 10.0  # prior standard deviation of a coefficient, logits per standard deviation of the covariate


@dataclass(frozen=True, eq=False)
class Counts:
    """Counts of D areas in K categories; 0 without a sample.

    Attributes
    ----------
    frame : DataFrame
        All columns of data and areas, one row per area.
    names : ndarray of str, shape (D,)
    counts : ndarray, shape (D, K)
    X : ndarray, shape (D, p)
    design : Design
    """

    frame: pd.DataFrame
    names: np.ndarray
    counts: np.ndarray
    X: np.ndarray
    design: Design

    @property
    def sampled(self) -> np.ndarray:
        """Which areas have a sample, shape (D,)."""
        return np.asarray(self.counts.sum(axis=1) > 0)

    @cached_property
    def standard(self) -> tuple[np.ndarray, np.ndarray]:
        """Means and deviations by which covariates are standardised; 0 and 1 for a constant column."""
        X = self.X[self.sampled]
        constant = np.ptp(X, axis=0) == 0.0
        centre = np.where(constant | ~constant.any(), 0.0, X.mean(axis=0))
        return centre, np.where(constant, 1.0, X.std(axis=0, ddof=1))

    @property
    def logits(self) -> np.ndarray:
        """Observed logits of the sampled areas, half a count added, shape (n, K - 1)."""
        seen = np.log(self.counts[self.sampled] + 0.5)
        return np.asarray(seen[:, :-1] - seen[:, -1:])


@dataclass(frozen=True, eq=False)
class MultinomialPosterior(ChainPosterior):
    """Chains whose figures, K of an area, belong together."""

    categories: int = 1

    def loo(self) -> tuple[np.ndarray, np.ndarray]:
        """Return log p(counts of the area | the others), each of its K rows an equal share, and Pareto k."""
        assert self.sample.log_likelihood is not None
        joint = self.sample.log_likelihood.reshape(len(self.sample.values), -1, self.categories).sum(axis=2)
        elpd, k = psis_loo(joint)
        return np.repeat(elpd / self.categories, self.categories), np.repeat(k, self.categories)


def read_counts(
    data: pd.DataFrame, areas: pd.DataFrame | None, categories: Sequence[str], covariates: str, domain: str
) -> Counts:
    """Bring counts and covariates together by name, and check them.

    Raises
    ------
    SaeInputError
    """
    if not isinstance(data, pd.DataFrame):
        raise SaeInputError(
            f"Data of type {type(data).__name__} cannot be fitted.",
            hint="Give a DataFrame with one row per area.",
        )
    frame = data.reset_index(drop=True)
    absent = [name for name in (domain, *categories) if name not in frame]
    if absent:
        raise SaeInputError(
            f"The data have no column {name_some(absent)}.", hint=f"The columns are {name_some(frame, 15)}.",
            column=absent[0],
        )  # fmt: skip
    if areas is not None:
        sides = ("the data", "the areas")
        extra = areas.drop(columns=[name for name in areas if name in frame and name != domain])
        _, more = unmatched(frame[[domain]], areas, domain)
        joined = join_by_name(frame, extra, domain, names=sides)
        alone = areas[areas[domain].isin(more)]
        frame = pd.concat([joined, alone], ignore_index=True) if len(alone) else joined
    names = frame[domain].astype("string").to_numpy(dtype=object)
    twice = frame[domain].duplicated().to_numpy()
    bad = twice | pd.isna(names)
    if bad.any():
        raise SaeInputError(
            f"Areas that appear twice or more, or without a label: {name_some(names[bad])}.",
            hint="Give one row per area.", areas=names[bad], column=domain,
        )  # fmt: skip
    counts = np.column_stack([_numbers(frame, name) for name in categories])
    holes = np.isnan(counts).any(axis=1) & ~np.isnan(counts).all(axis=1) | (counts < 0).any(axis=1)
    if holes.any():
        raise SaeInputError(
            f"Counts are negative, or missing in part, in {int(holes.sum())} of {len(names)} areas: "
            f"{name_some(names[holes])}.",
            hint="A category that nobody is in has the count 0; all counts missing mean no sample.",
            areas=names[holes],
        )
    counts = np.nan_to_num(counts)
    never = [name for name, total in zip(categories, counts.sum(axis=0), strict=True) if total == 0]
    if never:
        raise SaeInputError(
            f"Nobody is in {name_some(never)} in any area, so that its share cannot be modelled.",
            hint="Leave the category out.", column=never[0],
        )  # fmt: skip
    on = counts.sum(axis=1) > 0
    design, learnt = Design.learn(covariates, frame[on], list(names[on]))
    check_rank(learnt, design.columns)
    return Counts(frame, names, counts, design.rebuild(frame, list(names)), design)


def _numbers(frame: pd.DataFrame, column: str) -> np.ndarray:
    try:
        return pd.to_numeric(frame[column]).astype("Float64").to_numpy(dtype=float, na_value=np.nan)
    except (ValueError, TypeError):
        raise SaeInputError(f"{column} holds text where numbers are expected.", column=column) from None


def sample_multinomial(
    counts: np.ndarray, X: np.ndarray, code: int, units: np.ndarray, *, seed: int, wide: float = _WIDE,
    draws: int = 1000, tune: int = 1000, chains: int = CHAINS,
) -> Chains:  # fmt: skip
    """Draw from the posterior of coefficients and effects.

    Parameters
    ----------
    counts : ndarray, shape (D, K)
    X : ndarray, shape (D, p)
        Standardised.
    code : int
        Kind of the prior of the standard deviations: see `hyperprior`.
    units : ndarray, shape (K - 1,)
        Its scales.
    wide : float
        Standard deviation of the normal prior of the coefficients.

    Returns
    -------
    Chains
        beta, shape (..., p, K - 1); effect, shape (..., D, K - 1); sigma, (..., K - 1); correlation.
    """
    free = counts.shape[1] - 1

    def build(data: Mapping[str, Any]) -> None:
        import pymc as pm
        import pytensor.tensor as pt

        base = {HALF_NORMAL: pm.HalfNormal, HALF_CAUCHY: pm.HalfCauchy}.get(code, pm.Exponential)
        beta = pm.Normal("beta", 0.0, data["wide"][0], shape=(X.shape[1], free))
        root, correlation, sd = pm.LKJCholeskyCov(
            "covariance", n=free, eta=1.0, sd_dist=base.dist(1.0, shape=free), compute_corr=True
        )
        z = pm.Normal("z", 0.0, 1.0, shape=(counts.shape[0], free))
        effect = pm.Deterministic("effect", (z @ root.T) * data["units"])
        pm.Deterministic("sigma", sd * data["units"])
        pm.Deterministic("correlation", correlation[np.tril_indices(free, -1)])
        eta = pt.concatenate([data["X"] @ beta + effect, pt.zeros((counts.shape[0], 1))], axis=1)
        log_p = eta - pt.logsumexp(eta, axis=1, keepdims=True)
        pm.Potential("likelihood", (data["counts"] * log_p).sum())

    found = sample_chains(
        build, f"multinomial, prior {code}",
        {"counts": counts, "X": X, "units": units, "wide": np.array([wide])},
        seed=seed, draws=draws, tune=tune, chains=chains,
    )  # fmt: skip
    kept = {name: found.draws[name] for name in ("beta", "effect", "sigma", "correlation")}
    return Chains.of(kept, found.divergences)


def fit_multinomial(spec: MultinomialMixed, data: Counts, seed: int) -> Result:
    """Sample, turn effects into shares, and wrap it up."""
    categories, on = spec.categories, data.sampled
    units = np.std(data.logits, axis=0, ddof=1)
    priors = [prior_of(spec.prior).scaled(float(f"{unit:.3g}")) for unit in units]
    centre, width = data.standard
    X = (data.X - centre) / width
    found = sample_multinomial(
        data.counts, X, priors[0].code[0], np.array([prior.code[1] for prior in priors]), seed=seed,
        draws=-(-spec.draws // CHAINS),
    ).checked()  # fmt: skip
    hyper = found.joined()
    sample = _sample(data, X, hyper, categories, seed)
    source = f"NUTS, {CHAINS} chains of {found.draws['beta'].shape[1]}"
    posterior = MultinomialPosterior(sample, source, found.diagnostics, len(categories))
    values, shares = sample.values, data.counts / np.where(on, data.counts.sum(axis=1), 1.0)[:, None]
    _, sd = posterior.moments()
    text = _prior_text(priors, categories)
    run = _run_id(spec, data, seed)
    some = values[:: max(1, len(values) // 400)]
    return posterior_result(
        spec, posterior, _table(data, shares, categories),
        groups=(),
        in_sample=np.repeat(on, len(categories)),
        prior=text,
        joint=posterior_joint(sd**2, (some - some.mean(axis=0)).T / np.sqrt(len(some) - 1)),
        title="Multinomial mixed (Bayes)",
        model=f"multinomial mixed: {spec.formula}",
        run=run,
        seed=seed,
        coefficients=_coefficients(hyper["beta"], centre, width, data, categories, spec.level),
        variance_components=_components(hyper, categories, spec.level),
        diagnostics=pd.DataFrame([{
            "areas": len(on), "sampled": int(on.sum()), "coefficients": X.shape[1] * (len(categories) - 1),
        }]),
        residuals=_residuals(data, X, hyper, shares),
        areas=data.frame.loc[np.repeat(data.frame.index, len(categories))].reset_index(drop=True),
        bounds=(0.0, 1.0),
        provenance={"units": float(data.counts.sum())},
    )  # fmt: skip


def _sample(
    data: Counts, X: np.ndarray, hyper: Mapping[str, np.ndarray], categories: Sequence[str], seed: int
) -> Sample:
    """Shares of every draw; each count given those before it is binomial."""
    eta = np.einsum("dp,spk->sdk", X, hyper["beta"]) + hyper["effect"]
    eta = np.concatenate([eta, np.zeros((*eta.shape[:2], 1))], axis=2)
    log_p, on = log_softmax(eta, axis=2), data.sampled
    counts, S = data.counts[on], len(eta)
    own = log_p[:, on]
    left = np.logaddexp.accumulate(own[:, :, ::-1], axis=2)[:, :, ::-1]  # log of the shares not yet counted
    above = np.concatenate([left[:, :, 1:], np.zeros((*left.shape[:2], 1))], axis=2)
    rest = np.cumsum(counts[:, ::-1], axis=1)[:, ::-1] - counts
    log_likelihood = counts * (own - left) + rest * (above - left) * (rest > 0)
    n = np.maximum(np.rint(counts.sum(axis=1)).astype(int), 1)
    p = np.exp(own)
    replicated = (
        generator(seed, "replicated counts").multinomial(n, p / p.sum(axis=2, keepdims=True)) / n[:, None]
    )
    parameters = {f"sigma_u[{name}]": hyper["sigma"][:, k] for k, name in enumerate(categories[:-1])}
    parameters |= {"beta": hyper["beta"].reshape(S, -1)}
    return Sample(
        np.exp(log_p).reshape(S, -1), parameters, log_likelihood.reshape(S, -1), replicated.reshape(S, -1)
    )


def _table(data: Counts, shares: np.ndarray, categories: Sequence[str]) -> pd.DataFrame:
    K, total = len(categories), data.counts.sum(axis=1)
    direct = np.where(data.sampled[:, None], shares, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        se = np.sqrt(direct * (1.0 - direct) / total[:, None])
        se = np.where(se > 0, se, np.nan)
        cv = se / direct
    domain = np.repeat(data.names, K)
    return pd.DataFrame({
        "indicator": np.tile(np.array(categories, dtype=object), len(data.names)), "definition": "",
        "unit": "share", "geo": domain, "time": "", "domain": domain, "n": np.nan,
        "n_eff": np.repeat(total, K),
        "direct": direct.ravel(), "direct_se": se.ravel(), "direct_cv": cv.ravel(),
    })  # fmt: skip


def _coefficients(
    beta: np.ndarray,
    centre: np.ndarray,
    width: np.ndarray,
    data: Counts,
    categories: Sequence[str],
    level: float,
) -> pd.DataFrame:
    """Coefficients of the covariates as they are, by category and term."""
    found = beta / width[:, None]
    moved = np.einsum("spk,p->sk", found, centre)
    if moved.any():
        constant = int(np.flatnonzero(np.ptp(data.X[data.sampled], axis=0) == 0.0)[0])
        found[:, constant] -= moved / data.X[0, constant]
    flat = np.swapaxes(found, 1, 2).reshape(len(beta), -1)
    index = pd.MultiIndex.from_product([categories[:-1], data.design.columns], names=["category", "term"])
    tail = 0.5 * (1.0 - level)
    low, median, high = np.quantile(flat, (tail, 0.5, 1.0 - tail), axis=0)
    return pd.DataFrame(
        {
            "coef": flat.mean(axis=0),
            "sd": flat.std(axis=0, ddof=1),
            "low": low,
            "median": median,
            "high": high,
        },
        index=index,
    )


def _components(hyper: Mapping[str, np.ndarray], categories: Sequence[str], level: float) -> pd.Series:
    names = [(f"sigma_u[{name}]", hyper["sigma"][:, k]) for k, name in enumerate(categories[:-1])]
    free = len(categories) - 1
    pairs = [(i, j) for i in range(free) for j in range(i)]
    names += [
        (f"rho[{categories[j]}, {categories[i]}]", hyper["correlation"][:, k])
        for k, (i, j) in enumerate(pairs)
    ]
    found: dict[str, Any] = {}
    tail = 0.5 * (1.0 - level)
    for name, values in names:
        ends = np.quantile(values, (tail, 0.5, 1.0 - tail))
        found |= parameter_columns(name, values.mean(), values.std(ddof=1), *ends)
    return pd.Series(found, dtype=float)


def _residuals(
    data: Counts, X: np.ndarray, hyper: Mapping[str, np.ndarray], shares: np.ndarray
) -> pd.DataFrame:
    """Observed less fitted shares; fitted at the mean coefficients, without effects."""
    K = shares.shape[1]
    eta = np.column_stack([X @ hyper["beta"].mean(axis=0), np.zeros(len(X))])
    fitted = np.exp(log_softmax(eta, axis=1))
    seen = np.flatnonzero(np.repeat(data.sampled, K))
    residual = (shares - fitted).ravel()[seen]
    spread = np.sqrt((fitted * (1.0 - fitted)).ravel()[seen] / np.repeat(data.counts.sum(axis=1), K)[seen])
    return pd.DataFrame({
        "domain": np.repeat(data.names, K)[seen], "fitted": fitted.ravel()[seen], "residual": residual,
        "standardised": residual / spread, "leverage": np.nan,
    }, index=pd.Index(seen, name="row"))  # fmt: skip


def _prior_text(priors: Sequence[Prior], categories: Sequence[str]) -> str:
    parts = [f"sigma_u[{name}] {prior.text}" for name, prior in zip(categories[:-1], priors, strict=True)]
    return "; ".join([*parts, "correlations LKJ(1)", f"standardised coefficients normal(0, {_WIDE:g})"])


def _run_id(spec: MultinomialMixed, data: Counts, seed: int) -> str:
    digest = hashlib.sha256()
    for text in (sae.__version__, spec.to_toml(), str(seed), *data.design.columns, *data.names):
        digest.update(text.encode() + b"\0")
    for array in (data.counts, data.X):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:12]
