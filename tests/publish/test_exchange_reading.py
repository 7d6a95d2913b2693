"""Exchange files: round trip, the pooled fit, and what is refused by name."""

import json
import zipfile
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeInputError, SaeSpecError
from sae.publish import exchange, read_exchange
from sae.tables import Covariates

SAME = 1e-12  # figures are written with all their digits
FORMULA = "works ~ x + C(country)"


def records(country, seed, regions=14):
    """Codes of regions are those of every country: "01", "02", ..."""
    rng = np.random.default_rng(seed)
    sizes = np.r_[2, 3, rng.integers(20, 80, regions - 2)]
    region = np.repeat([f"{k + 1:02d}" for k in range(regions)], sizes)
    rate = 0.4 + 0.02 * (region.astype(int) % 7) + (0.1 if country == "DE" else 0.0)
    return pd.DataFrame(
        {
            "region": region,
            "psu": np.arange(len(region)) // 3,
            "w": rng.uniform(50, 150, len(region)),
            "works": rng.random(len(region)) < rate,
            "country": country,
        }
    ).astype({"works": int})


def direct_of(frame, by="region", covariance=False):
    survey = sae.Survey.from_frame(frame, weights="w", psu="psu", nest=True)
    return sae.direct(survey, "works", by=by, covariance=covariance)


def areas_of(country, regions=16):
    rng = np.random.default_rng(len(country) + ord(country[0]))
    return pd.DataFrame({"region": [f"{k + 1:02d}" for k in range(regions)], "x": rng.uniform(0, 1, regions)})


@pytest.fixture
def files(tmp_path):
    out = {}
    for seed, country in enumerate(("AT", "DE", "FR")):
        out[country] = tmp_path / f"{country}.zip"
        direct = direct_of(records(country, seed), covariance=True)
        exchange(direct, out[country], country=country, policy="eurostat_lfs", areas=areas_of(country))
    return out


def test_the_pooled_fit_is_that_of_the_concatenated_direct_estimates(files):
    pooled = read_exchange(list(files.values()))
    parts = [
        direct_of(records(country, seed)).frame.assign(country=country) for seed, country in enumerate(files)
    ]
    whole = pd.concat(parts, ignore_index=True)
    whole = whole[whole["n"] >= 4].assign(domain=whole["country"] + " / " + whole["region"])
    whole = sae.DirectEstimates(whole.reset_index(drop=True), ("country", "region"), units={"works": "share"})
    areas = pd.concat([areas_of(country).assign(country=country) for country in files], ignore_index=True)
    ours = sae.FayHerriot(FORMULA).fit(pooled.direct, areas=pooled.covariates).estimates.frame
    theirs = sae.FayHerriot(FORMULA).fit(whole, areas=areas).estimates.frame
    assert ours["domain"].tolist() == theirs["domain"].tolist() and len(ours) == 3 * 16
    assert not ours["domain"].duplicated().any() and (~ours["in_sample"]).sum() == 12
    for name in ("n", "direct", "direct_se", "estimate", "mse", "ci_low", "ci_high", "gamma"):
        np.testing.assert_allclose(ours[name].astype(float), theirs[name].astype(float), rtol=SAME)
    effects = sae.FayHerriot(FORMULA).fit(pooled.direct, areas=pooled.covariates).coefficients
    assert effects.index.str.startswith("C(country)").sum() == 2


def test_round_trip(files):
    pooled = read_exchange(list(files.values()))
    for seed, country in enumerate(files):
        direct = direct_of(records(country, seed), covariance=True)
        kept = (direct.frame["n"] >= 4).to_numpy()
        mine = pooled.direct.frame["country"].eq(country).to_numpy()
        for name in ("n", "n_eff", "df", "estimate", "variance", "se", "cv", "vardir"):
            ours = pooled.direct.frame.loc[mine, name].astype(float).to_numpy()
            np.testing.assert_allclose(ours, direct.frame.loc[kept, name].astype(float).to_numpy(), rtol=SAME)
        for name in ("status", "region", "definition", "geo", "variance_method"):
            assert pooled.direct.frame.loc[mine, name].tolist() == direct.frame.loc[kept, name].tolist()
        np.testing.assert_array_equal(
            pooled.direct.covariance.to_numpy()[np.ix_(mine, mine)],
            direct.covariance.to_numpy()[np.ix_(kept, kept)],
        )
        assert not pooled.direct.covariance.to_numpy()[np.ix_(mine, ~mine)].any()


