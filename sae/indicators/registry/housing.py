"""Housing and health: the survey of income and living conditions."""

from functools import partial

from sae.indicators.definition import Indicator

__all__ = ["HOUSING"]

_LAW = "EU-SILC, Reg. (EU) 2019/1700 and 2019/2242"

_silc = partial(Indicator, unit="share", survey="EU-SILC", breaks=("silc_2021",), grade="B")
_housing = partial(_silc, topic="housing", weight="RB050", ages="all; 18 and over by citizenship and birth")
_health = partial(
    _silc,
    topic="health",
    weight="PB040, or PB060 where one selected respondent answers",
    universe="age >= 16",
    ages="16 and over",
)

HOUSING = (
    _housing(
        id="housing_cost_overburden_rate",
        version="above 40% of disposable income v1",
        label="Housing cost overburden rate",
        numerator="housing_cost_overburden == 'yes'",
        source=f"{_LAW}; housing costs and income both net of housing allowances",
        direction="less is better",
        tables=("ilc_lvho25", "ilc_lvho26"),
    ),
    _housing(
        id="overcrowding_rate",
        version="rooms needed by the household v1",
        label="Overcrowding rate",
        numerator="overcrowded == 'yes'",
        source=f"{_LAW}; as the file delivers it (HX120); the table ilc_lvho06 leaves out who lives alone",
        direction="less is better",
        tables=("ilc_lvho15", "ilc_lvho16", "ilc_lvho06"),
    ),
    _housing(
        id="home_ownership_share",
        version="owners with or without a mortgage v1",
        label="Persons in owned dwellings",
        numerator="tenure in ['owner', 'owner_with_mortgage']",
        source=f"{_LAW}; who lives rent-free is no owner",
        tables=("ilc_lvps15", "ilc_lvps16"),
    ),
    _health(
        id="good_health_share",
        version="good or very good, 16+ v1",
        label="Self-perceived health good or very good, 16 and over",
        numerator="self_perceived_health in ['very_good', 'good']",
        source=f"{_LAW}; of those who answered",
        direction="more is better",
        tables=("hlth_silc_24",),
    ),
    _health(
        id="unmet_medical_need_rate",
        version="cost, waiting list or distance, 16+ v1",
        label="Unmet need of a medical examination, 16 and over",
        numerator="unmet_medical_need == 'yes'",
        source=f"{_LAW}; too expensive, waiting list or too far, of all persons (not of those in need)",
        direction="less is better",
    ),
)
