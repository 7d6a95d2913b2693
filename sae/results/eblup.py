"""An EBLUP as a result: the one place where estimates and their errors become the table of every family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sae.numerics.inference.joint_error import JointError
from sae.results.data import FittedData
from sae.results.draws import DrawSource
from sae.results.intervals import Interval, holding
from sae.results.record import FitTables, Message, ResultRows, RunRecord, provenance_of
from sae.results.result import Result
from sae.specs import Specification
from sae.tables import EstimateTable

__all__ = ["Eblup", "eblup_result"]


@dataclass(frozen=True, slots=True, eq=False)
class Eblup:
    """Predictions of the M rows of a table on the reported scale, in their order.

    Attributes
    ----------
    estimate, mse : ndarray of float, shape (M,)
    low, high : ndarray of float, shape (M,)
        Ends of the intervals; missing where there is none.
    interval, prior : str or ndarray of str, shape (M,)
        What the intervals rest on.
    gamma : ndarray of float, shape (M,)
        Weight of the direct estimate.
    mse_method : str or ndarray of str, shape (M,)
    joint : JointError
    source : DrawSource
    tables : FitTables
    messages : tuple of Message
        Warnings and notes, in the order in which they are read.
    more : mapping
        Further entries of the provenance.
    """

    estimate: np.ndarray
    mse: np.ndarray
    low: np.ndarray
    high: np.ndarray
    interval: str | np.ndarray
    prior: str | np.ndarray
    gamma: np.ndarray
    mse_method: str | np.ndarray
    joint: JointError
    source: DrawSource
    tables: FitTables
    messages: tuple[Message, ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        estimate: np.ndarray,
        mse: np.ndarray,
        ends: Interval,
        gamma: np.ndarray,
        mse_method: str | np.ndarray,
        joint: JointError,
        source: DrawSource,
        tables: FitTables,
        messages: Sequence[Message] = (),
        more: Mapping[str, Any] | None = None,
    ) -> Eblup:
        """Return the predictions of one fit, whose rows have the same kind of interval."""
        return cls(
            estimate,
            mse,
            ends.low,
            ends.high,
            ends.text,
            ends.prior,
            gamma,
            mse_method,
            joint,
            source,
            tables,
            tuple(messages),
            more or {},
        )


def eblup_result(
    spec: Specification,
    rows: ResultRows,
    data: FittedData,
    eblup: Eblup,
    record: RunRecord,
) -> Result:
    """Wrap the predictions of a likelihood or moment fit into the result that every family returns.

    Parameters
    ----------
    spec : Specification
    rows : ResultRows
        What the model has read.
    data : FittedData
        What it fitted.
    eblup : Eblup
    record : RunRecord
    """
    low, high, interval = holding(eblup.estimate, eblup.low, eblup.high, eblup.interval)
    columns = {
        **rows.columns,
        "estimate": eblup.estimate,
        "mse": eblup.mse,
        "ci_low": low,
        "ci_high": high,
        "interval": interval,
        "prior": eblup.prior,
        "gamma": eblup.gamma,
        "in_sample": data.sampled,
        "mse_method": eblup.mse_method,
        "method": record.method,
        "model": record.label or spec.label,
        "run": record.run,
    }
    return Result(
        estimates=EstimateTable.from_mse(columns, rows.groups),
        coefficients=eblup.tables.coefficients,
        variance_components=eblup.tables.variance_components,
        diagnostics=eblup.tables.diagnostics,
        residuals=eblup.tables.residuals,
        provenance=provenance_of(spec, record, eblup.messages, eblup.more, rows.provenance),
        spec=spec,
        data=data,
        areas=rows.covariates,
        title=record.title,
        joint=eblup.joint,
        source=eblup.source,
        messages=eblup.messages,
    )
