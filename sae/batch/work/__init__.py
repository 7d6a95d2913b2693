"""Work that can be killed anywhere and goes on: items, a store of their outputs, and who performs them."""

from sae.batch.work.cluster import Cluster
from sae.batch.work.items import Item, Job, Output, item_keys
from sae.batch.work.processes import Processes
from sae.batch.work.progress import Progress, Watch, unwatched
from sae.batch.work.runs import one_run
from sae.batch.work.schedule import executed
from sae.batch.work.store import Store
from sae.batch.work.tasks import Executor, Serial, memory_peak

__all__ = [
    "Cluster",
    "Executor",
    "Item",
    "Job",
    "Output",
    "Processes",
    "Progress",
    "Serial",
    "Store",
    "Watch",
    "executed",
    "item_keys",
    "memory_peak",
    "one_run",
    "unwatched",
]
