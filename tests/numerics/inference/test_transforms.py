"""Transformations and their back-transforms without bias, by quadrature."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from sae.numerics.inference.transforms import TRANSFORMS


@pytest.mark.parametrize("t", [-0.1, 0.05, 0.6, 1.2, 1.7])
@pytest.mark.parametrize("s", [0.01, 0.2, 0.6])
def test_arcsin_mean_is_the_integral(t, s):
    arcsin = TRANSFORMS["arcsin"]
    integral = quad(lambda x: np.sin(x) ** 2 * norm.pdf(x, t, s), t - 10 * s, t + 10 * s, epsabs=1e-13)[0]
    assert arcsin.mean(np.array(t), np.array(s**2)) == pytest.approx(integral, abs=1e-11)
    step = 1e-6
    slope = (arcsin.mean(np.array(t + step), s**2) - arcsin.mean(np.array(t - step), s**2)) / (2 * step)
    assert arcsin.slope(np.array(t), s**2) == pytest.approx(slope, abs=1e-8)


def test_arcsin_there_and_back():
    arcsin, p = TRANSFORMS["arcsin"], np.linspace(0, 1, 101)
    np.testing.assert_allclose(arcsin.inverse(arcsin.forward(p)), p, atol=1e-15)
    np.testing.assert_allclose(arcsin.mean(arcsin.forward(p), 0.0), p, atol=1e-15)
    p, step = p[1:-1], 1e-6
    derivative = (arcsin.forward(p + step) - arcsin.forward(p - step)) / (2 * step)
    np.testing.assert_allclose(arcsin.variance(p, 0.01), 0.01 * derivative**2, rtol=1e-7)


def test_identity_changes_nothing():
    identity, y = TRANSFORMS["identity"], np.array([-3.0, 0.0, 7.0])
    for function in (identity.forward, identity.inverse):
        assert np.array_equal(function(y), y)
    assert np.array_equal(identity.mean(y, np.ones(3)), y)


@pytest.mark.parametrize("name", ["identity", "arcsin", "log", "logit"])
def test_the_mean_square_is_the_integral(name):
    transform = TRANSFORMS[name]
    for t, s in ((-0.4, 0.1), (0.6, 0.3), (1.2, 0.6)):
        integral = quad(
            lambda x, t=t, s=s: transform.inverse(np.array(x)) ** 2 * norm.pdf(x, t, s),
            t - 10 * s,
            t + 10 * s,
        )[0]
        assert transform.square(np.array(t), np.array(s**2)) == pytest.approx(integral, rel=1e-8)