def test_no_domain_below_the_rule_in_the_bytes(files):
    """Neither its label nor its figures: nothing tells it from a region without a record."""
    for seed, (country, file) in enumerate(files.items()):
        direct = direct_of(records(country, seed)).frame
        with zipfile.ZipFile(file) as archive:
            members = {name: archive.read(name).decode() for name in archive.namelist()}
        assert set(members) == {"definition.json", "direct.csv", "covariates.csv", "covariance.csv"}
        lines = members["direct.csv"].splitlines()[1:]
        place = members["direct.csv"].splitlines()[0].split(",").index("region")
        held = {line.split(",")[place] for line in lines}
        few = direct[direct["n"] < 4]
        assert set(few["region"]) == {"01", "02"} and not held & set(few["region"])
        content = file.read_bytes().decode("latin1")
        for value in few[["n_eff", "variance", "vardir"]].to_numpy(dtype=float).ravel():
            if np.isfinite(value) and value % 1:
                assert repr(float(value)) not in content
        assert "PK" in content and "region" in content  # plain text: nothing is compressed


def test_the_same_bytes(files, tmp_path):
    again = tmp_path / "again.zip"
    direct = direct_of(records("AT", 0), covariance=True)
    exchange(direct, again, country="AT", policy="eurostat_lfs", areas=areas_of("AT"))
    assert again.read_bytes() == files["AT"].read_bytes()


def changed(file, out, *, definition=None, members=None, seal=True):
    """Write a file with another definition or other members; with `seal` its hashes fit again."""
    with zipfile.ZipFile(file) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    contents |= members or {}
    known = json.loads(contents["definition.json"])
    (definition or (lambda one: None))(known)
    if seal:
        names = [name for name in contents if name != "definition.json"]
        known["files"] = {name: sha256(contents[name]).hexdigest() for name in names}
    contents["definition.json"] = json.dumps(known).encode()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return out


def member(file, name="direct.csv"):
    with zipfile.ZipFile(file) as archive:
        return archive.read(name).decode()


def test_a_domain_below_the_rule_is_refused_by_name(files, tmp_path):
    text = member(files["AT"])
    lines = text.splitlines()
    cells = lines[1].split(",")
    n = lines[0].split(",").index("n")
    region = cells[lines[0].split(",").index("region")]
    cells[n] = "3"
    lines[1] = ",".join(cells)
    bad = changed(
        files["AT"], tmp_path / "bad.zip", members={"direct.csv": ("\n".join(lines) + "\n").encode()}
    )
    with pytest.raises(SaeInputError, match=f"holds 1 domains of fewer than 4 persons: {region}"):
        read_exchange([bad])
    with pytest.raises(SaeInputError, match="fewer than 60 persons"):  # the reader may want more
        read_exchange([files["AT"]], persons=60)
    lenient = changed(bad, tmp_path / "lenient.zip", definition=lambda one: one["rule"].update(persons=1))
    with pytest.raises(SaeInputError, match="persons=1 is no least number"):
        read_exchange([lenient])


def test_totals_and_parts_that_tell_a_domain_are_refused(tmp_path):
    """One part left out of a total: nobody's file is to hold that."""
    frame = records("AT", 5)
    frame["sex"] = np.random.default_rng(2).choice(["female", "male"], len(frame))
    few = frame.index[frame["region"] == "05"]
    frame.loc[few, "sex"] = ["male"] * 2 + ["female"] * (len(few) - 2)
    rows = [direct_of(frame).frame.assign(sex="total"), direct_of(frame, by=["region", "sex"]).frame]
    both = sae.DirectEstimates(
        pd.concat(rows, ignore_index=True), ("region", "sex"), units={"works": "share"}
    )
    done = exchange(both, tmp_path / "at.zip", country="AT", policy="eurostat_lfs")
    assert done.primary > 0 and done.secondary > 0
    held = read_exchange([tmp_path / "at.zip"]).direct.frame
    assert len(held) == done.rows
    assert "05" not in set(held.loc[held["sex"] != "total", "region"])
    gone = ("05", "female")  # left out beside two men, whom it would tell
    row = both.frame[(both.frame["region"] == gone[0]) & (both.frame["sex"] == gone[1])]
    header = member(tmp_path / "at.zip").splitlines()[0].split(",")
    line = ",".join("" if pd.isna(v) else str(v) for v in row[header].iloc[0])
    bad = changed(
        tmp_path / "at.zip",
        tmp_path / "bad.zip",
        members={"direct.csv": f"{member(tmp_path / 'at.zip')}{line}\n".encode()},
        definition=lambda one: one["indicators"]["works"].update(domains=done.rows + 1),
    )
    with pytest.raises(SaeInputError, match="tell domains of fewer than 4 persons"):
        read_exchange([bad])


def test_a_share_outside_0_to_1_is_refused(files, tmp_path):
    lines = member(files["AT"]).splitlines()
    cells = lines[1].split(",")
    cells[lines[0].split(",").index("estimate")] = "50.0"
    lines[1] = ",".join(cells)
    text = "\n".join(lines) + "\n"
    bad = changed(files["AT"], tmp_path / "bad.zip", members={"direct.csv": text.encode()})
    with pytest.raises(SaeInputError, match="1 shares lie outside"):
        read_exchange([bad])


