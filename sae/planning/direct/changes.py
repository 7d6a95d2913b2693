"""What a plan changes against today: interviews added, interviews taken away, and the net figure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Change", "change_of"]


@dataclass(frozen=True)
class Change:
    """Interviews of today and what becomes of them; `added` - `removed` = `net` = planned - `now`."""

    now: int
    added: int
    removed: int

    @property
    def net(self) -> int:
        """Interviews more than today, all in all."""
        return self.added - self.removed

    @property
    def text(self) -> str:
        """The change inside a sentence."""
        return (
            f"{self.added:,} added and {self.removed:,} taken away, {self.net:+,} net, "
            f"against the {self.now:,} of today"
        )


def change_of(n: np.ndarray, now: np.ndarray) -> Change:
    """Compare whole numbers of interviews by stratum with those of today, which may be fractions.

    Examples
    --------
    >>> from sae.planning.direct.changes import change_of
    >>> change_of(np.array([120, 10]), np.array([100.0, 60.0])).text
    '20 added and 50 taken away, -30 net, against the 160 of today'
    """
    total = round(float(now.sum()))
    removed = round(float(np.maximum(now - n, 0.0).sum()))
    return Change(total, int(n.sum()) - total + removed, removed)
