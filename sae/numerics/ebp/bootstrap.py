"""Bootstrap of the empirical best predictor: a replicate is a population, a sample of it and a new fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sae.numerics.compile import compiled
from sae.numerics.ebp.closed_form import additive
from sae.numerics.ebp.empirical import UnitErrors, mix
from sae.numerics.ebp.indicators import ADDITIVE, Indicators
from sae.numerics.ebp.parameter import RatioNodes, estimate_parameters
from sae.numerics.ebp.population import Level, Parameters, Population
from sae.numerics.ebp.prediction import predict
from sae.numerics.ebp.simulation import DRAW_BLOCK, evaluate, of_areas, welfare
from sae.numerics.ebp.threads import spread
from sae.numerics.ebp.transforms import ESTIMATED, Scale, forward
from sae.numerics.ebp.truth import simulated_means
from sae.numerics.ebp.units import SampleUnits
from sae.numerics.ebp.weights import pseudo_parameters
from sae.numerics.nested_error.fit import fit_nested_error
from sae.numerics.random.normals import fill_normals, new_stream, normal, uniform
from sae.numerics.random.streams import stream_keys

__all__ = ["Bootstrap"]

_ELEMENTS = 4_000_000  # numbers held at a time


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """What a bootstrap needs.

    Attributes
    ----------
    units : SampleUnits
    population : Population
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
    expected_truth : bool
        Whether the truth is what is expected given the area effects: units that stand for a population too
        large for its errors to matter. For indicators of `ADDITIVE` alone.

    References
    ----------
    González-Manteiga, Lombardía, Molina, Morales and Santamaría (2008), J. Stat. Comput. Simul. 78, 443–462;
    Molina and Rao (2010); Rojas-Perilla, Pannier, Schmid and Tzavidis (2020), JRSS A 183, 121–148 (wild, and
    the parameter of the transformation estimated again in every replicate).
    """

    units: SampleUnits
    population: Population
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
    expected_truth: bool = False

    def errors(self, replicates: int, seed: int, *, threads: int = 1) -> np.ndarray:
        """Return predictor less truth of every replicate and figure.

        Returns
        -------
        ndarray, shape (replicates, M)
            The figures of all levels, each raveled as of `predict`.
        """
        keys = {
            what: stream_keys(seed, what, self.labels)
            for what in ("replicate's sample", "replicate's population", "replicate's prediction")
        }
        chunk = max(1, _ELEMENTS // len(self.units.X))
        out: list[np.ndarray] = []
        nodes = RatioNodes.of(self.units, self.method) if self._estimated else None
        for start in range(0, replicates, chunk):
            count = min(chunk, replicates - start)
            effects, Y = self._samples(keys["replicate's sample"], start, count)
            fits = self._fits(Y, nodes)

            def one(r: int, first: int = start, drawn: tuple = (effects, Y, fits)) -> np.ndarray:
                return self._error(keys, first + r, *(part[r] for part in drawn))

            out += spread(one, range(count), threads)
        return np.stack(out)

    def _error(
        self, keys: dict[str, np.ndarray], replicate: int, effect: np.ndarray, y: np.ndarray, fit: Parameters
    ) -> np.ndarray:
        """Return predictor less truth of one replicate."""
        truth = replace(self.parameters, effect=effect, spread=np.zeros(len(effect)))
        population = self.population.knowing(y)
        true = self._truth(population, truth, keys["replicate's population"], replicate)
        indicators = self._indicators(y, self.line_weights)
        block = replicate * -(-self.draws // DRAW_BLOCK)
        apart = []
        for level, figures in zip(self.levels, true, strict=True):
            estimate, _ = predict(
                population,
                fit,
                indicators,
                level,
                keys["replicate's prediction"],
                self.draws,
                block=block,
            )
            apart.append((estimate - figures).ravel())
        return np.concatenate(apart)

    @property
    def _estimated(self) -> bool:
        return self.parameters.scale.name in ESTIMATED

    def _samples(self, keys: np.ndarray, start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return area effects, (count, D), and welfare of the sample, (count, n), of replicates."""
        units, parameters = self.units, self.parameters
        effects, errors = np.empty((count, units.areas)), np.empty((count, len(units.X)))
        offsets = np.concatenate([[0], np.cumsum(units.n)])
        shape = parameters.errors
        sizes = shape.sizes(units.X)
        _replicates(keys, offsets, start, shape.points, shape.width, sizes, effects, errors)
        effects *= np.sqrt(parameters.sigma2_u)
        if self.residuals is None:
            errors *= np.sqrt(parameters.sigma2_e)
        else:
            errors = np.copysign(self.residuals, errors)
        Z = units.X @ parameters.coefficients + effects[:, units.area] + errors
        return effects, parameters.scale.inverse(Z)

    def _fits(self, Y: np.ndarray, nodes: RatioNodes | None) -> list[Parameters]:
        """Fit replicates, the parameter of the transformation included."""
        scale = self.parameters.scale
        values = np.full(len(Y), scale.parameter)
        if nodes is not None:
            if scale.name != "log-shift":  # what Box–Cox does not reach has no logarithm
                Y = np.maximum(Y, scale.bottom + 1e-3 * np.median(Y - scale.bottom))
            values = estimate_parameters(
                self.units, Y, scale.name, nodes, shift=scale.shift, method=self.method
            )
        Z = forward(scale.name, Y, values[:, None], scale.shift)
        sums = self.units.sums(Z)
        fits = fit_nested_error(sums, self.method)
        scales = [Scale(scale.name, float(value), scale.shift) for value in values]
        units, weights, how = self.units, self.weights, self.method
        parameters = [
            Parameters.of_fit(one, fits, sums, r)
            if weights is None
            else pseudo_parameters(one, fits, sums, units, Z[r], weights, method=how, outcome=r)[0]
            for r, one in enumerate(scales)
        ]
        if not len(self.parameters.errors.points):
            return parameters
        X = None if self.parameters.errors.alpha is None else self.units.X
        return [
            replace(one, errors=UnitErrors.of_residuals(one.residuals(z, self.units), X))
            for one, z in zip(parameters, Z, strict=True)
        ]

    def _truth(
        self, known: Population, truth: Parameters, keys: np.ndarray, replicate: int
    ) -> list[np.ndarray]:
        """Return the figures of a replicate's population, one array for each level."""
        summed = self.line is None and set(self.indicators.names) <= set(ADDITIVE)
        if known.count is not None and self.residuals is None and summed:
            return simulated_means(known, truth, self.indicators, self.levels, keys, replicate)
        y = self._welfare(known, truth, keys, replicate)
        weight = None
        if self.line is not None and known.weight is not None:
            weight = of_areas(known, known.weight, np.arange(known.areas))
        indicators = self._indicators(y, weight)
        if self.expected_truth:
            line = indicators.threshold
            return [additive(known, truth, indicators.names, line, level) for level in self.levels]
        return [evaluate(known, y, indicators, level) for level in self.levels]

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
def _replicates(keys, offsets, start, points, width, sizes, effects, errors):
    """Fill standard normals, or errors about points: of each area its effect and then its units.

    A stream per area and replicate.
    """
    for r in range(len(effects)):
        for d in range(len(keys)):
            state = new_stream(keys[d], start + r)
            effects[r, d] = normal(state)
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
