"""The posteriors of several fits of one table, each by itself and drawn from streams of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sae.numerics.random.streams import generator
from sae.samplers.grid import GridPosterior
from sae.samplers.posterior import Sample

__all__ = ["GridFits"]

_SEEDS = 2**63


@dataclass(frozen=True, eq=False)
class GridFits:
    """Independent posteriors of the rows of one table: a `Posterior`.

    A fit gives the same numbers and draws whatever other fits there are.

    Attributes
    ----------
    parts : sequence of GridPosterior
    fits : sequence of str
        Names of the fits: they name the streams.
    members : sequence of ndarray of int
        Rows of the table of each fit, ascending.
    """

    parts: Sequence[GridPosterior]
    fits: Sequence[str]
    members: Sequence[np.ndarray]

    @cached_property
    def order(self) -> np.ndarray:
        """Place of each row of the table among the rows of all fits in turn."""
        return np.argsort(np.concatenate(self.members), kind="stable")

    @property
    def source(self) -> str:
        """How the posterior is computed, in words."""
        return self.parts[0].source

    @property
    def diagnostics(self) -> Mapping[str, float]:
        """The worst of all fits."""
        each = [part.diagnostics for part in self.parts]
        return {name: (min if name == "ess" else max)(one[name] for one in each) for name in each[0]}

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Return posterior means and standard deviations of all rows, each of shape (M,)."""
        mean, sd = self._rows([np.array(part.moments()) for part in self.parts])
        return mean, sd

    def quantiles(self, probabilities: np.ndarray) -> np.ndarray:
        """Return posterior quantiles, shape (len(probabilities), M)."""
        return self._rows([part.quantiles(probabilities) for part in self.parts])

    def exceedance(self, threshold: np.ndarray | float) -> np.ndarray:
        """Return P(value > threshold | data) of every row, shape (M,)."""
        limits = np.broadcast_to(np.asarray(threshold, dtype=float), self.order.shape)
        each = zip(self.parts, self.members, strict=True)
        return self._rows([part.exceedance(limits[rows])[None] for part, rows in each])[0]

    def draw(self, n: int, seed: int) -> Sample:
        """Return n joint draws; the same seed gives the same draws."""
        samples = self._drawn(lambda part, own: part.draw(n, own), seed)
        parameters = {
            f"{name}[{fit}]": values
            for sample, fit in zip(samples, self.fits, strict=True)
            for name, values in sample.parameters.items()
        }
        return Sample(
            self._rows([sample.values for sample in samples]),
            parameters,
            self._sampled([sample.log_likelihood for sample in samples]),
            self._sampled([sample.replicated for sample in samples]),
        )

    def values(self, n: int, seed: int) -> np.ndarray:
        """Return n joint draws of the true values of all rows alone, shape (n, M)."""
        return self._rows(self._drawn(lambda part, own: part.values(n, own), seed))

    def fresh(self, n: int, seed: int) -> np.ndarray:
        """Return figures of areas like the observed ones with effects of their own: see `Posterior.fresh`."""
        return self._sampled(self._drawn(lambda part, own: part.fresh(n, own), seed))

    def loo(self) -> tuple[np.ndarray, np.ndarray]:
        """Return log p(y_d | the others) and its Pareto k of every observed figure, each of shape (n,)."""
        elpd, k = self._sampled([np.array(part.loo()) for part in self.parts])
        return elpd, k

    def _drawn(self, draw: Callable[[GridPosterior, int], Any], seed: int) -> list[Any]:
        """Draw from each fit, from streams that its name and the seed name."""
        each = zip(self.parts, self.fits, strict=True)
        return [draw(part, int(generator(seed, "fit", fit).integers(_SEEDS))) for part, fit in each]

    def _rows(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        """Bring figures of all fits, shapes (K, M_k), into the order of the table."""
        return np.hstack(parts)[:, self.order]

    def _sampled(self, parts: Sequence[Any]) -> np.ndarray:
        """Bring figures of the sampled rows of all fits into the order of the table."""
        each = zip(self.parts, self.members, strict=True)
        rows = np.concatenate([members[part.sampled] for part, members in each])
        return np.hstack(parts)[:, np.argsort(rows, kind="stable")]
