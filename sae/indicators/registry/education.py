"""Education: attainment and participation, from the labour force survey."""

from functools import partial

from sae.indicators.definition import Indicator

__all__ = ["EDUCATION"]

_LAW = "EU-LFS, Reg. (EU) 2019/1700 and 2019/2240"
# who left one of the two questions open is in neither part, though the other may decide alone
_ATTAINED = "education in ['low', 'medium', 'tertiary']"
_ANSWERED = "recent_education in ['yes', 'no']"
_STATUS = "labour_status in ['employed', 'unemployed', 'inactive']"
_ATTAINMENT = f"{_LAW}; of those whose attainment is known"

_education = partial(
    Indicator,
    unit="share",
    topic="education",
    survey="EU-LFS",
    weight="COEFFY (yearly) or COEFFQ (quarterly); up to 2020 COEFF",
    breaks=("isced_2014", "lfs_2021"),
    grade="B",
)

EDUCATION = (
    _education(
        id="tertiary_share",
        version="25-34, ISCED 5-8 v1",
        label="Tertiary attainment, 25–34",
        numerator="education == 'tertiary'",
        universe="25 <= age <= 34",
        ages="25-34 (target of EU 2030; also printed: 25-54, 25-64)",
        source=_ATTAINMENT,
        direction="more is better",
        tables=("edat_lfs_9911", "edat_lfs_9912"),
    ),
    _education(
        id="tertiary_share_30_34",
        version="30-34, ISCED 5-8 v1",
        label="Tertiary attainment, 30–34",
        numerator="education == 'tertiary'",
        universe="30 <= age <= 34",
        ages="30-34 (target of Europe 2020)",
        source=_ATTAINMENT,
        direction="more is better",
        tables=("edat_lfs_9911", "edat_lfs_9912"),
    ),
    _education(
        id="low_education_share",
        version="25-54, ISCED 0-2 v1",
        label="Low attainment, 25–54",
        numerator="education == 'low'",
        universe="25 <= age <= 54",
        ages="25-54",
        source=_ATTAINMENT,
        direction="less is better",
        tables=("edat_lfs_9911", "edat_lfs_9912"),
    ),
    _education(
        id="early_leaver_rate",
        version="18-24, ISCED 0-2, four weeks v1",
        label="Early leavers from education and training, 18–24",
        numerator="education == 'low' and recent_education == 'no'",
        denominator=f"{_ATTAINED} and {_ANSWERED}",
        universe="18 <= age <= 24",
        ages="18-24",
        source=f"{_LAW}; no formal or non-formal education in the last four weeks, of those who answered",
        direction="less is better",
        tables=("edat_lfse_01 (remembered)", "edat_lfse_02 (remembered)"),
    ),
    _education(
        id="neet_rate",
        version="15-29, four weeks v1",
        label="Neither in employment nor in education and training, 15–29",
        numerator="labour_status != 'employed' and recent_education == 'no'",
        denominator=f"{_STATUS} and {_ANSWERED}",
        universe="15 <= age <= 29",
        ages="15-29",
        source=f"{_LAW}; no formal or non-formal education in the last four weeks, of those who answered",
        breaks=("lfs_2021",),
        direction="less is better",
        tables=("edat_lfse_23", "edat_lfse_28", "edat_lfse_22"),
    ),
    _education(
        id="adult_learning_rate",
        version="25-64, four weeks v1",
        label="Adults in education and training, 25–64",
        numerator="recent_education == 'yes'",
        universe="25 <= age <= 64",
        ages="25-64",
        source=f"{_LAW}; formal or non-formal education in the last four weeks",
        breaks=("lfs_2021",),
        direction="more is better",
        tables=("trng_lfs_12 (doubtful)", "trng_lfs_13 (remembered)"),
    ),
)
