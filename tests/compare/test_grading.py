"""Grades of the rows of tables from several countries, exchanged aggregates among them."""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.compare import comparability
from sae.errors import SaeInputError, SaeSpecError


def table(country, **columns):
    frame = pd.DataFrame({"domain": [f"{country}1", f"{country}2"], "indicator": "own", "estimate": 0.6})
    return frame.assign(**{"definition": "v1", "time": "2023", "unit": "share", **columns})


def test_tables_by_country_are_set_against_what_most_say():
    data = {
        "AT": table("AT"),
        "DE": table("DE", flag=["", "d"]),
        "FR": table("FR", definition="v2"),
        "IT": table("IT", definition="v1; break lfs_2021"),
        "RO": table("RO", definition=""),
    }
    made = comparability(data)
    assert made["grade"].tolist() == ["A", "A", "A", "C", "X", "X", "B", "B", "", ""]
    assert made.keys == ("country", "domain", "indicator", "time")
    assert made["reasons"][6] == "marked with the break lfs_2021"
    assert "X, not to be compared: 2: definition 'v2', not 'v1' (2)" in made.summary()
    assert "no figure names its source" in made.summary()
    turned = comparability(data, "FR")
    assert turned["grade"].tolist()[:6] == ["X"] * 4 + ["A"] * 2
    assert comparability(data, accept="v2")["grade"].tolist()[4] == "C"
    with pytest.raises(SaeInputError, match="No row is of 'ES'"):
        comparability(data, "ES")
    with pytest.raises(SaeSpecError, match="no table"):
        comparability({})
    with pytest.raises(SaeSpecError, match="graded, not int"):
        comparability({"AT": 3})


def test_the_registrys_definition_is_the_reference_and_its_breaks_count():
    own = sae.indicators.REGISTRY["employment_rate"].definition
    frame = pd.concat(
        [
            table("AT", definition=own, indicator="employment_rate"),
            table("AT", definition=own, indicator="employment_rate", time="2019"),
            table("DE", definition="national", indicator="employment_rate"),
            table("FR", definition="national", indicator="employment_rate"),
            table("IT", definition="national", indicator="employment_rate"),
        ]
    )
    made = comparability(frame)
    assert made["grade"].tolist() == ["A", "A", "B", "B"] + ["X"] * 6
    assert made["reasons"][2] == "break lfs_2021 between 2019 and 2023"
    register = comparability(table("AT", indicator="naturalisation_rate"))
    assert register["reasons"][0] == "the registry says that it rests on national sources"


def test_compositions_in_group_columns_and_sources():
    frame = pd.concat([table("AT", citizen="EU27_2020_FOR"), table("DE", citizen="EU27_2020_FOR")])
    frame = pd.concat([frame, table("UK", citizen="EU28_FOR", source="UK-LFS")]).reset_index(drop=True)
    made = comparability(frame)
    assert made["grade"].tolist() == ["A"] * 4 + ["B"] * 2
    assert made["reasons"][5] == "composition of the EU EU28, not EU27_2020"
    other = comparability(frame.assign(source=["EU-LFS"] * 4 + ["register"] * 2))
    assert other["grade"].tolist() == ["A"] * 4 + ["C"] * 2
    assert other["source"].tolist() == ["EU-LFS"] * 4 + ["register"] * 2


def test_exchanged_aggregates_carry_the_release_of_each_country(tmp_path):
    files = []
    for seed, (country, release) in enumerate((("AT", "2021"), ("DE", "2021"), ("FR", "2020"))):
        rng = np.random.default_rng(seed)
        frame = pd.DataFrame({"region": np.repeat(["01", "02", "03"], 60), "w": 1.0})
        frame["works"] = rng.integers(0, 2, 180)
        direct = sae.direct(sae.Survey.from_frame(frame, weights="w"), "works", by="region")
        known = {"survey": "EU-LFS", "release": release, "geo_version": "NUTS 2021"}
        direct = sae.DirectEstimates(
            direct.frame, direct.by, None, direct.units, (), {**direct.provenance, "release": known}
        )
        files.append(tmp_path / f"{country}.zip")
        sae.publish.exchange(direct, files[-1], country=country, policy="eurostat_lfs")
    pooled = sae.publish.read_exchange(files, accept=["release"])
    made = comparability(pooled.direct)
    assert made.keys == ("domain", "country", "region", "indicator")
    assert made["grade"].tolist() == ["A"] * 6 + ["B"] * 3
    assert made["reasons"][8] == "release 2020, not 2021"
    assert made["source"].unique().tolist() == ["EU-LFS"]
    fit = sae.FayHerriot("works ~ 1").fit(pooled.direct)
    assert comparability(fit)["grade"].tolist() == made["grade"].tolist()


def test_it_is_drawn_and_written(tmp_path):
    made = comparability({"AT": table("AT"), "DE": table("DE", flag="b"), "FR": table("FR", definition="v2")})
    axes = made.plot().axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["FR", "DE", "AT"]
    back = pd.read_csv(made.write(tmp_path / "made.csv"))
    assert back["grade"].tolist() == made["grade"].tolist()
    assert "<table" in made._repr_html_() and "Comparability of 6 figures" in repr(made)
