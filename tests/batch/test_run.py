"""A run from files to files: what it writes, the same bytes again, what a failed part leaves."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import sae
from sae import cli
from sae.auxiliary import open_areas
from sae.batch.estimate import estimate
from sae.batch.models import find_spec
from sae.batch.outputs import hash_file
from sae.batch.runner import covariates_of, read_records, run
from sae.errors import SaeConvergenceError, SaeInputError, SaeSpecError
from sae.tables import EstimateTable

EXACT = 1e-10  # the benchmark is met by construction; only rounding is left

REGIONS = [f"R{number:02d}" for number in range(1, 15)]
RESULTS = ["manifest.json", "spec.csv", "spec.direct.csv", "spec.parquet", "spec.png"]
RESULTS += [f"spec.published.{end}" for end in ("csv", "md", "parquet", "sdmx.csv", "tsv", "xlsx")]
RESULTS += ["spec.xlsx"]


def edit(folder, old, new):
    text = (folder / "spec.toml").read_text(encoding="utf-8")
    assert old in text
    (folder / "spec.toml").write_text(text.replace(old, new, 1), encoding="utf-8")


def run_in(folder, out="results"):
    return run(
        find_spec(folder / "spec.toml"),
        survey=folder / "persons.csv",
        areas=folder / "areas.csv",
        out=folder / out,
    )


def test_a_run_writes_every_file_and_its_record(inputs):
    steps = []
    spec = find_spec(inputs / "spec.toml")
    outcome = run(
        spec,
        survey=inputs / "persons.csv",
        areas=inputs / "areas.csv",
        out=inputs / "results",
        step=steps.append,
    )
    assert [path.name for path in outcome.files] == RESULTS == sorted(os.listdir(inputs / "results"))
    assert steps[0] == "reading persons.csv" and steps[-1] == "writing the tables"

    text = (inputs / "results" / "manifest.json").read_text(encoding="utf-8")
    record = json.loads(text)["models"]["spec"]
    assert record["spec"] == spec.text and record["seed"] == 7
    assert record["inputs"]["survey"] == {"file": "persons.csv", "sha256": hash_file(inputs / "persons.csv")}
    assert record["inputs"]["areas"] == {"file": "areas.csv", "sha256": hash_file(inputs / "areas.csv")}
    assert record["versions"]["sae"] == sae.__version__
    assert record["rows"] == record["rows_with_estimate"] == 14 and record["failed"] == []
    assert str(inputs) not in text  # no absolute path
    for name, digest in record["outputs"].items():
        assert hash_file(inputs / "results" / name) == digest

    table = EstimateTable.read(inputs / "results" / "spec.csv").frame
    parquet = EstimateTable.read(inputs / "results" / "spec.parquet").frame
    pd.testing.assert_frame_equal(table, parquet, check_dtype=False)  # text dtypes differ by pandas version
    assert set(table["run"]) == {record["run"]} and set(table["model"]) == {"spec"}
    assert table.loc[~table["in_sample"], "domain"].tolist() == ["R14"]
    assert table["flag"].str.contains("e|:").all() and set(table["policy"]) == {"eurostat_silc"}
    public = pd.read_parquet(inputs / "results" / "spec.published.parquet")
    shown = int(public["estimate"].notna().sum())
    assert 0 < shown <= table["publishable"].sum() and len(public) == 14
    assert f"spec.published.csv, with {shown} figures" in outcome.text
    assert "14 domains, 13 with a sample" in outcome.text and "median CV" in outcome.text


def test_the_same_inputs_give_the_same_bytes_in_two_processes(inputs):
    for out, hash_seed in (("one", "1"), ("two", "2")):
        words = ["run", "spec.toml", "--survey", "persons.csv", "--areas", "areas.csv", "--out", out]
        done = subprocess.run(
            [sys.executable, "-m", "sae.cli", *words],
            cwd=inputs,
            capture_output=True,
            encoding="utf-8",
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
        )
        assert done.returncode == 0, done.stderr
        assert "Warning" not in done.stderr or "R14" in done.stderr
    for name in RESULTS:
        assert (inputs / "one" / name).read_bytes() == (inputs / "two" / name).read_bytes(), name


def test_a_rerun_over_old_results_gives_the_same_bytes(inputs):
    before = {path.name: path.read_bytes() for path in run_in(inputs).files}
    assert {path.name: path.read_bytes() for path in run_in(inputs).files} == before


def test_the_estimates_meet_the_survey_figure_or_the_given_one(inputs, areas):
    weights = areas.set_index("region")["population"]
    national = run_in(inputs).table.frame.set_index("domain")["estimate"]
    spec = find_spec(inputs / "spec.toml")
    survey = read_records(spec, inputs / "persons.csv")
    target = sae.direct(survey, "employment_rate").frame["estimate"].iloc[0]
    assert np.average(national, weights=weights[national.index]) == pytest.approx(target, abs=EXACT)
    edit(inputs, "[benchmark]", "[benchmark]\ntargets = 0.61")
    national = run_in(inputs).table.frame.set_index("domain")["estimate"]
    assert np.average(national, weights=weights[national.index]) == pytest.approx(0.61, abs=EXACT)


def test_a_benchmark_tells_no_estimate_that_is_hidden_alone(inputs, areas):
    """Of fourteen regions one has too few records: the thirteen others and the target would tell it."""
    rule = '{ measure = "n", applies_to = "direct", suppress_below = 35, purpose = "confidentiality" }'
    edit(inputs, 'policy = "eurostat_silc"', f'policy = {{ name = "own", rules = [{rule}] }}')
    edit(inputs, "employment_rate ~ tertiary", "employment_rate ~ 1")  # with it γ is 0: nothing to protect
    frame = run_in(inputs).table.frame
    secret = frame["n"].between(1, 34).to_numpy(dtype=bool)
    assert secret.sum() == 1
    public = pd.read_csv(inputs / "results" / "spec.published.csv", keep_default_na=False)
    hidden = (public["estimate"] == ":").to_numpy()
    assert hidden.sum() == 2 and hidden[secret].all() and (frame.loc[secret, "gamma"] > 0.05).all()
    assert "hidden to protect another cell" in public["reason"].tolist()
    weights = frame["domain"].map(areas.set_index("region")["population"]).to_numpy()
    reach = 2 * (frame["gamma"] * frame["benchmark_factor"].clip(lower=1))[secret].item()
    other = hidden & ~secret
    room = weights[other].item() / weights[secret].item()  # how far the other's estimate moves this one
    estimate = frame["estimate"].to_numpy()
    low, high = estimate[secret] - room * (1 - estimate[other]), estimate[secret] + room * estimate[other]
    least, most = max(estimate[secret].item() - reach, 0), min(estimate[secret].item() + reach, 1)
    assert low.item() <= least + 1e-5 and high.item() >= most - 1e-5


def test_targets_by_group_come_from_the_file_or_from_a_column_of_the_areas(inputs, areas):
    with_half = areas.assign(half=["1", "2"] * 7, known=[0.55, 0.65] * 7)
    with_half.to_csv(inputs / "areas.csv", index=False)
    for targets in ('{ "1" = 0.55, "2" = 0.65 }', '"known"'):
        edit(inputs, "[benchmark]", f'[benchmark]\nwithin = "half"\ntargets = {targets}')
        table = run_in(inputs).table.frame.merge(with_half, left_on="domain", right_on="region")
        for half, target in (("1", 0.55), ("2", 0.65)):
            rows = table[table["half"] == half]
            assert np.average(rows["estimate"], weights=rows["population"]) == pytest.approx(
                target, abs=EXACT
            )
        edit(inputs, f'within = "half"\ntargets = {targets}', "")
    edit(inputs, "[benchmark]", '[benchmark]\nwithin = "half"\ntargets = "population"')
    with pytest.raises(SaeInputError, match="population is not one figure in each group"):
        run_in(inputs)


def test_totals_add_up_to_the_survey_and_a_target_of_another_scale_is_refused(inputs):
    whole = '{ id = "employed", numerator = "labour_status == \'employed\'", kind = "total" }'
    edit(inputs, 'indicator = "employment_rate"', f"indicator = {whole}")
    edit(
        inputs,
        'formula = "employment_rate ~ tertiary"\ntransform = "arcsin"',
        'formula = "employed ~ tertiary"',
    )
    edit(inputs, 'weights = "population"', "")
    table = run_in(inputs).table.frame
    spec = find_spec(inputs / "spec.toml")
    survey = read_records(spec, inputs / "persons.csv")
    direct = sae.direct(
        survey, sae.Indicator(id="employed", numerator="labour_status == 'employed'", kind="total")
    ).frame
    assert table["estimate"].sum() == pytest.approx(direct["estimate"].iloc[0], rel=EXACT)
    edit(inputs, "[benchmark]", "[benchmark]\ntargets = 60.0")
    with pytest.raises(SaeInputError, match=r"factor outside 0\.5 to 2"):
        run_in(inputs)
    edit(inputs, "targets = 60.0", "targets = 60.0\nfactor_range = [0.0001, 2.0]")
    assert run_in(inputs).table.frame["estimate"].sum() == pytest.approx(60.0, rel=EXACT)


def test_without_weights_a_domain_weighs_what_the_survey_counts(inputs, persons):
    edit(inputs, 'weights = "population"', "")
    outcome = run_in(inputs)
    table = outcome.table.frame[outcome.table["in_sample"]].set_index("domain")
    adults = persons[persons["age"].between(20, 64)]
    counted = adults.groupby("region")["w"].sum()
    target = np.average(adults["status"] == 1, weights=adults["w"])
    # R14 has no record and weighs a billionth
    assert np.average(table["estimate"], weights=counted[table.index]) == pytest.approx(target, abs=1e-9)
    assert any("1 domains without a record weigh nothing" in text for text in outcome.warnings)


def test_an_area_without_known_values_is_predicted(inputs, persons):
    persons.assign(status=persons["status"].where(persons["region"] != "R04")).to_csv(
        inputs / "persons.csv", index=False
    )
    row = run_in(inputs).table.frame.set_index("domain").loc["R04"]
    assert not row["in_sample"] and row["n"] == 0 and 0 < row["estimate"] < 1
    assert pd.isna(row["direct"]) and "no record" in row["reason"]


def test_codes_that_no_level_claims_are_counted_in_the_record(inputs, persons):
    persons.assign(status=persons["status"].where(persons.index % 50 > 0, 8)).to_csv(
        inputs / "persons.csv", index=False
    )
    run_in(inputs)
    log = json.loads((inputs / "results" / "manifest.json").read_text(encoding="utf-8"))["models"]["spec"][
        "log"
    ]
    assert any("labour_status" in line and "22" in line for line in log)  # 1,054 records, every 50th


def test_periods_that_are_numbers_match_the_areas(inputs, persons, areas):
    pd.concat([persons, persons.assign(year=2026, psu=persons["psu"] + "b")]).to_csv(
        inputs / "persons.csv", index=False
    )
    pd.concat([areas.assign(year=2025), areas.assign(year=2026)]).to_csv(inputs / "areas.csv", index=False)
    edit(inputs, 'by = ["region"]', 'by = ["region"]\ntime = "year"')
    edit(inputs, 'transform = "arcsin"', 'transform = "arcsin"\nper = ["year"]')
    outcome = run_in(inputs)
    assert len(outcome.table) == 28 and not outcome.failed
    # every year meets its own figure
    assert outcome.table.frame.groupby("year")["estimate"].mean().notna().all()
    records = read_records(outcome.spec, inputs / "persons.csv")
    assert "year" in covariates_of(outcome.spec, open_areas(inputs / "areas.csv"), records)


def test_a_period_that_cannot_be_fitted_is_reported_and_the_others_are_written(
    inputs, persons, monkeypatch, capsys
):
    later = persons[persons["region"].isin(["R01", "R02"])].assign(year=2026)
    later = later.assign(psu=later["psu"] + "b")
    pd.concat([persons, later]).to_csv(inputs / "persons.csv", index=False)
    edit(inputs, 'by = ["region"]', 'by = ["region"]\ntime = "year"')
    edit(inputs, 'transform = "arcsin"', 'transform = "arcsin"\nper = ["year"]')
    monkeypatch.chdir(inputs)
    command = "sae run spec.toml --survey persons.csv --areas areas.csv --out results"
    monkeypatch.setattr(sys, "argv", command.split())
    with pytest.raises(SystemExit) as end:
        cli.main()
    said = capsys.readouterr()
    assert end.value.code == 1 and "Traceback" not in said.err and "wrote to results" in said.out
    assert "Failed: 2026: 2 coefficients cannot be estimated from 2 areas" in said.err
    table = EstimateTable.read(inputs / "results" / "spec.csv").frame.set_index(["time", "domain"])
    assert table.loc["2025", "estimate"].notna().all() and table.loc["2026", "estimate"].isna().all()
    assert table.loc[("2026", "R01"), "direct"] > 0
    assert table.loc["2026", "reason"].str.contains("2 coefficients cannot be estimated").all()
    assert not table.loc["2026", "publishable"].any()
    # the regions without a record in 2026 are rows too, and counted
    assert table.loc["2026"].index.tolist() == table.loc["2025"].index.tolist() == REGIONS
    assert table.loc[("2026", "R09"), ["in_sample", "n"]].tolist() == [False, 0]
    assert "(14 domains without an estimate, 12 of them without a sample)" in said.err
    record = json.loads((inputs / "results" / "manifest.json").read_text(encoding="utf-8"))["models"]["spec"]
    assert record["failed"] and record["rows"] > record["rows_with_estimate"]


def test_a_model_without_an_answer_keeps_its_rows(inputs, monkeypatch):
    def lost(*args, **options):
        raise SaeConvergenceError("The fit does not end.")

    monkeypatch.setattr("sae.area_level.FayHerriot.fit", lost)
    outcome = run_in(inputs)
    table = outcome.table.frame
    assert table["domain"].tolist() == REGIONS and table["estimate"].isna().all()
    assert table["reason"].eq("no model estimate: The fit does not end.").all()
    assert table.set_index("domain")["direct"].notna().tolist() == [True] * 13 + [False]
    assert outcome.failed == (
        "spec: The fit does not end. (14 domains without an estimate, 1 of them without a sample)",
    )


def test_the_rows_of_a_refused_group_of_a_joint_model_stay(inputs, persons, areas):
    sexes = pd.Series(["f", "m"])[np.arange(len(persons)) % 2].to_numpy()
    both = persons.assign(sex=sexes)
    later = both[both["region"].isin(["R01", "R02"])].assign(year=2026)
    pd.concat([both, later.assign(psu=later["psu"] + "b")]).to_csv(inputs / "persons.csv", index=False)
    pd.concat([areas.assign(sex=sex) for sex in "fm"]).to_csv(inputs / "areas.csv", index=False)
    edit(inputs, 'by = ["region"]', 'by = ["region", "sex"]\ntime = "year"')
    edit(inputs, 'kind = "fay_herriot"', 'kind = "multivariate_fay_herriot"\ncomponents = "sex"')
    edit(inputs, 'transform = "arcsin"', 'per = ["year"]')
    outcome = run_in(inputs)
    table = outcome.table.frame
    assert len(table) == 56 and table.groupby("time")["domain"].nunique().tolist() == [28, 28]
    assert "(28 domains without an estimate, 24 of them without a sample)" in outcome.failed[0]


OFFICE = """
[[rules]]
measure = "n"
suppress_below = {}
"""


def test_every_file_that_a_model_file_names_decides_the_run_and_is_found_beside_it(
    inputs, tmp_path_factory, monkeypatch
):
    edit(inputs, 'policy = "eurostat_silc"', 'policy = "rules/office.toml"')
    edit(inputs, 'transform = "arcsin"', 'spatial = "sar: map/edges.csv"')
    edit(inputs, 'smoothing = "gvf"', 'smoothing = "gvf"\nvariance = "linearised"')
    (inputs / "rules").mkdir()
    (inputs / "map").mkdir()
    (inputs / "rules" / "office.toml").write_text('base = "strict.toml"\ntitle = "Office"\n')
    edges = pd.DataFrame({"a": REGIONS[:-1], "b": REGIONS[1:]})
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))

    def manifest(rule, pairs):
        (inputs / "rules" / "strict.toml").write_text(OFFICE.format(rule))
        pairs.to_csv(inputs / "map" / "edges.csv", index=False)
        run_in(inputs)
        text = (inputs / "results" / "manifest.json").read_text(encoding="utf-8")
        assert str(inputs) not in text
        return json.loads(text)["models"]["spec"]

    first, looser, other = manifest(300, edges), manifest(100, edges), manifest(100, edges[:-1])
    assert len({first["run"], looser["run"], other["run"]}) == 3
    assert first["rows_publishable"] < looser["rows_publishable"]
    assert first["inputs"]["policy"] == looser["inputs"]["policy"]
    for role, file in {"policy 2": "rules/strict.toml", "map": "map/edges.csv"}.items():
        assert other["inputs"][role] == {"file": Path(file).name, "sha256": hash_file(inputs / file)}


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ('policy = "eurostat_silc"', 'policy = "office.toml"', "[publish] policy"),
        ('policy = "eurostat_silc"', 'policy = {base = "office.toml"}', "[publish] policy base"),
        ('transform = "arcsin"', 'spatial = "sar: office.toml"', "[model] spatial"),
    ],
)
def test_a_file_that_is_not_beside_the_model_file_is_named_with_its_path(
    inputs, tmp_path_factory, monkeypatch, old, new, where
):
    edit(inputs, old, new)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    (elsewhere / "office.toml").write_text(OFFICE.format(3))
    with pytest.raises(SaeInputError) as caught:
        run_in(inputs)
    assert f"{where} names the file office.toml" in str(caught.value)
    assert str(inputs / "office.toml") in str(caught.value)
    assert f"There is one in the current folder: {elsewhere / 'office.toml'}" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "design"),
    [
        ("", "13 strata (region), 52 sampling units (psu), drawn with replacement; errors linearised"),
        ('strata = "region"\n', "no strata, 52 sampling units (psu), drawn with replacement"),
        ('psu = "psu"\n', "13 strata (region), every record a sampling unit, drawn with replacement"),
    ],
)
def test_the_design_that_was_understood_is_said_and_recorded(inputs, old, design):
    edit(inputs, old, "")
    outcome = run_in(inputs)
    record = json.loads((inputs / "results" / "manifest.json").read_text(encoding="utf-8"))["models"]["spec"]
    assert f"design of the survey: {design}" in outcome.text
    assert record["design"].startswith(design) and record["log"][0] == f"design: {record['design']}"


def test_covariates_without_a_file_of_areas_are_refused_before_work(inputs):
    with pytest.raises(SaeInputError, match=r"\[model\] formula uses tertiary, and no file of the areas"):
        run(find_spec(inputs / "spec.toml"), survey=inputs / "absent.csv", out=inputs / "results")


def test_doubts_about_a_file_are_recorded_in_the_words_of_the_model_file(inputs, persons):
    edit(inputs, "[estimate]", '[survey]\ndecimal = "."\n[estimate]')
    persons.assign(w=100, income="1,5").to_csv(inputs / "persons.csv", index=False, sep=";")
    run_in(inputs)
    record = json.loads((inputs / "results" / "manifest.json").read_text(encoding="utf-8"))["models"]["spec"]
    assert any("income" in text and '[survey] decimal = ","' in text for text in record["warnings"])


def test_words_for_missing_values_separator_and_decimal_sign_are_keys_of_their_tables(inputs, persons, areas):
    expected = run_in(inputs).table.frame
    lost = persons.assign(status=persons["status"].astype("object").where(persons.index > 2, "gone"))
    lost.to_csv(inputs / "persons.csv", index=False, sep=";", decimal=",")
    areas.assign(extra=["none", *["a"] * 13]).to_csv(inputs / "areas.csv", index=False, sep="|", decimal=",")
    for section in ("survey", "areas"):
        edit(inputs, "[estimate]", f'[{section}]\ndecimal = ","\nmissing = ["gone", "none"]\n[estimate]')
    table = run_in(inputs).table.frame
    assert table.set_index("domain").loc["R01", "n"] == expected.set_index("domain").loc["R01", "n"] - (
        persons["age"].iloc[:3].between(20, 64).sum()
    )


def test_a_definition_of_ones_own_is_estimated_over_the_narrowed_universe(inputs, persons):
    edit(
        inputs,
        'indicator = "employment_rate"\nby = ["region"]',
        'by = ["region"]\nuniverse = "age >= 30"\nindicator = { id = "works", numerator = "status == 1", '
        'universe = "age < 60", unit = "share" }',
    )
    edit(inputs, "employment_rate ~", "works ~")
    spec = find_spec(inputs / "spec.toml")
    outcome = estimate(spec, read_records(spec, inputs / "persons.csv"), pd.read_csv(inputs / "areas.csv"))
    row = outcome.table.frame.iloc[0]
    mine = persons[(persons["region"] == "R01") & persons["age"].between(30, 59)]
    assert row["direct"] == pytest.approx(np.average(mine["status"] == 1, weights=mine["w"]), abs=EXACT)
    assert "(age < 60) and (age >= 30)" in row["definition"]


def test_an_interruption_leaves_the_old_results(inputs, monkeypatch):
    before = {path.name: path.read_bytes() for path in run_in(inputs).files}
    edit(inputs, "seed = 7", "seed = 8")

    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("sae.batch.runner.save", interrupted)  # the last file but one
    with pytest.raises(KeyboardInterrupt):
        run_in(inputs)
    assert {path.name: path.read_bytes() for path in (inputs / "results").iterdir()} == before


ORIGIN = """
[areas.origins.tertiary]
source = "Census"
definition = "persons of 25-64 with a degree"
vintage = "2021-05-15"
"""


def test_the_origin_of_a_covariate_goes_from_the_model_file_to_the_record(inputs):
    plain = run_in(inputs, "plain").table.frame
    edit(inputs, "[benchmark]", f"{ORIGIN}\n[benchmark]")
    table = run_in(inputs).table.frame
    pd.testing.assert_frame_equal(table.drop(columns="run"), plain.drop(columns="run"))
    record = json.loads((inputs / "results" / "manifest.json").read_text(encoding="utf-8"))["models"]["spec"]
    assert record["covariates"]["tertiary"]["vintage"] == "2021-05-15"
    line = "covariate tertiary: Census, 15 May 2021 (persons of 25-64 with a degree), 4 years before the data"
    assert line in record["log"]


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ('vintage = "2021-05-15"', "", r"\[areas.origins.tertiary\] lacks vintage"),
        ('vintage = "2021-05-15"', 'vintage = "soon"', r"\[areas.origins\] The vintage .* no year: 'soon'"),
        ("source", "sorce", r"\[areas.origins.tertiary\] has an unknown key sorce; did you mean source"),
        (
            "origins.tertiary",
            "origins.tertiery",
            r"areas.csv has no column 'tertiery' \(of \[areas.origins\]\)",
        ),
    ],
)
def test_an_origin_that_is_wrong_is_refused_and_nothing_written(inputs, old, new, text):
    edit(inputs, "[benchmark]", f"{ORIGIN.replace(old, new)}\n[benchmark]")
    with pytest.raises(SaeSpecError, match=text):
        run_in(inputs)
    assert not (inputs / "results").exists()
