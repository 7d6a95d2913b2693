"""A fresh process that imports the package, against one that does nothing."""

import subprocess
import sys

from harness import Case


def start(code):
    subprocess.run([sys.executable, "-c", code], check=True)


CASES = [
    Case(
        name="import_sae",
        run=lambda _: start("import sae"),
        peer=lambda _: start("pass"),
        peer_name="python -c pass",
        unit="import",
        repeat=9,
        target="about 0.1 s, the interpreter's own start included",
    )
]
