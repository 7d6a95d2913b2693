"""The one way to fit: what leaves a numerical routine as a bare exception is a named fault."""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeConvergenceError, SaeError
from sae.samplers.grid import GridPosterior


@pytest.mark.parametrize(
    "fault", [IndexError("out of bounds"), np.linalg.LinAlgError("singular"), ZeroDivisionError("division")]
)
def test_a_fault_inside_a_kernel_asks_to_be_reported(fault, monkeypatch):
    def broken(self):
        raise fault

    monkeypatch.setattr(GridPosterior, "moments", broken)
    frame = pd.DataFrame({"area": list("abcde"), "y": [1, 2, 3, 2, 4], "n": 10})
    with pytest.raises(SaeError, match=r"BinomialMixed ended in a fault of sae itself.*\n.*report") as caught:
        sae.BinomialMixed("y ~ 1", domain="area").fit(frame)
    assert type(fault).__name__ in str(caught.value) and caught.value.__cause__ is fault


def test_named_errors_stay_as_they_are(monkeypatch):
    def refused(self):
        raise SaeConvergenceError("No mode was found.")

    monkeypatch.setattr(GridPosterior, "moments", refused)
    frame = pd.DataFrame({"area": list("abcde"), "y": [1, 2, 3, 2, 4], "n": 10})
    with pytest.raises(SaeConvergenceError, match="No mode"):
        sae.BinomialMixed("y ~ 1", domain="area").fit(frame)
