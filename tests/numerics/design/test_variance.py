"""Design variances on arrays against sums written out record by record on random designs."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from sae.numerics.design.replicates import replicate_deviations, replicate_totals
from sae.numerics.design.residuals import domain_coefficients, regression, residuals, shared_variance
from sae.numerics.design.units import design_levels, domain_cells, domain_moments
from sae.numerics.design.variance import (
    cell_variance,
    covariance_of_units,
    unit_totals,
    units_variance,
    variance_of_totals,
)

EXACT = 1e-11  # the same sums in another order, over at most 120 records


def random_design(seed, *, n=120, fpc=True, lonely=False):
    """Two stages with random strata; every stratum of the first stage has two units unless `lonely`."""
    rng = np.random.default_rng(seed)
    n_strata, n_psu = int(rng.integers(1, 5)), int(rng.integers(10, 20))
    of_psu = rng.integers(0, n_strata, n_psu)
    of_psu[: 2 * n_strata] = np.tile(np.arange(n_strata), 2)
    if lonely:
        of_psu[of_psu == 0] = n_strata - 1
        of_psu[0] = 0
    psu = rng.integers(0, n_psu, n)
    psu[:n_psu] = np.arange(n_psu)
    strata = of_psu[psu]
    ssu = np.unique(psu * 4 + rng.integers(0, 4, n), return_inverse=True)[1].reshape(-1)
    units = np.bincount(of_psu, minlength=n_strata)
    inner = np.array([np.unique(ssu[psu == c]).size for c in range(n_psu)])
    population = (units * rng.integers(2, 6, n_strata))[strata].astype(float)
    inner_population = (inner * rng.integers(1, 4, n_psu))[psu].astype(float)
    stages = [
        SimpleNamespace(strata=strata, psu=psu, fpc=population if fpc else None),
        SimpleNamespace(strata=psu, psu=ssu, fpc=inner_population),
    ]
    return rng, stages, rng.uniform(1.0, 9.0, n)


def by_hand(stages, weights, Z):
    """The textbook sum, stratum by stratum and unit by unit; a stratum of one unit adds nothing."""
    first, second = stages
    wz = weights[:, None] * Z
    total = np.zeros((Z.shape[1], Z.shape[1]))

    def spread(codes, where, fraction, scale):
        units = np.unique(codes[where])
        if units.size == 1:
            return 0.0
        sums = np.array([wz[codes == unit].sum(axis=0) for unit in units])
        centred = sums - sums.mean(axis=0)
        return scale * (1 - fraction) * units.size / (units.size - 1) * centred.T @ centred

    for h in np.unique(first.strata):
        here = first.strata == h
        n_h = np.unique(first.psu[here]).size
        f = 0.0 if first.fpc is None else n_h / first.fpc[here][0]
        total += spread(first.psu, here, f, 1.0)
        if f == 0.0:
            continue
        for c in np.unique(first.psu[here]):
            inside = first.psu == c
            f2 = np.unique(second.psu[inside]).size / second.fpc[inside][0]
            total += spread(second.psu, inside, f2, f)
    return total


def domain_scores(rng, n, n_domains):
    domain = rng.integers(-1, n_domains, n).astype(np.int32)
    inside = rng.random(n) < 0.8
    Z = np.zeros((n, n_domains))
    values = rng.normal(size=n)
    for d in range(n_domains):
        Z[(domain == d) & inside, d] = values[(domain == d) & inside]
    return domain, inside, values, Z


@given(seed=st.integers(0, 10**6), fpc=st.booleans(), lonely=st.booleans())
@settings(max_examples=40, deadline=None)
def test_cells_units_and_sums_by_hand_agree(seed, fpc, lonely):
    rng, stages, weights = random_design(seed, fpc=fpc, lonely=lonely)
    domain, inside, values, Z = domain_scores(rng, weights.size, 6)
    expected = by_hand(stages, weights, Z)
    levels = design_levels(stages)
    tolerance = EXACT * (1 + np.abs(expected).max())
    np.testing.assert_allclose(variance_of_totals(levels, weights, Z), expected, atol=tolerance)
    from_cells, from_units, covariance = np.zeros(6), np.zeros(6), np.zeros((6, 6))
    for level in levels:
        cells = domain_cells(level, domain, 6)
        sums, _ = domain_moments(cells.record, cells.domain, 6, weights, values, values, inside)
        from_cells += cell_variance(level, cells, sums[:, 0].copy(), sums[:, 2].copy(), 6, False)[0]
        from_units += units_variance(level, unit_totals(level, weights, Z), False)
        columns = sparse.csr_matrix((sums[:, 0].copy(), cells.domain, cells.starts), (level.n_units, 6))
        covariance += covariance_of_units(level, columns)
    np.testing.assert_allclose(from_cells, np.diag(expected), atol=tolerance)
    np.testing.assert_allclose(from_units, np.diag(expected), atol=tolerance)
    np.testing.assert_allclose(covariance, expected, atol=tolerance)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_calibration_residuals_by_hand(seed):
    rng, stages, weights = random_design(seed)
    domain, inside, values, Z = domain_scores(rng, weights.size, 6)
    X = np.column_stack([np.ones(weights.size), rng.normal(size=(weights.size, 2))])
    X = np.column_stack([X, X[:, 1] + X[:, 2]])  # collinear on purpose
    base = rng.uniform(1.0, 3.0, weights.size)
    root = np.sqrt(base)[:, None]
    B = np.linalg.lstsq(root * X, root * Z, rcond=None)[0]
    expected = np.diag(by_hand(stages, weights, Z - X @ B))
    for matrix in (X, sparse.csr_matrix(X)):
        model = regression(matrix, base)
        np.testing.assert_allclose(residuals(model, Z[:, 2]), (Z - X @ B)[:, 2], atol=1e-9)
        ours = domain_coefficients(model, domain, np.where(inside, values, 0.0), 6)
        got = np.zeros(6)
        for level in design_levels(stages):
            cells = domain_cells(level, domain, 6)
            sums, _ = domain_moments(cells.record, cells.domain, 6, weights, values, values, inside)
            auxiliary = unit_totals(level, weights, X)
            got += shared_variance(level, cells, sums[:, 0].copy(), auxiliary, ours, False)
        np.testing.assert_allclose(got, expected, rtol=1e-8)


def test_moments_and_units_count_only_those_inside(rng):
    _, stages, weights = random_design(3)
    domain, inside, values, _ = domain_scores(rng, weights.size, 4)
    level = design_levels(stages)[0]
    cells = domain_cells(level, domain, 4)
    x = rng.uniform(1, 2, weights.size)
    sums, moments = domain_moments(cells.record, cells.domain, 4, weights, values, x, inside)
    _, units, strata = cell_variance(level, cells, np.zeros(len(sums)), sums[:, 2].copy(), 4, False)
    for d in range(4):
        here = (domain == d) & inside
        w, y, z = weights[here], values[here], x[here]
        by_record = [here.sum(), w.sum(), w @ w, w @ y, w @ z, w @ y**2, w @ (y * z), w @ z**2]
        np.testing.assert_allclose(moments[d], by_record, rtol=EXACT)
        assert units[d] == np.unique(stages[0].psu[here]).size
        assert strata[d] == np.unique(stages[0].strata[here]).size


def test_equal_totals_give_a_variance_of_exactly_zero():
    # 0.1 is no binary fraction: sums of squares minus a squared sum would leave rounding behind
    stage = SimpleNamespace(strata=np.zeros(1000, int), psu=np.arange(1000), fpc=None)
    level = design_levels([stage])[0]
    cells = domain_cells(level, np.zeros(1000, np.int32), 1)
    assert cell_variance(level, cells, np.full(1000, 0.1), np.ones(1000), 1, False)[0][0] == 0.0


def test_a_lonely_stratum_is_named_and_averaged():
    strata = np.array([0, 1, 1, 2, 2, 3])
    stage = SimpleNamespace(strata=strata, psu=np.arange(6), fpc=None)
    level = design_levels([stage])[0]
    assert strata[level.lonely_records].tolist() == [0, 3]
    domain = np.zeros(6, np.int32)
    cells = domain_cells(level, domain, 1)
    totals = np.array([5.0, 1.0, 3.0, 2.0, 2.0, 7.0])
    certain = cell_variance(level, cells, totals, np.ones(6), 1, False)[0][0]
    assert certain == 4.0  # 2/1 · ((1-2)² + (3-2)²), and 0 from the equal pair
    assert (
        cell_variance(level, cells, totals, np.ones(6), 1, True)[0][0] == 8.0
    )  # two strata more at 4/2 each
    assert units_variance(level, totals[:, None], True)[0] == 8.0
    only = np.where(strata == 0, 0, -1).astype(np.int32)
    cells = domain_cells(level, only, 1)
    assert np.isnan(cell_variance(level, cells, totals[:1], np.ones(1), 1, True)[0][0])


def test_a_unit_drawn_with_certainty_is_not_lonely():
    stage = SimpleNamespace(strata=np.array([0, 1, 1]), psu=np.arange(3), fpc=np.array([1.0, 4.0, 4.0]))
    level = design_levels([stage])[0]
    assert level.lonely_records.size == 0
    assert level.factor.tolist() == [0.0, 1.0]


def test_strata_codes_with_gaps():
    stage = SimpleNamespace(strata=np.array([2, 2, 5, 5]), psu=np.array([0, 1, 2, 3]), fpc=None)
    V = variance_of_totals(design_levels([stage]), np.ones(4), np.array([[1.0], [2.0], [5.0], [9.0]]))
    np.testing.assert_allclose(V, [[1.0 + 16.0]])


@pytest.mark.parametrize("order", ["C", "F"])
def test_replicate_totals_by_hand(rng, order):
    n, n_domains = 700, 5  # more records than one block
    domain, inside, values, _ = domain_scores(rng, n, n_domains)
    x = rng.uniform(size=n)
    W = np.asarray(rng.uniform(size=(n, 7)), order=order)
    got = replicate_totals(W, domain, inside, values, x, n_domains)
    for d in range(n_domains):
        here = (domain == d) & inside
        np.testing.assert_allclose(got[:, d], [values[here] @ W[here], x[here] @ W[here]], rtol=EXACT)


def test_replicate_deviations_by_hand_and_without_the_empty_ones(rng):
    theta, estimate = rng.normal(size=(3, 8)), rng.normal(size=3)
    rscales = rng.uniform(0.5, 1.0, 8)
    dev, empty = replicate_deviations(theta, estimate, scale=0.3, rscales=rscales, centre="estimate")
    expected = 0.3 * (theta - estimate[:, None]) * rscales @ (theta - estimate[:, None]).T
    np.testing.assert_allclose(dev @ dev.T, expected, rtol=EXACT)
    assert empty.tolist() == [0, 0, 0]
    theta[1, 2] = np.nan
    theta[2] = np.nan
    dev, empty = replicate_deviations(theta, estimate, scale=0.3, rscales=rscales, centre="mean")
    kept = np.delete(np.arange(8), 2)
    centred = theta[1, kept] - theta[1, kept].mean()
    scaled_up = 0.3 * rscales.sum() / rscales[kept].sum() * np.sum(rscales[kept] * centred**2)
    np.testing.assert_allclose(dev[1] @ dev[1], scaled_up, rtol=EXACT)
    assert empty.tolist() == [0, 1, 8]
    assert np.isnan(dev[2]).all()


def test_kernels_compile_where_no_cache_folder_can_be_written(tmp_path):
    # a file in the place of both folders: permissions would not stop a test that runs as root
    source = tmp_path / "kernel.py"
    source.write_text(
        "from sae.numerics.compile import compiled\n"
        "@compiled\ndef double(x):\n    return 2 * x\nprint(double(21))\n",
        encoding="utf-8",
    )
    (tmp_path / "__pycache__").write_text("", encoding="utf-8")
    blocked = tmp_path / "blocked"
    blocked.write_text("", encoding="utf-8")
    hidden = {
        "HOME": str(blocked),
        "USERPROFILE": str(blocked),
        "XDG_CACHE_HOME": str(blocked / "cache"),
        "LOCALAPPDATA": str(blocked),
        "NUMBA_CACHE_DIR": "",
    }
    package = str(Path(__file__).parents[3])
    environment = {**os.environ, **hidden, "PYTHONPATH": package, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, str(source)], capture_output=True, text=True, env=environment)
    assert done.stdout == "42\n", done.stderr
    plain = (
        source.read_text(encoding="utf-8")
        .replace("from sae.numerics.compile import compiled", "import numba")
        .replace("@compiled", "@numba.njit(cache=True)")
    )
    source.write_text(plain, encoding="utf-8")
    refused = subprocess.run([sys.executable, str(source)], capture_output=True, text=True, env=environment)
    assert "cannot cache function" in refused.stderr  # the situation is the one that the fallback is for
