"""Progress of long work: shown to a person who watches, taken away at the end, and nothing anywhere else."""

import io
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import sae
from sae import progress
from sae.numerics.inference.tally import Tally
from sae.progress import counting, shown, shown_by


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def at_once(monkeypatch):
    """Show every count, without a second's patience."""
    monkeypatch.setattr(progress, "_PATIENCE", -1.0)
    monkeypatch.setattr(progress, "_PAUSE", 0.0)


@pytest.fixture
def terminal(monkeypatch):
    stream = Terminal()  # pytest has its own between a fixture and the test
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stderr=stream, modules=sys.modules))
    return stream


def texts(work):
    lines = []
    with shown_by(lambda text, share=None: lines.append((text, share))):
        work()
    return lines


def test_counts_and_the_time_that_is_left(at_once):
    def work():
        step = counting("Bootstrap", 4000, "replicates")
        step(1000)
        step(3000)

    (first, share), end = texts(work)
    assert first.startswith("Bootstrap: 1,000 of 4,000 replicates, ") and first.endswith(" left")
    assert share == 0.25
    assert end == ("", None)


def test_nothing_within_a_second():
    assert not texts(lambda: counting("Bootstrap", 10, "replicates")(5))


def test_a_tally_that_ends_by_itself_has_no_total(at_once):
    def work():
        tally = Tally(np.array([1.0]), None)
        for start, stop in tally.blocks(100):
            tally.add(np.zeros((stop - start, 1)))

    assert [text for text, _ in texts(work)] == [f"Bootstrap: {n} replicates" for n in (100, 200)]


def test_a_line_on_a_terminal_goes_away_even_at_an_interrupt(at_once, terminal):
    with pytest.raises(KeyboardInterrupt), shown():
        step = counting("Bootstrap", 10, "replicates")
        step(1)
        raise KeyboardInterrupt
    written = terminal.getvalue()
    assert "Bootstrap: 1 of 10 replicates" in written
    assert written.split("\r")[-1] == "" and set(written.split("\r")[-2]) == {" "}
    assert progress._SHOW.get() is None


def test_a_command_that_shows_its_steps_shows_the_counts_of_the_fits_inside(at_once, terminal):
    def work():
        with shown():
            counting("Bootstrap", 2, "replicates")(1)

    assert len(texts(work)) == 1
    assert not terminal.getvalue()


def test_nothing_in_a_pipe(at_once, monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with shown():
        counting("Bootstrap", 2, "replicates")(1)
    assert not stream.getvalue()


@pytest.mark.parametrize("watched", [True, False])
def test_a_notebook_with_a_person_before_it(at_once, monkeypatch, watched):
    updates = []

    class Handle:
        def display(self, data, raw):
            updates.append(data["text/plain"])

        update = display

    kernel = SimpleNamespace(get_parent=lambda: {"content": {"allow_stdin": watched}})
    shell = SimpleNamespace(kernel=kernel)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(DisplayHandle=Handle))
    with shown():
        counting("Bootstrap", 3, "replicates")(1)
    assert [text.partition(",")[0] for text in updates] == (
        ["Bootstrap: 1 of 3 replicates", ""] if watched else []
    )


def _units(areas=8, each=6):
    rng = np.random.default_rng(4)
    domain = np.repeat([f"A{d}" for d in range(areas)], each)
    x = rng.uniform(size=len(domain))
    y = np.exp(2.0 + x + np.repeat(rng.normal(0, 0.3, areas), each) + rng.normal(0, 0.4, len(x)))
    return pd.DataFrame({"domain": domain, "y": y, "x": x})


UNITS = _units()
MODELS = {
    "Bootstrap: 1 of 3 replicates": sae.EBP(
        "y ~ x", domain="domain", indicators=["mean", "gini"], transform="log", replicates=3, draws=2
    ),
    "ELL: 1 of 100 populations": sae.EBP(
        "y ~ x", domain="domain", indicators=["mean"], transform="log", method="ell", draws=100
    ),
    "Simulated populations: 100 of 800 draws of areas": sae.EBP(
        "y ~ x", domain="domain", indicators=["median"], transform="log", method="bayes", draws=100
    ),
    "Bootstrap: 1 of 2 replicates": sae.MQuantile("y ~ x", domain="domain", mse="bootstrap", replicates=2),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("first", MODELS)
def test_fits_count_their_steps_on_a_terminal(at_once, terminal, first):
    MODELS[first].fit(UNITS, areas=UNITS.drop(columns="y"), seed=1)
    lines = terminal.getvalue().split("\r")
    assert lines[1].startswith(first)
    assert not lines[-1]


def test_a_file_in_blocks_counts_its_records(at_once, terminal):
    frame = pd.DataFrame({"w": 2.0, "region": ["a", "b"] * 70_000, "works": [1, 0] * 70_000})
    sae.design_based.direct_from_blocks(frame, "works", by="region", weights="w")
    assert terminal.getvalue().split("\r")[1].startswith("Survey: 65,536 of 140,000 records")
