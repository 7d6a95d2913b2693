"""SPREE and GSPREE: IPF against brute force, slopes and errors against other computations, real data."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

import sae
from sae.design_based import gspree, spree, synthetic
from sae.errors import SaeConvergenceError, SaeInputError, SaeSpecError
from sae.numerics.design.interactions import fit_slope
from sae.numerics.design.ipf import conflicts, ipf
from sae.survey import Survey

EXACT = 1e-11  # IPF stops at 1e-12 relative to each margin
BRUTE = 1e-6  # a general optimiser on a convex problem
NUMERICAL = 1e-5  # central differences in the weights through an iterative fit

LEVELS = ["employed", "inactive", "unemployed"]


# ---------------------------------------------------------------- IPF


def test_ipf_two_by_two_in_closed_form():
    seed = np.array([[4.0, 4.0], [6.0, 2.0]])
    fit = ipf(seed, [((0,), np.array([12.0, 8.0])), ((1,), np.array([15.0, 5.0]))])
    x = fit.table[0, 0]  # odds ratio (x / (12 - x)) / ((15 - x) / (x - 7)) = 1/3
    assert x * (x - 7) / ((12 - x) * (15 - x)) == pytest.approx(1 / 3, rel=EXACT)
    np.testing.assert_allclose(fit.table, [[x, 12 - x], [15 - x, x - 7]], rtol=EXACT)


def test_ipf_is_the_nearest_table_in_kullback_leibler(rng):
    seed, truth = rng.uniform(0.5, 2, (3, 2, 3)), rng.uniform(0.5, 2, (3, 2, 3))
    seed[0, 1, 2] = truth[0, 1, 2] = 0.0
    axes = [(0, 1), (1, 2), (0, 2)]
    margins = [(keep, truth.sum(axis=tuple({0, 1, 2} - set(keep)))) for keep in axes]
    fit = ipf(seed, margins)
    assert fit.converged and fit.gap <= 1e-12
    for keep, wanted in margins:
        np.testing.assert_allclose(fit.table.sum(axis=tuple({0, 1, 2} - set(keep))), wanted, rtol=EXACT)
    free = seed > 0  # the dual: maximise λ'margins - Σ seed exp(sum of effects)
    blocks = []
    for keep in axes:
        shape = [seed.shape[axis] for axis in keep]
        cell = np.ravel_multi_index([np.indices(seed.shape)[axis] for axis in keep], shape)
        blocks.append(np.eye(int(np.prod(shape)))[cell][free])
    design = np.hstack(blocks)
    totals = np.concatenate([wanted.ravel() for _, wanted in margins])

    def dual(effects):
        fitted = seed[free] * np.exp(design @ effects)
        return fitted.sum() - totals @ effects, design.T @ fitted - totals

    found = minimize(dual, np.zeros(totals.size), jac=True, method="BFGS", options={"gtol": 1e-10})
    np.testing.assert_allclose(fit.table[free], seed[free] * np.exp(design @ found.x), rtol=BRUTE)


def test_what_ipf_cannot_meet_is_told():
    seed = np.array([[1.0, 0.0], [1.0, 0.0]])
    found = conflicts(seed, [((0,), np.array([1.0, 1.0])), ((1,), np.array([1.0, 1.0]))])
    assert [(c.kind, c.margins, c.index) for c in found] == [("empty", (1,), (1,))]
    found = conflicts(np.ones((2, 2)), [((0,), np.array([1.0, 1.0])), ((1,), np.array([1.0, 2.0]))])
    assert [(c.kind, c.wanted) for c in found] == [("disagree", (2.0, 3.0))]
    found = conflicts(
        np.ones((2, 2, 2)), [((0, 1), np.ones((2, 2))), ((1, 2), np.array([[1.0, 1.0], [1.0, 3.0]]))]
    )
    assert [(c.kind, c.axes, c.index) for c in found] == [("disagree", (1,), (1,))]
    # no sum is empty, and yet: the second column can hold at most the first row's 1
    fit = ipf(
        np.array([[1.0, 1.0], [1.0, 0.0]]),
        [((0,), np.array([1.0, 3.0])), ((1,), np.array([1.0, 3.0]))],
        iterations=200,
    )
    assert not fit.converged and fit.gap > 0.1


def test_zero_margins_make_zero_cells(rng):
    fit = ipf(rng.uniform(1, 2, (2, 3)), [((0,), np.array([4.0, 0.0])), ((1,), np.array([1.0, 3.0, 0.0]))])
    np.testing.assert_allclose(fit.table, [[1, 3, 0], [0, 0, 0]], atol=EXACT)
    assert fit.converged


# ---------------------------------------------------------------- the slope


def test_slope_is_the_maximum_of_the_likelihood(rng):
    y, size, stratum = rng.dirichlet([3, 2, 1], 12), rng.uniform(5, 50, 12), np.repeat([0, 1], 6)
    seed = rng.normal(size=(12, 3))

    def loss(theta):
        logits = theta[0] * seed + np.column_stack([np.zeros(12), theta[1:].reshape(2, 2)[stratum]])
        return -np.sum(size[:, None] * y * (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))))

    best = minimize(loss, np.zeros(5), method="BFGS", options={"gtol": 1e-8})
    fit = fit_slope(y, size, stratum, seed)
    assert fit.value == pytest.approx(best.x[0], rel=1e-5)
    step = 1e-6 * np.array([1.0, -1.0, 0.0])  # the influence is the derivative by the direct shares
    y2, y3 = y.copy(), y.copy()
    y2[4] += step
    y3[4] -= step
    moved = (fit_slope(y2, size, stratum, seed).value - fit_slope(y3, size, stratum, seed).value) / 2
    assert moved == pytest.approx(fit.influence[4] @ step, rel=NUMERICAL)


def test_no_slope_where_there_is_none():
    assert fit_slope(np.full((3, 2), 0.5), np.ones(3), np.zeros(3, int), np.zeros((3, 2))) is None
    separated = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert fit_slope(separated, np.ones(2), np.zeros(2, int), np.array([[1.0, -1.0], [-1.0, 1.0]])) is None


# ---------------------------------------------------------------- estimates


def sample(rng, n=400, slope=1.0):
    """A census whose interactions, scaled by `slope`, hold in the sample."""
    areas, sexes = list("abcdef"), ["f", "m"]
    census = pd.DataFrame(
        [(a, s, k) for a in areas for s in sexes for k in LEVELS], columns=["area", "sex", "status"]
    )
    census["population"] = rng.integers(40, 400, len(census))
    counts = census.groupby(["area", "sex"], as_index=False)["population"].sum()
    counts["population"] = (counts["population"] * rng.uniform(0.8, 1.3, len(counts))).round()
    table = census["population"].to_numpy(float).reshape(12, 3) ** slope * np.array([1.2, 1.0, 0.7])
    cell = rng.choice(10, n)  # area f has no sample
    p = table[cell] / table[cell].sum(axis=1, keepdims=True)
    frame = pd.DataFrame(
        {
            "area": np.repeat(areas, 2)[cell],
            "sex": np.tile(sexes, 6)[cell],
            "status": np.array(LEVELS)[(rng.random(n)[:, None] > p.cumsum(axis=1)).sum(axis=1)],
            "w": 10.0,
            "stratum": rng.integers(0, 4, n),
        }
    )
    return frame, census, counts


def collapsed(frame, *columns):
    return frame.groupby(list(columns), as_index=False)["population"].sum()


def shares_of(table):
    return table.frame.pivot(index="area", columns="indicator", values="estimate").to_numpy()


def test_margins_are_met_and_interactions_kept(rng):
    frame, census, counts = sample(rng)
    census, counts = collapsed(census, "area", "status"), collapsed(counts, "area")
    survey = Survey.from_frame(frame, weights="w")
    table = spree(survey, "status", "area", census, counts)
    p = shares_of(table)
    np.testing.assert_allclose(p.sum(axis=1), 1.0, rtol=EXACT)
    N = counts["population"].to_numpy()
    national = [sae.direct(survey, sae.Indicator(f"status == '{k}'"))["estimate"].iloc[0] for k in LEVELS]
    np.testing.assert_allclose(N @ p / N.sum(), national, rtol=EXACT)
    X = census["population"].to_numpy(float).reshape(6, 3)

    def odds(t):
        return np.log(t[1:, 1:] * t[:1, :1] / (t[1:, :1] * t[:1, 1:]))

    np.testing.assert_allclose(odds(p), odds(X), rtol=1e-9)
    assert set(table["method"]) == {"spree"} and set(table["unit"]) == {"share"}
    assert not table.frame.set_index("area").loc["f", "in_sample"].any()


def test_slopes_one_and_zero_are_spree_and_independence(rng):
    frame, census, counts = sample(rng)
    survey = Survey.from_frame(frame, weights="w")
    options = {"within": "sex"}
    one = gspree(survey, "status", "area", census, counts, beta=1.0, **options)
    same = spree(survey, "status", "area", census, counts, **options)
    for column in ("estimate", "mse", "direct"):
        np.testing.assert_allclose(one[column], same[column], rtol=1e-9)
    none = gspree(survey, "status", "area", census, counts, beta=0.0, **options)
    for k in LEVELS:
        indicator = sae.Indicator(f"status == '{k}'")
        alike = synthetic(survey, indicator, "area", counts, within="sex")
        rows = none.frame[none["indicator"] == indicator.name]
        np.testing.assert_allclose(rows["estimate"], alike["estimate"], rtol=1e-10)
        np.testing.assert_allclose(rows["mse"], alike["mse"], rtol=1e-8)


def test_a_fitted_slope_finds_the_true_one(rng):
    frame, census, counts = sample(rng, 20_000, slope=0.6)
    table = gspree(Survey.from_frame(frame, weights="w"), "status", "area", census, counts, within="sex")
    words = table["model"].iloc[0]
    slope, error = float(words.split("slope ")[1].split(",")[0]), float(words.split("error ")[1])
    assert abs(slope - 0.6) < 4 * error < 0.2


def numerical_variance(frame, estimate):
    """Variance of records drawn with replacement from dθ/dw_i by central differences."""
    columns, n, w = [], len(frame), frame["w"].to_numpy()
    for i in range(n):
        ends = []
        for sign in (1, -1):
            moved = w.copy()
            moved[i] *= 1 + sign * 1e-4
            ends.append(estimate(frame.assign(w=moved)))
        columns.append((ends[0] - ends[1]) / 2e-4)
    scores = np.array(columns)
    return n / (n - 1) * np.sum((scores - scores.mean(axis=0)) ** 2, axis=0)


@pytest.mark.parametrize("function", [spree, pytest.param(gspree, marks=pytest.mark.slow)])
def test_variance_is_that_of_the_whole_computation(rng, function):
    """Margins and slope both move with the weights (equal here: the effective sizes then stand still)."""
    frame, census, counts = sample(rng, 36)
    asked = ("status", "area", census, counts)

    def estimate(data):
        return function(Survey.from_frame(data, weights="w"), *asked, within="sex")["estimate"].to_numpy()

    got = function(Survey.from_frame(frame, weights="w"), *asked, within="sex")
    np.testing.assert_allclose(got["mse"], numerical_variance(frame, estimate), rtol=NUMERICAL)


def test_replicates_come_near_the_linearised_variance(rng):
    frame, census, counts = sample(rng)
    survey = Survey.from_frame(frame, weights="w", strata="stratum")
    linear = gspree(survey, "status", "area", census, counts, within="sex")
    jackknife = gspree(survey.with_replicates("jkn"), "status", "area", census, counts, within="sex")
    np.testing.assert_allclose(jackknife["mse"], linear["mse"], rtol=0.03)  # O(1/n) of the margins, n = 400


def test_average_bias_gives_intervals(rng):
    frame, census, counts = sample(rng)
    census, counts = collapsed(census, "area", "status"), collapsed(counts, "area")
    table = spree(Survey.from_frame(frame, weights="w"), "status", "area", census, counts, mse="average")
    assert ((table["ci_low"] > 0) & (table["ci_high"] < 1)).all()
    plain = spree(Survey.from_frame(frame, weights="w"), "status", "area", census, counts)
    assert (table["mse"] >= plain["mse"]).all() and plain["ci_low"].isna().all()


# ---------------------------------------------------------------- refusals


def test_impossible_tables_are_refused_by_name(rng):
    frame, census, counts = sample(rng)
    survey = Survey.from_frame(frame, weights="w")
    census, counts = collapsed(census, "area", "status"), collapsed(counts, "area")
    cell = (census["area"] == "b") & (census["status"] == "inactive")
    jobless = census["status"] == "unemployed"

    def change(mask):
        return census.assign(population=census["population"].where(~mask, 0))

    spree(survey, "status", "area", change(cell), counts)  # a structural zero stays 0
    for wrong, words in (
        (change(census["area"] == "b"), "1 cells have people now but none in the census: b"),
        (change(jobless), "people now but none in the census: unemployed"),
        (change(census["area"].isin(list("abcde")) & jobless), "cannot be met with the zeros of the census"),
        (census[~jobless], "1 categories of the survey are not in the census: unemployed"),
        (census[~cell], "are missing from the census: b × inactive"),
        (census[census["area"] != "b"], "1 domains of the counts are not in the census: b"),
        (pd.concat([census, census[cell].assign(area="z")]), "missing from the census: z"),
        (pd.concat([census, census[jobless].assign(status="student")]), "no record in the survey: student"),
    ):
        with pytest.raises(SaeInputError) as error:
            spree(survey, "status", "area", wrong, counts)
        assert words in str(error.value)
    with pytest.raises(
        SaeInputError, match="1 cells of the census are 0 and have no logarithm: b × inactive"
    ):
        gspree(survey, "status", "area", change(cell), counts)
    with pytest.raises(SaeInputError, match="no interaction"):
        gspree(survey, "status", "area", census.assign(population=7), counts)
    with pytest.raises(SaeSpecError, match="poisson"):
        spree(survey, "status", "area", census, counts, variance="poisson")
    with pytest.raises(SaeSpecError, match="no column 'work'"):
        spree(survey, "work", "area", census, counts)
    with pytest.raises(SaeSpecError, match="beta=nan"):
        gspree(survey, "status", "area", census, counts, beta=np.nan)


def test_a_slope_without_end_is_refused():
    frame = pd.DataFrame({"w": 1.0, "area": list("aabb"), "status": ["in", "in", "out", "out"]})
    census = pd.DataFrame({"area": list("aabb"), "status": ["in", "out"] * 2, "population": [3, 1, 1, 3]})
    counts = pd.DataFrame({"area": list("ab"), "population": [4, 4]})
    with pytest.raises(SaeConvergenceError, match="no finite slope"):
        gspree(Survey.from_frame(frame, weights="w"), "status", "area", census, counts)


# ---------------------------------------------------------------- real data

EMPLOYED, UNEMPLOYED = ["3", "4"], ["5", "6"]


@pytest.fixture(scope="module")
def spain(shared_data):
    """Spanish LFS, first quarter 2021, persons of 16 and over; structure from the authors' own estimates.

    The structure file and the counts file name different age bands alike (16-49 against 16-44, ...), which no
    label can show: the structure is therefore added up over all ages, where both mean 16 and over.
    """
    folder = shared_data / "real"
    persons = pd.read_csv(
        folder / "es_epa2021q1_persons.csv.gz", dtype={"PROV": str, "SEXO1": str, "AOI": str}
    )
    persons = persons[persons["EDAD1"] >= 16].reset_index(drop=True)
    code = persons["AOI"].str.strip()
    persons["status"] = np.select(
        [code.isin(EMPLOYED), code.isin(UNEMPLOYED)], ["employed", "unemployed"], "inactive"
    )
    persons["age"] = np.digitize(persons["EDAD1"], [45, 55, 65]) + 1  # the bands of the counts file
    labels = {"Province": "PROV", "Sex": "SEXO1", "age4": "age", "Conteo": "population"}
    types = {"Province": str, "Sex": str}
    counts = pd.read_csv(folder / "es_epa2021q1_popcounts.csv", dtype=types).rename(columns=labels)
    hajek = pd.read_csv(folder / "es_epa2021q1_hajek_prov_sex_age.csv", dtype=types).rename(columns=labels)
    for number, level in enumerate(["employed", "unemployed", "inactive"], start=1):
        hajek[level] = hajek["hatNd"] * hajek[f"lab{number}mean"]
    census = hajek.groupby(["PROV", "SEXO1"], as_index=False)[LEVELS].sum()
    census = census.melt(["PROV", "SEXO1"], var_name="status", value_name="population")
    return Survey.from_frame(persons, weights="FACTOREL"), census, counts


def test_spree_of_spanish_provinces(spain):
    survey, census, counts = spain
    counts = collapsed(counts, "PROV", "SEXO1")
    table = spree(survey, "status", "PROV", census, counts, within="SEXO1")
    assert len(table) == 3 * 52 and table["in_sample"].all()
    # the structure is that of the sample itself, so the margins alone move it: by tenths of a point
    assert np.abs(table["estimate"] - table["direct"]).max() < 0.015
    assert (table["se"] < table["direct_se"]).all()
    by_province = table.frame.groupby("PROV")["estimate"].sum()
    np.testing.assert_allclose(by_province, 1.0, rtol=EXACT)
    fitted = gspree(survey, "status", "PROV", census, counts, within="SEXO1")
    slope = float(fitted["model"].iloc[0].split("slope ")[1].split(",")[0])
    assert slope == pytest.approx(1.0, abs=0.01)


def test_the_age_bands_of_the_counts_are_those_cut_here(spain):
    survey, _, counts = spain
    sampled = survey.frame.groupby("age")["FACTOREL"].sum()
    known = counts.groupby("age")["population"].sum()
    np.testing.assert_allclose(sampled, known, rtol=0.05)
