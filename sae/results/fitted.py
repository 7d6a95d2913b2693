"""What a fit has learnt: tables, data, joint error, and who is who among the rows."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, name_some
from sae.numerics.inference.joint_error import JointError
from sae.results.data import FittedData
from sae.results.draws import DrawSource
from sae.results.record import Message
from sae.samplers import Posterior
from sae.specs import Specification
from sae.tables import EstimateTable, to_numbers

if TYPE_CHECKING:
    from sae.quality import Benchmark

__all__ = ["Fitted"]


@dataclass(frozen=True, eq=False, repr=False)
class Fitted:
    """What the verbs of a `Result` rest on; its attributes are described there."""

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

    def to_frame(self) -> pd.DataFrame:
        """Return the estimate table as a fresh DataFrame."""
        return self.estimates.to_frame()

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

    def with_messages(self, messages: Sequence[Message]) -> Self:
        """Return the result with more to say, in its record too."""
        if not messages:
            return self
        texts = [*self.provenance.get("warnings", ()), *(message.text for message in messages)]
        record = {**self.provenance, "warnings": texts}
        return replace(self, messages=(*self.messages, *messages), provenance=record)

    @property
    def _noise(self) -> np.ndarray:
        """Sampling variances of the rows, or what has their order."""
        frame = self.estimates.frame
        noise = np.full(len(frame), np.nan) if self.data.of_units else self.data.vardir
        for count in ("n_eff", "n"):
            if not np.isfinite(noise[self.data.sampled]).all():
                noise = -to_numbers(frame, count)
        return noise

    @property
    def _shares(self) -> np.ndarray:
        """Which rows are shares of 0 to 1."""
        units = self.estimates.frame["unit"]
        return (units == "share").to_numpy(dtype=bool) | (self.source.bounds == (0.0, 1.0))
