"""Posterior of area-level models with spatial and temporal effects: no chain, moments without random numbers.

Given the one to four hyperparameters everything is normal. Moments are mixtures over nodes; joint draws take
their hyperparameters from a proposal, each as often as its weight says, and everything else exactly.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.special import logsumexp, ndtr

from sae.errors import SaeConvergenceError
from sae.numerics.inference.lattice import Lattice, LogDensity, Proposal, find_mode, lattice, spread_of
from sae.numerics.inference.mixture import Mixture
from sae.numerics.inference.psis import K_LIMIT, psis
from sae.numerics.random.streams import generator, stream_keys
from sae.numerics.spacetime.area_field import AreaField
from sae.numerics.spacetime.posterior import Conditional, Solved, condition, log_posterior, solve
from sae.numerics.spacetime.posterior_covariance import joint_covariance
from sae.numerics.spacetime.posterior_draws import FieldDraws, draw_fields
from sae.samplers.posterior import Sample

__all__ = ["JOINT_DRAWS", "JOINT_ROWS", "LARGEST_ERROR", "GaussianField", "gaussian_field"]

JOINT_ROWS = 1000  # up to which the covariance of all rows is computed; of more it is read from draws
JOINT_DRAWS = 400  # their error is 1 / √400 of a variance
LARGEST_ERROR = 0.1  # of the same, with which a posterior is refused
TOLERANCE = 1e-3  # error of means and deviations, in posterior standard deviations, that ends the refinement
# (step in standard deviations, nats below the top) of one, two, or more hyperparameters
_LEVELS = {
    1: ((0.5, 30.0), (0.35, 35.0), (0.25, 40.0)),
    2: ((1.3, 10.0), (0.9, 12.0), (0.6, 14.0), (0.45, 16.0)),
}
_MANY = ((1.5, 8.0), (1.15, 10.0), (0.9, 11.0))
_LIGHT = 1e-12  # share of a node that is left out
_PILOT = (128, 512)  # proposals from which k-hat is read: the first suffice where they leave no doubt,
_DOUBT = 0.4  # a k-hat below this
_PROPOSALS = 64  # drawn from one stream
_PIECE = 16  # of them that are solved side by side
_SHARED = 12  # draws that share one factor
_ROWS = 64  # draws whose log likelihoods are computed together
_REPEATS, _LARGE = 8, 500  # draws of one hyperparameter value, on maps with as many areas
_BY_NODES = 20_000  # areas from which on joint draws come from the nodes as well

# solved hyperparameter values, their working values, which of them each draw has, and the draws' numbers
_Piece = tuple[Solved, np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class GaussianField:
    """A fitted posterior; implements `sae.samplers.Posterior`.

    Attributes
    ----------
    field : AreaField
    phi : ndarray, shape (K, d)
        Nodes, as working values of the hyperparameters.
    weights : ndarray, shape (K,)
    at : Conditional
        Exact posterior of the rows at each node.
    proposal : Proposal
    log_mass : float
        Log of the integral of the density over the hyperparameters.
    by_nodes : bool
        Joint draws take their hyperparameters from the nodes, not from the proposal.
    diagnostics : mapping of str to float
        "quadrature_error": largest difference of a mean or standard deviation between these nodes and half of
        them, in posterior standard deviations; "k_hat" of the proposal's weights, NaN on a map so large that
        joint draws come from the nodes anyway; "nodes".
    """

    field: AreaField
    phi: np.ndarray
    weights: np.ndarray
    at: Conditional
    proposal: Proposal
    log_mass: float
    by_nodes: bool
    diagnostics: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def source(self) -> str:
        """How the posterior is computed, in words."""
        names = ", ".join(self.field.bounds)
        draws = "draws from them" if self.by_nodes else "draws by importance"
        return f"exact posterior given {names}; {len(self.weights)} nodes, {draws}"

    @property
    def mixture(self) -> Mixture:
        """Posterior of every row as a mixture of normals."""
        return Mixture(self.weights, self.at.means, self.at.sds)

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Return posterior means and standard deviations of all rows, each of shape (M,)."""
        return self.mixture.moments()

    def quantiles(self, probabilities: np.ndarray) -> np.ndarray:
        """Return posterior quantiles, shape (len(probabilities), M)."""
        mixture = self.mixture
        return np.stack([mixture.quantile(float(p)) for p in np.atleast_1d(probabilities)])

    def exceedance(self, threshold: np.ndarray | float) -> np.ndarray:
        """Return P(value > threshold | data) of every row, shape (M,)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.weights @ ndtr((self.at.means - threshold) / self.at.sds)

    def shared(self) -> np.ndarray:
        """Return columns whose products are the posterior covariance of different rows, shape (M, C).

        Of more than `JOINT_ROWS` rows they are `JOINT_DRAWS` draws, always the same ones: a covariance is
        part of the posterior, not of draws that somebody asks for.
        """
        if self.at.means.shape[1] > JOINT_ROWS:
            values = self.values(JOINT_DRAWS, 0)
            return np.asarray((values - values.mean(axis=0)).T / np.sqrt(JOINT_DRAWS - 1))
        covariance = joint_covariance(self.field, self.phi, self.weights, self.at.means, self.at.sds)
        values, vectors = np.linalg.eigh(covariance)
        return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))

    @property
    def coefficient_mixture(self) -> Mixture:
        """Posterior of every coefficient as a mixture of normals."""
        return Mixture(self.weights, self.at.beta, np.sqrt((self.at.beta_root**2).sum(axis=2)))

    def coefficients(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the posterior mean, shape (p,), and covariance, shape (p, p), of the coefficients."""
        mean = self.weights @ self.at.beta
        off = self.at.beta - mean
        within = np.einsum("k,kij,klj->il", self.weights, self.at.beta_root, self.at.beta_root)
        return mean, within + off.T @ (self.weights[:, None] * off)

    def hyperparameters(self) -> dict[str, tuple[float, float]]:
        """Return posterior mean and standard deviation of each hyperparameter by name."""
        found = {}
        for name, values in self.field.natural(self.phi).items():
            mean = float(self.weights @ values)
            found[name] = mean, float(np.sqrt(self.weights @ (values - mean) ** 2))
        return found

    def loo(self) -> tuple[np.ndarray, np.ndarray]:
        """Return log p(y_d | the others), shape (n,), over the nodes; its k is NaN: nothing is drawn."""
        log_weights = np.log(self.weights)[:, None]
        value = -logsumexp(log_weights - self.at.log_left_out, axis=0)
        return value, np.full(len(value), np.nan)

    def fresh(self, n: int, seed: int) -> np.ndarray:
        """Return figures as the other areas predict each, shape (n, observed).

        Over a map an area's effect goes with those of its neighbours: so nothing is drawn anew, but each
        figure from its distribution given all others, at nodes weighed without it.
        """
        size = self.at.left_out.shape[1]
        weights = np.log(self.weights)[:, None] - self.at.log_left_out
        share = np.cumsum(np.exp(weights - logsumexp(weights, axis=0)), axis=0)
        chance, z = (generator(seed, f"fresh {name}") for name in ("nodes", "figures"))
        found = np.empty((n, size))
        for d in range(size):
            k = np.minimum(np.searchsorted(share[:, d], chance.random(n)), len(share) - 1)
            found[:, d] = self.at.left_out[k, d] + self.at.left_out_sd[k, d] * z.standard_normal(n)
        return found

    def draw(self, n: int, seed: int) -> Sample:
        """Return n joint draws; the first m of them are those that `draw(m, seed)` returns."""
        phi, drawn = self._drawn(n, seed, replicate=True)
        y, variance, place = _observed(self.field)
        log_likelihood = np.take(drawn.values, place, axis=1)
        constant = 0.5 * np.log(2.0 * np.pi * variance)
        for first in range(0, n, _ROWS):  # in place, while in the cache
            part = log_likelihood[first : first + _ROWS]
            part -= y
            part *= part
            part *= -0.5 / variance
            part -= constant
        parameters = {**self.field.natural(phi), "beta": drawn.beta}
        return Sample(drawn.values, parameters, log_likelihood, drawn.replicated)

    def values(self, n: int, seed: int) -> np.ndarray:
        """Return n joint draws of the true values of all rows alone, shape (n, M)."""
        return self._drawn(n, seed, replicate=False)[1].values

    def _drawn(self, n: int, seed: int, replicate: bool) -> tuple[np.ndarray, FieldDraws]:
        """Hyperparameters (n, d) of joint draws and the draws, from their pieces."""
        field = self.field
        keys = stream_keys(seed, "spatial posterior", ("field", "rows", "figures"))
        sizes = len(field.row_time), field.n_coefficients, len(field.time) if replicate else 0
        drawn = FieldDraws(*(np.empty((n, size)) for size in sizes))
        phi = np.empty((n, len(field.bounds)))
        pieces = self._from_nodes(n, seed) if self.by_nodes else self._from_proposal(n, seed)
        for at, some, owner, numbers in pieces:
            part = draw_fields(field, at, owner, numbers, keys, replicate=replicate)
            for name in ("values", "beta", "replicated"):
                getattr(drawn, name)[numbers] = getattr(part, name)
            phi[numbers] = some[owner]
        return phi, drawn

    def _from_proposal(self, n: int, seed: int) -> Iterator[_Piece]:
        """Take each proposed value floor(w + u) times: w on average, so that draws follow the posterior.

        On a large map, where a factorisation is dear and the hyperparameters are known well, each value
        carries eight times as many draws of all else.
        """
        repeats = _REPEATS if self.field.structure.size >= _LARGE else 1
        have, block, piece = 0, 0, min(_PIECE, _at_once(self.field))
        while True:
            rng = generator(seed, "hyperparameters", block)
            phi, log_proposal = self.proposal.draw(rng, _PROPOSALS)
            chance = rng.random(_PROPOSALS)
            for first in range(0, _PROPOSALS, piece):
                some = slice(first, first + piece)
                at = solve(self.field, phi[some])
                weight = np.exp(at.log_density - log_proposal[some] - self.log_mass)
                times = np.floor(repeats * weight + chance[some]).astype(int)
                owner = np.repeat(np.arange(len(weight)), times)[: n - have]
                yield at, phi[some], owner, have + np.arange(len(owner))
                have += len(owner)
                if have == n:
                    return
            block += 1

    def _from_nodes(self, n: int, seed: int) -> Iterator[_Piece]:
        """Take each node as often as its weight says; one that is taken often stands several times."""
        chance = generator(seed, "nodes").random(n)
        taken = np.minimum(np.searchsorted(np.cumsum(self.weights), chance), len(self.weights) - 1)
        order = np.argsort(taken, kind="stable")
        _, first, times = np.unique(taken[order], return_index=True, return_counts=True)
        rank = np.arange(n) - np.repeat(first, times)
        parts = -(-times // _SHARED)
        copy = np.repeat(np.cumsum(parts) - parts, times) + rank % np.repeat(parts, times)
        size = np.bincount(copy)
        place = np.argsort(np.argsort(-size, kind="stable"))[copy]  # equal sizes side by side
        piece = _at_once(self.field)
        for start in range(0, len(size), piece):
            mine = np.flatnonzero((place >= start) & (place < start + piece))
            owner = place[mine] - start
            node = np.empty(owner.max() + 1, int)
            node[owner] = taken[order[mine]]
            phi = self.phi[node]
            yield solve(self.field, phi), phi, owner, order[mine]


def gaussian_field(model: AreaField, *, tolerance: float = TOLERANCE) -> GaussianField:
    """Find the posterior of a model: its mode, nodes that carry the moments, and a proposal for joint draws.

    Parameters
    ----------
    model : AreaField
    tolerance : float
        Error of means and standard deviations of the rows, in posterior standard deviations, at which the
        nodes are no longer refined.

    Raises
    ------
    SaeConvergenceError
        If the posterior of the hyperparameters has no mode or does not fall off, or its nodes err by more
        than 0.1 posterior deviations.
    """

    def density(phi: np.ndarray) -> np.ndarray:
        return log_posterior(model, phi)

    kinds = [(-1.0, 1.0, 2.5) if ends is None else (-0.7, 0.7) for ends in model.bounds.values()]
    mode, root = find_mode(density, np.array(list(product(*kinds))))
    centre, root = spread_of(lattice(density, mode, root, step=1.5, drop=5.0))
    proposal = Proposal(centre, root)
    by_nodes = model.structure.size >= _BY_NODES
    k_hat = np.nan if by_nodes else _pilot(density, proposal)
    error = np.inf
    for step, drop in _LEVELS.get(len(centre), _MANY):
        halves = [lattice(density, centre, root, step=step, drop=drop, shift=shift) for shift in (0.0, 0.5)]
        found = _join(halves)
        at = condition(model, found[0])
        error = _difference(at, *found[1:])
        if error < tolerance:
            break
    # a row on a part of the map without a sample may have no finite deviation to measure by
    apart = _difference(at, *found[1:], rows=model.order[model.sampled_row])
    if apart > LARGEST_ERROR:
        raise SaeConvergenceError(
            f"The posterior of {', '.join(model.bounds)} was not found: its nodes and half of them differ by "
            f"{apart:.2f} posterior deviations.",
            hint="Use a tighter prior, or fewer effects.",
        )
    points, weights, _ = found
    heavy = weights > _LIGHT
    if not heavy.all():
        at = Conditional(**{name: value[heavy] for name, value in vars(at).items()})
    mass = [half.log_mass for half in halves]
    return GaussianField(
        model,
        points[heavy],
        weights[heavy] / weights[heavy].sum(),
        at,
        proposal,
        float(logsumexp(mass)) - np.log(2.0),
        by_nodes or k_hat > K_LIMIT,
        {"quadrature_error": error, "k_hat": k_hat, "nodes": float(heavy.sum())},
    )


def _pilot(density: LogDensity, proposal: Proposal) -> float:
    """Pareto k-hat of the proposal's weights."""
    k_hat = np.inf
    for count in _PILOT:
        phi, log_proposal = proposal.draw(generator(0, "pilot"), count)
        k_hat = float(psis(density(phi) - log_proposal)[1])
        if k_hat < _DOUBT:
            break
    return k_hat


def _join(halves: list[Lattice]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Join two lattices: points, weights in the sum of both, and weights in the first alone."""
    points = np.concatenate([half.points for half in halves])
    values = np.concatenate([half.log_density for half in halves])
    weights = np.exp(values - values.max())
    size = len(halves[0].points)
    return points, weights / weights.sum(), np.concatenate([halves[0].weights, np.zeros(len(points) - size)])


def _difference(
    at: Conditional, weights: np.ndarray, half: np.ndarray, rows: np.ndarray | slice = slice(None)
) -> float:
    """Largest change of a row's mean or deviation from half of the nodes to all, in standard deviations."""
    mean, sd = Mixture(weights, at.means, at.sds).moments()
    mean_half, sd_half = Mixture(half, at.means, at.sds).moments()
    with np.errstate(invalid="ignore"):
        changes = np.maximum(np.abs(mean - mean_half), np.abs(sd - sd_half)) / sd
    return float(np.nan_to_num(changes)[rows].max())


def _at_once(model: AreaField) -> int:
    """How many hyperparameter values are solved side by side."""
    return len(next(model.blocks(np.empty((_PROPOSALS, 0)))))


def _observed(model: AreaField) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Direct estimates, their variances and their places, in the caller's order."""
    area = np.repeat(np.arange(model.structure.size), np.diff(model.start))
    rows = model.order[model.sampled_row]
    order = np.argsort(rows)
    variance = model.psi[area, model.time, model.time]
    y = model.Z[:, -1] + model.row_level[model.sampled_row]
    return y[order], variance[order], rows[order]
