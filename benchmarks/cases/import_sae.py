"""Fresh processes: the import of the package, and a first fit with its summary, the kernel cache warm."""

import os
import subprocess
import sys

from harness import Case

FIT = """
import numpy as np
import pandas as pd
import sae

rng = np.random.default_rng(0)
x, vardir = rng.normal(size=100), rng.uniform(0.1, 1.0, 100)
y = 1.0 + x + 0.5 * rng.normal(size=100) + np.sqrt(vardir) * rng.normal(size=100)
frame = pd.DataFrame({"domain": [f"A{k}" for k in range(100)], "y": y, "x": x, "vardir": vardir})
print(sae.FayHerriot("y ~ x").fit(frame).summary())
"""


def start(code):
    """Run in a process that keeps byte code, as an installation does: the first, untimed call writes it."""
    place = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run([sys.executable, "-c", code], check=True, env=place, stdout=subprocess.DEVNULL)


CASES = [
    Case(
        name="import_sae",
        run=lambda _: start("import sae"),
        peer=lambda _: start("pass"),
        peer_name="python -c pass",
        unit="import",
        repeat=9,
        target="about 0.1 s, the interpreter's own start included",
    ),
    Case(
        name="start_fay_herriot",
        run=lambda _: start(FIT),
        peer=lambda _: start("import pandas, numba"),
        peer_name="a process that imports pandas and numba",
        unit="process",
        repeat=9,
        target="1.5 times it, from the interpreter to the printed summary of 100 areas",
    ),
]
