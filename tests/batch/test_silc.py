"""EU-SILC from its four files to tables, by committed model files through the command line (on FIXTURES)."""

import json
import os

import pandas as pd
import pytest

import sae
from sae import cli
from sae.batch.models import find_spec
from sae.batch.runner import run
from sae.survey import read_silc
from tests.survey.silc_fixtures import files_longitudinal_of_regions, files_of_a_country, write_silc

TIES = 1e-12  # the same estimator on the same records; only the order of sums differs


def sae_command(monkeypatch, *words):
    """Run the command line in this process; its exit code."""
    monkeypatch.setattr("sys.argv", ["sae", *map(os.fspath, words)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code or 0


@pytest.fixture
def folder(tmp_path):
    return write_silc(tmp_path / "silc", files_of_a_country())


def test_poverty_by_region_and_citizenship_from_a_folder(folder, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    code = sae_command(monkeypatch, "run", "silc_poverty_by_citizenship", "--survey", folder, "--out", out)
    assert code == 0, capsys.readouterr().err
    table = pd.read_csv(out / "silc_poverty_by_citizenship.csv")
    assert len(table) == 16 and table["estimate"].between(0, 1).all()
    direct = sae.direct(read_silc(folder), "arpr", by=["region", "citizenship"]).frame
    written = pd.read_csv(out / "silc_poverty_by_citizenship.direct.csv")
    assert written["estimate"].tolist() == pytest.approx(direct["estimate"].tolist(), abs=TIES)
    record = json.loads((out / "manifest.json").read_text(encoding="utf-8"))["models"]
    source = record["silc_poverty_by_citizenship"]["inputs"]["survey"]
    assert source["file"] == "silc" and source["sha256"] == read_silc(folder).source["sha256"]


def test_health_by_the_weight_of_the_model_file(folder, tmp_path):
    spec = find_spec("silc_good_health")
    run(spec, survey=folder / "UDB_cAT22P.csv", out=tmp_path / "out")
    direct = sae.direct(read_silc(folder, weights="PB040"), "good_health_share", by="region").frame
    written = pd.read_csv(tmp_path / "out" / "silc_good_health.direct.csv")
    assert written["estimate"].tolist() == pytest.approx(direct["estimate"].tolist(), abs=TIES)


def test_persistent_poverty_needs_its_weight_to_be_accepted(tmp_path, monkeypatch, capsys):
    folder, out = write_silc(tmp_path / "panel", files_longitudinal_of_regions(), kind="l"), tmp_path / "out"
    text = find_spec("silc_persistent_poverty").text
    code = sae_command(monkeypatch, "run", "silc_persistent_poverty", "--survey", folder, "--out", out)
    assert code == 0, capsys.readouterr().err
    direct = pd.read_csv(out / "silc_persistent_poverty.direct.csv")
    assert len(direct) == 6 and direct["estimate"].tolist() == pytest.approx([20 / 70] * 6)
    bold = tmp_path / "bold.toml"
    bold.write_text(text.replace('accept = ["eu_silc.persistent_poverty"]', "accept = []"), encoding="utf-8")
    assert sae_command(monkeypatch, "run", bold, "--survey", folder, "--out", tmp_path / "two") != 0
    assert "eu_silc.persistent_poverty" in capsys.readouterr().err and not (tmp_path / "two").exists()


def test_golden_values_through_the_command_line(shared_data, tmp_path, monkeypatch, capsys):
    survey, out = shared_data / "laeken_eusilc.csv.gz", tmp_path / "out"
    code = sae_command(monkeypatch, "run", "laeken_poverty", "--survey", survey, "--out", out)
    assert code == 0, capsys.readouterr().err
    direct = pd.read_csv(out / "laeken_poverty.direct.csv")
    rates = dict(zip(direct["domain"], direct["estimate"], strict=True))
    assert rates["Burgenland"] == pytest.approx(0.195398, abs=6e-7)  # docs/domain.md, section 1.6
    assert rates["Vienna"] == pytest.approx(0.172347, abs=6e-7)


def test_households_without_members_end_in_a_named_error_with_nothing_written(tmp_path, monkeypatch, capsys):
    frames = files_of_a_country()
    frames["R"] = frames["R"][frames["R"]["RX030"] != 7]
    frames["P"] = frames["P"][frames["P"]["PX030"] != 7]
    folder, out = write_silc(tmp_path / "silc", frames), tmp_path / "out"
    assert sae_command(monkeypatch, "run", "silc_good_health", "--survey", folder, "--out", out) != 0
    assert "1 household of D has no members in R (7)" in capsys.readouterr().err
    assert not out.exists()
