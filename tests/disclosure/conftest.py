import numpy as np
import pandas as pd
import pytest

import sae


def _random_hierarchy(rng, name, levels):
    """A tree of two or three levels, each whole with two or three parts; sometimes a second breakdown."""
    leaves = [f"{name}{k}" for k in range(int(rng.integers(2, 5)))]
    if levels == 1 or len(leaves) < 3:
        return leaves, {f"{name}T": leaves}
    cut = int(rng.integers(1, len(leaves) - 1)) + 1
    sums = [(f"{name}T", [f"{name}S", *leaves[cut:]]), (f"{name}S", leaves[:cut])]
    if rng.random() < 0.3:  # linked: the total by another breakdown, of the same leaves
        sums.append((f"{name}T", [f"{name}X", leaves[0]]))
        sums.append((f"{name}X", leaves[1:]))
    return leaves, sums


@pytest.fixture(scope="session")
def random_table():
    """Make a table of one to three dimensions with random hierarchies and small counts, zeros among them."""

    def make(seed, dimensions=None):
        rng = np.random.default_rng(seed)
        number = int(rng.integers(1, 4)) if dimensions is None else dimensions
        made = [_random_hierarchy(rng, "abc"[d], int(rng.integers(1, 3))) for d in range(number)]
        names = ["area", "group", "sex"][:number]
        cells = pd.MultiIndex.from_product([leaves for leaves, _ in made], names=names).to_frame(index=False)
        rates = rng.choice([0.3, 2.0, 6.0, 30.0], len(cells))
        hierarchies = {name: sums for name, (_, sums) in zip(names, made, strict=True)}
        table = sae.disclosure.with_totals(cells.assign(n=rng.poisson(rates)), hierarchies, ["n"])
        return table.sample(frac=1, random_state=seed).reset_index(drop=True), hierarchies

    return make


@pytest.fixture(scope="session")
def country_table():
    """The known case: persons of 15 to 24 years in 129 areas × 5 groups × 3 sexes of the country."""
    land = sae.datasets.country(1)
    people = land.population
    geo = sae.disclosure.nested(people, ["nation", "nuts1", "region"])
    sums = {
        "region": geo,
        "citizenship_group": {"total": ["native", "foreign"], "foreign": ["eu", "non_eu"]},
        "sex": {"total": ["female", "male"]},
    }
    young = people[people["age"].between(15, 24)]
    cells = young.groupby([*sums], observed=True).size().reset_index(name="n")
    return sae.disclosure.with_totals(cells, sums, ["n"]), sums
