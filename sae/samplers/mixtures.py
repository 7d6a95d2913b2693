"""Posterior of joined estimates, a mixture of normals over the covariance of their effects."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import ndtr

from sae.errors import SaeConvergenceError
from sae.numerics.inference.mixture import Mixture
from sae.numerics.inference.psis import K_LIMIT, psis_loo
from sae.numerics.linalg.basis import Basis
from sae.numerics.multivariate.areas import BlockAreas
from sae.numerics.multivariate.importance import Conditionals, CovarianceNodes, condition_blocks
from sae.numerics.random.streams import generator, normals, stream_keys
from sae.samplers.posterior import Sample

__all__ = ["BlockMixture", "check_weights", "weighted_quantiles"]

_PIECE = 2_000_000  # numbers held at once while true values are drawn
_FEWEST = 64  # nodes from which the covariance between rows is read, however many rows there are
_ENTRIES = 2**27  # nodes times rows times rows up to which it is read from all of them


@dataclass(frozen=True, eq=False)
class BlockMixture:
    """Posterior of y_d = X_d β + u_d + e_d with R components per area; implements `Posterior`.

    Attributes
    ----------
    areas : BlockAreas
    nodes : CovarianceNodes
        Of the covariance of the effects.
    labels : sequence of str, length D R
        Names of the rows, area by area: they name the streams.
    read : callable
        Working hyperparameters, shape (K, q), to named ones, each of shape (K,).
    hyperparameters : str
        The same in words, for the table.
    reported : sequence of int
        Components that are rows of the result; the others are only in the model.
    basis : Basis, optional
        Coordinates of the designs of `areas`; coefficients are told of the columns as they are.
    """

    areas: BlockAreas
    nodes: CovarianceNodes
    labels: Sequence[str]
    read: Callable[[np.ndarray], Mapping[str, np.ndarray]]
    hyperparameters: str
    reported: Sequence[int]
    basis: Basis | None = None

    @property
    def source(self) -> str:
        """How the posterior is computed, in words."""
        return f"exact posterior given {self.hyperparameters}; {len(self.nodes.phi)} importance nodes"

    @property
    def diagnostics(self) -> Mapping[str, float]:
        """Tail of the importance weights, effective number of nodes, and what half of the nodes changes."""
        return {"k_hat": self.nodes.k_hat, "ess": self.nodes.ess, "quadrature_error": self.error}

    @cached_property
    def error(self) -> float:
        """Largest change of a mean or deviation from the first half of the nodes to all, in deviations."""
        mean, sd = self.moments()
        half = len(self.nodes.phi) // 2  # the sequence is as even in its first half as in the whole
        weights = self.nodes.weights[:half] / self.nodes.weights[:half].sum()
        other, other_sd = Mixture(weights, self.mixture.means[:half], self.mixture.sds[:half]).moments()
        with np.errstate(invalid="ignore"):
            return float(np.nanmax(np.maximum(np.abs(other - mean), np.abs(other_sd - sd)) / sd))

    @cached_property
    def at(self) -> Conditionals:
        """Exact posterior given each node."""
        return condition_blocks(self.areas, self.nodes.covariances)

    @cached_property
    def mixture(self) -> Mixture:
        """Posterior of every row as a mixture of normals."""
        K, which = len(self.nodes.phi), list(self.reported)
        means, sds = self.at.means[:, :, which].reshape(K, -1), self.at.sds[:, :, which].reshape(K, -1)
        return Mixture(self.nodes.weights, means, sds)

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Return posterior means and standard deviations of all rows, each of shape (M,)."""
        return self.mixture.moments()

    def quantiles(self, probabilities: np.ndarray) -> np.ndarray:
        """Return posterior quantiles, shape (len(probabilities), M)."""
        return np.stack([self.mixture.quantile(float(p)) for p in np.atleast_1d(probabilities)])

    def exceedance(self, threshold: np.ndarray | float) -> np.ndarray:
        """Return P(value > threshold | data) of every row, shape (M,)."""
        return np.asarray(self.nodes.weights @ ndtr((self.mixture.means - threshold) / self.mixture.sds))

    def coefficients(self) -> Mixture:
        """Return the posterior of β as a mixture of normals."""
        root = self.at.root if self.basis is None else self.basis.natural_root(self.at.root)
        return Mixture(self.nodes.weights, self._natural(self.at.beta), np.sqrt((root**2).sum(axis=2)))

    def parameters(self) -> Mapping[str, np.ndarray]:
        """Return the hyperparameters at the nodes by name, each of shape (K,)."""
        return self.read(self.nodes.phi)

    def loo(self) -> tuple[np.ndarray, np.ndarray]:
        """Return log p(y_dr | all other figures), shape (n,), and the Pareto k of the nodes' new weights."""
        return self._loo

    @cached_property
    def _loo(self) -> tuple[np.ndarray, np.ndarray]:
        found = self.at.left_out[:, :, list(self.reported)]
        log_p = found[:, np.isfinite(self.areas.y[:, list(self.reported)])]
        known = np.isfinite(log_p).all(axis=0)
        elpd, k = np.full(log_p.shape[1], np.nan), np.full(log_p.shape[1], np.nan)
        elpd[known], k[known] = psis_loo(log_p[:, known], self.nodes.log_weights)
        return elpd, k

    def draw(self, n: int, seed: int) -> Sample:
        """Return n joint draws: nodes as often as they weigh, everything else exactly."""
        which, beta, theta = self._drawn(n, seed)
        parameters = {name: values[which] for name, values in self.parameters().items()}
        log_likelihood, replicated = self._observed(theta, seed)
        values = theta[:, :, list(self.reported)].reshape(n, -1)
        return Sample(values, {**parameters, "beta": self._natural(beta)}, log_likelihood, replicated)

    def values(self, n: int, seed: int) -> np.ndarray:
        """Return n joint draws of the true values of all rows alone, shape (n, M)."""
        return self._drawn(n, seed)[2][:, :, list(self.reported)].reshape(n, -1)

    def fresh(self, n: int, seed: int) -> np.ndarray:
        """Return figures of areas like the observed ones with effects of their own: see `Posterior.fresh`."""
        _, X, psi, seen = self.areas.arrays
        which, beta = self._hyper(n, seed)
        shape = (n, *self.areas.y.shape)
        z, e = (
            normals(stream_keys(seed, name, self.labels), 0, n).reshape(shape)
            for name in ("fresh effects", "fresh errors")
        )
        effect = np.einsum("srt,sdt->sdr", _root(self.nodes.covariances)[which], z)
        error = np.einsum("drt,sdt->sdr", _root(np.where(self.areas.both, psi, 0.0)), e)
        found, kept = np.einsum("drp,sp->sdr", X, beta) + effect + error, list(self.reported)
        return np.asarray(found[:, :, kept][:, seen[:, kept]])

    def shared(self) -> tuple[np.ndarray, np.ndarray]:
        """Return what areas share and what is theirs alone, for a joint covariance of all D R rows.

        Returns
        -------
        columns : ndarray, shape (D R, C)
            Their products are the covariance of the areas' means given hyperparameters and β.
        alone : ndarray, shape (D, R, R)
            Covariance of an area's rows given hyperparameters and β, averaged over them.

        Notes
        -----
        By the law of total covariance over the nodes; where nodes and rows are many, over as many equally
        weighted ones as there is room for.
        """
        y, X, psi, _ = self.areas.arrays
        count = max(_FEWEST, _ENTRIES // (y.size * max(y.size, X.shape[2])))
        which, weights = np.arange(len(self.nodes.phi)), self.nodes.weights
        if count < len(which):
            places = (np.arange(count) + 0.5) / count * (1.0 - 1e-12)
            which, times = np.unique(np.searchsorted(np.cumsum(weights), places), return_counts=True)
            weights = times / count
        root = np.sqrt(weights)
        means = self.at.means[which].reshape(len(which), -1)
        columns, alone = [(root[:, None] * (means - weights @ means)).T], np.zeros(psi.shape)
        for mine in np.array_split(np.arange(len(which)), max(1, len(which) * psi.size // _PIECE)):
            gain, inside = self._regressed(which[mine])
            alone += np.tensordot(weights[mine], inside, axes=1)
            loose = (X - gain @ X) @ self.at.root[which[mine], None]
            columns.append(np.moveaxis(root[mine, None, None, None] * loose, 0, -1).reshape(y.size, -1))
        together = np.concatenate(columns, axis=1)
        if together.shape[1] > y.size:  # as many columns as rows say the same
            together = np.asarray(np.linalg.qr(together.T, mode="r")).T
        return together, alone

    def _natural(self, beta: np.ndarray) -> np.ndarray:
        return beta if self.basis is None else self.basis.natural(beta)

    def _regressed(self, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return at some nodes, shape (k, D, R, R), what rows take of figures, and what they leave open."""
        V = self.nodes.covariances[nodes, None]
        gain = V @ self.areas.inverse(self.nodes.covariances[nodes])
        return gain, V - gain @ V

    def _hyper(self, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw nodes and coefficients, shapes (n,) and (n, p)."""
        chance = generator(seed, "nodes of the covariance").random(n)
        which = np.minimum(np.searchsorted(np.cumsum(self.nodes.weights), chance), len(self.nodes.phi) - 1)
        c = normals(stream_keys(seed, "coefficients", range(self.areas.X.shape[2])), 0, n)
        return which, self.at.beta[which] + np.einsum("sij,sj->si", self.at.root[which], c)

    def _given(
        self, which: np.ndarray, beta: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
        """Give, piece by piece, draws, their place among nodes, and what is normal given them.

        That is the areas' means, shape (m, D, R), and node by node their covariance, shape (nodes, D, R, R).
        """
        y, X, psi, seen = self.areas.arrays
        order = np.argsort(which, kind="stable")
        for mine in np.array_split(order, max(1, len(which) * psi.size // _PIECE)):
            taken, node = np.unique(which[mine], return_inverse=True)
            gain, inside = self._regressed(taken)
            fitted = np.einsum("drp,sp->sdr", X, beta[mine])
            rest = np.where(seen, y - fitted, 0.0)
            yield mine, node, fitted + np.einsum("sdrt,sdt->sdr", gain[node], rest), inside

    def _drawn(self, n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draw nodes, coefficients and true values of all components, shapes (n,), (n, p), (n, D, R)."""
        which, beta = self._hyper(n, seed)
        z = normals(stream_keys(seed, "area effects", self.labels), 0, n).reshape(n, *self.areas.y.shape)
        theta = np.empty(z.shape)
        for mine, node, mean, inside in self._given(which, beta):
            theta[mine] = mean + np.einsum("sdrt,sdt->sdr", _root(inside)[node], z[mine])
        return which, beta, theta

    def _observed(self, theta: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Log density of each figure given the area's others and the draw, and figures observed anew.

        Given the true values, figures of one area are joined by their sampling errors alone.
        """
        y, _, psi, seen = self.areas.arrays
        D, R = y.shape
        both = self.areas.both
        precision = np.linalg.pinv(np.where(both, psi, np.eye(R)), hermitian=True) * both
        own = np.where(seen, np.einsum("drr->dr", precision), 1.0)
        pulled = np.einsum("drt,sdt->sdr", precision, np.where(seen, y - theta, 0.0))
        with np.errstate(divide="ignore"):
            log_density = 0.5 * (np.log(own / (2.0 * np.pi)) - pulled**2 / own)
        z = normals(stream_keys(seed, "sampling errors", self.labels), 0, len(theta)).reshape(-1, D, R)
        replicated = theta + np.einsum("drt,sdt->sdr", _root(psi), z)
        which = list(self.reported)
        return log_density[:, :, which][:, seen[:, which]], replicated[:, :, which][:, seen[:, which]]


def check_weights(nodes: CovarianceNodes) -> None:
    """Refuse importance weights that cannot be trusted.

    Raises
    ------
    SaeConvergenceError
        If k-hat exceeds 0.7.
    """
    if nodes.k_hat > K_LIMIT:
        raise SaeConvergenceError(
            "The posterior of the hyperparameters was not found: Pareto k-hat of the importance weights is "
            f"{nodes.k_hat:.2f}, above {K_LIMIT}; effective nodes {nodes.ess:.0f}.",
            hint="Use a narrower prior, or fewer components or covariates.",
        )


def weighted_quantiles(
    values: np.ndarray, weights: np.ndarray, probabilities: Sequence[float]
) -> list[float]:
    """Return quantiles of weighted points, linear between the middles of their weights."""
    order = np.argsort(values)
    middle = np.cumsum(weights[order]) - 0.5 * weights[order]
    return [float(np.interp(p, middle, values[order])) for p in probabilities]


def _root(covariance: np.ndarray) -> np.ndarray:
    """Symmetric root of covariances, also singular ones, shape (..., R, R)."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :] @ np.swapaxes(vectors, -1, -2))
