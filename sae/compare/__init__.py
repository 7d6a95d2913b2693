"""What fits say of areas beside each other: differences, ratios, gaps, changes, pairs, ranks, peers."""

from typing import TYPE_CHECKING

from sae.lazy import public

if TYPE_CHECKING:
    from sae.compare.changing import changes as changes
    from sae.compare.comparison import Comparison as Comparison
    from sae.compare.differing import differences as differences
    from sae.compare.differing import gaps as gaps
    from sae.compare.differing import ratios as ratios
    from sae.compare.nearness import Peers as Peers
    from sae.compare.nearness import peers as peers
    from sae.compare.pairing import Pairs as Pairs
    from sae.compare.pairing import pairs as pairs
    from sae.compare.ranking import Ranks as Ranks
    from sae.compare.ranking import ranks as ranks
else:
    __all__, __getattr__, __dir__ = public(
        __name__,
        {
            "changing": ["changes"],
            "comparison": ["Comparison"],
            "differing": ["differences", "gaps", "ratios"],
            "nearness": ["Peers", "peers"],
            "pairing": ["Pairs", "pairs"],
            "ranking": ["Ranks", "ranks"],
        },
    )
