"""Protected tables, attacked by programmes that share nothing with those that protected them."""

import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

import sae
from sae.disclosure import PrimaryRules, protect
from sae.disclosure.elimination import smallest_cells
from sae.disclosure.linked import linked_table
from sae.errors import SaeInputError, SaeSpecError

CLOSE = 1e-5  # ends of two runs of HiGHS, each feasible to 1e-7
SUMS = {"area": {"all": ["A", "B", "C"]}, "sex": {"all": ["f", "m"]}}


def plain_intervals(table, sums, value):
    """Attack with one dense programme per end."""
    linked = linked_table(table[[*sums, value]], sums, value)
    hidden = table["status"].ne("published").to_numpy()[linked.rows]
    matrix = linked.sums.toarray()
    right = -matrix[:, ~hidden] @ linked.values[~hidden]
    ends = np.zeros((len(hidden), 2))
    for k, cell in enumerate(np.flatnonzero(hidden)):
        unit = np.eye(hidden.sum())[k]
        for side, sign in enumerate((1, -1)):
            done = linprog(sign * unit, A_eq=matrix[:, hidden], b_eq=right, bounds=(0, None), method="highs")
            ends[linked.rows[cell], side] = sign * done.fun if done.status == 0 else np.inf
    return ends[:, 0], ends[:, 1]


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 10**6), least=st.integers(2, 12), zeros=st.booleans())
def test_no_hidden_cell_of_a_random_table_is_known_too_closely(random_table, seed, least, zeros):
    table, sums = random_table(seed)
    done = protect(table, sums, value="n", rules=PrimaryRules(persons=least, zeros=zeros))
    hidden = done["status"].ne("published")
    small = done["n"].lt(least) & (done["n"].gt(0) | zeros)
    assert (done["status"].eq("primary") == small).all()
    low, high = plain_intervals(done, sums, "n")
    assert (low - CLOSE <= done["n"])[hidden].all() and (high + CLOSE >= done["n"])[hidden].all()
    assert ((high - low >= least - CLOSE) | (low >= least - CLOSE))[hidden].all()
    np.testing.assert_allclose(done["width"][hidden], (high - low)[hidden], atol=CLOSE)


@pytest.mark.parametrize("seed", range(10))
def test_amounts_keep_their_distance(random_table, seed):
    """Sums of three contributions a cell: the p % rule holds for the attacker's upper and lower end."""
    counts, sums = random_table(seed, 2)
    rng = np.random.default_rng(seed)
    linked = linked_table(counts, sums, "n")
    leaves, forms = smallest_cells(linked.sums, linked.height)
    shares = -np.sort(-rng.lognormal(3, 1.5, (len(leaves), 3)), axis=1)
    forms = forms.toarray()
    everyone = [-np.sort(-np.concatenate([shares[k] for k in np.flatnonzero(form)])) for form in forms]
    table = counts.copy()
    table.loc[linked.rows, "value"] = forms @ shares.sum(axis=1)
    table.loc[linked.rows, ["x1", "x2"]] = [all_of[:2] for all_of in everyone]
    done = protect(table, sums, value="value", rules=PrimaryRules(p=0.3), largest=["x1", "x2"])
    need = 0.3 * done["x1"] - (done["value"] - done["x1"] - done["x2"])
    primary = done["status"].eq("primary")
    assert (primary == need.gt(1e-6)).all()
    low, high = plain_intervals(done, sums, "value")
    close = CLOSE * done["value"].max()
    assert (high - done["x2"] - done["x1"] >= 0.3 * done["x1"] - close)[primary].all()
    assert (low <= np.maximum(done["value"] - need, 0) + close)[primary].all()


def test_the_known_case(country_table):
    """1,935 linked counts: all but a few of the small ones follow from the sums; protected, none does."""
    table, sums = country_table
    assert len(table) == 129 * 5 * 3
    rules = PrimaryRules(persons=5)
    bare = sae.disclosure.audit(
        table.assign(hidden=table["n"].between(1, 4)), sums, value="n", status="hidden", rules=rules
    )
    assert bare.n_hidden == 297 and int(bare.intervals["computed"].sum()) == 277
    start = time.process_time()
    done = protect(table, sums, value="n", rules=rules)
    assert time.process_time() - start < 10  # one core; about 1 s
    assert done["status"].eq("primary").sum() == 297 and 200 < done["status"].eq("secondary").sum() < 300
    found = sae.disclosure.audit(done, sums, value="n", status="status", rules=rules)
    assert found.passed and not found.intervals["computed"].any()
    assert found.scope == "All were attacked, in 8 parts of at most 80 cells."
    totals = done[done["region"].str.len().lt(6)]
    assert totals["status"].eq("published").all()  # no region of the second level, nor the nation, is lost


def test_the_order_of_rows_does_not_matter(country_table):
    table, sums = country_table
    table = table[table["region"].str.startswith("XA1") | table["region"].eq("XA")]
    sums = {**sums, "region": {"XA1": sums["region"]["XA1"]}}
    done = protect(table, sums, value="n", rules=PrimaryRules(persons=10))
    for seed in (1, 2):
        mixed = table.sample(frac=1, random_state=seed)
        again = protect(mixed, sums, value="n", rules=PrimaryRules(persons=10))
        pd.testing.assert_frame_equal(again.sort_index(), done)


def small(n, **columns):
    cells = pd.DataFrame({"area": list("AABBCC"), "sex": list("fm") * 3, "n": n, **columns})
    return sae.disclosure.with_totals(cells, SUMS, ["n", *columns])


