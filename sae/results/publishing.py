"""The verbs of a table that is to be published: judged, benchmarked, added up."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import scipy

from sae.calls import answered
from sae.errors import ConvergenceWarning, SaeInputError, SaeSpecError, SaeWarning, name_some
from sae.literals import PLAUSIBLE, BenchmarkMethod
from sae.results.draws import SumEnds, normal_ends
from sae.results.fitted import Fitted
from sae.results.record import Message
from sae.tables import EstimateTable

# what only one verb needs is imported by it: a fit and its summary load neither benchmarks nor the checks
__all__ = ["Publishing"]


class Publishing(Fitted):
    """Verbs of a result that make its published table."""

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
            If targets by name have no `within`, or means no weights; or if one target is over different
            indicators, or over rows that count the same persons again.

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
        from sae.results.benchmarking import benchmarked_table, check_kind, refuse_mixed, target_groups

        frame, shares = self.estimates.frame, self._shares
        known = (frame, self.areas)
        groups, goals = target_groups(known, self.column, within, targets)
        variances = (
            None
            if target_variance is None
            else target_groups(known, self.column, within, target_variance, "target variance")[1]
        )
        refuse_mixed(groups, goals, frame, self.spec.overlapping)
        check_kind(frame, bool(shares.any()), weighted=weights is not None, total=total)
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
            bounds=(np.where(shares, 0.0, -np.inf), np.where(shares, 1.0, np.inf)) if shares.any() else None,
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
            estimates=benchmarked_table(self.estimates, done, self.joint.mse(), joint.mse(), shares),
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
            Columns of the estimates or of the areas that make the units; periods and indicators are kept
            apart.
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
        SaeSpecError
            If shares have no weights, or rows that count the same persons again would be added up.
        """
        from sae.results.aggregation import aggregate_table, row_weights
        from sae.results.benchmarking import column_names

        frame = self.estimates.frame
        by = [name for name in column_names(by, "by") if name != "indicator"]
        if not by:
            raise SaeSpecError(
                'by="indicator" makes no larger units: indicators are kept apart in any case.',
                hint='Name what areas lie in: by="country".',
            )
        columns = {name: self.column(name).to_numpy() for name in by}
        for name in ("indicator", "time"):
            if frame[name].nunique() > 1 and name not in columns:
                columns[name] = frame[name].to_numpy()
        again = [name for name in self.spec.overlapping if name not in by and frame[name].nunique() > 1]
        if again:
            raise SaeSpecError(
                f"Rows of {again[0]} ({name_some(frame[again[0]].unique())}) count the same persons again: "
                "they do not add up.",
                hint=f"Keep them apart: aggregate(by={[*by, *again]}, ...).",
            )
        if weights is None and self._shares.any():
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
            shares=self._shares,
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
