"""Precision matrices of area effects over a map, as values on one sparse pattern.

Every structure is Q(r) = A0 + r A1 + r² A2 with r its mixing parameter, so that any number of values of r
share one symbolic factorisation. An area without a neighbour has Q = 1: its effect is independent with
variance 1.

References
----------
Riebler, Sørbye, Simpson and Rue (2016), Stat. Methods Med. Res. 25, 1145-1165 (BYM2); Sørbye and Rue (2014),
Spatial Statistics 8, 39-51 (scaling); Freni-Sterrantino, Ventrucci and Rue (2018), Spat. Spatiotemporal
Epidemiol. 26, 25-34 (disconnected maps); Leroux, Lei and Breslow (2000); Besag, York and Mollié (1991).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from sae.numerics.linalg.cholesky import Pattern, analyse, factorise
from sae.numerics.linalg.lanes import EIGHT

__all__ = [
    "KINDS",
    "Structure",
    "generalised_variance",
    "independent",
    "map_root",
    "map_structure",
    "walk_covariance",
]

KINDS = ("icar", "bym2", "leroux", "car", "sar")
_UNIT, _SIGNED = (0.0, 1.0), (-1.0, 1.0)


@dataclass(frozen=True, eq=False)
class Structure:
    """The standardised effect x ~ N(0, Q(r)^-1) of D areas; the effect itself is a scale times x.

    Attributes
    ----------
    kind : str
    pattern : Pattern
    diagonal : ndarray of int, shape (D,)
        Place of each diagonal entry among the values.
    parts : ndarray, shape (1, 2 or 3, n_values)
        A0, A1 and A2 on the pattern.
    component : ndarray of int, shape (D,)
        Part of the map whose effects sum to zero; -1 where Q is of full rank and nothing is constrained.
    bounds : tuple of float, optional
        Open interval of r; None where the structure has no mixing parameter.
    splits : bool
        The effect is σ (√(1 - r) iid + √r x), as in BYM2; else σ x.
    """

    kind: str
    pattern: Pattern
    diagonal: np.ndarray
    parts: np.ndarray
    component: np.ndarray
    bounds: tuple[float, float] | None = None
    splits: bool = False

    @property
    def size(self) -> int:
        """Number of areas."""
        return self.pattern.size

    @property
    def n_constraints(self) -> int:
        """Number of sums that are zero: the rank that Q lacks."""
        return int(self.component.max()) + 1

    @property
    def varies(self) -> bool:
        """Whether Q depends on r."""
        return self.bounds is not None and not self.splits

    def values(self, r: np.ndarray) -> np.ndarray:
        """Return Q(r) on the pattern for each r, shape (k, n_values)."""
        if not self.varies:
            return np.broadcast_to(self.parts[0], (len(r), self.parts.shape[1]))
        return np.vander(r, len(self.parts), increasing=True) @ self.parts

    def logdet(self, r: np.ndarray) -> np.ndarray:
        """Return log |Q(r)| for each r, shape (k,), up to a constant where Q does not depend on r."""
        if not self.varies:
            return np.zeros(len(r))
        kinds, which = np.unique(r, return_inverse=True)
        return factorise(self.pattern, self.values(kinds), EIGHT).logdet()[which]

    def sums(self, x: np.ndarray) -> np.ndarray:
        """Sum x, shape (k, D, q), over each constrained part of the map: shape (k, n_constraints, q)."""
        if self.n_constraints == 1 and self.component.min() == 0:
            return x.sum(axis=1, keepdims=True)
        on = np.flatnonzero(self.component >= 0)
        ones = sparse.csr_matrix(
            (np.ones(len(on)), (self.component[on], on)), shape=(self.n_constraints, self.size)
        )
        moved = np.moveaxis(x, 1, 0).reshape(self.size, -1)
        return np.moveaxis((ones @ moved).reshape(self.n_constraints, len(x), x.shape[2]), 0, 1)

    def spread(self, of_component: np.ndarray) -> np.ndarray:
        """Give each area, (k, D, q), the value of its part of the map, (k, n_constraints, q); 0 elsewhere."""
        nothing = np.zeros((len(of_component), 1, of_component.shape[2]))
        padded = np.concatenate([of_component, nothing], axis=1)
        return padded[:, self.component]


def independent(n_areas: int) -> Structure:
    """Return independent effects with variance 1: Q = I."""
    return _structure("iid", [sparse.identity(n_areas)], np.full(n_areas, -1))


def map_structure(kind: str, weights: sparse.spmatrix) -> Structure:
    """Return the structure of a map.

    Parameters
    ----------
    kind : {"icar", "bym2", "leroux", "car", "sar"}
        With A the weights, n their row sums and R = diag(n) - A: "icar" Q = R scaled; "bym2" the same with
        an independent part beside it; "leroux" Q = (1 - r) I + r R; "car" Q = diag(n) - r A; "sar" Q = (I -
        r W)'(I - r W), W = A with rows that sum to 1. For "icar" and "bym2" each connected part of the map
        is scaled so that the geometric mean of its marginal variances is 1, and its effects sum to zero.
    weights : sparse matrix, shape (D, D)
        Not negative, 0 on the diagonal; symmetric but for "sar". An island's row is all zero.

    Examples
    --------
    >>> path = sparse.csr_matrix(np.array([[0, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]]))
    >>> structure = map_structure("bym2", path)
    >>> structure.n_constraints, structure.component.tolist()
    (1, [0, 0, 0, -1])
    """
    A = _weights(weights)
    n_areas = A.shape[0]
    degree = np.asarray(A.sum(axis=1)).ravel()
    alone = sparse.diags((degree == 0).astype(float))
    free = np.full(n_areas, -1)
    identity = sparse.identity(n_areas)
    if kind == "sar":
        W = sparse.diags(1.0 / np.where(degree > 0, degree, 1.0)) @ A
        return _structure(kind, [identity, -(W + W.T), W.T @ W], free, _SIGNED)
    if kind == "car":
        return _structure(kind, [sparse.diags(degree) + alone, -A], free, _UNIT)
    if kind == "leroux":
        return _structure(kind, [identity, sparse.diags(degree) - A + alone - identity], free, _UNIT)
    scaled, component = _scaled_icar(A)
    return _structure(kind, [scaled], component, _UNIT if kind == "bym2" else None, splits=kind == "bym2")


def map_root(weights: sparse.spmatrix) -> np.ndarray:
    """Return a root of the covariance of the scaled "icar" of `map_structure`, dense, shape (D, rank).

    Independent standard normals times it are the effect: what a sampler of the effects themselves needs.
    Each connected part sums to zero, and an area without a neighbour has a column of its own.

    Parameters
    ----------
    weights : sparse matrix, shape (D, D)
        As in `map_structure`.

    Examples
    --------
    >>> root = map_root(sparse.csr_matrix(np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]])))
    >>> (root @ root.T).round(12).tolist()
    [[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    scaled, component = _scaled_icar(_weights(weights))
    columns = [np.eye(len(component))[:, component < 0]]
    for part in range(component.max() + 1):
        inside = np.flatnonzero(component == part)
        size, turn = np.linalg.eigh(scaled[inside][:, inside].toarray())
        root = np.zeros((len(component), len(inside) - 1))
        root[inside] = turn[:, 1:] / np.sqrt(size[1:])  # the first is the level
        columns.append(root)
    return np.column_stack(columns)


def _weights(weights: sparse.spmatrix) -> sparse.csr_matrix:
    A = sparse.csr_matrix(weights).astype(float)
    A.eliminate_zeros()
    return A


def _scaled_icar(A: sparse.csr_matrix) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Return the scaled diag(n) - A, 1 at islands, and the connected part of each area."""
    degree = np.asarray(A.sum(axis=1)).ravel()
    R, component = sparse.diags(degree) - A, _parts_of_map(A, degree)
    variance, scale = generalised_variance(R, component), np.ones(len(degree))
    for part in range(component.max() + 1):
        scale[component == part] = np.exp(np.log(variance[component == part]).mean())
    alone = sparse.diags((degree == 0).astype(float))
    return (sparse.diags(scale) @ R + alone).tocsr(), component


def generalised_variance(R: sparse.spmatrix, component: np.ndarray) -> np.ndarray:
    """Return the diagonal of the generalised inverse of R = diag(n) - A, by sparse algebra.

    One area of each part is tied down, S = (R + e e')^-1; centring the field with covariance S within its
    part gives the generalised inverse, whose diagonal needs the diagonal of S and S 1 only.

    Parameters
    ----------
    R : sparse matrix, shape (D, D)
    component : ndarray of int, shape (D,)
        Connected part of each area, -1 for islands, where the result is 0.
    """
    n_areas = R.shape[0]
    tied = np.zeros(n_areas)
    tied[np.unique(component, return_index=True)[1]] = 1.0
    tied[component < 0] = 1.0
    structure = _structure("tied", [R + sparse.diags(tied)], component)
    factor = factorise(structure.pattern, structure.parts, EIGHT)
    row_sum = factor.solve((component >= 0).astype(float)[:, None])
    count = structure.sums(np.ones((1, n_areas, 1)))
    mean = row_sum / structure.spread(count)[..., 0:1].clip(1.0)
    total = structure.spread(structure.sums(row_sum) / count**2)
    return np.where(
        component >= 0, factor.inverse().diagonal()[0] - 2.0 * mean[0, :, 0] + total[0, :, 0], 0.0
    )


def walk_covariance(order: int, n_times: int) -> np.ndarray:
    """Return the covariance of a random walk of first or second order without its null space, (T, T).

    The generalised inverse of Δ'Δ, scaled so that the geometric mean of its diagonal is 1. The null space (a
    level; for second order a straight line too) has no variance here: levels and trends are left to the area
    effect and the covariates, so that nothing is confounded with them.

    Raises
    ------
    ValueError
        If there are no more periods than the order.
    """
    if n_times <= order:
        raise ValueError(f"a random walk of order {order} needs more than {order} periods")
    delta = np.diff(np.eye(n_times), n=order, axis=0)
    root = np.linalg.pinv(delta)  # of full row rank: nothing has to be taken for zero
    inverse = root @ root.T
    return inverse / np.exp(np.log(np.diag(inverse)).mean())


def _parts_of_map(A: sparse.csr_matrix, degree: np.ndarray) -> np.ndarray:
    """Return the number of each area's connected part; -1 for islands."""
    _, label = connected_components(A, directed=False)
    component = np.full(len(label), -1)
    inside = degree > 0
    _, first = np.unique(label[inside], return_index=True)
    order = label[inside][np.sort(first)]
    number = {part: k for k, part in enumerate(order)}
    component[inside] = [number[part] for part in label[inside]]
    return component


def _structure(
    kind: str,
    parts: list,
    component: np.ndarray,
    bounds: tuple[float, float] | None = None,
    splits: bool = False,
) -> Structure:
    """Lay the parts on their common pattern and analyse it."""
    n_areas = len(component)
    whole = sparse.tril(sum(abs(part) for part in parts) + sparse.identity(n_areas)).tocoo()
    rows, cols = whole.row.astype(np.int64), whole.col.astype(np.int64)
    on = np.flatnonzero(rows == cols)
    diagonal = np.empty(n_areas, np.int64)
    diagonal[rows[on]] = on
    laid = np.stack([np.asarray(sparse.csr_matrix(part)[rows, cols]).ravel() for part in parts])
    return Structure(kind, analyse(rows, cols, n_areas), diagonal, laid, component, bounds, splits)