def test_every_row_says_what_becomes_of_it_and_why():
    table = small([3, 40, 50, 60, 70, 80]).assign(note="x")
    done = protect(table, SUMS, value="n", rules=PrimaryRules(persons=5))
    assert list(done) == [*table, "status", "reason", "needed", "width"]
    pd.testing.assert_frame_equal(done[list(table)], table)
    cell = {(row.area, row.sex): row for row in done.itertuples()}
    assert cell["A", "f"].reason == "3 persons, fewer than 5" and cell["A", "f"].needed == 5
    partners = done[done["status"].eq("secondary")]
    assert set(zip(partners["area"], partners["sex"], strict=True)) == {("A", "m"), ("B", "f"), ("B", "m")}
    assert partners["reason"].eq("protects A / f, which could be computed").all()
    published = done["status"].eq("published")
    assert done.loc[published, "reason"].eq("").all() and done.loc[published, "width"].eq(0).all()
    assert partners["width"].ge(5).all()


def test_two_small_cells_are_not_wide_enough_for_each_other():
    """3 + 4 in a row of three cells: neither can be computed, but both lie in 0 to 7, so more is hidden."""
    table = pd.DataFrame({"area": ["A", "B", "C", "all"], "n": [3, 4, 60, 67]})
    sums = {"area": {"all": ["A", "B", "C"]}}
    done = protect(table, sums, value="n", rules=PrimaryRules(persons=7))
    assert done["status"].tolist() == ["primary", "primary", "published", "published"]
    done = protect(table, sums, value="n", rules=PrimaryRules(persons=8))
    assert done["status"].tolist() == ["primary", "primary", "secondary", "published"]
    assert (
        done["reason"][2] == "protects A, which would be known too closely" and done["width"].ge(8).sum() == 3
    )


def test_zeros_stay_published_and_protect_nobody():
    table = small([3, 0, 50, 60, 70, 80])
    done = protect(table, SUMS, value="n", rules=PrimaryRules(persons=5))
    status = {(row.area, row.sex): row.status for row in done.itertuples()}
    assert (
        status["A", "m"] == "published"
        and status["A", "all"] == "primary"
        and status["B", "f"] != "published"
    )
    done = protect(table, SUMS, value="n", rules=PrimaryRules(persons=5, zeros=True))
    assert done.set_index(["area", "sex"])["status"]["A", "m"] == "primary"


def test_known_cells_are_never_hidden():
    """With the row of A known, its cells protect each other and need a second area."""
    table = small([3, 40, 50, 60, 70, 80])
    known = table["area"].eq("B") & table["sex"].ne("all")
    done = protect(table.assign(known=known), SUMS, value="n", rules=PrimaryRules(persons=5), known="known")
    hidden = done[done["status"].ne("published")]
    assert set(hidden["area"]) == {"A", "C"}
    with pytest.raises(
        SaeInputError, match="1 hidden cells cannot be protected while the known cells are known: A / f"
    ):
        protect(
            table.assign(known=table["n"].ne(3)),
            SUMS,
            value="n",
            rules=PrimaryRules(persons=5),
            known="known",
        )
    with pytest.raises(SaeInputError, match="1 cells are sensitive by the primary rules, and known: A / f"):
        protect(table.assign(known=True), SUMS, value="n", rules=PrimaryRules(persons=5), known="known")


def test_dear_cells_are_hidden_last():
    table = small([3, 40, 50, 60, 70, 80])
    dear = np.where(table["area"].eq("B"), 100.0, 1.0)
    done = protect(table.assign(cost=dear), SUMS, value="n", rules=PrimaryRules(persons=5), cost="cost")
    assert done.loc[done["area"].eq("B"), "status"].eq("published").all()


def test_the_total_is_hidden_only_where_nothing_else_helps():
    table = pd.DataFrame({"area": ["A", "B", "all"], "n": [3, 0, 3]})
    done = protect(table, {"area": {"all": ["A", "B"]}}, value="n", rules=PrimaryRules(persons=5))
    assert done["status"].tolist() == ["primary", "published", "primary"] and np.isinf(done["width"][0])


def test_cells_in_no_sum_protect_themselves():
    table = pd.DataFrame({"year": [2024, 2025], "n": [3, 9]}, index=[5, 5])
    done = protect(table, {"year": {}}, value="n", rules=PrimaryRules(persons=5))
    assert done["status"].tolist() == ["primary", "published"] and list(done.index) == [5, 5]


def test_labels_that_are_numbers_meet_those_of_the_hierarchy():
    table = pd.DataFrame({"area": [1.0, 2.0, 0.0], "n": [3, 40, 43]})
    done = protect(table, {"area": {0: [1, 2]}}, value="n", rules=PrimaryRules(persons=5))
    assert done["status"].tolist() == ["primary", "secondary", "published"]


def test_nothing_sensitive_hides_nothing():
    done = protect(small([30, 40, 50, 60, 70, 80]), SUMS, value="n", rules=PrimaryRules(persons=5))
    assert done["status"].eq("published").all()


@pytest.mark.parametrize(
    ("change", "options", "error", "words"),
    [
        ({"status": "a"}, {}, SaeInputError, "has the columns status already"),
        ({"cost": 0.0}, {"cost": "cost"}, SaeSpecError, "costs that are missing, 0 or negative"),
        ({"known": 1}, {"known": "known"}, SaeInputError, "known is no column of truth values"),
    ],
)
def test_faults_are_named(change, options, error, words):
    with pytest.raises(error, match=words):
        table = small([3, 40, 50, 60, 70, 80]).assign(**change)
        protect(table, SUMS, value="n", rules=PrimaryRules(persons=5), **options)
