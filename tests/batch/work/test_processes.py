"""Workers end with their run, however it ends; one that dies is named with what it did."""

import os
import pickle
import signal
import subprocess
import sys
import time
from functools import partial
from multiprocessing.context import SpawnProcess

import pytest

from sae.batch.work import Item, Processes, Store, executed
from sae.batch.work.processes import outcome
from sae.batch.work.tasks import Task
from sae.errors import SaeError, SaeSpecError
from tests.batch.work.jobs import fails, killed, numbers, odd, process

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")


def test_workers_are_others_with_one_thread_and_end_at_the_end(tmp_path):
    items = [Item(f"p{k}", {"k": k}, process) for k in range(6)]
    with Processes(2) as executor:
        outputs = executed(items, Store(tmp_path), executor)
        facts = [output.facts for output in outputs.values()]
    assert {one["parent"] for one in facts} == {os.getpid()} and {one["threads"] for one in facts} == {"1"}
    workers = {one["pid"] for one in facts}
    assert len(workers) == 2 and os.environ.get("VECLIB_MAXIMUM_THREADS") is None
    for pid in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@linux
def test_a_worker_that_is_killed_is_named_and_the_others_go_on_later(tmp_path):
    items = [Item("good", {}, partial(numbers, seed=1)), Item("bad", {}, killed)]
    store = Store(tmp_path)
    with Processes(2) as executor:
        with pytest.raises(SaeError, match=r"The worker on 'bad' ended by signal 9 \(SIGKILL\)") as error:
            executed(items, store, executor)
        assert "memory was too small: use fewer workers" in error.value.hint
        assert executed(items[:1], store, executor)["good"].facts["seed"] == 1


def test_an_error_stays_what_it_is_or_is_told_in_words(tmp_path):
    def ended(job):
        return outcome(Task("it", "k", job, {}, Store(tmp_path)))

    error = pickle.loads(pickle.dumps(ended(fails)))
    assert isinstance(error, SaeError) and error.hint == "Make it right." and "jobs.py" in error.__notes__[0]
    error = ended(odd)
    assert type(error) is RuntimeError and str(error) == "Odd in 'it': 1 and 2"


def test_no_number_of_workers(tmp_path):
    with pytest.raises(SaeSpecError, match="one worker at least, not 0"):
        Processes(0)


def test_a_program_without_a_guard_is_told_so(tmp_path):
    text = (
        "from sae.batch.work import Item, Processes, Store, executed\n"
        "from tests.batch.work.jobs import process\n"
        "with Processes(1) as executor:\n"
        f"    executed([Item('p', {{}}, process)], Store({str(tmp_path / 's')!r}), executor)\n"
    )
    (tmp_path / "program.py").write_text(text)
    command = [sys.executable, str(tmp_path / "program.py")]
    path = os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])
    ended = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, check=False
    )
    assert ended.returncode == 1 and "The worker on 'p' ended with exit code 1" in ended.stderr
    assert '`if __name__ == "__main__":`' in ended.stderr


@linux
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_workers_at_a_long_task_end_with_their_parent(tmp_path, number):
    """Also those in a kernel that keeps Python's lock: the system ends them (`stuck`)."""
    text = (
        "from sae.batch.work import Item, Processes, Store, executed\n"
        "from tests.batch.work.jobs import stuck\n"
        "if __name__ == '__main__':\n"
        "    with Processes(1) as executor:\n"
        f"        executed([Item('s', {{}}, stuck)], Store({str(tmp_path / 's')!r}), executor)\n"
    )
    (tmp_path / "program.py").write_text(text)
    path = os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "STUCK": str(tmp_path / "pid")}
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "program.py")], env=environment, stderr=subprocess.DEVNULL
    ) as run:
        end = time.monotonic() + 60
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            assert time.monotonic() < end and run.poll() is None
            time.sleep(0.02)
        worker = int((tmp_path / "pid").read_text())
        run.send_signal(number)
        run.wait(20)
    end = time.monotonic() + 10
    while time.monotonic() < end and os.path.exists(f"/proc/{worker}/stat"):
        time.sleep(0.02)
    assert not os.path.exists(f"/proc/{worker}/stat")


@linux
def test_an_interruption_while_a_worker_starts_leaves_none(tmp_path, monkeypatch):
    started, start = [], SpawnProcess.start

    def interrupted(self):
        start(self)
        started.append(self)
        os.kill(os.getpid(), signal.SIGINT)  # it waits until the process is there
        os.kill(self.pid, 0)

    monkeypatch.setattr(SpawnProcess, "start", interrupted)
    with pytest.raises(KeyboardInterrupt), Processes(1) as executor:
        executed([Item("p", {}, process)], Store(tmp_path), executor)
    assert [one.exitcode for one in started] == [-signal.SIGKILL]
