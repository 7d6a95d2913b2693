"""What leaves the office: the published table, in which nothing is left of a figure that may not appear."""

from typing import TYPE_CHECKING

from sae.lazy import public

if TYPE_CHECKING:
    from sae.publish.rows import shown as shown
    from sae.publish.table import PublishedTable as PublishedTable
    from sae.publish.table import published as published
else:
    __all__, __getattr__, __dir__ = public(
        __name__, {"rows": ["shown"], "table": ["PublishedTable", "published"]}
    )
