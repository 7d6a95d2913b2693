"""What leaves the office: the published table, in which nothing is left of a figure that may not appear."""

from typing import TYPE_CHECKING

from sae.lazy import public

if TYPE_CHECKING:
    from sae.publish.exchange_reading import Pooled as Pooled
    from sae.publish.exchange_reading import read_exchange as read_exchange
    from sae.publish.exchange_writing import Exchanged as Exchanged
    from sae.publish.exchange_writing import exchange as exchange
    from sae.publish.methods import method_note as method_note
    from sae.publish.report_city import city_page as city_page
    from sae.publish.report_page import report as report
    from sae.publish.showing import shown as shown
    from sae.publish.table import PublishedTable as PublishedTable
    from sae.publish.table import published as published
else:
    __all__, __getattr__, __dir__ = public(
        __name__,
        {
            "exchange_reading": ["Pooled", "read_exchange"],
            "exchange_writing": ["Exchanged", "exchange"],
            "methods": ["method_note"],
            "report_city": ["city_page"],
            "report_page": ["report"],
            "showing": ["shown"],
            "table": ["PublishedTable", "published"],
        },
    )
