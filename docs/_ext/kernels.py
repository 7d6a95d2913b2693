"""Kernels forked of a process in which sae is loaded: a page starts in a tenth of a second, not in two.

Each page still has a process of its own, an empty folder and no name that another page made. Only on Linux:
elsewhere a fork does not exist or is not safe once libraries are loaded, and kernels start as usual.
"""

import asyncio
import multiprocessing
import os
import sys
from importlib import import_module
from importlib.metadata import EntryPoint

from jupyter_client.provisioning import KernelProvisionerFactory, LocalProvisioner

NAME = "forked"
FORKS = sys.platform == "linux"
LOADED = (
    "ipykernel.kernelapp",
    "matplotlib.figure",
    "scipy.optimize",
    "scipy.special",
    "scipy.sparse.linalg",
)


class Forked(LocalProvisioner):
    """Starts a kernel by a fork instead of a new interpreter."""

    async def launch_kernel(self, cmd, **kwargs):
        """Fork; what Jupyter gives as a command is the file of the connection."""
        self.process = _Process(target=_serve, args=(cmd[cmd.index("-f") :], kwargs["cwd"], kwargs["env"]))
        self.process.start()
        self.pid = self.process.pid
        return self.connection_info


class _Process(multiprocessing.get_context("fork").Process if FORKS else object):
    """With the names of subprocess.Popen, which Jupyter calls."""

    stdin = stdout = stderr = None

    def poll(self):
        return self.exitcode

    def wait(self):
        self.join()
        return self.exitcode

    def send_signal(self, number):
        os.kill(self.pid, number)


def _serve(arguments, folder, environment):
    from ipykernel.kernelapp import IPKernelApp

    os.chdir(folder)
    os.environ.update(environment)
    asyncio.set_event_loop(asyncio.new_event_loop())  # the parent's runs already
    IPKernelApp.launch_instance(arguments)


def _load(app):
    """Import what pages use and run the common way once, so that its compiled kernels are loaded."""
    import sae

    for module in LOADED:
        import_module(module)
    land = sae.datasets.country(seed=1, regions=12)
    direct = sae.direct(land.lfs(seed=1), "employment_rate", by=["region"], smoothing="deff")
    sae.FayHerriot("employment_rate ~ 1").fit(direct)


def setup(app):
    """Register the way kernels are started, and load before the first page is read."""
    if FORKS:
        factory = KernelProvisionerFactory.instance()
        factory.provisioners[NAME] = EntryPoint(NAME, f"{__name__}:Forked", factory.GROUP_NAME)
        factory.default_provisioner_name = NAME
        app.connect("builder-inited", _load)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
