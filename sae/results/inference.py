"""What statisticians ask of any fit: coefficients with intervals, their covariance, effects, new areas."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import scipy

from sae.calls import answered
from sae.errors import SaeSpecError
from sae.results.fitted import Fitted
from sae.tables import EstimateTable, to_numbers

__all__ = ["Inference"]

_SAME = 1e-6  # a covariance is that of the fit where its diagonal gives the standard errors of the table


class Inference(Fitted):
    """Verbs that fits of other packages have, answered from the tables of a result."""

    def tidy(self) -> pd.DataFrame:
        """Return the coefficients with their intervals as a plain table, one row per term and fit.

        Examples
        --------
        >>> frame = pd.DataFrame({"domain": list("ABCDEF"), "y": [1.0, 3, 2, 5, 4, 6], "x": range(6)})
        >>> fit = sae.FayHerriot("y ~ x").fit(frame.assign(vardir=0.5))
        >>> fit.tidy().columns.tolist()
        ['term', 'coef', 'se', 'z', 'p', 'ci_low', 'ci_high']
        """
        return (
            self.coefficients.drop(columns=["low", "high"], errors="ignore")
            .join(self.conf_int())
            .reset_index()
        )

    def glance(self) -> pd.DataFrame:
        """Return one row per fit: sizes, criteria of the likelihood, variances.

        Examples
        --------
        >>> frame = pd.DataFrame({"domain": list("ABCDEF"), "y": [1.0, 3, 2, 5, 4, 6], "x": range(6)})
        >>> fit = sae.FayHerriot("y ~ x").fit(frame.assign(vardir=0.5))
        >>> {"areas", "aic", "sigma2_u"} <= set(fit.glance())
        True
        """
        components = self.variance_components
        if isinstance(components, pd.Series):
            components = components.to_frame().T.set_axis(self.diagnostics.index)
        more = [name for name in components if name not in self.diagnostics]
        return pd.concat([self.diagnostics, components[more]], axis=1)

    @answered
    def conf_int(self, level: float | None = None) -> pd.DataFrame:
        """Return the intervals of the coefficients: normal ones, or those of the posterior.

        Parameters
        ----------
        level : float, optional
            By default that of the specification, which is the only one that a posterior keeps.

        Raises
        ------
        SaeSpecError
            If the level is none, or the fit is Bayesian and it is another one than that of the fit.

        Examples
        --------
        >>> frame = pd.DataFrame({"domain": list("ABCDEF"), "y": [1.0, 3, 2, 5, 4, 6], "x": range(6)})
        >>> fit = sae.FayHerriot("y ~ x").fit(frame.assign(vardir=0.5))
        >>> fit.conf_int(0.9).loc["x"].round(2).tolist()
        [0.5, 1.27]
        """
        level = self.spec.level if level is None else level
        if not isinstance(level, int | float) or not 0.0 < level < 1.0:
            raise SaeSpecError(
                f"level = {level!r} is no level of intervals.", hint="Give one between 0 and 1, such as 0.95."
            )
        table = self.coefficients
        if "se" not in table:
            if level != self.spec.level:
                raise SaeSpecError(
                    f"The posterior intervals of the fit are of level {self.spec.level}, not {level}.",
                    hint=f"Fit with level={level}.",
                )
            return table[["low", "high"]].set_axis(["ci_low", "ci_high"], axis=1)
        half = float(scipy.special.ndtri(0.5 + 0.5 * level)) * table["se"]
        return pd.DataFrame({"ci_low": table["coef"] - half, "ci_high": table["coef"] + half})

    def cov_params(self) -> pd.DataFrame:
        """Return the covariance matrix of the coefficients, on the index of `coefficients`.

        (X'V⁻¹X)⁻¹ with V at the estimated variances, as the standard errors of the table.

        Raises
        ------
        SaeSpecError
            If the coefficients are no generalised least squares with one area effect, as of a posterior.

        Examples
        --------
        >>> frame = pd.DataFrame({"domain": list("ABCDEF"), "y": [1.0, 3, 2, 5, 4, 6], "x": range(6)})
        >>> fit = sae.FayHerriot("y ~ x").fit(frame.assign(vardir=0.5))
        >>> bool(np.allclose(np.sqrt(np.diag(fit.cov_params())), fit.coefficients["se"]))
        True
        """
        table = self.coefficients
        covariance = self._least_squares() if "se" in table else None
        same = covariance is not None and np.allclose(
            np.sqrt(np.diag(covariance)), table["se"], rtol=_SAME, atol=0
        )
        if not same:
            raise SaeSpecError(
                "cov_params() is of coefficients by generalised least squares with one area effect; those of "
                f"{type(self.spec).__name__} here are others.",
                hint="Standard errors stand in fit.coefficients; a posterior has draws: to_arviz(seed=1).",
            )
        return pd.DataFrame(covariance, index=table.index, columns=table.index)

    def _least_squares(self) -> np.ndarray | None:
        """(X'V⁻¹X)⁻¹ of each fit in a block; None where the rows are not those of one area effect."""
        data, components = self.data, pd.DataFrame(self.variance_components)
        if isinstance(self.variance_components, pd.Series):
            components = components.T
        fits, terms = len(components), len(data.columns)
        if fits * terms != len(self.coefficients) or "sigma2_u" not in components:
            return None
        covariance = np.zeros((fits * terms, fits * terms))
        for k, (_, variance) in enumerate(components.iterrows()):
            seen = np.isfinite(data.outcome) & (data.fit[data.row] == k)
            noise = np.where(np.isfinite(data.vardir), data.vardir, variance.get("sigma2_e", np.nan))[seen]
            X, area = data.X[seen], np.unique(data.row[seen], return_inverse=True)[1]
            sums = np.zeros((area.max(initial=-1) + 1, terms))
            np.add.at(sums, area, X / noise[:, None])
            weight = np.bincount(area, 1.0 / noise)
            effect = variance["sigma2_u"] / (1.0 + variance["sigma2_u"] * weight)
            gram = (X / noise[:, None]).T @ X - (sums * effect[:, None]).T @ sums
            if not np.isfinite(gram).all():
                return None
            block = slice(k * terms, (k + 1) * terms)
            covariance[block, block] = np.linalg.inv(gram)
        return covariance

    @property
    def random_effects(self) -> pd.DataFrame:
        """Predicted area effects on the scale of the model: what is added to the regression, by row.

        Of an EBP with several figures of an area, the areas with a sample, once each.

        Raises
        ------
        SaeSpecError
            If the effects are not additive on that scale, or the estimates were benchmarked.

        Examples
        --------
        >>> frame = pd.DataFrame({"domain": list("ABCDEF"), "y": [1.0, 3, 2, 5, 4, 6], "x": range(6)})
        >>> fit = sae.FayHerriot("y ~ x").fit(frame.assign(vardir=0.5))
        >>> fit.random_effects.columns.tolist()
        ['domain', 'effect']
        """
        data, table = self.data, self.coefficients
        if "effect" in self.residuals and not self.benchmarks:  # a unit-level model keeps them
            rows = self.residuals.index.to_numpy()
            if self.estimates.frame["indicator"].nunique() > 1 or self.spec.overlapping:
                return self.row_names().loc[rows, ["domain"]].assign(effect=self.residuals["effect"])
            effect = np.zeros(len(self.estimates))
            effect[rows] = self.residuals["effect"]
            return self.row_names().assign(effect=effect)
        regression = None
        if len(data.X) == len(self.estimates) and len(table) % len(data.columns) == 0:
            beta = table["coef"].to_numpy().reshape(-1, len(data.columns))
            if len(beta) > data.fit.max(initial=0):
                regression = (data.X * beta[data.fit]).sum(axis=1)
        fitted = None if regression is None else regression[self.residuals.index.to_numpy()]
        linear = fitted is not None and np.allclose(fitted, self.residuals["fitted"], rtol=_SAME, atol=1e-9)
        shrunk = data.scale != "identity" and "se" in table
        finite = bool(getattr(self.spec, "population", ""))
        if self.benchmarks or finite or not linear or not (shrunk or data.scale == "identity"):
            raise SaeSpecError(
                "random_effects are of linear models with additive area effects, before a benchmark.",
                hint="The predictions of the areas stand in fit.estimates, the residuals in fit.residuals.",
            )
        if shrunk:
            effect = np.zeros(len(self.estimates))
            rows = self.residuals.index.to_numpy()
            effect[rows] = to_numbers(self.estimates.frame, "gamma")[rows] * self.residuals["residual"]
        else:
            effect = to_numbers(self.estimates.frame, "estimate") - regression
        return self.row_names().assign(effect=effect)

    @answered
    def predict(self, areas: pd.DataFrame) -> EstimateTable:
        """Predict areas that the fit did not have, from their covariates: no sample, the same model.

        They get what `fit` gives areas without a sample: estimate, MSE, interval, the warning of covariates
        outside the range of the fit.

        Parameters
        ----------
        areas : DataFrame
            One row per new area (and period): its label and the covariates, named as in the fit.

        Returns
        -------
        EstimateTable
            The new rows alone, in the order of `areas`.

        Raises
        ------
        SaeInputError
            If an area is in the fit already, or a covariate is missing.
        SaeSpecError
            If the model cannot take areas afterwards: one in which they would change the estimates of the
            others, a unit-level model other than `NestedError` with its population means, a multivariate one
            of direct estimates; or the result was benchmarked.

        Examples
        --------
        >>> frame = pd.DataFrame({"domain": list("ABCDEF"), "y": [1.0, 3, 2, 5, 4, 6], "x": range(6)})
        >>> fit = sae.FayHerriot("y ~ x").fit(frame.assign(vardir=0.5))
        >>> fit.predict(pd.DataFrame({"domain": ["G"], "x": [2.5]}))[["domain", "estimate"]].values.tolist()
        [['G', 3.5]]
        """
        from sae.results.prediction import predicted

        table, messages = predicted(self, areas)
        for message in messages:
            if message.category is not None:
                warnings.warn(message.text, message.category, stacklevel=3)
        return table
