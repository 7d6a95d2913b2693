"""Powers on the vector units, against powers of 40 digits."""

from decimal import Decimal, localcontext

import numpy as np
import pytest

from sae.numerics.ebp.power import raise_all

ACCURACY = (
    2e-14  # of results between 1e-11 and 1e11; the logarithm has a rounding error, which the exponent carries
)


@pytest.mark.parametrize("exponent", [2.5, -3.0, 0.5882, 20.0, 1000.0, -1000.0])
def test_powers_of_40_digits(exponent):
    reach = min(4.0, 25.0 / abs(exponent))
    x = np.exp(np.concatenate([np.linspace(-reach, reach, 101), reach * np.array([1e-9, 1e-5, -1e-5])]))
    with localcontext() as context:
        context.prec = 40
        exact = [float(Decimal(float(v)) ** Decimal(exponent)) for v in x]
    np.testing.assert_allclose(raise_all(x, exponent, 0.0), exact, rtol=ACCURACY)


def test_at_the_root_of_a_half_where_one_piece_ends():
    x = np.array([np.sqrt(0.5), np.sqrt(2.0)]) * (1.0 + np.array([[-1e-15], [0.0], [1e-15]]))
    np.testing.assert_allclose(raise_all(x.copy(), 2.0, 0.0), x * x, rtol=1e-15)


def test_what_no_number_holds_is_0_or_infinite():
    ends = np.array([1e-300, 1e300])
    np.testing.assert_array_equal(raise_all(ends.copy(), 2.0, 5.0), [-5.0, np.inf])
    np.testing.assert_array_equal(raise_all(ends.copy(), -2.0, 0.0), [np.inf, 0.0])
    np.testing.assert_allclose(raise_all(ends.copy(), 1.0, 0.0), ends)
    assert np.isnan(raise_all(np.array([np.nan, np.inf]), 0.5, 0.0)).all()


def test_columns_of_a_matrix():
    x = np.arange(1.0, 13.0).reshape(3, 4)
    np.testing.assert_allclose(
        raise_all(x[:, ::2], 2.0, 1.0), np.arange(1.0, 13.0).reshape(3, 4)[:, ::2] ** 2 - 1
    )
    np.testing.assert_allclose(raise_all(x.T, 2.0, 1.0), np.arange(1.0, 13.0).reshape(3, 4).T ** 2 - 1)
