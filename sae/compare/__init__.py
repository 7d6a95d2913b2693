"""What fits say of areas beside each other: differences, gaps, changes, ranks, peers, segregation."""

from typing import TYPE_CHECKING

from sae.lazy import public

if TYPE_CHECKING:
    from sae.compare.changing import changes as changes
    from sae.compare.comparison import Comparison as Comparison
    from sae.compare.differing import differences as differences
    from sae.compare.differing import gaps as gaps
    from sae.compare.differing import ratios as ratios
    from sae.compare.grading import Comparability as Comparability
    from sae.compare.grading import comparability as comparability
    from sae.compare.nearness import Peers as Peers
    from sae.compare.nearness import peers as peers
    from sae.compare.over_time import series as series
    from sae.compare.pairing import Pairs as Pairs
    from sae.compare.pairing import pairs as pairs
    from sae.compare.ranking import Ranks as Ranks
    from sae.compare.ranking import ranks as ranks
    from sae.compare.segregating import segregation as segregation
    from sae.compare.segregation_table import Segregation as Segregation
    from sae.compare.time_series import TimeSeries as TimeSeries
else:
    __all__, __getattr__, __dir__ = public(
        __name__,
        {
            "changing": ["changes"],
            "comparison": ["Comparison"],
            "differing": ["differences", "gaps", "ratios"],
            "grading": ["Comparability", "comparability"],
            "nearness": ["Peers", "peers"],
            "over_time": ["series"],
            "pairing": ["Pairs", "pairs"],
            "ranking": ["Ranks", "ranks"],
            "segregating": ["segregation"],
            "segregation_table": ["Segregation"],
            "time_series": ["TimeSeries"],
        },
    )
