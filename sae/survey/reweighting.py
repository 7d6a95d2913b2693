"""The weights of a survey made anew: calibrated, post-stratified, replicated."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np

from sae.errors import SaeSpecError, SaeWarning
from sae.literals import CalibrationMethod, ReplicateCentre, ReplicateMethod
from sae.survey.calibration import (
    Calibration,
    calibrated_weights,
    calibration_of,
    poststratification_of,
    recalibrated,
)
from sae.survey.codes import as_text, encode
from sae.survey.counts import Collapse, origin_notes
from sae.survey.records import Records
from sae.survey.resampling import make_replicates

__all__ = ["Reweighting"]


class Reweighting(Records):
    """Verbs of a survey that return it with other weights."""

    def calibrate(
        self,
        totals: Mapping[Any, Any],
        *,
        method: CalibrationMethod = "linear",
        bounds: tuple[float, float] | None = None,
        collapse: Collapse = None,
    ) -> Self:
        """Calibrate the weights so that they reproduce known totals, changing them as little as possible.

        Parameters
        ----------
        totals : mapping
            Known totals by name: a numeric column or expression to its total (``{"income": 1e9}``,
            ``{"age >= 65": 12000}``, ``{"1": population}``), a text column to ``{level: count}``, a tuple of
            columns to the counts of their crossing: ``{("region", "birth"): table}``, as of `post_stratify`.
        method : {"linear", "raking", "logit"}
            Distance: chi-square (GREG), multiplicative (always positive), or logit inside `bounds`.
        bounds : (low, high), optional
            Bounds of the ratio of new to old weight, low < 1 < high; needed by "logit" and only there.
        collapse : str or mapping, optional
            As of `post_stratify`, for the tuples of columns.

        Returns
        -------
        Survey
            With new weights, replicate weights calibrated to the same totals, and `calibration` remembered.

        Raises
        ------
        SaeInputError
            If an auxiliary is missing in some records, the totals contradict each other, or cannot be
            reached.

        References
        ----------
        Deville and Särndal (1992), JASA 87, 376-382, equations (1.4), (2.1)-(2.4), cases 1, 2 and 6.

        Examples
        --------
        >>> frame = pd.DataFrame({"w": [10.0, 10.0, 10.0], "sex": ["f", "m", "m"]})
        >>> survey = sae.Survey.from_frame(frame, weights="w").calibrate({"sex": {"f": 16, "m": 18}})
        >>> survey.weights.round(6).tolist()
        [16.0, 9.0, 9.0]
        """
        self._check_uncalibrated()
        calibration, notes = calibration_of(
            self.frame, self.weights, totals, method=method, bounds=bounds, collapse=collapse
        )
        return self._calibrated(calibration, (*notes, *self._origins(totals.values())))

    def post_stratify(self, columns: str | Sequence[str], counts: Any, *, collapse: Collapse = None) -> Self:
        """Scale the weights within cells to known counts.

        Parameters
        ----------
        columns : str or list of str
            Columns whose crossing makes the cells.
        counts : mapping, Series, DataFrame or Covariates
            Population count per level, or per tuple of levels (a MultiIndex) with several columns. A table
            has `columns` and one column of counts, or all of them but the last, whose levels are then columns
            of counts. The origin of `Covariates` (see `sae.auxiliary.counts`) stands in the notes.
        collapse : str or mapping, optional
            What happens to a cell that has people and no record, which is refused otherwise. A column: the
            cell is joined with all cells that differ from it in this column only. A mapping of cells to
            cells, such as ``{("R7", "foreign"): ("R8", "foreign")}``: these are joined. The notes name them.

        Returns
        -------
        Survey

        Raises
        ------
        SaeInputError
            If a cell of the sample has no count, a count has no record, or a record has no cell; if the
            count of a cell with records is 0.

        Examples
        --------
        >>> frame = pd.DataFrame({"w": [10.0, 10.0, 10.0], "sex": ["f", "m", "m"]})
        >>> survey = sae.Survey.from_frame(frame, weights="w")
        >>> survey.post_stratify("sex", {"f": 16, "m": 18}).weights.tolist()
        [16.0, 9.0, 9.0]
        """
        self._check_uncalibrated()
        names = [columns] if isinstance(columns, str) else list(columns)
        calibration, notes = poststratification_of(self.frame, self.weights, names, counts, collapse)
        return self._calibrated(calibration, (*notes, *self._origins([counts])))

    def with_replicates(
        self,
        method: ReplicateMethod,
        *,
        replicates: int | None = None,
        rho: float | None = None,
        centre: ReplicateCentre = "estimate",
        seed: int | np.random.Generator | None = None,
    ) -> Self:
        """Make replicate weights from the design.

        Parameters
        ----------
        method : {"jk1", "jkn", "brr", "fay", "bootstrap"}
            Delete-one jackknife without or with strata, balanced halves (two units per stratum), Fay's milder
            version of it (`rho`), or the rescaled bootstrap of Rao and Wu with n_h - 1 draws per stratum.
        replicates : int, optional
            Number of bootstrap replicates; the other methods know theirs.
        rho : float, optional
            Fay's factor, 0 < rho < 1.
        centre : {"estimate", "mean"}
            Deviations are taken from the full-sample estimate or from the mean of the replicates.
        seed : int or Generator, optional
            Needed by "bootstrap".

        Returns
        -------
        Survey
            If the weights are calibrated, every replicate is calibrated to the same totals.

        References
        ----------
        Rao and Wu (1988), JASA 83, 231-241; Rao, Wu and Yue (1992), Survey Methodology 18, 209-217;
        Judkins (1990), J. Official Statistics 6, 223-239; Wolter (2007), Introduction to Variance Estimation.

        Examples
        --------
        >>> frame = pd.DataFrame({"w": [1.0, 1.0, 1.0]})
        >>> sae.Survey.from_frame(frame, weights="w").with_replicates("jk1").replicates.weights[:, 0].tolist()
        [0.0, 1.5, 1.5]
        """
        if self.panel == "stated overlap":
            raise SaeSpecError(
                "Replicate weights cannot carry the overlap that was stated.",
                hint="Use the linearised variance, or a key that links the units.",
            )
        replicated = make_replicates(
            self.weights,
            self.stages[0],
            method,
            lonely_psu=self.lonely_psu,
            calibration=self.calibration,
            replicates=replicates,
            rho=rho,
            centre=centre,
            seed=seed,
        )
        note = f"{replicated.weights.shape[1]} {method} replicate weights made from the design"
        return replace(self, replicates=replicated, notes=(*self.notes, note))

    def _check_uncalibrated(self) -> None:
        if self.calibration is not None:
            raise SaeSpecError(
                f"The weights are already calibrated ({self.calibration.method}).",
                hint="Give all totals in one call: variances use residuals on one set of auxiliaries.",
            )
        if self.is_subset:
            raise SaeSpecError(
                "A subset cannot be calibrated: totals belong to the whole survey.", hint="Calibrate first."
            )

    def _origins(self, counts: Iterable[Any]) -> list[str]:
        periods = [] if self.time is None else as_text(encode(self.frame[self.time])[1])
        return origin_notes(counts, list(periods))

    def _calibrated(self, calibration: Calibration, more: tuple[str, ...]) -> Self:
        weights, notes = calibrated_weights(calibration)
        self._warn_of_one_population(float(weights.sum()))
        records = int(np.count_nonzero(self.weights))
        if weights.sum() < records / 2:
            warnings.warn(
                f"The {records:,} records stand for {weights.sum():,.10g} now, which is fewer than they are: "
                "the counts look like shares or percentages. Give numbers of persons.",
                SaeWarning,
                stacklevel=3,
            )
        replicates = None if self.replicates is None else recalibrated(self.replicates, calibration)
        return replace(
            self,
            weights=weights,
            calibration=calibration,
            replicates=replicates,
            notes=(*self.notes, *notes, *more),
        )

    def _warn_of_one_population(self, total: float) -> None:
        """Warn where several periods, of which each stood for the population, now stand for it together."""
        before = float(self.weights.sum())
        periods = 1 if self.time is None else int(self.frame.loc[self.weights > 0, self.time].nunique())
        if periods > 1 and abs(total * periods / before - 1) < abs(total / before - 1):
            warnings.warn(
                f"The counts are {total:,.10g}, the weights of the {periods} periods of {self.time} together "
                f"{before:,.10g}: now all periods together stand for the population once. Where each is to "
                f"stand for it, cross the counts with {self.time}.",
                SaeWarning,
                stacklevel=4,
            )
