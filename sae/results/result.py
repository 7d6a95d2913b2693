"""The result of a fit: estimates with everything that was learnt, and the verbs of a published table."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
import scipy

from sae._version import __version__
from sae.calls import answered, elsewhere
from sae.errors import ConvergenceWarning, SaeInputError, SaeSpecError, SaeWarning, name_some
from sae.literals import PLAUSIBLE, BenchmarkMethod
from sae.numerics.inference.joint_error import JointError
from sae.numerics.random.streams import seed_of
from sae.results.charts import Plots
from sae.results.data import FittedData
from sae.results.draws import Draws, DrawSource, SumEnds, normal_ends
from sae.results.inference import Inference
from sae.results.record import FitTables, Message
from sae.samplers import Posterior
from sae.specs import Specification
from sae.tables import EstimateTable, to_numbers

# what only one verb needs is imported by it: a fit and its summary load neither benchmarks nor the checks
if TYPE_CHECKING:
    from sae.auxiliary import Neighbours
    from sae.quality import Benchmark

__all__ = ["Result"]


@dataclass(frozen=True, eq=False, repr=False)
class Result(Inference):
    """A fitted model with its predictions for every domain.

    Attributes
    ----------
    estimates : EstimateTable
        One row per domain, those without a sample included.
    coefficients : DataFrame
        coef, se, z, p by term; with several fits by their `per` values and term.
    variance_components : Series or DataFrame
        sigma2_u and its asymptotic standard error; one row per fit where there are several.
    diagnostics : DataFrame
        One row per fit: sizes, log-likelihood, AIC, BIC, marginal R², median γ.
    residuals : DataFrame
        One row per domain with a sample, by row of the table: fitted, residual, standardised, leverage.
    provenance : mapping
        Version, specification, seed, warnings, origin of the direct estimates. Holds no clock.
    spec : Specification
    data : FittedData
        What was fitted: outcome and sampling variances on the model's scale, design, sampled rows, labels.
    areas : DataFrame
        Covariates and all other columns of the data, on the rows of `estimates`.
    title : str
        The model in a few words.
    joint : JointError
        Joint error of all predictions on the reported scale.
    source : DrawSource
        What `draws`, `aggregate` and changes rest on, the same that makes the intervals: `NormalDraws`,
        `IntervalDraws` where they come from a posterior, or `PosteriorDraws` of a Bayesian fit.
    messages : tuple of Message
        Warnings and notes of the fit; their texts stand in the provenance too.
    benchmarks : tuple of Benchmark
        What the estimates were benchmarked to, in order.
    """

    estimates: EstimateTable
    coefficients: pd.DataFrame
    variance_components: pd.Series | pd.DataFrame
    diagnostics: pd.DataFrame
    residuals: pd.DataFrame
    provenance: Mapping[str, Any]
    spec: Specification
    data: FittedData
    areas: pd.DataFrame
    title: str
    joint: JointError
    source: DrawSource
    messages: tuple[Message, ...] = ()
    benchmarks: tuple[Benchmark, ...] = ()

    @property
    def posterior(self) -> Posterior | None:
        """The posterior of the rows, where the fit has one; benchmarks come after it."""
        return self.source.posterior

    @property
    def plot(self) -> Plots:
        """Charts: ``plot.compare()``, ``caterpillar()``, ``map(geometry)``, ``residuals()``, ``qq()``."""
        return Plots(self.estimates, self.residuals)

    def summary(self) -> str:
        """Return the fit on one screen: coefficients, variance, gain over the direct estimates, checks."""
        from sae.results.summary import summary_lines

        return "\n".join(
            summary_lines(
                title=self.title,
                frame=self.estimates.frame,
                tables=FitTables(
                    self.coefficients, self.variance_components, self.diagnostics, self.residuals
                ),
                posterior=self.posterior,
                level=self.spec.level,
                benchmark=self.benchmarks[-1] if self.benchmarks else None,
                notes=[message.text for message in self.messages],
            )
        )

    def __repr__(self) -> str:
        return self.summary()

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(self.summary())}</pre>{self.estimates._repr_html_()}"

    if not TYPE_CHECKING:

        def __getattr__(self, name):
            if name.startswith("_"):
                raise AttributeError(name)
            verbs = [each for each in dir(type(self)) if not each.startswith("_")]
            known = sorted({*verbs, *self.__dataclass_fields__})
            raise AttributeError(f"A result has no {name!r}; {elsewhere(name, known, of='a result')}.")

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "sae": __version__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        version = state.pop("sae", "unknown")
        if version != __version__:
            raise SaeInputError(
                f"The result was pickled by sae {version}, and this is sae {__version__}, which reads "
                "its own only.",
                hint="Fit again; a table that is to last is written with fit.estimates.write(path).",
            )
        self.__dict__.update(state)

    def to_frame(self) -> pd.DataFrame:
        """Return the estimate table as a fresh DataFrame."""
        return self.estimates.to_frame()

    @answered
    def draws(self, n: int, seed: int | np.random.Generator | None = None) -> Draws:
        """Return joint draws of all domains; benchmarked results give draws that meet the targets.

        Parameters
        ----------
        n : int
        seed : int or Generator
            There is no default: the same seed gives the same draws.

        Raises
        ------
        SaeSpecError
            If there is no seed.
        """
        if seed is None:
            raise SaeSpecError("draws(...) needs a seed.", hint="Call draws(1000, seed=1), with any number.")
        number = seed_of(seed)
        values = self.source.draw(_draws_of(n), number)
        for benchmark in self.benchmarks:
            values = benchmark.draws(values, number)
        words = f"{self.source.source}, each benchmarked" if self.benchmarks else self.source.source
        return Draws(values, self.row_names(), words)

    @answered
    def to_arviz(self, n: int = 4000, *, seed: int | np.random.Generator | None = None) -> Any:
        """Return joint draws as ArviZ knows them: `InferenceData`, or `DataTree` from ArviZ 1.0 on.

        Groups posterior (`theta` by `domain`, `beta` by `coefficient`, hyperparameters), log_likelihood and
        posterior_predictive and observed_data (`y` by `sampled_domain`). Independent draws stand in 4 chains.

        Parameters
        ----------
        n : int
            Number of draws, a multiple of 4.
        seed : int or Generator

        Raises
        ------
        SaeSpecError
            If the fit is not Bayesian, was benchmarked, or there is no seed.
        """
        from sae.results.posterior_checks import arviz_of

        return arviz_of(
            self._unbenchmarked("to_arviz"),
            self.estimates.frame,
            self.row_names(),
            self.coefficients,
            _draws_of(n),
            seed,
        )

    def loo(self) -> pd.DataFrame:
        """Return how well each direct estimate is predicted from the others.

        Returns
        -------
        DataFrame
            One row per domain with a sample: the columns that tell the rows apart, `elpd` (log predictive
            density of its figure given all others) and `k` (Pareto k, NaN where elpd is exact; above 0.7 it
            is not to be trusted). Models of the same figures are compared by the sum of `elpd`.

        Raises
        ------
        SaeSpecError
            If the fit is not Bayesian.

        References
        ----------
        Vehtari, Gelman and Gabry (2017), Stat. Comput. 27, 1413-1432.
        """
        from sae.results.posterior_checks import loo_table

        return loo_table(self._unbenchmarked("loo"), self.estimates.frame, self.row_names())

    @answered
    def predictive_check(
        self,
        n: int = 2000,
        *,
        seed: int | np.random.Generator | None = None,
        neighbours: Neighbours | pd.DataFrame | None = None,
    ) -> pd.DataFrame:
        """Return whether the model would have produced such data.

        Each direct estimate is placed among those that the model gives to other areas with its covariates and
        sampling, their area effects drawn anew: replicates around the area's own posterior follow any data.
        The distances from their means, in standard deviations, are compared with those of whole sets of such
        figures. It sees areas far
        from all others, effects that are not normal, and sampling variances that are wrong where these differ
        between areas; variances too small by one factor everywhere are taken for area effects, by any model.
        Of a model over a map each figure is placed in its distribution given all others.

        Parameters
        ----------
        n : int
            Number of replicates.
        seed : int or Generator
        neighbours : Neighbours or DataFrame, optional
            A map or edge list, as `sae.auxiliary.neighbours` takes it: whether neighbours are more alike than
            the model says. Without it a spatial structure that was left out is not seen.

        Returns
        -------
        DataFrame
            Rows spread of the distances, outlying (whether some areas lie apart to one side), tails, noise
            (correlation of their size with the sampling variance) and neighbours (Moran's I): `observed`,
            predictive `low`, `median` and `high` (95 % interval), `p_value` (two-sided for spread and noise).
            Row `outside`: the share of direct
            estimates outside their own predictive 95 % interval. Row `overall`: the p-value of all statistics
            together, below 0.05 in about 5 % of data sets that the model made.

        Raises
        ------
        SaeSpecError
            If the fit is not Bayesian or there is no seed.
        SaeInputError
            If the map lacks a domain.

        References
        ----------
        Marshall and Spiegelhalter (2007), Bayesian Analysis 2, 409-444.
        """
        from sae.results.posterior_checks import neighbour_weights, predictive_table

        posterior, frame = self._unbenchmarked("predictive_check"), self.estimates.frame
        near = None if neighbours is None else neighbour_weights(neighbours, frame, self.row_names())
        return predictive_table(posterior, frame, self._noise, near, _draws_of(n), seed)

    def with_messages(self, messages: Sequence[Message]) -> Self:
        """Return the result with more to say, in its record too."""
        if not messages:
            return self
        texts = [*self.provenance.get("warnings", ()), *(message.text for message in messages)]
        record = {**self.provenance, "warnings": texts}
        return replace(self, messages=(*self.messages, *messages), provenance=record)

    @answered
    def flag(self, policy: str | Path | Mapping[str, Any]) -> Self:
        """Return the result with every row judged by a publication policy: see `sae.quality.assess`.

        The checks of the summary that the fit fails, the predictive check of a posterior, and chains that
        hardly agree, stand in the reasons.
        """
        from sae.quality import assess
        from sae.results.posterior_checks import predictive_doubts
        from sae.results.summary import failed_checks

        unsure = [message.text for message in self.messages if message.category is ConvergenceWarning]
        verdict = assess(
            self.estimates.frame,
            policy,
            level=self.spec.level,
            doubts=[
                *failed_checks(self.residuals),
                *predictive_doubts(self.posterior, self.estimates.frame, self._noise),
                *unsure,
            ],
        )
        columns = {str(name): verdict[name] for name in verdict}
        return replace(self, estimates=self.estimates.assign(**columns))

    @answered
    def benchmark(
        self,
        targets: float | Mapping[Any, Any] | pd.Series,
        *,
        within: str | Sequence[str] | None = None,
        weights: str | Mapping[Any, float] | pd.Series | None = None,
        method: BenchmarkMethod = "ratio",
        target_variance: float | Mapping[Any, Any] | pd.Series | None = None,
        total: bool = False,
        factor_range: tuple[float, float] = PLAUSIBLE,
    ) -> Self:
        """Return a result whose estimates meet known figures exactly.

        The groups that move, with their factors and rows, are named in ``Result.messages``.

        Parameters
        ----------
        targets : float, mapping or Series
            One figure for all rows, or one per value of `within`, by label; groups without a figure stay as
            they are. Several constraints at once, nested or crossed: column to such a mapping,
            ``{"country": {...}, "birth": {...}}``.
        within : str or sequence of str, optional
            Columns of the estimates or of the areas that make the groups, crossed where there are several.
        weights : str, mapping or Series, optional
            A column of the estimates or of the areas, or values by domain: how many a domain's estimate is
            about, for a rate those of its denominator. The weighted mean of the estimates meets the target.
        method : {"ratio", "difference", "mse", "optimal", "logit"}
            Multiply a group's estimates by one factor; add one amount; add amounts in proportion to the MSEs;
            move along the joint MSE matrix (the smallest loss); shift the logits (shares stay inside [0, 1]).
        target_variance : float, mapping or Series, optional
            Variances of the targets, in the form of `targets`; carried into MSE and draws. By default the
            targets are known without error.
        total : bool
            Say that the estimates are totals, whose plain sum meets the target; no weights then. An indicator
            of kind "total" is known to be one.
        factor_range : (float, float)
            What a group's figure may be multiplied by; a target beyond it is refused as one of another scale
            or group.

        Returns
        -------
        Result
            With `benchmark_factor` filled; MSE, intervals and draws respect the constraint. Judge it again
            with `flag`.

        Raises
        ------
        SaeInputError
            If groups and targets do not match, a figure would change by a factor outside `factor_range`, or
            an estimate of a share would leave [0, 1]; names are given.
        SaeSpecError
            If targets by name have no `within`, or means no weights.

        Warns
        -----
        SaeWarning
            Of groups without a target.

        References
        ----------
        Pfeffermann and Barnard (1991), J. Bus. Econ. Stat. 9, 73–84; Datta, Ghosh, Steorts and Maples (2011),
        Test 20, 574–588.
        """
        from sae.quality import benchmark_estimates
        from sae.results.aggregation import row_weights
        from sae.results.benchmarking import benchmarked_table, check_kind, target_groups

        frame, share = self.estimates.frame, self._is_share
        known = (frame, self.areas)
        groups, goals = target_groups(known, self.column, within, targets)
        variances = (
            None
            if target_variance is None
            else target_groups(known, self.column, within, target_variance, "target variance")[1]
        )
        check_kind(frame, share, weighted=weights is not None, total=total)
        values = np.ones(len(frame)) if weights is None else row_weights(weights, self.column, frame)
        mse = self.joint.mse() if method == "mse" else None
        mse = self.joint.covariance() if method == "optimal" else mse
        done = benchmark_estimates(
            frame["estimate"].to_numpy(),
            values,
            groups,
            goals,
            domains=frame["domain"],
            method=method,
            mean=weights is not None,
            bounds=(0.0, 1.0) if share else None,
            mse=mse,
            target_variance=variances,
            factor_range=factor_range,
        )
        messages = [Message(done.moved_text)]
        if done.left_text:
            messages.append(Message(done.left_text, SaeWarning))
            warnings.warn(done.left_text, SaeWarning, stacklevel=3)
        joint = self.joint.constrained(
            done.scale, done.gain, done.constraints.weights, done.constraints.variance
        )
        return replace(
            self.with_messages(messages),
            estimates=benchmarked_table(self.estimates, done, self.joint.mse(), joint.mse(), share),
            joint=joint,
            benchmarks=(*self.benchmarks, done),
        )

    @answered
    def aggregate(
        self, by: str | Sequence[str], weights: str | Mapping[Any, float] | pd.Series | None = None
    ) -> EstimateTable:
        """Return estimates of larger units, with mean squared errors from the joint matrix.

        Parameters
        ----------
        by : str or sequence of str
            Columns of the estimates or of the areas that make the units; periods are kept apart.
        weights : str, mapping or Series, optional
            As in `benchmark`: weighted means, or plain sums without weights.

        Returns
        -------
        EstimateTable
            One row per unit; `in_sample` says whether any of its domains has a sample.

        Raises
        ------
        SaeInputError
            If a column or a weight is missing.
        """
        from sae.results.aggregation import aggregate_table, row_weights
        from sae.results.benchmarking import column_names

        frame = self.estimates.frame
        by = column_names(by, "by")
        columns = {name: self.column(name).to_numpy() for name in by}
        if frame["time"].nunique() > 1 and "time" not in columns:
            columns["time"] = frame["time"].to_numpy()
        if weights is None and self._is_share:
            raise SaeSpecError(
                "Shares do not add up; an aggregate of shares needs weights.",
                hint='Name the column with the population: aggregate(..., weights="population").',
            )
        values = None if weights is None else row_weights(weights, self.column, frame)
        if values is not None and not ((values >= 0) & np.isfinite(values)).all():
            bad = frame["domain"].to_numpy()[~((values >= 0) & np.isfinite(values))]
            raise SaeInputError(
                f"{len(bad)} of {len(values)} domains have no weight, or a negative one: {name_some(bad)}.",
                hint="Give every domain a weight of 0 or more.",
                areas=bad,
            )
        return aggregate_table(
            frame,
            columns,
            by,
            values,
            self.sums,
            share=self._is_share,
        )

    def sums(
        self, weights: scipy.sparse.csr_array, freedom: float = np.inf, level: float | None = None
    ) -> tuple[np.ndarray, np.ndarray, SumEnds]:
        """Return weighted sums of the rows, with errors from what makes the intervals of the table.

        Parameters
        ----------
        weights : sparse array, shape (S, n_rows)
        freedom : float
            Degrees of freedom where the intervals are Student's t on the joint MSE.
        level : float, optional
            Of the intervals; that of the fit by default.

        Returns
        -------
        estimate, mse : ndarray of float, shape (S,)
        ends : SumEnds
        """
        predictions = self.estimates.frame["estimate"].to_numpy(dtype=float)
        estimate, mse = weights @ predictions, np.asarray(self.joint.mse_of(weights)).ravel()
        level = self.spec.level if level is None else level
        if self.benchmarks:
            return estimate, mse, normal_ends(self.source.joint, estimate, mse, level, freedom)
        return estimate, mse, self.source.ends(weights, predictions, mse, level, freedom)

    @property
    def _noise(self) -> np.ndarray:
        """Sampling variances of the rows, or what has their order."""
        frame = self.estimates.frame
        noise = self.data.vardir if len(self.data.vardir) == len(frame) else np.full(len(frame), np.nan)
        for count in ("n_eff", "n"):
            if not np.isfinite(noise[self.data.sampled]).all():
                noise = -to_numbers(frame, count)
        return noise

    @property
    def _is_share(self) -> bool:
        units = self.estimates.frame["unit"]
        return bool((units == "share").any()) or self.source.bounds == (0.0, 1.0)

    def row_names(self) -> pd.DataFrame:
        """Return the columns of the estimate table that tell its rows apart."""
        frame = self.estimates.frame
        extra = [name for name in ("indicator", "time") if frame[name].nunique() > 1]
        groups = [name for name in self.estimates.groups if name not in ("domain", *extra)]
        return frame[["domain", *groups, *extra]] if groups or extra else frame[["domain"]]

    def column(self, name: str) -> pd.Series:
        """Return a column of the estimates, else of the areas."""
        for frame in (self.estimates.frame, self.areas):
            if isinstance(name, Hashable) and name in frame:
                return frame[name]
        raise SaeInputError(
            f"Neither the estimates nor the areas have a column {name!r}.",
            hint=f"The areas have {name_some(self.areas, 15)}.",
            column=name,
        )

    def _unbenchmarked(self, verb: str) -> Posterior:
        """Return the posterior of the model, for a verb that is about nothing else."""
        if self.posterior is None:
            raise SaeSpecError(
                f"{verb}() needs a posterior; this fit has none.", hint='Fit with method="bayes".'
            )
        if self.benchmarks:
            raise SaeSpecError(
                f"{verb}() is about the posterior of the model; this result was benchmarked after it.",
                hint="Call it before benchmark(), or take draws() of the benchmarked result.",
            )
        return self.posterior


def _draws_of(n: Any) -> int:
    """Return the number of draws, or refuse what is none."""
    if not isinstance(n, Integral) or isinstance(n, bool) or n < 1:
        raise SaeSpecError(
            f"n = {str(n)[:40]!r} is no number of draws: at least one draw is needed.",
            hint="Give a whole number, such as n=1000.",
        )
    return int(n)
