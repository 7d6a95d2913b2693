"""The survey: records with the design they were drawn by. Immutable; a subset keeps the full design."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from sae.calls import Answering, answered
from sae.errors import SaeInputError, SaeSpecError, SaeWarning
from sae.literals import CalibrationMethod, LonelyPolicy, ReplicateCentre, ReplicateMethod
from sae.survey.age_bands import check_age_limits
from sae.survey.build import check_records
from sae.survey.calibration import (
    Calibration,
    calibrated_weights,
    calibration_of,
    poststratification_of,
    recalibrated,
)
from sae.survey.checks import counted
from sae.survey.codes import as_text, encode
from sae.survey.counts import Collapse, origin_notes
from sae.survey.describe import (
    calibration_text,
    design_text,
    missing_text,
    periods_text,
    replicates_text,
    stages_text,
    weights_text,
)
from sae.survey.design import Stage
from sae.survey.expressions import evaluate
from sae.survey.release import Release
from sae.survey.replicates import Replicates
from sae.survey.resampling import make_replicates
from sae.tables import label_text

__all__ = ["Survey"]


@dataclass(frozen=True, eq=False)
class Survey(metaclass=Answering):
    """Records and the design they were drawn by.

    Made by `sae.read_survey` or `Survey.from_frame`; never changed: `subset`, `calibrate`,
    `post_stratify` and `with_replicates` return a new one.

    Attributes
    ----------
    frame : DataFrame
        Records, RangeIndex, the file's columns and the harmonised ones; text as `Categorical`. Do not
        change it.
    weights : ndarray of float, shape (n,)
        Analysis weights.
    stages : tuple of Stage
        Stages of the design, at least one.
    replicates : Replicates or None
        Replicate weights.
    calibration : Calibration or None
        What the weights were calibrated on.
    mask : ndarray of bool or None, shape (n,)
        Records inside the subset and of a weight other than 0; the others stay in the design and count as
        zero.
    lonely_psu : {"fail", "certainty", "average", "collapse"}
        What happens to a stratum with one sampled unit; "collapse" is already done in `stages`.
    conditions : tuple of str
        What the subset was made by.
    time : str or None
        Column that holds the period.
    layout : str
        Name of the layout, or "".
    release : Release
        Survey, release, EU composition and version of the places that the layout's codes refer to.
    panel : str
        Of a survey pooled to years (`sae.survey.pool_periods`): "linked", "independent" or "stated overlap".
    missing : mapping of str to int
        Records without a value, by column; columns without a gap are left out.
    notes : tuple of str
        What was read, mapped, coded to missing, collapsed.
    source : mapping
        File name and sha256 where read from a file.
    """

    _instead: ClassVar[str] = (
        'Make a survey of a frame with sae.Survey.from_frame(frame, weights="weight"), of a file with '
        'sae.read_survey(path, weights="weight").'
    )

    frame: pd.DataFrame
    weights: np.ndarray
    stages: tuple[Stage, ...]
    replicates: Replicates | None = None
    calibration: Calibration | None = None
    mask: np.ndarray | None = None
    conditions: tuple[str, ...] = ()
    lonely_psu: LonelyPolicy = "fail"
    time: str | None = None
    layout: str = ""
    release: Release = field(default_factory=Release)
    panel: str = ""
    missing: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    source: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    @answered
    def from_frame(
        cls,
        frame: pd.DataFrame,
        *,
        weights: str | Sequence[float] | None = None,
        strata: str | Sequence[str] | None = None,
        psu: str | Sequence[str] | None = None,
        household: str | None = None,
        person: str | None = None,
        fpc: str | Sequence[str] | None = None,
        replicates: Mapping[str, Any] | None = None,
        time: str | None = None,
        layout: str | Mapping[str, Any] | None = None,
        lonely_psu: LonelyPolicy = "fail",
        nest: bool = False,
        population: float | Mapping[str, float] | None = None,
    ) -> Survey:
        """Make a survey from records in memory, checking the design by name.

        Parameters
        ----------
        frame : DataFrame
            One row per record. Its columns are shared, not copied: do not write into them afterwards.
        weights : str or sequence of float
            Column of analysis weights (or the weights themselves, in the order of the records). A record of
            weight 0 is outside the population: it keeps its place in the design and counts nowhere.
        strata, psu, fpc : str or list of str, optional
            Columns of the design, a list with one column per stage. `fpc` counts the units of the
            population in the stratum (from the second stage on: inside the unit of the stage before).
            Without `psu` the household is the unit, and without a household each record.
        household, person : str, optional
            Identifiers. A person may occur once per household and period.
        replicates : mapping, optional
            ``{"columns": prefix or list, "method": "brr" | "fay" | "jk1" | "jkn" | "bootstrap" |
            "sdr"}`` and, where the default of the method is not meant, ``"scale"``, ``"rscales"``,
            ``"rho"``, ``"centre"``; ``"factors": True`` where the columns are to be multiplied by the
            weights.
        time : str, optional
            Column of the period.
        layout : str or mapping, optional
            A known layout (see `sae.survey.layout_names`) or a mapping with ``columns``, ``derive``,
            ``codes`` and ``missing``, a list of words that mean a missing value in every column. Arguments
            given here win over the layout's.
        lonely_psu : {"fail", "certainty", "average", "collapse"}
            Policy for a stratum with one sampled unit: refuse; count it as drawn with certainty; give it the
            average variance of the other strata; join it to the next stratum in sorted order.
        nest : bool
            True when the labels of `psu` are unique only within a stratum (1, 2 in every stratum).
        population : float or mapping of period to float, optional
            Persons that the weights stand for in every period; refused where they sum to another number (by
            more than 0.1 %).

        Returns
        -------
        Survey

        Raises
        ------
        SaeInputError, SaeSpecError
            If a column, a weight, the design or an identifier is at fault, naming rows, strata, units.

        Examples
        --------
        >>> frame = pd.DataFrame({"w": [10.0, 12.0, 9.0, 9.0], "region": ["a", "a", "b", "b"]})
        >>> sae.Survey.from_frame(frame, weights="w", strata="region")
        Survey: 4 records, weighted total 40
          design: 2 strata, 4 units (records), with replacement
        """
        roles = {
            "weights": weights,
            "strata": strata,
            "psu": psu,
            "household": household,
            "person": person,
            "fpc": fpc,
            "replicates": replicates,
            "time": time,
        }
        records = check_records(
            frame, roles, layout=layout, lonely_psu=lonely_psu, nest=nest, population=population
        )
        inside = records.weights != 0
        survey = cls(lonely_psu=lonely_psu, **vars(records))
        if inside.all():
            return survey
        outside = counted(int(np.sum(~inside)), "record of weight 0 is", "records of weight 0 are")
        note = f"{outside} outside the population: in the design, and counted nowhere"
        return replace(survey, mask=inside, notes=(*survey.notes, note))

    def __len__(self) -> int:
        return len(self.frame)

    if not TYPE_CHECKING:

        def __getattr__(self, name):
            hint = ""
            if not name.startswith("_") and (hasattr(pd.DataFrame, name) or name in self.frame):
                hint = f"; its records have: survey.frame.{name}"
                hint = (
                    "; a subset is survey.subset(condition)" if name in ("query", "filter", "loc") else hint
                )
            raise AttributeError(f"A survey has no {name!r}{hint}.")

    @property
    def design(self) -> str:
        """The design in one sentence, as it was understood: columns, counts, and where errors come from.

        Examples
        --------
        >>> frame = pd.DataFrame({"w": [10.0, 12.0, 9.0, 9.0], "region": ["a", "a", "b", "b"]})
        >>> sae.Survey.from_frame(frame, weights="w", strata="region").design
        '2 strata (region), every record a sampling unit, drawn with replacement; errors linearised'
        """
        text = design_text(self.stages, len(self), self.replicates, self.calibration)
        return f"{text}; periods pooled, {self.panel}" if self.panel else text

    def subset(self, expression: str) -> Survey:
        """Keep the records for which a condition is true; the full design stays for the variances.

        Parameters
        ----------
        expression : str
            A condition such as ``"20 <= age <= 64"``; a record for which it is missing is outside
            (counted in the notes). See `sae.survey.expressions.evaluate`.

        Returns
        -------
        Survey
            The same records with `mask` set; subsets of subsets intersect.

        Raises
        ------
        SaeSpecError
            If the expression is not a condition on known columns, or cuts a band of age.
        SaeInputError
            If no record is inside.

        Examples
        --------
        >>> frame = pd.DataFrame({"w": [10.0, 12.0, 9.0], "age": [17, 30, 70]})
        >>> sae.Survey.from_frame(frame, weights="w").subset("age >= 18").mask.tolist()
        [False, True, True]
        """
        check_age_limits(f"the subset {expression!r}", [expression], self.release.age_bands)
        result = evaluate(expression, self.frame)
        if result.values.dtype != np.bool_:
            raise SaeSpecError(
                f"The expression {expression!r} gives numbers; a subset needs a condition.",
                hint="Write a comparison, for example: age >= 18.",
            )
        mask = result.values & ~result.missing
        unknown = result.missing
        if self.mask is not None:
            mask, unknown = mask & self.mask, unknown & self.mask
        inside = int(mask.sum())
        before = len(self) if self.mask is None else int(self.mask.sum())
        if inside == 0:
            raise SaeInputError(
                f"No record of {before:,} fulfils {expression!r}.", hint="Check the condition."
            )
        note = f"subset {expression!r}: {inside:,} of {before:,} records"
        if unknown.any():
            note += f"; {counted(int(unknown.sum()), 'record', 'records')} for which it is missing "
            note += "is outside" if unknown.sum() == 1 else "are outside"
        conditions = (*self.conditions, expression)
        return replace(self, mask=mask, conditions=conditions, notes=(*self.notes, note))

    def calibrate(
        self,
        totals: Mapping[Any, Any],
        *,
        method: CalibrationMethod = "linear",
        bounds: tuple[float, float] | None = None,
        collapse: Collapse = None,
    ) -> Survey:
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

    def post_stratify(
        self, columns: str | Sequence[str], counts: Any, *, collapse: Collapse = None
    ) -> Survey:
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
    ) -> Survey:
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

    def __repr__(self) -> str:
        n_notes = len(self.notes) + bool(self.missing)
        return "\n".join([*self._lines(), *([f"  notes: {n_notes}, see summary()"] if n_notes else [])])

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(repr(self))}</pre>"

    def summary(self) -> str:
        """Return a page of text: design, weights, replicates, periods, missing values per variable, notes."""
        lines = [
            *self._lines(),
            f"  weights: {weights_text(self.weights)}",
            f"  degrees of freedom: {self.stages[0].n_psu - self.stages[0].n_strata:,}, lonely units: "
            f"{self.lonely_psu}",
        ]
        if self.source:
            lines.append(f"  file: {self.source.get('file')}, sha256 {self.source.get('sha256')}")
        notes = [*self.notes, *([missing_text(self.missing)] if self.missing else [])]
        if notes:
            lines += ["  notes:", *(f"    - {note}" for note in notes)]
        return "\n".join(lines)

    def _lines(self) -> list[str]:
        """Return records, design, replicates and periods, a line each."""
        head = f"Survey: {len(self):,} records, weighted total {float(self.weights.sum()):,.0f}"
        lines = [head + (f", layout {self.layout}" if self.layout else "")]
        outside = int(np.sum(self.weights == 0))
        if outside:
            lines.append(f"  outside the population: {counted(outside, 'record', 'records')} of weight 0")
        if self.mask is not None and self.is_subset:
            total = float(self.weights[self.mask].sum())
            lines.append(f"  subset: {int(self.mask.sum()):,} records, weighted {total:,.0f}")
        lines.append(f"  design: {stages_text(self.stages, len(self))}")
        if self.replicates is not None:
            lines.append(f"  replicates: {replicates_text(self.replicates)}")
        if self.calibration is not None:
            lines.append(f"  calibrated: {calibration_text(self.calibration)}")
        if self.time is not None:
            lines.append(f"  periods: {periods_text(self.frame[self.time])}")
        return lines

    @cached_property
    def _held(self) -> dict[str, tuple[str, ...]]:
        return {}

    def held(self, column: str) -> tuple[str, ...]:
        """Return the labels that the records of the subset hold in a column, as text, each once.

        Every indicator and every crossing asks for them; they are looked up once.

        Examples
        --------
        >>> frame = pd.DataFrame({"w": [1.0, 2.0, 1.0], "year": [2022, 2019, 2022]})
        >>> sae.Survey.from_frame(frame, weights="w", time="year").held("year")
        ('2022', '2019')
        """
        if column not in self._held:
            self._held[column] = _labels_held(self.frame[column], self.mask)
        return self._held[column]

    @property
    def is_subset(self) -> bool:
        """Whether records of the population are left out (a weight of 0 is outside it)."""
        return self.mask is not None and bool(np.any(~self.mask & (self.weights != 0)))

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

    def _calibrated(self, calibration: Calibration, more: tuple[str, ...]) -> Survey:
        weights, notes = calibrated_weights(calibration)
        self._warn_of_one_population(float(weights.sum()))
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


def _labels_held(series: pd.Series, mask: np.ndarray | None) -> tuple[str, ...]:
    if not isinstance(series.dtype, pd.CategoricalDtype):
        values = series if mask is None else series[mask]
        return tuple(label_text(level) for level in values.dropna().unique())
    codes = series.cat.codes.to_numpy()
    held = pd.unique(codes if mask is None else codes[mask])
    levels = np.asarray(series.cat.categories, dtype=object)[held[held >= 0]]
    return tuple(map(label_text, levels.tolist()))
