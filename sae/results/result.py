"""The result of a fit: estimates with everything that was learnt, and the verbs of a published table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae._version import __version__
from sae.calls import NoTable, elsewhere
from sae.errors import SaeInputError, SaeTypeError
from sae.results.charts import Plots
from sae.results.drawing import Drawing
from sae.results.inference import Inference
from sae.results.publishing import Publishing
from sae.results.record import FitTables

__all__ = ["Result"]


class Result(Inference, Drawing, Publishing, NoTable):
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

    @property
    def plot(self) -> Plots:
        """Charts: ``plot.compare()``, ``caterpillar()``, ``map(geometry)``, ``residuals()``, ``qq()``.

        An EBP has ``profile()`` too. Both levels of a model of units are drawn by `sae.plots.qq`, and what
        single areas move by `sae.plots.influence`.
        """
        return Plots(self.estimates, self.residuals, self.provenance.get("transformation", {}))

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

    def write(self, path: str | Path) -> Path:
        """Write the estimates, in a workbook (XLSX, ODS) with all else that was learnt, a sheet per table.

        Raises
        ------
        SaeInputError
            If the ending is none of ``.csv``, ``.parquet``, ``.xlsx``, ``.ods``.
        """
        from sae.results.workbook import fit_notes, result_sheets
        from sae.tables.files import is_workbook, write_workbook

        if not is_workbook(path):
            return self.estimates.write(path)
        tables = FitTables(self.coefficients, self.variance_components, self.diagnostics, self.residuals)
        notes = fit_notes(self.provenance, self.spec.level, self.benchmarks)
        notes += [("Note", message.text) for message in self.messages]
        return write_workbook(result_sheets(self.title, self.estimates, tables, notes), path)

    def __repr__(self) -> str:
        return self.summary()

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(self.summary())}</pre>{self.estimates._repr_html_()}"

    def _place(self, name: object) -> str:
        tables = {"estimates": self.estimates.frame, "areas": self.areas, "coefficients": self.coefficients}
        for table, columns in tables.items():
            if isinstance(name, str | list) and {*([name] if isinstance(name, str) else name)} <= {*columns}:
                return f"Write fit.{table}[{name!r}]."
        return "Its table is fit.estimates; fit.to_frame() makes a frame of it."

    def __bool__(self) -> bool:
        return True

    if not TYPE_CHECKING:

        def __len__(self):
            rows = len(self.estimates)
            raise SaeTypeError(
                "A result has no length.", hint=f"Its table has {rows} rows: len(fit.estimates)."
            )

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
