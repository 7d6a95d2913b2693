"""What the proposal of a field's hyperparameters is judged by, and draws from nodes that many draws share."""

import dataclasses

import numpy as np
from scipy import sparse

from sae.numerics.inference.lattice import Proposal
from sae.numerics.inference.priors import HALF_NORMAL
from sae.numerics.spacetime.area_field import area_field
from sae.numerics.spacetime.precision import map_structure
from sae.samplers import gaussian_field as fields

Z = 4.5  # standard errors


def t_density(freedom):
    return lambda phi: -0.5 * (freedom + 1.0) * np.log1p(phi[:, 0] ** 2 / freedom)


def test_doubt_asks_for_more_proposals():
    """A Cauchy density under Student's t with 5 degrees of freedom has weights with heavy tails."""
    asked = []

    def counted(density):
        def log_density(phi):
            asked.append(len(phi))
            return density(phi)

        return log_density

    proposal = Proposal(np.zeros(1), np.eye(1))
    assert fields._pilot(counted(t_density(50.0)), proposal) < 0.4
    assert asked == [128]
    assert fields._pilot(counted(t_density(1.0)), proposal) > 0.5  # 0.8 in the limit
    assert asked == [128, 128, 512]


def test_nodes_taken_often_give_draws_with_their_moments(rng):
    """With 3,000 draws of some 80 nodes each factor stands in several lanes; two parts and an island."""
    D = 40
    A = np.zeros((D, D))
    for k in range(D - 2):
        if k != 19:
            A[k, k + 1] = A[k + 1, k] = 1.0
    X, psi = np.column_stack([np.ones(D), rng.normal(size=D)]), rng.uniform(0.2, 1.0, D)
    y = X.sum(axis=1) + rng.normal(size=D)
    y[5] = np.nan
    structure = map_structure("bym2", sparse.csr_matrix(A))
    args = (y, X, psi[:, None, None], np.arange(D), np.zeros(D, int))
    fit = fields.gaussian_field(area_field(structure, *args, priors=((HALF_NORMAL, 1.0),)))
    S = 3000
    values = dataclasses.replace(fit, by_nodes=True).values(S, 1)
    mean, sd = fit.moments()
    assert np.abs((values.mean(axis=0) - mean) / (sd / np.sqrt(S))).max() < Z
    assert np.abs(values.std(axis=0) / sd - 1.0).max() < Z / np.sqrt(S)  # a mixture's tails: up to twice
