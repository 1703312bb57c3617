"""Pages of tables that may have millions of rows."""

from __future__ import annotations

from functools import cached_property

from django.core.paginator import Paginator

from webhooks_app.models.lookups import count_up_to

#: Rows that can be paged through; what is older is found by searching, or by its day.
MOST_PAGED = 1000


class BoundedPaginator(Paginator):  # type: ignore[type-arg]
    """Counts no further than MOST_PAGED, in the order of the list, so that an index is read and never the table."""

    #: A list of it never shows all there is.
    capped = True

    @cached_property
    def count(self) -> int:
        return count_up_to(self.object_list, MOST_PAGED)  # type: ignore[arg-type]

    @property
    def more(self) -> bool:
        """Are there rows beyond the last page?"""
        return self.count >= MOST_PAGED
