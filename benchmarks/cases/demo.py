"""The demo from the command line to its files, against the making of its synthetic country alone."""

import subprocess
import sys
import tempfile

from harness import Case


def command(*words):
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)


def demo(_):
    with tempfile.TemporaryDirectory() as folder:
        command("-m", "sae.cli", "demo", "--out", folder)


CASES = [
    Case(
        name="demo",
        run=demo,
        peer=lambda _: command("-c", "import sae; sae.datasets.country(seed=1).lfs(seed=1)"),
        peer_name="a process that only makes the country and draws the survey",
        repeat=3,
        target="under 20 s",
    )
]
