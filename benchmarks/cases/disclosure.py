"""Protect and attack 1,935 linked counts: 129 areas × 5 groups × 3 sexes of the synthetic country."""

from harness import Case

CELLS = 129 * 5 * 3


def counts():
    """Count the persons of 15 to 24 years, with every total."""
    import sae

    people = sae.datasets.country(1).population
    sums = {
        "region": sae.disclosure.nested(people, ["nation", "nuts1", "region"]),
        "citizenship_group": {"total": ["native", "foreign"], "foreign": ["eu", "non_eu"]},
        "sex": {"total": ["female", "male"]},
    }
    young = people[people["age"].between(15, 24)]
    cells = young.groupby([*sums], observed=True).size().reset_index(name="n")
    return sae.disclosure.with_totals(cells, sums, ["n"]), sums


def protected():
    """Hide the cells of the same table."""
    table, sums = counts()
    return protect((table, sums)), sums


def protect(data):
    import sae

    table, sums = data
    return sae.disclosure.protect(table, sums, value="n", rules=sae.disclosure.PrimaryRules(persons=5))


def attack(data):
    import sae

    table, sums = data
    rules = sae.disclosure.PrimaryRules(persons=5)
    return sae.disclosure.audit(table, sums, value="n", status="status", rules=rules)


def ten_million_exponentials(data):
    import numpy as np

    for _ in range(1000):
        np.exp(np.zeros(10_000))


def none_is_computed(data, ours, theirs):
    """Let the attacker look: no hidden cell is computed, none is known too closely."""
    found = attack((ours, data[1]))
    assert len(ours) == CELLS and found.passed and not found.intervals["computed"].any()


def passed(data, ours, theirs):
    assert ours.passed and ours.n_cells == CELLS


CASES = [
    Case(
        name="disclosure_protect_1935",
        setup=counts,
        run=protect,
        peer=ten_million_exponentials,
        peer_name="ten million exponentials of numpy",
        check=none_is_computed,
        unit="table",
        target="under 10 s",
        repeat=3,
    ),
    Case(
        name="disclosure_audit_1935",
        setup=protected,
        run=attack,
        peer=ten_million_exponentials,
        peer_name="ten million exponentials of numpy",
        check=passed,
        unit="table",
        repeat=3,
    ),
]
