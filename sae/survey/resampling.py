"""Replicate weights made from a design: jackknife, balanced halves, rescaled bootstrap."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import get_args

import numpy as np

from sae.errors import SaeSpecError, counted, name_some
from sae.literals import LonelyPolicy, ReplicateCentre, ReplicateMethod
from sae.numerics.random.streams import seed_of
from sae.survey.calibration import Calibration, recalibrate
from sae.survey.codes import as_text
from sae.survey.design import Stage
from sae.survey.replicates import Replicates, check_centre, check_method, check_rho, default_scale

__all__ = ["Factors", "make_replicates", "psu_factors"]

_MAX_CELLS = 500_000_000  # records x replicates: 4 GB


@dataclass(frozen=True, eq=False)
class Factors:
    """Factors per sampling unit that turn weights into replicate weights.

    Attributes
    ----------
    factors : ndarray of float, shape (C, R)
        Factor of every unit of the first stage in every replicate.
    scale : float
    rscales : ndarray, shape (R,)
    """

    factors: np.ndarray
    scale: float
    rscales: np.ndarray


def make_replicates(
    weights: np.ndarray,
    stage: Stage,
    method: ReplicateMethod,
    *,
    lonely_psu: LonelyPolicy,
    calibration: Calibration | None = None,
    replicates: int | None = None,
    rho: float | None = None,
    centre: ReplicateCentre = "estimate",
    seed: int | np.random.Generator | None = None,
) -> Replicates:
    """Replicates of the weights, calibrated again where these are; see `Survey.with_replicates`."""
    check_centre(centre)
    units = psu_factors(stage, method, lonely_psu=lonely_psu, replicates=replicates, rho=rho, seed=seed)
    n, size = len(weights), units.factors.shape[1]
    if n * size > _MAX_CELLS:
        raise SaeSpecError(
            f"{size:,} replicate weights for {n:,} records would take {n * size * 8 / 1e9:.0f} GB.",
            hint="Use the linearised variance, or variance='bootstrap' with fewer replicates.",
        )
    if calibration is None:
        replicated = units.factors[stage.psu]
        replicated *= weights[:, None]
    else:
        replicated = np.empty((n, size), order="F")
        for r in range(size):
            replicated[:, r] = recalibrate(
                calibration, calibration.base_weights * units.factors[stage.psu, r]
            )
    replicated.setflags(write=False)
    return Replicates(replicated, method, units.scale, units.rscales, centre)


def psu_factors(
    stage: Stage,
    method: ReplicateMethod,
    *,
    lonely_psu: LonelyPolicy = "fail",
    replicates: int | None = None,
    rho: float | None = None,
    seed: int | np.random.Generator | None = None,
) -> Factors:
    """Replicate factors per first-stage unit: small even where records x replicates would not fit.

    Parameters
    ----------
    stage : Stage
        The first stage of the design, with its population counts.
    method : {"jk1", "jkn", "brr", "fay", "bootstrap"}
        See `Survey.with_replicates`.
    lonely_psu : str
        Policy for strata with one unit.
    replicates, rho, seed
        Number of bootstrap replicates; Fay's factor; seed of the bootstrap.

    Returns
    -------
    Factors
        A stratum with one unit keeps its weights (policy "certainty"); under "average" this is refused.

    Raises
    ------
    SaeSpecError
        If an option is missing or has no meaning with the method, or the design does not fit it.

    References
    ----------
    Rao and Wu (1988), section 4; Wolter (2007), chapters 3 and 4; Judkins (1990).
    """
    check_method(method, get_args(ReplicateMethod))
    rho = check_rho(method, rho)
    if method != "bootstrap" and replicates is not None:
        raise SaeSpecError(
            f"The number of {method} replicates follows from the design.", hint="Leave replicates= out."
        )
    if method != "bootstrap" and seed is not None:
        raise SaeSpecError(f"{method} draws nothing at random.", hint="Leave seed= out.")
    counts = stage.psu_counts()
    if np.any((counts == 1) & (stage.stratum_fpc() > 1 + 1e-6)) and lonely_psu in ("average", "fail"):
        lonely = as_text(stage.strata_labels[counts == 1])
        raise SaeSpecError(
            f"Strata with a single unit ({name_some(lonely)}) cannot give replicates under the policy "
            f"{lonely_psu!r}.",
            hint="Read the survey with lonely_psu='collapse' or 'certainty'.",
        )
    if method == "bootstrap":
        whole = isinstance(replicates, int | np.integer) and not isinstance(replicates, bool)
        if replicates is None or not whole or replicates < 2:
            raise SaeSpecError(
                f"The bootstrap needs its number of replicates, a whole one from 2 on, not {replicates!r}.",
                hint="For example replicates=200.",
            )
        return _bootstrap(stage, replicates, seed)
    if method == "jk1":
        return _jk1(stage)
    if method == "jkn":
        return _jkn(stage)
    return _balanced(stage, 0.0 if rho is None else rho)


def _jk1(stage: Stage) -> Factors:
    if stage.n_strata > 1:
        raise SaeSpecError(
            f"jk1 is for designs without strata; this one has {stage.n_strata}.", hint="Use 'jkn'."
        )
    size = stage.n_psu
    _need_units(size)
    factors = np.full((size, size), size / (size - 1))
    np.fill_diagonal(factors, 0.0)
    correction = 1 - size / stage.stratum_fpc()[0]
    return Factors(factors, (size - 1) / size * correction, np.ones(size))


def _jkn(stage: Stage) -> Factors:
    counts, stratum = stage.psu_counts(), stage.stratum_of_psu()
    deleted = np.flatnonzero(counts[stratum] > 1)
    _need_units(deleted.size)
    _check_size(stage.n_psu, deleted.size)
    factors = np.ones((stage.n_psu, deleted.size))
    for column, unit in enumerate(deleted):
        peers = stratum == stratum[unit]
        factors[peers, column] = counts[stratum[unit]] / (counts[stratum[unit]] - 1)
        factors[unit, column] = 0.0
    n_h = counts[stratum[deleted]]
    return Factors(factors, 1.0, (n_h - 1) / n_h * (1 - n_h / stage.stratum_fpc()[stratum[deleted]]))


def _balanced(stage: Stage, rho: float) -> Factors:
    counts, stratum = stage.psu_counts(), stage.stratum_of_psu()
    odd = np.flatnonzero(counts > 2)
    if odd.size:
        raise SaeSpecError(
            f"Balanced half-samples need two units per stratum; "
            f"{counted(odd.size, 'stratum has', 'strata have')} more: "
            f"{name_some(as_text(stage.strata_labels[odd]))}.",
            hint="Use 'jkn' or 'bootstrap'.",
        )
    pairs = np.flatnonzero(counts == 2)
    _need_units(2 * pairs.size)
    signs = hadamard(pairs.size + 1)[:, 1 : pairs.size + 1]  # the constant column would not balance
    # a population count shrinks the deviation, so that linear statistics get their finite-population variance
    swing = (1 - rho) * np.sqrt(np.maximum(0.0, 1 - 2 / stage.stratum_fpc()[pairs]))[:, None] * signs.T
    order = np.argsort(stratum, kind="stable")
    starts = np.concatenate([[0], np.cumsum(counts)])[pairs]
    factors = np.ones((stage.n_psu, len(signs)))
    factors[order[starts]] = 1 + swing
    factors[order[starts + 1]] = 1 - swing
    return Factors(factors, default_scale("fay", len(signs), rho), np.ones(len(signs)))


def _bootstrap(stage: Stage, replicates: int, seed: int | np.random.Generator | None) -> Factors:
    """Draw n_h - 1 units with replacement, shrunk towards 1 by sqrt(1 - n_h / N_h) (Rao and Wu 1988)."""
    if seed is None:
        raise SaeSpecError(
            "The bootstrap draws at random and needs a seed.", hint="Pass seed=1 or a numpy Generator."
        )
    entropy = seed_of(seed)
    if entropy < 0:
        raise SaeSpecError(f"seed={seed} is negative.", hint="Pass seed=1 or a numpy Generator.")
    _check_size(stage.n_psu, replicates)
    counts, sizes = stage.psu_counts(), stage.stratum_fpc()
    order = np.argsort(stage.stratum_of_psu(), kind="stable")
    starts = np.concatenate([[0], np.cumsum(counts)])
    factors = np.ones((stage.n_psu, replicates))
    for h, label in enumerate(as_text(stage.strata_labels)):
        n_h = int(counts[h])
        if n_h < 2:
            continue
        # a stream per stratum, named by its label: another stratum more or less changes nothing here
        name = int.from_bytes(hashlib.sha256(f"bootstrap/{label}".encode()).digest()[:8], "little")
        rng = np.random.default_rng(np.random.SeedSequence([entropy, name]))
        drawn = rng.multinomial(n_h - 1, np.full(n_h, 1 / n_h), size=replicates).T
        shrink = np.sqrt(max(0.0, 1 - n_h / sizes[h]))
        factors[order[starts[h] : starts[h + 1]]] = 1 - shrink + shrink * n_h / (n_h - 1) * drawn
    return Factors(factors, 1 / replicates, np.ones(replicates))


def hadamard(order: int) -> np.ndarray:
    """Hadamard matrix of the smallest order >= `order` that doubling and Paley's first construction reach.

    Examples
    --------
    >>> H = hadamard(9)
    >>> H.shape, bool((H @ H.T == 12 * np.eye(12)).all())
    ((12, 12), True)
    """
    size = max(order, 1)
    while True:
        matrix = _hadamard_of(size)
        if matrix is not None:
            return matrix
        size += 1


def _hadamard_of(size: int) -> np.ndarray | None:
    if size in (1, 2):
        return np.array([[1]]) if size == 1 else np.array([[1, 1], [1, -1]])
    if size % 4:
        return None
    prime = size - 1
    if all(prime % divisor for divisor in range(2, int(prime**0.5) + 1)):
        residues = np.full(prime, -1)
        residues[0] = 0
        residues[np.arange(1, prime) ** 2 % prime] = 1
        matrix = np.ones((size, size), dtype=int)
        matrix[1:, 1:] = residues[(np.arange(prime)[None, :] - np.arange(prime)[:, None]) % prime] - np.eye(
            prime, dtype=int
        )
        return matrix
    half = _hadamard_of(size // 2)
    return None if half is None else np.kron([[1, 1], [1, -1]], half)


def _need_units(units: int) -> None:
    if units < 2:
        raise SaeSpecError("Replicates need at least one stratum with two sampled units.")


def _check_size(units: int, replicates: int) -> None:
    if units * replicates > _MAX_CELLS:
        raise SaeSpecError(
            f"{replicates:,} replicates of {units:,} units would take {units * replicates * 8 / 1e9:.0f} GB.",
            hint="Use the linearised variance, or coarser units (psu=, household=).",
        )
