"""What every fitted result shares: estimates, data, provenance, summary, benchmark, draws, plots."""

from typing import TYPE_CHECKING

from sae.lazy import public

if TYPE_CHECKING:
    from sae.results.data import FittedData as FittedData
    from sae.results.draws import Draws as Draws
    from sae.results.draws import DrawSource as DrawSource
    from sae.results.draws import NormalDraws as NormalDraws
    from sae.results.draws import PosteriorDraws as PosteriorDraws
    from sae.results.draws import same_source as same_source
    from sae.results.eblup import Eblup as Eblup
    from sae.results.eblup import eblup_result as eblup_result
    from sae.results.intervals import FEW_AREAS as FEW_AREAS
    from sae.results.intervals import Interval as Interval
    from sae.results.intervals import IntervalKind as IntervalKind
    from sae.results.intervals import area_intervals as area_intervals
    from sae.results.intervals import field_intervals as field_intervals
    from sae.results.intervals import interval_name as interval_name
    from sae.results.intervals import posterior_intervals as posterior_intervals
    from sae.results.intervals import t_interval as t_interval
    from sae.results.messages import boundary as boundary
    from sae.results.messages import boundary_all as boundary_all
    from sae.results.messages import chains_apart as chains_apart
    from sae.results.messages import collinearity as collinearity
    from sae.results.messages import covariate_messages as covariate_messages
    from sae.results.messages import extrapolation as extrapolation
    from sae.results.messages import no_interval as no_interval
    from sae.results.model import AreaModel as AreaModel
    from sae.results.model import UnitModel as UnitModel
    from sae.results.model import no_seed as no_seed
    from sae.results.posterior import PosteriorFit as PosteriorFit
    from sae.results.posterior import compressed as compressed
    from sae.results.posterior import parameter_columns as parameter_columns
    from sae.results.posterior import parameter_row as parameter_row
    from sae.results.posterior import posterior_joint as posterior_joint
    from sae.results.posterior import posterior_result as posterior_result
    from sae.results.posterior import weighted_summary as weighted_summary
    from sae.results.record import FitTables as FitTables
    from sae.results.record import Message as Message
    from sae.results.record import RunRecord as RunRecord
    from sae.results.record import run_id as run_id
    from sae.results.result import Result as Result
    from sae.results.tables import coefficient_index as coefficient_index
    from sae.results.tables import coefficient_table as coefficient_table
    from sae.results.tables import credible_table as credible_table
    from sae.results.tables import explained_share as explained_share
    from sae.results.tables import residual_table as residual_table
else:
    __all__, __getattr__, __dir__ = public(
        __name__,
        {
            "data": ["FittedData"],
            "draws": ["Draws", "DrawSource", "NormalDraws", "PosteriorDraws", "same_source"],
            "eblup": ["Eblup", "eblup_result"],
            "intervals": [
                "FEW_AREAS",
                "Interval",
                "IntervalKind",
                "area_intervals",
                "field_intervals",
                "interval_name",
                "posterior_intervals",
                "t_interval",
            ],
            "messages": [
                "boundary",
                "boundary_all",
                "chains_apart",
                "collinearity",
                "covariate_messages",
                "extrapolation",
                "no_interval",
            ],
            "model": ["AreaModel", "UnitModel", "no_seed"],
            "posterior": [
                "PosteriorFit",
                "compressed",
                "parameter_columns",
                "parameter_row",
                "posterior_joint",
                "posterior_result",
                "weighted_summary",
            ],
            "record": ["FitTables", "Message", "RunRecord", "run_id"],
            "result": ["Result"],
            "tables": [
                "coefficient_index",
                "coefficient_table",
                "credible_table",
                "explained_share",
                "residual_table",
            ],
        },
    )
