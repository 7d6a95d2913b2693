"""Income, poverty and deprivation: the survey of income and living conditions."""

from functools import partial

from sae.indicators.definition import Indicator

__all__ = ["INCOME"]

_LAW = "EU-SILC, Reg. (EU) 2019/1700 and 2019/2242"
_OF_INCOME = f"{_LAW}; equivalised disposable income"
_LWI = "0-64; those to whom the intensity of the household does not apply are in neither part"

_silc = partial(
    Indicator,
    topic="income and living conditions",
    survey="EU-SILC",
    weight="RB050",
    breaks=("silc_2021",),
    grade="B",
    direction="less is better",
)
_income = partial(_silc, numerator="income", source=_OF_INCOME, ages="all")
_rate = partial(_income, kind="arpr", unit="share", source=f"{_OF_INCOME}; strictly below the threshold")
_share = partial(_silc, unit="share", source=_LAW)

INCOME = (
    _rate(
        id="arpr",
        version="60% of the national median v1",
        label="At-risk-of-poverty rate",
        tables=("ilc_li31", "ilc_li32", "ilc_li41"),
    ),
    *(
        _rate(
            id=f"arpr_{percent}",
            version=f"{percent}% of the national median v1",
            label=f"At-risk-of-poverty rate at {percent} % of the median",
            threshold_share=percent / 100,
        )
        for percent in (40, 50, 70)
    ),
    _income(
        id="poverty_gap",
        version="60% of the national median v1",
        unit="share of the threshold",
        label="Relative median at-risk-of-poverty gap",
        kind="poverty_gap",
        tables=("ilc_li11",),
    ),
    _income(
        id="poverty_threshold",
        version="60% of the national median v1",
        label="At-risk-of-poverty threshold",
        unit="income",
        kind="threshold",
        direction="neither",
    ),
    _income(
        id="qsr",
        version="S80/S20 v1",
        label="Income quintile share ratio S80/S20",
        unit="ratio",
        kind="qsr",
        source=f"{_OF_INCOME}; quintiles of the domain",
        tables=("ilc_di11",),
    ),
    _income(
        id="gini",
        version="v1",
        label="Gini coefficient",
        unit="index",
        kind="gini",
        tables=("ilc_di12",),
    ),
    _income(
        id="median_income",
        version="v1",
        label="Median equivalised disposable income",
        unit="income",
        kind="median",
        direction="more is better",
        tables=("ilc_di15", "ilc_di16", "ilc_di17"),
    ),
    _income(
        id="median_income_ratio",
        version="median of the domain over the national median v1",
        label="Median income relative to the whole population's",
        unit="ratio",
        kind="median_ratio",
        source=f"{_OF_INCOME}; Zaragoza indicators: median of the group over that of the total population",
        direction="more is better",
        tables=("ilc_di15", "ilc_di16"),
    ),
    _silc(
        id="poverty_rate",
        version="national flag v1",
        label="Poverty rate by the national definition",
        unit="share",
        numerator="poor == 1",
        source="The flag that the national survey delivers",
        ages="all",
        survey="",
        weight="",
        breaks=(),
        grade="C",
    ),
    _share(
        id="smd_rate",
        version="4 of 9 items (Europe 2020) v1",
        label="Severe material deprivation rate",
        numerator="severe_material_deprivation == 'yes'",
        source=f"{_LAW}; at least 4 of 9 enforced lacks. Not comparable with the 13 items of EU 2030",
        ages="all",
        tables=("ilc_mddd11", "ilc_mddd15", "ilc_mddd16", "ilc_mddd21"),
    ),
    _share(
        id="smsd_rate",
        version="7 of 13 items (EU 2030) v1",
        label="Severe material and social deprivation rate",
        numerator="severe_material_social_deprivation == 'yes'",
        source=f"{_LAW}; at least 7 of 13 enforced lacks. Not comparable with the 9 items of Europe 2020",
        ages="all",
        tables=("ilc_mdsd11", "ilc_mdsd16", "ilc_mdsd15 (doubtful)"),
    ),
    _share(
        id="low_work_intensity_rate",
        version="0-64, members of 18-64 (EU 2030) v1",
        label="Persons in households of very low work intensity, 0–64",
        numerator="low_work_intensity == 'yes'",
        denominator="low_work_intensity in ['yes', 'no']",
        universe="age <= 64",
        source=f"{_LAW}; a fifth of the months that could be worked, or less; without students of 18-24, the "
        "retired and the inactive of 60-64 living mainly on pensions",
        ages=_LWI,
        tables=("ilc_lvhl11n",),
    ),
    _share(
        id="low_work_intensity_rate_2020",
        version="0-59, members of 18-59 (Europe 2020) v1",
        label="Persons in households of very low work intensity, 0–59",
        numerator="low_work_intensity_2020 == 'yes'",
        denominator="low_work_intensity_2020 in ['yes', 'no']",
        universe="age <= 59",
        source=f"{_LAW}; a fifth of the months that could be worked, or less",
        ages=_LWI.replace("64", "59"),
    ),
    _rate(
        id="arope",
        version="union: 60%, 7 of 13, members of 18-64 (EU 2030) v1",
        label="At risk of poverty or social exclusion (EU 2030)",
        union="severe_material_social_deprivation == 'yes' or low_work_intensity == 'yes'",
        source=f"{_OF_INCOME}; poor, or severely deprived, or of very low work intensity (up to 64): who is "
        "one of them counts once",
        tables=("ilc_peps01n", "ilc_peps05n", "ilc_peps06n"),
    ),
    _rate(
        id="arope_2020",
        version="union: 60%, 4 of 9, members of 18-59 (Europe 2020) v1",
        label="At risk of poverty or social exclusion (Europe 2020)",
        union="severe_material_deprivation == 'yes' or low_work_intensity_2020 == 'yes'",
        source=f"{_OF_INCOME}; poor, or severely deprived, or of very low work intensity (up to 59): who is "
        "one of them counts once",
        tables=("ilc_peps01", "ilc_peps05", "ilc_peps06", "ilc_peps11"),
    ),
    _rate(
        id="in_work_arpr",
        version="60% of the national median, 18+, more than half of the year v1",
        label="In-work at-risk-of-poverty rate, 18 and over",
        universe="age >= 18 and in_work == 'yes'",
        ages="18 and over (also printed: 18-64)",
        source=f"{_OF_INCOME}; at work in more than half of the months of the income year",
        tables=("ilc_iw15", "ilc_iw16"),
    ),
    _rate(
        id="child_arpr",
        version="60% of the national median, 0-17 v1",
        label="At-risk-of-poverty rate of children, 0–17",
        universe="age <= 17",
        ages="0-17",
        tables=("ilc_li33 (doubtful)", "ilc_li34 (remembered)"),
    ),
    _share(
        id="persistent_arpr",
        version="60% of the national median, this year and two of the three before v1",
        label="Persistent at-risk-of-poverty rate",
        numerator="persistent_poverty == 'yes'",
        weight="the longitudinal weight of four years",
        source=f"{_LAW}, longitudinal file; poor now and in at least two of the three years before",
        ages="all",
        tables=("ilc_li21",),
    ),
)