@pytest.mark.parametrize("place", [10, 200, 900, -40])
def test_damaged_files_are_refused(files, tmp_path, place):
    content = bytearray(files["AT"].read_bytes())
    content[place] ^= 0xFF
    (tmp_path / "bad.zip").write_bytes(bytes(content))
    try:
        pooled = read_exchange([tmp_path / "bad.zip"])
    except SaeInputError as error:
        assert "bad.zip" in str(error)
    else:  # a byte of the archive that says nothing
        assert pooled.direct.frame.equals(read_exchange([files["AT"]]).direct.frame)


def test_an_altered_member_is_refused(files, tmp_path):
    text = member(files["AT"]).replace("0.5", "0.6", 1)
    bad = changed(files["AT"], tmp_path / "bad.zip", members={"direct.csv": text.encode()}, seal=False)
    with pytest.raises(SaeInputError, match=r"direct.csv was changed after"):
        read_exchange([bad])


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda one: one.update(format="sae exchange 9"), "not of the format .*: format:"),
        (lambda one: one.pop("country"), "country: Field required"),
        (
            lambda one: one["indicators"]["works"].update(unit="persons"),
            "units of works: DE: share, AT: persons",
        ),
        (
            lambda one: one.update(release={"geo_version": "NUTS 2016"}),
            "geo_version: DE: none, AT: NUTS 2016",
        ),
        (lambda one: one["indicators"]["works"].update(definition=["v2"]), "other indicators, definitions"),
        (lambda one: one.update(by=["area"]), "area"),
        (lambda one: one.update(indicators=["works"]), "indicators"),
        (lambda one: one.update(release={"eu": 27}), "release.eu"),
        (lambda one: one.update(persons=["A"]), "persons: Extra"),
        (lambda one: one.update(country="DE"), "Several files are of the country DE"),
    ],
)
def test_what_does_not_go_together(files, tmp_path, change, fault):
    bad = changed(files["AT"], tmp_path / "bad.zip", definition=change)
    with pytest.raises(SaeInputError, match=fault):
        read_exchange([files["DE"], bad])


def test_other_definitions_unless_accepted(tmp_path):
    for country, definition in (("AT", "works v1"), ("DE", "works v2")):
        direct = direct_of(records(country, 1))
        direct = replace(direct, frame=direct.frame.assign(definition=definition))
        exchange(direct, tmp_path / f"{country}.zip", country=country, policy="eurostat_lfs")
    paths = [tmp_path / "AT.zip", tmp_path / "DE.zip"]
    with pytest.raises(SaeInputError, match="definitions of works: AT: works v1, DE: works v2"):
        read_exchange(paths)
    assert len(read_exchange(paths, accept=["definition"]).direct) == 24
    with pytest.raises(SaeSpecError, match="accept names unit"):
        read_exchange(paths, accept=["unit"])


def test_lacking_covariates_are_named(files, tmp_path):
    direct, rich = direct_of(records("DE", 1)), areas_of("DE").assign(z=1.0)
    exchange(direct, tmp_path / "rich.zip", country="DE", policy="eurostat_lfs", areas=Covariates(rich, {}))
    with pytest.raises(SaeInputError, match=r"lacking: z \(AT\)"):
        read_exchange([files["AT"], tmp_path / "rich.zip"])
    pooled = read_exchange([files["AT"], tmp_path / "rich.zip"], covariates=["x"])
    assert list(pooled.covariates) == ["country", "region", "x"] and len(pooled.covariates) == 32


def test_what_is_not_written(tmp_path):
    direct = direct_of(records("AT", 0))
    with pytest.raises(SaeSpecError, match="no rule of confidentiality"):
        exchange(direct, tmp_path / "a.zip", country="AT", policy="eurostat_silc")
    assert exchange(direct, tmp_path / "a.zip", country="AT", policy="eurostat_silc", persons=20).rows == 12
    with pytest.raises(SaeSpecError, match="fewer than 4 persons secret, not 3"):
        exchange(direct, tmp_path / "b.zip", country="AT", policy="eurostat_lfs", persons=3)
    with pytest.raises(SaeSpecError, match="no code of a country"):
        exchange(direct, tmp_path / "b.zip", country="Österreich", policy="eurostat_lfs")
    with pytest.raises(SaeInputError, match="None of the 14 domains"):
        exchange(direct, tmp_path / "b.zip", country="AT", policy="eurostat_lfs", persons=5000)
    with pytest.raises(SaeInputError, match=r"End it in \.zip"):
        exchange(direct, tmp_path / "b.csv", country="AT", policy="eurostat_lfs")
    assert not (tmp_path / "b.zip").exists()
