"""Pages of long lists: newest first, by cursor, so that a page costs the same wherever it is."""

from __future__ import annotations

import uuid

from rest_framework.exceptions import NotFound
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request


class NewestFirst(CursorPagination):
    """`?limit=` up to 100, and `?cursor=` as the links `next` and `previous` have it."""

    ordering = "-id"
    page_size = 50
    page_size_query_param = "limit"
    max_page_size = 100

    def decode_cursor(self, request: Request) -> Cursor | None:
        """Cursors are ours to make; what somebody made up must not reach the database as an id."""
        cursor = super().decode_cursor(request)
        if cursor is not None and cursor.position is not None:
            try:
                uuid.UUID(str(cursor.position))
            except ValueError:
                raise NotFound(self.invalid_cursor_message) from None
        return cursor
