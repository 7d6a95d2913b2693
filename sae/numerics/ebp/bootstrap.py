"""Bootstrap of the empirical best predictor: a replicate is a population, a sample of it and a new fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from sae.numerics.compile import compiled
from sae.numerics.ebp.closed_form import additive
from sae.numerics.ebp.clusters import ClusterEffects, SampleClusters
from sae.numerics.ebp.empirical import NORMAL, UnitErrors, mix
from sae.numerics.ebp.indicators import ADDITIVE, Indicators
from sae.numerics.ebp.parameter import RatioNodes, estimate_parameters
from sae.numerics.ebp.population import Level, Parameters, Population
from sae.numerics.ebp.prediction import predict
from sae.numerics.ebp.simulation import DRAW_BLOCK, evaluate, of_areas, welfare
from sae.numerics.ebp.sizes import SizeLikelihood
from sae.numerics.ebp.streamed import StreamedPopulation, replicate_pairs, replicates_at_once
from sae.numerics.ebp.threads import spread
from sae.numerics.ebp.transforms import ESTIMATED, forward
from sae.numerics.ebp.truth import simulated_means
from sae.numerics.ebp.two_folds import fit_on_scales, fit_replicates
from sae.numerics.ebp.units import SampleUnits
from sae.numerics.ebp.weights import pseudo_parameters
from sae.numerics.nested_error.fit import fit_nested_error
from sae.numerics.random.normals import fill_normals, new_stream, normal, uniform
from sae.numerics.random.streams import stream_keys
from sae.progress import counting

__all__ = ["Bootstrap"]

_ELEMENTS = 4_000_000  # numbers held at a time
_SCORING = 1  # steps from the fit to a replicate's sizes: what is left is 3 to 7 % of their standard errors


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """What a bootstrap needs.

    Attributes
    ----------
    units : SampleUnits
    population : Population or StreamedPopulation
        One that is streamed for indicators of `ADDITIVE` alone, without `residuals` and `line`.
    parameters : Parameters
        Of the fit to the data.
    indicators : Indicators
    levels : sequence of Level
    labels : sequence of str, length D
        Names of the areas: the names of their random streams.
    draws : int
        Simulated populations of each replicate's predictor.
    method : {"reml", "ml"}
    residuals : ndarray of float, shape (n,), optional
        Of the units, y - x'β - û on the model's scale: for the wild bootstrap, which keeps their sizes.
    weights : ndarray of float, shape (n,), optional
        Survey weights, where the fit leans on them.
    line : callable, optional
        The threshold of (values, weights), where it comes from the sample: every replicate's predictor takes
        that of its own sample, and its truth that of its own population.
    line_weights : ndarray of float, shape (n,), optional
        Weights of the units for `line`.
    true_population : Population, optional
        Where `population` stands for one that is too large for its errors to matter: of figures that are
        means the truth is what is expected given the area effects, of others that of these units.
    clusters : SampleClusters, optional
        Where the units of one share an effect: those of the sample have one in every replicate, and in its
        population the same. Without `residuals` and `weights`.

    References
    ----------
    González-Manteiga, Lombardía, Molina, Morales and Santamaría (2008), J. Stat. Comput. Simul. 78, 443–462;
    Molina and Rao (2010); Rojas-Perilla, Pannier, Schmid and Tzavidis (2020), JRSS A 183, 121–148 (wild, and
    the parameter of the transformation estimated again in every replicate).
    """

    units: SampleUnits
    population: Population | StreamedPopulation
    parameters: Parameters
    indicators: Indicators
    levels: Sequence[Level]
    labels: Sequence[str]
    draws: int
    method: str = "reml"
    residuals: np.ndarray | None = None
    weights: np.ndarray | None = None
    line: Callable[[np.ndarray, np.ndarray], float] | None = None
    line_weights: np.ndarray | None = None
    true_population: Population | None = None
    clusters: SampleClusters | None = None

    def errors(self, replicates: int, seed: int, *, threads: int = 1) -> np.ndarray:
        """Return predictor less truth of every replicate and figure, shape (replicates, M)."""
        predicted, true = self.pairs(replicates, seed, threads=threads)
        return predicted - true

    def pairs(self, replicates: int, seed: int, *, threads: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Return predictor and truth of every replicate and figure.

        Returns
        -------
        predicted, true : ndarray, shape (replicates, M)
            The figures of all levels, each raveled as of `predict`.
        """
        keys = {
            what: stream_keys(seed, what, self.labels)
            for what in ("replicate's sample", "replicate's population", "replicate's prediction")
        }
        chunk = max(1, _ELEMENTS // len(self.units.X))
        streamed = self.population if isinstance(self.population, StreamedPopulation) else None
        if streamed is not None:
            chunk = min(chunk, replicates_at_once(streamed, self.indicators))
        out: list[tuple[np.ndarray, np.ndarray]] = []
        alike = self.parameters.errors.alpha is None
        nodes = RatioNodes.of(self.units, self.method) if self._estimated and alike else None
        if streamed is None:
            step = counting("Bootstrap", replicates, "replicates")
        else:
            rows = int(streamed.units.sum())
            step = counting("Bootstrap", rows * -(-replicates // chunk), "rows")
        for start in range(0, replicates, chunk):
            count = min(chunk, replicates - start)
            effects, own, Y = self._samples(keys["replicate's sample"], start, count)
            fits = self._fits(Y, nodes)
            if streamed is not None:
                drawn_from = keys["replicate's population"]
                truths = [self._drawn(effect) for effect in effects]
                made = replicate_pairs(
                    streamed, truths, fits, self.indicators, self.levels, drawn_from, start, threads, step
                )
                out += zip(*made, strict=True)
                continue

            def one(r: int, first: int = start, drawn: tuple = (effects, own, Y, fits)) -> tuple:
                pair = self._pair(keys, first + r, *(part[r] for part in drawn))
                step(1)
                return pair

            out += spread(one, range(count), threads)
        predicted, true = zip(*out, strict=True)
        return np.stack(predicted), np.stack(true)

    def _pair(
        self,
        keys: dict[str, np.ndarray],
        replicate: int,
        effect: np.ndarray,
        own: np.ndarray,
        y: np.ndarray,
        fit: Parameters,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return predictor and truth of one replicate."""
        truth = self._drawn(effect)
        if self.clusters is not None:
            known = np.zeros(len(own))
            truth = replace(truth, clusters=ClusterEffects(truth.sigma2_v, own, known, known))
        assert isinstance(self.population, Population)
        population = self.population.knowing(y)
        true = self._truth(population, truth, keys["replicate's population"], replicate)
        indicators = self._indicators(y, self.line_weights)
        block = replicate * -(-self.draws // DRAW_BLOCK)
        predicted = []
        for level in self.levels:
            estimate, _ = predict(
                population,
                fit,
                indicators,
                level,
                keys["replicate's prediction"],
                self.draws,
                block=block,
            )
            predicted.append(estimate.ravel())
        return np.concatenate(predicted), np.concatenate([figures.ravel() for figures in true])

    def _drawn(self, effect: np.ndarray) -> Parameters:
        """Return what makes a replicate: the fit, with area effects that are known."""
        return replace(self.parameters, effect=effect, spread=np.zeros(len(effect)))

    @property
    def _estimated(self) -> bool:
        return self.parameters.scale.name in ESTIMATED and self.clusters is None

    def _samples(self, keys: np.ndarray, start: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return effects of areas, (count, D), and clusters, and welfare of the sample, (count, n)."""
        units, parameters = self.units, self.parameters
        effects, errors = np.empty((count, units.areas)), np.empty((count, len(units.X)))
        offsets = np.concatenate([[0], np.cumsum(units.n)])
        shape, clusters = parameters.errors, self.clusters
        sizes = shape.sizes(units.X)
        first = np.zeros(units.areas + 1, dtype=np.int64) if clusters is None else clusters.first
        own = np.empty((count, first[-1]))
        _replicates(keys, offsets, first, start, shape.points, shape.width, sizes, effects, own, errors)
        effects *= np.sqrt(parameters.sigma2_u)
        own *= np.sqrt(parameters.sigma2_v)
        if self.residuals is None:
            errors *= np.sqrt(parameters.sigma2_e)
        else:
            errors = np.copysign(self.residuals, errors)
        Z = units.X @ parameters.coefficients + effects[:, units.area] + errors
        if clusters is not None:
            Z += own[:, clusters.units.area]
        return effects, own, parameters.scale.inverse(Z)

    def _fits(self, Y: np.ndarray, nodes: RatioNodes | None) -> list[Parameters]:
        """Fit replicates, the parameter of the transformation included."""
        scale = self.parameters.scale
        values = np.full(len(Y), scale.parameter)
        if scale.name in ("box-cox", "dual-power"):  # what Box–Cox does not reach has no logarithm
            Y = np.maximum(Y, scale.bottom + 1e-3 * np.median(Y - scale.bottom))
        if self.parameters.errors.alpha is not None:
            return self._sized_fits(Y)
        if self.clusters is not None:
            return fit_replicates(self.clusters, Y, self.parameters, self.method)
        if nodes is not None:
            height = partial(nodes.loglik, self.units)
            values = estimate_parameters(
                self.units, Y, scale.name, height, shift=scale.shift, method=self.method
            )
        Z = forward(scale.name, Y, values[:, None], scale.shift)
        sums = self.units.sums(Z)
        fits = fit_nested_error(sums, self.method)
        scales = [replace(scale, parameter=float(value)) for value in values]
        units, weights, how = self.units, self.weights, self.method
        parameters = [
            Parameters.of_fit(one, fits, sums, r)
            if weights is None
            else pseudo_parameters(one, fits, sums, units, Z[r], weights, method=how, outcome=r)[0]
            for r, one in enumerate(scales)
        ]
        if not len(self.parameters.errors.points):
            return parameters
        return [
            replace(one, errors=NORMAL.of_residuals(one.residuals(z, self.units)))
            for one, z in zip(parameters, Z, strict=True)
        ]

    def _sized_fits(self, Y: np.ndarray) -> list[Parameters]:
        """Fit replicates whose errors have sizes of their own."""
        scale, X, how = self.parameters.scale, self.units.X, self.method
        clusters, units = self.clusters, self.units if self.clusters is None else self.clusters.units
        likelihood = SizeLikelihood.of(units, Y, scale.name, shift=scale.shift, method=how)
        alpha = self.parameters.errors.alpha
        assert alpha is not None
        sizes = likelihood.refit(alpha, scale.parameter, _SCORING)
        out = []
        for y, own, value in zip(Y, sizes.alpha, sizes.parameter, strict=True):
            one, shape = replace(scale, parameter=float(value)), UnitErrors.of_sizes(X, own)
            size = shape.sizes(X)
            units, z = self.units.sized(size), one.forward(y)
            if clusters is not None:
                at = fit_on_scales(clusters.sized(size), [one], z[None], self.parameters, how)[0]
                out.append(replace(at, errors=shape.of_residuals(at.residuals(z, units, clusters) / size)))
                continue
            sums = units.sums(z[None])
            fits = fit_nested_error(sums, how)
            at = Parameters.of_fit(one, fits, sums)
            if self.weights is not None:
                at, _ = pseudo_parameters(one, fits, sums, units, z, self.weights, method=how)
            out.append(replace(at, errors=shape.of_residuals(at.residuals(z, units) / size)))
        return out

    def _truth(
        self, known: Population, truth: Parameters, keys: np.ndarray, replicate: int
    ) -> list[np.ndarray]:
        """Return the figures of a replicate's population, one array for each level."""
        summed = self.line is None and set(self.indicators.names) <= set(ADDITIVE)
        if self.true_population is not None:
            return self._large_truth(self.true_population, truth, keys, replicate)
        if known.count is not None and self.residuals is None and summed:
            return simulated_means(known, truth, self.indicators, self.levels, keys, replicate)
        y, indicators = self._drawn_welfare(known, truth, keys, replicate)
        return [evaluate(known, y, indicators, level) for level in self.levels]

    def _large_truth(
        self, known: Population, truth: Parameters, keys: np.ndarray, replicate: int
    ) -> list[np.ndarray]:
        """Return the figures of a replicate whose population is too large for its errors to matter."""
        names = self.indicators.names
        rest = [k for k, name in enumerate(names) if name not in ADDITIVE]
        if not rest and self.line is None:
            return [additive(known, truth, names, self.indicators.threshold, level) for level in self.levels]
        y, indicators = self._drawn_welfare(known, truth, keys, replicate)
        out = []
        for level in self.levels:
            figures = np.empty((level.size, 1 + known.groups, len(names)))
            closed = [k for k in range(len(names)) if k not in rest]
            of_means = tuple(names[k] for k in closed)
            if closed:
                line = indicators.threshold
                figures[:, :, closed] = additive(known, truth, of_means, line, level)
            if rest:
                others = replace(indicators, names=tuple(names[k] for k in rest))
                figures[:, :, rest] = evaluate(known, y, others, level)
            out.append(figures)
        return out

    def _drawn_welfare(
        self, known: Population, truth: Parameters, keys: np.ndarray, replicate: int
    ) -> tuple[np.ndarray, Indicators]:
        """Return welfare of a replicate's population and the indicators with the threshold it leads to."""
        y, weight = self._welfare(known, truth, keys, replicate), None
        if self.line is not None and known.weight is not None:
            weight = of_areas(known, known.weight, np.arange(known.areas))
        return y, self._indicators(y, weight)

    def _indicators(self, y: np.ndarray, weights: np.ndarray | None) -> Indicators:
        """Return the indicators with the threshold that welfare, of a sample or a population, leads to."""
        if self.line is None:
            return self.indicators
        line = self.line(y, np.ones(len(y)) if weights is None else weights)
        return replace(self.indicators, threshold=line)

    def _welfare(self, known: Population, truth: Parameters, keys: np.ndarray, replicate: int) -> np.ndarray:
        """Return welfare of a replicate's population, (N,)."""
        score = known.scores(truth)
        if self.residuals is None:
            areas = np.arange(known.areas)
            return welfare(known, truth, score, areas, keys, 0, 1, replicate)[0]
        if known.count is not None:
            score = np.repeat(score, known.count)
        fitted = self._fitted
        order = np.argsort(fitted, kind="stable")
        middle = 0.5 * (fitted[order][1:] + fitted[order][:-1])
        size = np.abs(self.residuals)[order][np.searchsorted(middle, score)]
        sign = np.empty(len(score))
        _signs(keys, known.unit_offsets, replicate, sign)
        y = truth.scale.inverse(score + sign * size)
        return y if known.known is None else np.where(np.isnan(known.known), y, known.known)

    @property
    def _fitted(self) -> np.ndarray:
        """x'β + û of the sample, (n,)."""
        return self.units.X @ self.parameters.coefficients + self.parameters.effect[self.units.area]


@compiled
def _replicates(keys, offsets, first, start, points, width, sizes, effects, own, errors):
    """Fill standard normals, or errors about points: of each area its effect, its clusters, its units.

    A stream per area and replicate.
    """
    for r in range(len(effects)):
        for d in range(len(keys)):
            state = new_stream(keys[d], start + r)
            effects[r, d] = normal(state)
            for k in range(first[d], first[d + 1]):
                own[r, k] = normal(state)
            row = errors[r, offsets[d] : offsets[d + 1]]
            fill_normals(state, row)
            mix(state, row, points, width, sizes[offsets[d] : offsets[d + 1]])


@compiled
def _signs(keys, offsets, block, out):
    """Fill -1 and 1 at random, a stream per area."""
    for d in range(len(keys)):
        state = new_stream(keys[d], block)
        for i in range(offsets[d], offsets[d + 1]):
            out[i] = 1.0 if uniform(state) < 0.5 else -1.0
