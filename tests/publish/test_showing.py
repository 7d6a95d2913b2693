"""A confidential row of a fit with levels and groups is told neither by its total nor by its level."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import sae
from sae.publish import published
from sae.publish.rows import shown_rows
from sae.publish.showing import table_of

FEW = {
    "name": "few",
    "rules": [{"measure": "n", "applies_to": "direct", "purpose": "confidentiality", "suppress_below": 4}],
}
TOLD = 1e-6  # of what a sum of published figures tells, were it to tell it


@pytest.fixture(scope="module")
def people():
    """Six regions of two halves; of the foreign-born of region 01 two are in the sample."""
    rng = np.random.default_rng(5)
    frame = pd.DataFrame({"region": np.repeat([f"{k:02d}" for k in range(1, 7)], 80)})
    frame["half"] = np.where(frame["region"] < "04", "west", "east")
    frame["birth"] = np.where(np.arange(480) % 4 == 0, "foreign", "native")
    frame["skill"] = rng.integers(0, 4, 480)
    frame["pay"] = 20 + 3 * frame["skill"] + np.repeat(rng.normal(0, 1.5, 6), 80) + rng.normal(0, 2, 480)
    return frame


def sample_of(people):
    units = people.groupby("region").head(24)
    few = units[(units["region"] == "01") & (units["birth"] == "foreign")].index[2:]
    return units.drop(index=few)


def ends_of(table, population, secret):
    """What the published rows tell of a row: the weighted sum of all others with each total."""
    known = np.flatnonzero(shown_rows(table))
    frame = table.frame.assign(size=population)
    parts = frame[(frame["geo"] == frame["geo"][secret]) & (frame["level"] == frame["level"][secret])]
    others = parts.index.difference([secret])
    if not set(others) <= set(known):
        return None
    total = parts[parts["birth"] == "total"].index[0]
    rest = others.drop(total)
    size, value = frame["size"], frame["estimate"]
    return (size[total] * value[total] - (size * value)[rest].sum()) / size[secret]


def test_total_and_level_do_not_tell_a_confidential_group(people):
    model = sae.EBP(
        "pay ~ skill",
        domain="region",
        indicators="mean",
        transform="none",
        levels="half",
        groups="birth",
        mse="none",
    )
    fit = model.fit(sample_of(people), areas=people).flag(FEW)
    table, population = fit.estimates, fit.areas["population"].to_numpy()
    secret = table.frame.query("geo == '01' and birth == 'foreign'").index[0]
    assert not shown_rows(table)[secret]
    assert ends_of(table, population, secret) == pytest.approx(table["estimate"][secret], rel=TOLD)
    safe = table_of(fit)
    assert published(fit).frame["estimate"].notna().tolist() == shown_rows(safe).tolist()
    assert table_of(replace(fit, estimates=safe)) is safe
    hidden = safe.frame[~shown_rows(safe)]
    assert ends_of(safe, population, secret) is None
    # another region's rows too: of the half and all of its other regions nothing is left over
    assert set(hidden["geo"]) > {"01"} and len(hidden) < 8
    assert fit.areas.query("half == 'west' and level == 'region'")["part"].nunique() == 3
