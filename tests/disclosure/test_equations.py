"""Figures between limits and the equations between them: what must be hidden too, against brute force."""

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import linprog

from sae.disclosure.equations import LinkedFigures, hidden_too

CLOSE = 1e-5  # on shares: beyond the tolerance of the programmes in the sensitive figure's own persons


def crossed(seed, areas=6, groups=4):
    """Rates of areas × groups that meet both margins and the whole; some hidden, fewer of them sensitive."""
    rng = np.random.default_rng(seed)
    weights = np.exp(rng.normal(4, 1.5, (areas, groups)))
    rates = rng.uniform(0.02, 0.98, (areas, groups))
    whole = np.zeros((areas + 1, groups + 1))
    size = np.zeros_like(whole)
    size[:-1, :-1], whole[:-1, :-1] = weights, weights * rates
    for table in (size, whole):
        table[-1, :-1], table[:-1, -1] = table[:-1, :-1].sum(axis=0), table[:-1, :-1].sum(axis=1)
        table[-1, -1] = table[:-1, :-1].sum()
    place = np.arange(size.size).reshape(size.shape)
    lines = [*(place[k] for k in range(areas + 1)), *(place[:, k] for k in range(groups + 1))]
    matrix = np.zeros((len(lines), size.size))
    for k, line in enumerate(lines):
        matrix[k, line] = size.ravel()[line]
        matrix[k, line[-1]] *= -1.0
    values = (whole / size).ravel()
    small = np.argsort(size.ravel())[: areas * groups // 3]
    hidden = np.zeros(size.size, dtype=bool)
    hidden[small] = True
    reach = rng.choice([0.1, 0.5, 1.0], size.size)
    open_ = np.isin(np.arange(size.size), small[: len(small) // 2 + 1])
    least = np.where(open_, np.maximum(values - reach, 0.0), values)
    most = np.where(open_, np.minimum(values + reach, 1.0), values)
    zeros, ones = np.zeros(size.size), np.ones(size.size)
    figures = LinkedFigures(
        sparse.csr_array(matrix), values, zeros, ones, hidden, least, most, size.ravel() ** 1.5
    )
    return figures, open_


def ends(figures, hidden, cell):
    dense = figures.matrix.toarray()[:, hidden]
    right = dense @ figures.values[hidden]
    goal = (np.flatnonzero(hidden) == cell).astype(float)
    return [
        float(sign * linprog(sign * goal, A_eq=dense, b_eq=right, bounds=(0, 1)).fun) for sign in (1.0, -1.0)
    ]


@pytest.mark.parametrize("seed", range(12))
def test_every_sensitive_figure_is_as_open_as_is_needed(seed):
    figures, sensitive = crossed(seed)
    more = hidden_too(figures)
    assert not (more & figures.hidden).any()
    before = 0
    for cell in np.flatnonzero(sensitive):
        low, high = ends(figures, figures.hidden | more, cell)
        assert low <= figures.least[cell] + CLOSE and high >= figures.most[cell] - CLOSE
        low, high = ends(figures, figures.hidden, cell)
        before += low > figures.least[cell] + CLOSE or high < figures.most[cell] - CLOSE
    assert bool(before) == more.any()  # nothing is hidden without need


def test_the_same_figures_give_the_same_answer_and_what_no_equation_links_stays():
    figures, _ = crossed(3)
    assert np.array_equal(hidden_too(figures), hidden_too(figures))
    alone = LinkedFigures(sparse.csr_array((0, figures.values.size)), *list(vars(figures).values())[1:8])
    assert not hidden_too(alone).any()


def test_shares_of_one_whole_are_hidden_two_by_two():
    matrix = sparse.csr_array(np.array([[1.0, 1.0, 1.0]]))
    figures = LinkedFigures(
        matrix,
        np.array([0.6, 0.1, 0.3]),
        np.zeros(3),
        np.ones(3),
        np.array([True, False, False]),
        np.array([0.5, 0.1, 0.3]),
        np.array([0.7, 0.1, 0.3]),
        np.array([1.0, 5.0, 1.0]),
    )
    assert hidden_too(figures).tolist() == [False, False, True]
