"""Pagination for tables with millions of rows."""

from __future__ import annotations

from functools import cached_property

from django.core.paginator import Paginator

from webhooks_app.models.lookups import count_up_to

#: The most rows available through pages; older rows are found by search or by date.
MOST_PAGED = 1000


class BoundedPaginator(Paginator):  # type: ignore[type-arg]
    """A paginator that counts up to MOST_PAGED, in the order of the list, so that it reads an index and never the table."""

    #: Tells the template that the list may not show all rows.
    capped = True

    @cached_property
    def count(self) -> int:
        return count_up_to(self.object_list, MOST_PAGED)  # type: ignore[arg-type]

    @property
    def more(self) -> bool:
        """Return whether there are rows beyond the last page."""
        return self.count >= MOST_PAGED
