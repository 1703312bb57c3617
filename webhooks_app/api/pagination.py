"""Cursor pagination of long lists: newest first, and each page costs the same."""

from __future__ import annotations

import uuid
from typing import Any

from rest_framework.exceptions import NotFound
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request

from webhooks_app.deliveries.log import DeliveryLog, LogPage


class NewestFirst(CursorPagination):
    """Pagination with `?limit=` up to 100, and `?cursor=` as in the links `next` and `previous`."""

    ordering = "-id"
    page_size = 50
    page_size_query_param = "limit"
    max_page_size = 100
    page_size_query_description = "The number of rows of a page: 1 to 100, by default 50."
    invalid_cursor_message = "The cursor is invalid. Use the links `next` and `previous` of a page."
    cursor_query_description = "Where the page starts. Use the links `next` and `previous` of a page, which contain it."

    def decode_cursor(self, request: Request) -> Cursor | None:
        """Decode a cursor. Only cursors that the API created are valid; a forged one must not reach the database as an id."""
        cursor = super().decode_cursor(request)
        if cursor is not None and cursor.position is not None:
            try:
                uuid.UUID(str(cursor.position))
            except ValueError:
                raise NotFound(self.invalid_cursor_message) from None
        return cursor

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Return the schema of a page. DRF's own has no descriptions, and says `nullable`, which OpenAPI 3.1 does not know."""
        link = {"type": ["string", "null"], "format": "uri"}
        return {
            "type": "object",
            "description": "One page of a list, newest first.",
            "required": ["next", "previous", "results"],
            "properties": {
                "next": {**link, "description": "The URL of the next page, with older rows; null on the last page."},
                "previous": {**link, "description": "The URL of the previous page; null on the first page."},
                "results": {**schema, "description": "The rows of this page."},
            },
        }


class LogPages(NewestFirst):
    """Pages of the delivery log. A page may have fewer rows than asked for, or none, although there is a `next`: then it has
    examined as many rows as one page may."""

    def paginate_log(self, log: DeliveryLog | None, request: Request) -> list[Any]:
        """Return one page. None: a log that is empty."""
        self.base_url = request.build_absolute_uri()
        cursor = self.decode_cursor(request)
        position = uuid.UUID(str(cursor.position)) if cursor is not None and cursor.position is not None else None
        backwards = cursor is not None and cursor.reverse
        before, after = (None, position) if backwards else (position, None)
        size = self.get_page_size(request) or self.page_size
        self._page = LogPage([]) if log is None else log.page(before=before, after=after, size=size)
        return self._page.rows

    def get_next_link(self) -> str | None:
        return self._link(self._page.older, reverse=False)

    def get_previous_link(self) -> str | None:
        return self._link(self._page.newer, reverse=True)

    def _link(self, key: uuid.UUID | None, *, reverse: bool) -> str | None:
        position: Any = str(key)  # as DRF itself has it, whatever its stubs say
        return None if key is None else self.encode_cursor(Cursor(0, reverse, position))
