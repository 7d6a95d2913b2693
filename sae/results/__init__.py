"""What every fitted result shares: estimates, data, provenance, summary, benchmark, draws, plots."""

from sae.results.data import FittedData
from sae.results.draws import Draws, DrawSource, NormalDraws, PosteriorDraws, same_source
from sae.results.eblup import Eblup, eblup_result
from sae.results.intervals import (
    FEW_AREAS,
    Interval,
    IntervalKind,
    area_intervals,
    field_intervals,
    interval_name,
    posterior_intervals,
    t_interval,
)
from sae.results.messages import (
    boundary,
    boundary_all,
    chains_apart,
    collinearity,
    covariate_messages,
    extrapolation,
    no_interval,
)
from sae.results.model import AreaModel, UnitModel, no_seed
from sae.results.posterior import (
    PosteriorFit,
    compressed,
    parameter_columns,
    parameter_row,
    posterior_joint,
    posterior_result,
    weighted_summary,
)
from sae.results.record import FitTables, Message, RunRecord, run_id
from sae.results.result import Result
from sae.results.tables import (
    coefficient_index,
    coefficient_table,
    credible_table,
    explained_share,
    residual_table,
)

__all__ = [
    "FEW_AREAS",
    "AreaModel",
    "DrawSource",
    "Draws",
    "Eblup",
    "FitTables",
    "FittedData",
    "Interval",
    "IntervalKind",
    "Message",
    "NormalDraws",
    "PosteriorDraws",
    "PosteriorFit",
    "Result",
    "RunRecord",
    "UnitModel",
    "area_intervals",
    "boundary",
    "boundary_all",
    "chains_apart",
    "coefficient_index",
    "coefficient_table",
    "collinearity",
    "compressed",
    "covariate_messages",
    "credible_table",
    "eblup_result",
    "explained_share",
    "extrapolation",
    "field_intervals",
    "interval_name",
    "no_interval",
    "no_seed",
    "parameter_columns",
    "parameter_row",
    "posterior_intervals",
    "posterior_joint",
    "posterior_result",
    "residual_table",
    "run_id",
    "same_source",
    "t_interval",
    "weighted_summary",
]
