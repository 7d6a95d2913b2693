"""One ready specification per core indicator: each runs on what the demo writes, and meets the truth."""

import pandas as pd
import pytest

from sae.batch.demo import LFS, REGIONS, REGISTERS, write_production_inputs
from sae.batch.models import shipped_productions
from sae.batch.production.runner import run_production
from sae.batch.production.sections import CORE_SET
from sae.batch.production.spec import read_production
from sae.datasets import country

HELD = 0.8  # of 95 % intervals: some 60 dependent cells, whose truth is that of few persons


@pytest.fixture(scope="module")
def land(tmp_path_factory):
    """A country of 24 regions, and the folder with its files."""
    folder = tmp_path_factory.mktemp("land")
    made = country(seed=3, regions=24)
    write_production_inputs(made, folder, seed=1)
    return made, folder


def test_each_core_indicator_has_one_specification():
    shipped = shipped_productions()
    assert set(CORE_SET) <= set(shipped)
    for name in CORE_SET:
        assert read_production(shipped[name]).production.indicators == [name]


@pytest.mark.parametrize("name", CORE_SET)
def test_it_runs_on_the_files_of_the_demo_and_holds_the_truth(land, tmp_path, name):
    made, folder = land
    file = read_production(shipped_productions()[name])
    files = {"lfs": folder / LFS, "silc": folder, "registers": folder / REGISTERS}
    given = [f"{one}={files[one]}" for one in (*file.surveys, *file.registers)]
    outcome = run_production(file, surveys=given, areas=folder / REGIONS, out=tmp_path)
    frame = outcome.estimation.table.frame.astype({"geo": str, "citizenship_group": str})
    assert set(frame["indicator"]) == {name} and not outcome.design.untold and frame["estimate"].notna().any()
    if name == "naturalisation_rate":  # of a register: it has no error
        return
    rows = frame[(frame["level"] == "region") & (frame["sex"] == "total")]
    rows = rows[rows["citizenship_group"] != "total"]
    truth = made.truth_of(["region", "citizenship_group"], name).rename(
        columns={"region": "geo", name: "truth"}
    )
    both = rows.merge(truth.astype({"geo": str, "citizenship_group": str}), on=["geo", "citizenship_group"])
    both = both[both["ci_low"].notna() & both["truth"].notna()]
    assert len(both) > 40 and both["truth"].between(both["ci_low"], both["ci_high"]).mean() > HELD
    verdicts = pd.unique(outcome.estimation.ladder.query("verdict == 'accepted'")["rung"])
    assert len(set(verdicts) - {"direct"}) >= 1
