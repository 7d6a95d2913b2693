"""Labour market: the ILO statuses of the labour force survey, and the work of the employed."""

from functools import partial

from sae.indicators.definition import Indicator

__all__ = ["LABOUR"]

_LAW = "EU-LFS, Reg. (EU) 2019/1700 and 2019/2240; ILO status"
_WORKING = "labour_status in ['employed', 'unemployed']"
_EMPLOYED = "labour_status == 'employed'"
_EMPLOYEE = f"{_EMPLOYED} and professional_status == 'employee'"
_QUALIFIED = f"{_EMPLOYED} and education == 'tertiary'"
_UNEMPLOYED = "labour_status == 'unemployed'"

_labour = partial(
    Indicator,
    unit="share",
    topic="labour market",
    survey="EU-LFS",
    weight="COEFFY (yearly) or COEFFQ (quarterly); up to 2020 COEFF",
    source=_LAW,
    breaks=("lfs_2021",),
    grade="B",
)

LABOUR = (
    _labour(
        id="employment_rate",
        version="20-64 v1",
        label="Employment rate, 20–64",
        numerator=_EMPLOYED,
        universe="20 <= age <= 64",
        ages="20-64 (also printed: 15-64)",
        direction="more is better",
        tables=("lfsa_ergan", "lfsa_ergacob", "lfst_r_lfe2emprtn", "lfst_r_lfe2emprc"),
    ),
    _labour(
        id="unemployment_rate",
        version="15-74 v1",
        label="Unemployment rate, 15–74",
        numerator=_UNEMPLOYED,
        denominator=_WORKING,
        universe="15 <= age <= 74",
        ages="15-74 (also printed: 20-64)",
        source=f"{_LAW}; the ILO band 15–74, where the integration articles also print 20–64",
        direction="less is better",
        tables=("lfsa_urgan", "lfsa_urgacob", "lfst_r_lfur2gac"),
    ),
    _labour(
        id="activity_rate",
        version="20-64 v1",
        label="Activity rate, 20–64",
        numerator=_WORKING,
        universe="20 <= age <= 64",
        ages="20-64 (also printed: 15-64)",
        direction="more is better",
        tables=("lfsa_argan", "lfsa_argacob", "lfst_r_lfp2actrtn"),
    ),
    _labour(
        id="recent_immigrant_employment_rate",
        version="20-64, under 5 years in the country v1",
        label="Employment rate of recent immigrants, 20–64",
        numerator=_EMPLOYED,
        universe="20 <= age <= 64 and residence == 'under_5_years'",
        ages="20-64",
        state="remembered",
        source=f"{_LAW}; the limit of five years is remembered",
        direction="more is better",
        tables=("lfst_rimgenga",),
    ),
    _labour(
        id="youth_unemployment_rate",
        version="15-24 v1",
        label="Youth unemployment rate, 15–24",
        numerator=_UNEMPLOYED,
        denominator=_WORKING,
        universe="15 <= age <= 24",
        ages="15-24",
        direction="less is better",
        tables=("lfsa_urgan", "lfsa_urgacob"),
    ),
    _labour(
        id="long_term_unemployment_rate",
        version="15-74, of the labour force v1",
        label="Long-term unemployment rate, 15–74",
        numerator=f"{_UNEMPLOYED} and unemployment_duration == '1_year_or_more'",
        denominator=_WORKING,
        universe="15 <= age <= 74",
        ages="15-74",
        source=f"{_LAW}; twelve months or more, of the labour force (also printed: of the unemployed)",
        direction="less is better",
        tables=("lfsa_upgan", "lfsa_upgacob"),
    ),
    _labour(
        id="self_employment_share",
        version="20-64 v1",
        label="Self-employed among the employed, 20–64",
        numerator=f"{_EMPLOYED} and professional_status == 'self_employed'",
        denominator=_EMPLOYED,
        universe="20 <= age <= 64",
        ages="20-64",
        source=f"{_LAW}; with or without employees, family workers count as employed only",
        tables=("lfsa_esgan", "lfsa_esgacob"),
    ),
    _labour(
        id="temporary_employment_share",
        version="20-64, of employees v1",
        label="Temporary among the employees, 20–64",
        numerator=f"{_EMPLOYEE} and contract == 'temporary'",
        denominator=_EMPLOYEE,
        universe="20 <= age <= 64",
        ages="20-64 (also printed: 15-64)",
        direction="less is better",
        tables=("lfsa_etpgan", "lfsa_etpgacob"),
    ),
    _labour(
        id="part_time_share",
        version="20-64 v1",
        label="Part-time among the employed, 20–64",
        numerator=f"{_EMPLOYED} and working_time == 'part_time'",
        denominator=_EMPLOYED,
        universe="20 <= age <= 64",
        ages="20-64",
        tables=("lfsa_eppgan", "lfsa_eppgacob"),
    ),
    _labour(
        id="over_qualification_rate",
        version="20-64, ISCED 5-8 in ISCO 4-9 v1",
        label="Over-qualification rate, 20–64",
        numerator=f"{_QUALIFIED} and occupation == 'low_or_medium_skilled'",
        denominator=f"{_QUALIFIED} and occupation in ['high_skilled', 'low_or_medium_skilled']",
        universe="20 <= age <= 64",
        ages="20-64",
        source=f"{_LAW}; the armed forces and those of unknown occupation in neither part",
        breaks=("isco_2011", "isced_2014", "lfs_2021"),
        direction="less is better",
        tables=("lfsa_eoqgan", "lfsa_eoqgac"),
    ),
)
