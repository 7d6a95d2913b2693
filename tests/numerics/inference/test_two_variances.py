"""The maximum over two variances: inside, at either boundary, of two peaks the higher one, many at once."""

import numpy as np

from sae.numerics.inference.two_variances import two_variances

EXACT = 1e-6  # the climb ends where a step is 1e-8 of its parameter


def maximum(outcomes):
    """Outcomes as lists of (height, a, b): a sum of bumps in (log a, log b), less what lies at a boundary."""

    def value(at, peaks):
        a, b = np.maximum(at[:, 0], 1e-12), np.maximum(at[:, 1], 1e-12)
        return sum(
            height * np.exp(-0.5 * (np.log(a / x) ** 2 + np.log(b / y) ** 2)) for height, x, y in peaks
        )

    def evaluate(at, member):
        values, slopes = np.empty(len(at)), np.empty((len(at), 2))
        for k, b in enumerate(member):
            values[k] = value(at[k : k + 1], outcomes[b])[0]
            for place in range(2):
                h = 1e-6 * at[k, place]
                ends = [at[k] + sign * h * np.eye(2)[place] for sign in (1, -1)]
                high, low = (value(end[None], outcomes[b])[0] for end in ends)
                slopes[k, place] = (high - low) / (2 * h) if h else 0.0
        return values, slopes

    def scan(grid):
        return np.stack([value(grid, peaks) for peaks in outcomes], axis=1)

    return two_variances(evaluate, scan, len(outcomes), 1.0)


def test_of_two_peaks_the_higher_wins_for_every_outcome():
    found = maximum([[(1.0, 0.05, 2.0), (1.5, 8.0, 0.2)], [(1.5, 0.05, 2.0), (1.0, 8.0, 0.2)]])
    np.testing.assert_allclose(found, [[8.0, 0.2], [0.05, 2.0]], rtol=1e-3)


def test_boundaries_are_met_exactly():
    """-(a - x)² - (b - y)²: the maximum over a, b >= 0 is (max(x, 0), max(y, 0))."""
    goals = np.array([[0.7, 1.3], [-1.0, 0.4], [2.0, -0.3], [-0.2, -0.5]])

    def evaluate(at, member):
        gap = at - goals[member]
        return -(gap**2).sum(axis=1), -2.0 * gap

    def scan(grid):
        return -((grid[:, None] - goals) ** 2).sum(axis=2)

    found = two_variances(evaluate, scan, 4, 1.0)
    np.testing.assert_allclose(found, np.maximum(goals, 0.0), rtol=EXACT)
    assert (found[goals < 0] == 0.0).all()
