"""Cursor pagination of long lists: newest first, and each page costs the same."""

from __future__ import annotations

import uuid

from rest_framework.exceptions import NotFound
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request


class NewestFirst(CursorPagination):
    """Pagination with `?limit=` up to 100, and `?cursor=` as in the links `next` and `previous`."""

    ordering = "-id"
    page_size = 50
    page_size_query_param = "limit"
    max_page_size = 100

    def decode_cursor(self, request: Request) -> Cursor | None:
        """Decode a cursor. Only cursors that the API created are valid; a forged one must not reach the database as an id."""
        cursor = super().decode_cursor(request)
        if cursor is not None and cursor.position is not None:
            try:
                uuid.UUID(str(cursor.position))
            except ValueError:
                raise NotFound(self.invalid_cursor_message) from None
        return cursor
