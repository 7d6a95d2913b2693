"""Active citizenship from registers, and the segregation of groups: no survey tells these."""

from functools import partial

from sae.indicators.definition import Indicator

__all__ = ["CITIZENSHIP"]

_register = partial(
    Indicator,
    kind="register_rate",
    unit="share",
    topic="active citizenship",
    survey="register",
    ages="all",
    grade="C",
    direction="more is better",
)
_segregation = partial(
    Indicator,
    kind="segregation",
    numerator="group",
    unit="index",
    topic="segregation",
    survey="register",
    ages="all",
    grade="C",
    direction="less is better",
)

CITIZENSHIP = (
    _register(
        id="naturalisation_rate",
        version="acquisitions of the year per foreign resident of 1 January v1",
        label="Naturalisation rate",
        numerator="naturalisations",
        denominator="foreign_residents",
        source="Reg. (EC) 862/2007; acquisitions of citizenship in the year over non-nationals on 1 January",
        tables=("migr_acq", "migr_acqs", "migr_pop1ctz"),
    ),
    _register(
        id="long_term_residence_share",
        version="long-term residents per valid permit, 31 December v1",
        label="Long-term residents among non-EU citizens with a permit",
        numerator="long_term_residents",
        denominator="valid_permits",
        source="Reg. (EC) 862/2007; stocks of 31 December. Arrivals of any year: no rate of a cohort",
        tables=("migr_reslong", "migr_resvalid"),
    ),
    _segregation(
        id="dissimilarity",
        version="Duncan and Duncan 1955 v1",
        label="Index of dissimilarity of a group from the others",
        denominator="other",
        source="Duncan and Duncan (1955), American Sociological Review 20, 210-217",
    ),
    _segregation(
        id="isolation",
        version="Lieberson 1981 v1",
        label="Index of isolation of a group",
        denominator="group + other",
        source="Lieberson (1981), An asymmetrical approach to segregation; the share of the own group in the "
        "part of the average member",
    ),
)
