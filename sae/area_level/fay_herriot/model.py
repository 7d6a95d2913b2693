"""The Fay–Herriot model: direct estimates and covariates of areas, joined by an area effect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from sae.area_level.arrays import AreaArrays
from sae.area_level.effects.options import (
    check_structure,
    free_parameters,
    read_component,
    structure_description,
)
from sae.area_level.fay_herriot.eblup import METHOD_NAMES, fit_eblup
from sae.area_level.fay_herriot.mse import check_mse, chosen_mse, mse_name
from sae.area_level.priors import check_bayes
from sae.area_level.reading import read_rows
from sae.area_level.rows import AreaRows, checked, fit_kept
from sae.calls import answered
from sae.errors import SaeError, SaeSpecError
from sae.literals import AreaMethod, AreaMse, Back, Transformation
from sae.numerics.inference.tally import replicates_text
from sae.numerics.inference.transforms import TRANSFORMS, Transform
from sae.results import AreaModel, Result, RunRecord, eblup_result
from sae.specs import one_of, split_formula
from sae.specs.priors import Prior, prior_of
from sae.tables.covariates import Covariates, frame_of

# what the plain model needs is imported above; posteriors, maps and periods when a specification names them
if TYPE_CHECKING:
    from sae.area_level.effects.spatial import BYM2, CAR, SAR, Leroux
    from sae.area_level.effects.temporal import AR1, RW1, RW2
    from sae.area_level.fay_herriot.sources import SourceRows

__all__ = ["FayHerriot"]


@dataclass(frozen=True, repr=False)
class FayHerriot(AreaModel[Result]):
    """Fay–Herriot model of area-level direct estimates.

    h(y_d) = x_d'β + u_d + e_d, u_d ~ N(0, A), e_d ~ N(0, D_d) with D_d known.

    Parameters
    ----------
    formula : str
        "outcome ~ covariates". The outcome is an indicator of `DirectEstimates`, or a column of a frame.
    domain, vardir, n_eff : str
        Columns of a plain frame: area labels, sampling variances (natural scale, squared units), effective
        sample sizes.
    method : {"reml", "ml", "fh", "pr", "ll-reml", "ll-ml", "yl-reml", "yl-ml", "bayes"}
        Restricted or full maximum likelihood, Fay–Herriot moment, Prasad–Rao moment; likelihoods adjusted by
        Li and Lahiri or by Yoshimori and Lahiri, with which the variance is never 0; the exact posterior
        with flat coefficients.
    transform : {None, "arcsin", "log", "logit"}
        Model arcsin √y of a share, with D = 1 / (4 n_eff), or vardir by the delta method where there is no
        n_eff; log y of a positive figure; logit y of a share inside (0, 1); vardir by the delta method.
    back : {"unbiased", "naive", "crude"}
        The way back h^-1. "unbiased" is E h^-1(θ) for θ ~ N(θ̂, A (1 - γ)): (1 - exp(-2 s²) cos 2θ̂) / 2 for
        arcsin, exp(θ̂ + s²/2) for log, quadrature for logit; "naive" is h^-1(θ̂); "crude", for log only, takes
        the MSE for s².
    mse : {"auto", "analytical", "bootstrap", "bootstrap-corrected", "jackknife", "weighted-jackknife"}
        "auto" is the analytical MSE without a transformation and for log (Slud–Maiti), else the parametric
        bootstrap on the reported scale. Bootstraps need a seed.
    per : sequence of str
        Columns whose values get a fit of their own, all in one kernel call.
    level : float
        Of the intervals.
    replicates : int, optional
        Of the bootstrap; by default as many, from 200 to 12,800, as bring the Monte Carlo error of every MSE
        to 2 %, which is 1 % of its root (1,600 at most with `spatial` or `temporal`).
    spatial : SAR, BYM2, Leroux or CAR, optional
        Area effects that neighbours share; all but SAR need method="bayes". ``mse`` may then also be
        "nonparametric" or "nonparametric-corrected".
    temporal : AR1, RW1 or RW2, optional
        Effects over time within each area, beside the area effect: one row per area and period; random walks
        need method="bayes". The MSE of a likelihood estimate comes from the parametric bootstrap.
    prior : Prior or str, optional
        Of √A, with method="bayes": "flat-variance", "flat-sd", "half-normal(0.5)", "half-cauchy(0.5)",
        "pc(1, 0.01)", or an object of `sae.priors`. By default half-normal; a scale left out is the standard
        deviation of h(y) over the areas of the fit.
    population : str
        Column with the sizes N_d of the populations, which turns the estimates into figures of these finite
        populations: f·direct + (1 - f)·model with f = n/N, the MSE and the intervals counting the chance of
        the N - n persons not asked. Needs n, in a plain frame a column of that name; vardir and n_eff are
        those of the design given n: they hold its factor 1 - f.
    source : str
        Column that tells the source of each direct estimate, such as the surveys of `sae.combine`: several
        rows per area become one estimate, each source but the reference having a bias of its own, y_ds =
        x_d'β + b_s + u_d + e_ds with independent sampling errors. The biases stand among the coefficients,
        as ``survey[silc]``. ``direct`` is the precision-weighted mean of the area's sources without their
        biases, ``n`` their records together. For method="reml" or "ml" and the analytical MSE.
    reference : str
        The source without a bias, by default the one with most records.

    References
    ----------
    Fay and Herriot (1979), JASA 74, 269–277; Rao and Molina (2015), Small Area Estimation, 2nd ed., chapter
    6, and section 7.1 for the finite-population predictor; Datta and Lahiri (2000), Statistica Sinica 10,
    613–627, for the MSE with several sources.

    Examples
    --------
    >>> frame = pd.DataFrame({"area": list("ABCDEFGH"), "y": [1.1, 5.9, 5.2, 9.3, 8.6, 13.5, 13.1, None],
    ...                       "vardir": 0.4, "x": [1, 2, 3, 4, 5, 6, 7, 4]})
    >>> fit = sae.FayHerriot("y ~ x", domain="area").fit(frame)
    >>> fit.coefficients["coef"].round(2).to_dict()
    {'Intercept': 0.3, 'x': 1.95}
    >>> round(float(fit.estimates["estimate"].iloc[7]), 1)  # H has no direct estimate
    8.1
    """

    kind: ClassVar[str] = "fay_herriot"

    vardir: str = "vardir"
    n_eff: str = "n_eff"
    method: AreaMethod = "reml"
    transform: Transformation | None = None
    mse: AreaMse = "auto"
    per: tuple[str, ...] = ()
    replicates: int | None = None
    spatial: SAR | BYM2 | Leroux | CAR | None = None
    temporal: AR1 | RW1 | RW2 | None = None
    back: Back = "unbiased"
    population: str = ""
    prior: Prior | str | None = None
    source: str = ""
    reference: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("method", self.method, AreaMethod)
        if self.transform is not None:
            one_of("transform", self.transform, Transformation)
        one_of("mse", self.mse, AreaMse)
        one_of("back", self.back, Back)
        per = (self.per,) if isinstance(self.per, str) else tuple(self.per)
        object.__setattr__(self, "per", per)
        for name in ("spatial", "temporal"):
            component = read_component(name, getattr(self, name), bayes=self.method == "bayes")
            object.__setattr__(self, name, component)
        check_structure(
            self.spatial,
            self.temporal,
            method=self.method,
            transform=self.transform,
            per=self.per,
            mse=self.mse,
        )
        refused = {
            f'mse="{self.mse}"': self.mse != "auto",
            f'back="{self.back}"': self.back != "unbiased",
            f'population="{self.population}"': bool(self.population),
        }
        reason = ", which gives posterior means and variances on the reported scale"
        check_bayes(self.method, self.prior, refused, reason=reason)
        if self.method != "bayes":
            check_mse(self.mse, self.transform, self.back)
        if self.population:
            from sae.area_level.finite_population import check_population

            check_population(self.population, self._structure.partition(" ")[0])
        if self.source or self.reference:
            self._check_source()
        if self.replicates is not None and self.replicates < 2:
            raise SaeSpecError(f"replicates = {self.replicates}: a bootstrap needs at least 2.")

    def _check_source(self) -> None:
        from sae.area_level.fay_herriot.sources import check_sources

        refused = {
            f'method="{self.method}"': self.method not in ("reml", "ml"),
            f'transform="{self.transform}"': self.transform is not None,
            f'mse="{self.mse}"': self.mse not in ("auto", "analytical"),
            f'population="{self.population}"': bool(self.population),
            f"per={self.per}": self.source in self.per,
            **{f"{name}=": getattr(self, name) is not None for name in ("spatial", "temporal", "replicates")},
        }
        check_sources(self.source, self.reference, refused)

    @property
    def _transform(self) -> Transform:
        transform = TRANSFORMS[self.transform or "identity"]
        return transform.naive() if self.back == "naive" else transform

    @property
    def _structure(self) -> str:
        """The structured effects: "spatial and temporal"."""
        return " and ".join(name for name in ("spatial", "temporal") if getattr(self, name) is not None)

    @property
    def _bootstraps(self) -> bool:
        return self.method != "bayes" and chosen_mse(self.mse, self.transform, self.back).startswith(
            "bootstrap"
        )

    @property
    def label(self) -> str:
        """The model in a few words, as it stands in the estimate table."""
        if self._structure:
            method = "Bayes" if self.method == "bayes" else self.method.upper()
            return f"Fay–Herriot, {self._structure} ({method}): {self.formula}"
        parts = ["Fay–Herriot", METHOD_NAMES[self.method], *([self.transform] if self.transform else [])]
        parts += [f"sources by {self.source}"] if self.source else []
        return f"{', '.join(parts)}: {self.formula}"

    def _description(self) -> str:
        if self._structure:
            return structure_description(self.formula, self.spatial, self.temporal, self.method, self.prior)
        outcome, covariates = split_formula(self.formula)
        scale = {"arcsin": f"arcsin √{outcome}", None: outcome}.get(
            self.transform, f"{self.transform} {outcome}"
        )
        fits = f", one fit per {' × '.join(self.per)}" if self.per else ""
        if self.method == "bayes":
            prior = prior_of(self.prior).text
            return f"models {scale} by {covariates} and an area effect; exact posterior, {prior} prior{fits}"
        mse = chosen_mse(self.mse, self.transform, self.back).replace("-", " ")
        if mse == "analytical":
            mse = mse_name(self.method)
        if self._bootstraps:
            mse = f"parametric {mse}, {replicates_text(self.replicates)}"
        method = METHOD_NAMES[self.method]
        finite = f"; figures of populations of {self.population}" if self.population else ""
        effects = f"an area effect and a bias of each {self.source}" if self.source else "an area effect"
        return f"models {scale} by {covariates} and {effects}; {method}{fits}; MSE: {mse}{finite}"

    @property
    def _random_step(self) -> str:
        drawn = self._bootstraps and not self._structure
        return "The MSE comes from a parametric bootstrap" if drawn else ""

    def _fit(self, data: Any, areas: pd.DataFrame | None, seed: int | None) -> Result:
        return self._fit_read(self._rows(data, areas), seed)

    def _fit_read(self, rows: AreaRows | SourceRows, seed: int | None) -> Result:
        if not isinstance(rows, AreaRows):
            return self._fit_sources(rows, seed)
        return self._fit_structured(rows, seed) if self._structure else self._fit_rows(rows, seed)

    @property
    def wants_covariance(self) -> bool:
        """Whether the model uses the covariances between direct estimates."""
        return self.temporal is not None

    @answered
    def fit_each(
        self,
        data: Any,
        *,
        areas: pd.DataFrame | Covariates | None = None,
        seed: int | np.random.Generator | None = None,
    ) -> tuple[Result | None, dict[tuple[Any, ...], SaeError]]:
        """Fit every value of ``per`` that can be had: see `AreaModel.fit_each`."""
        if not self.per:
            return super().fit_each(data, areas=areas, seed=seed)
        return fit_kept(
            self._rows(data, frame_of(areas)),
            lambda rows: self._run(lambda number: self._fit_read(rows, number), seed, areas),
        )

    def _rows(self, data: Any, areas: pd.DataFrame | None) -> AreaRows | SourceRows:
        outcome, _ = split_formula(self.formula)
        per = (self.temporal.column,) if self.temporal else self.per
        if self.source:
            from sae.area_level.fay_herriot.sources import check_column

            check_column(data, self.source)
            per = (*per, self.source)
        rows = read_rows(
            data,
            areas,
            outcome=outcome,
            domain=self.domain,
            vardir=self.vardir,
            n_eff=self.n_eff,
            per=per,
        )
        if not self.source:
            return rows
        from sae.area_level.fay_herriot.sources import read_sources

        return read_sources(rows, self.per, self.source, self.reference)

    def _fit_rows(self, rows: AreaRows, seed: int | None) -> Result:
        _, covariates = split_formula(self.formula)
        finite = None
        if self.population:
            from sae.area_level.finite_population import FinitePopulation

            finite = checked(rows, lambda some: FinitePopulation.of_rows(some, self.population))
            rows = finite.superpopulation(rows)
        arrays = AreaArrays.build(rows, self._transform, covariates)
        sizes = () if finite is None else (finite.sample_size, finite.size)
        title = f"Fay–Herriot ({', '.join(filter(None, (self.transform, METHOD_NAMES[self.method])))})"
        run = arrays.run_id(self, seed, *sizes)
        if self.method == "bayes":
            from sae.area_level.fay_herriot.bayes import fit_bayes
            from sae.results import posterior_result

            posterior = fit_bayes(arrays, self._transform, prior=self.prior, level=self.level)
            record = RunRecord(title, "posterior mean", run, seed)
            return posterior_result(self, rows, arrays.data, posterior, record)
        eblup = fit_eblup(
            arrays,
            self._transform,
            method=self.method,
            mse=chosen_mse(self.mse, self.transform, self.back),
            back=self.back,
            level=self.level,
            replicates=self.replicates,
            seed=seed,
            finite=finite,
        )
        record = RunRecord(title, f"EBLUP, {METHOD_NAMES[self.method]}", run, seed)
        return eblup_result(self, rows, arrays.data, eblup, record)

    def _fit_sources(self, rows: SourceRows, seed: int | None) -> Result:
        from sae.area_level.fay_herriot.sources import Sources

        _, covariates = split_formula(self.formula)
        sources = Sources.build(rows, covariates, self.method)
        eblup = fit_eblup(
            sources.areas,
            self._transform,
            method=self.method,
            mse="analytical",
            back=self.back,
            level=self.level,
            replicates=None,
            seed=None,
            sources=sources,
        )
        method = METHOD_NAMES[self.method]
        run = sources.arrays.run_id(self, seed, rows.rows.direct, rows.vardir, rows.area, rows.code)
        record = RunRecord(f"Fay–Herriot ({method}, sources by {self.source})", f"EBLUP, {method}", run, seed)
        return eblup_result(self, sources.shown, sources.arrays.data, eblup, record)

    def _fit_structured(self, rows: AreaRows, seed: int | None) -> Result:
        from sae.area_level.effects.panel import build_panel

        _, covariates = split_formula(self.formula)
        panel = build_panel(rows, covariates, self.spatial, self.temporal)
        run = panel.arrays.run_id(self, seed)
        method = "Bayes" if self.method == "bayes" else self.method.upper()
        title = f"Fay–Herriot, {self._structure} ({method})"
        if self.method == "bayes":
            from sae.area_level.fay_herriot.structured_bayes import fit_structured_bayes
            from sae.results import posterior_result

            posterior = fit_structured_bayes(
                panel, self.spatial, self.temporal, prior=self.prior, level=self.level
            )
            record = RunRecord(title, "posterior mean", run, seed)
            return posterior_result(self, panel.rows, panel.arrays.data, posterior, record)
        from sae.area_level.fay_herriot.structured import fit_structured

        eblup = fit_structured(
            panel,
            self.spatial,
            self.temporal,
            free_parameters(self.spatial, self.temporal),
            method=self.method,
            mse=self.mse,
            level=self.level,
            replicates=self.replicates,
            seed=seed,
        )
        record = RunRecord(title, f"EBLUP, {method}", run, seed)
        return eblup_result(self, panel.rows, panel.arrays.data, eblup, record)
