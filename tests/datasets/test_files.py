"""From samples to survey files and back: what the layouts read is what was drawn, and meets the truth.

The files are fixtures of the documented structure; that real files look like this is not claimed.
"""

import numpy as np
import pytest

import sae
from sae.datasets import countries, lfs_panel, silc_panel, write_lfs, write_silc
from sae.errors import SaeInputError
from sae.indicators import REGISTRY

EXACT = 1e-12  # the same sums; a number that is written reads back as itself
Z = 4.0  # one estimate of one sample against the truth, in standard errors
NOT_BEFORE_16 = ["education", "labour_status"]  # in SILC the personal file begins at 16
HEALTH = ["good_health_share", "unmet_medical_need_rate"]
NOT_IN_SILC = ["smd_rate", "arope_2020", "low_work_intensity_rate_2020", "persistent_arpr", "poverty_rate"]


@pytest.fixture(scope="module")
def years():
    return countries(seed=5, first=2022, last=2025, regions=4)


def of(survey):
    return [name for name, one in REGISTRY.items() if one.survey == survey and name not in NOT_IN_SILC]


def same_estimates(read, drawn, names, accept, by):
    mine, theirs = (
        sae.direct(survey, names, by=by, accept=accept).frame.set_index(["indicator", *by])
        for survey in (read, drawn)
    )
    mine.index = mine.index.map(lambda key: tuple(map(str, key)))
    theirs.index = theirs.index.map(lambda key: tuple(map(str, key)))
    for column in ("n", "estimate", "se"):
        np.testing.assert_allclose(
            mine[column].astype(float), theirs[column].reindex(mine.index).astype(float), rtol=EXACT
        )
    return mine


def test_a_labour_force_file_is_read_as_it_was_drawn(years, tmp_path):
    sample = years[-1].lfs(seed=1, persons=2_500)
    path = write_lfs(sample, tmp_path / "XA2025Q1.csv")
    read = sae.read_survey(path, layout="eu_lfs", strata="STRATUM", psu="PSU")
    assert read.release.survey == "EU-LFS"
    for name in (
        *["sex", "degurba", "citizenship", "citizenship_group", "birth", "birth_group", "residence"],
        *["education", "recent_education", "labour_status", "unemployment_duration", "professional_status"],
        *["contract", "working_time", "occupation"],
    ):
        mine, theirs = (survey.frame[name].astype(object) for survey in (read, sample))
        assert mine.where(mine.notna(), "").tolist() == theirs.where(theirs.notna(), "").tolist(), name
    names = of("EU-LFS")
    accept = [*names, *(f"eu_lfs.{name}" for name in sorted(read.release.remembered))]
    table = same_estimates(read, sample, names, accept, ["sex"])
    truth = years[-1].truth_of(["sex"], *names).set_index("sex")
    for (name, sex), row in table.iterrows():
        assert abs(row["estimate"] - truth.loc[sex, name]) < Z * row["se"], name


def test_a_file_of_four_quarters_is_pooled_to_its_year(years, tmp_path):
    sample = lfs_panel(years[-1:], seed=1, persons=800)
    path = write_lfs(sample, tmp_path / "XA2025.csv")
    read = sae.read_survey(path, layout="eu_lfs", strata="STRATUM", psu="PSU")
    pooled = [sae.survey.pool_periods(survey, "linked") for survey in (read, sample)]
    table = same_estimates(*pooled, ["employment_rate", "youth_unemployment_rate"], [], ["sex"])
    quarters = [years[-1].in_quarter(number).truth_of(["sex"]).set_index("sex") for number in (1, 2, 3, 4)]
    truth = sum(quarter["employment_rate"] for quarter in quarters) / 4
    for sex in ("female", "male"):
        row = table.loc[("employment_rate", sex)]
        assert abs(row["estimate"] - truth[sex]) < Z * row["se"]


def test_silc_files_are_read_as_they_were_drawn(years, tmp_path):
    sample = years[-1].silc(seed=1, persons=2_500)
    files = write_silc(sample, tmp_path)
    read = sae.survey.read_silc(tmp_path)
    assert (
        read.release.survey == "EU-SILC" and read.release.years == (2025, 2025) and set(files) == set("DHRP")
    )
    names = [name for name in of("EU-SILC") if name not in HEALTH]
    accept = [*names, *(f"eu_silc.{name}" for name in sorted(read.release.remembered))]
    table = same_estimates(read, sample, names, accept, ["region"])
    assert len(table) == 4 * len(names) >= 60
    national = sae.direct(read, names, by=["sex"], accept=accept).frame
    truth = years[-1].truth_of(["sex"], *names).set_index("sex")
    for row in national.itertuples():
        assert abs(row.estimate - truth.loc[row.sex, row.indicator]) < Z * row.se, row.indicator
    asked = sae.survey.read_silc(files, weights="PB040")
    same_estimates(asked, sample, HEALTH, HEALTH, ["birth_group"])


def test_longitudinal_files_tell_persistent_poverty(years, tmp_path):
    sample = silc_panel(years, seed=1, persons=1_500)
    files = write_silc(sample, tmp_path)
    lines = {land.year: 0.6 * float(np.median(land.population["income"])) for land in years}
    read = sae.survey.read_silc_longitudinal(files, thresholds=lines)
    frame = read.frame[read.weights > 0]
    true = sample.frame.query("year == '2025'").set_index("person")["persistent_poverty"]
    assert frame["persistent_poverty"].tolist() == true.loc[frame["RB030"].astype(int)].tolist()
    assert len(frame) > 150
    accept = ["persistent_arpr", *(f"eu_silc.{name}" for name in read.release.remembered)]
    row = sae.direct(read, "persistent_arpr", accept=accept).frame.iloc[0]
    truth = years[-1].truth_of([], "persistent_arpr").loc[0, "persistent_arpr"]
    assert abs(row["estimate"] - truth) < Z * row["se"]


def test_a_sample_of_the_other_survey_is_refused(years, tmp_path):
    with pytest.raises(SaeInputError, match="no recent_education by quarter"):
        write_lfs(years[0].silc(1), tmp_path / "x.csv")
    with pytest.raises(SaeInputError, match="no income by year"):
        write_silc(years[0].lfs(1), tmp_path)
    assert not list(tmp_path.iterdir())
