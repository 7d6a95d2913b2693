"""The path along log σ: all its hills, to where nothing is left, and what has no end."""

import numpy as np
import pytest

from sae.errors import SaeConvergenceError
from sae.numerics.glmm.laplace import Walk, student, trace


class Line(Walk):
    """A density of t alone, with one coefficient that is standard normal."""

    def __init__(self, log_density):
        super().__init__(np.zeros(1))
        self.log_density = log_density

    def value(self, beta, t):
        return float(self.log_density(t) - 0.5 * beta @ beta)

    def derivatives(self, beta, t):
        return -beta, np.eye(1)


def two_hills(t):
    return float(np.logaddexp(-0.5 * ((t + 1.0) / 0.15) ** 2, -0.5 * ((t - 2.0) / 0.3) ** 2))


@pytest.mark.parametrize("start", [-1.2, 2.3])
def test_both_hills_are_followed_from_either(start):
    path = trace(Line(two_hills), start)
    assert path.t[0] < -1.6 and path.t[-1] > 3.0
    for top in (-1.0, 2.0):
        assert np.abs(path.t - top).min() < 0.2
    assert path.log_density[0] < path.log_density.max() - 11.9
    assert path.log_density[-1] < path.log_density.max() - 11.9
    uniforms = np.random.default_rng(1).uniform(size=(2000, 3))
    points, t, _ = path.propose(uniforms[:, 0], student(uniforms[:, 1:]))
    assert np.mean(t < 0.5) == pytest.approx(1 / 3, abs=0.07) and points.shape == (2000, 1)


def test_one_hill_ends_where_nothing_is_left():
    path = trace(Line(lambda t: -0.5 * (t / 0.4) ** 2), 0.3)
    assert path.log_density[[0, -1]].max() < path.log_density.max() - 11.9


@pytest.mark.parametrize("flat", [lambda t: 0.1 * t, lambda t: -np.log1p(t * t)])
def test_a_density_without_an_end_is_refused(flat):
    with pytest.raises(SaeConvergenceError, match="area effects"):
        trace(Line(flat), 0.0)
