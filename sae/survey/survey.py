"""The survey: records with the design they were drawn by. Immutable; a subset keeps the full design."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from sae.calls import Answering, NoTable, answered
from sae.errors import SaeInputError, SaeSpecError, counted, name_some
from sae.literals import LonelyPolicy
from sae.survey.age_bands import check_age_limits
from sae.survey.build import check_records
from sae.survey.describe import design_text, summary_lines, survey_lines
from sae.survey.expressions import evaluate
from sae.survey.reweighting import Reweighting

__all__ = ["Survey"]


class Survey(Reweighting, NoTable, metaclass=Answering):
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

    def _place(self, name: object) -> str:
        if isinstance(name, str | list) and {*([name] if isinstance(name, str) else name)} <= {*self.frame}:
            return f"Write survey.frame[{name!r}]."
        if isinstance(name, pd.Series | np.ndarray):
            return 'A subset is survey.subset("age >= 18"), with the condition as text.'
        return f"Its records are survey.frame, with {name_some(self.frame, 15)}."

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

    def __repr__(self) -> str:
        n_notes = len(self.notes) + bool(self.missing)
        return "\n".join([*survey_lines(self), *([f"  notes: {n_notes}, see summary()"] if n_notes else [])])

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(repr(self))}</pre>"

    def summary(self) -> str:
        """Return a page of text: design, weights, replicates, periods, missing values per variable, notes."""
        return "\n".join(summary_lines(self))
