"""Renders responses as JSON."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from rest_framework.renderers import JSONRenderer
from rest_framework.utils.encoders import JSONEncoder

from webhooks_app.deliveries.pretty_body import pretty_body

#: The longest body that the browsable page shows indented (bytes).
_MOST_INDENTED = 100_000


@dataclass(frozen=True, slots=True)
class JSONText:
    """JSON that is part of a response as it is.

    Payloads are stored as text. To parse a page of nested lists only to write them again takes half a minute and a gigabyte."""

    text: str = field(repr=False)


class _Encoder(JSONEncoder):
    """Writes `mark` for each JSONText, and appends its text to `texts`."""

    def __init__(self, mark: str, texts: list[str], **options: Any) -> None:
        super().__init__(**options)
        self._mark, self._texts = mark, texts

    def default(self, obj: Any) -> Any:
        if isinstance(obj, JSONText):
            self._texts.append(obj.text)
            return self._mark
        return super().default(obj)


class BodyRenderer(JSONRenderer):
    """Renders JSON in UTF-8; in ASCII if the data has a lone surrogate, which has no UTF-8 form, but a JSON escape."""

    def get_indent(self, accepted_media_type: str, renderer_context: Any) -> None:
        """Ignore the `indent` of an Accept header: with it, nested data becomes a thousand times as long."""

    def render(self, data: Any, accepted_media_type: Any = None, renderer_context: Any = None) -> bytes:
        mark, texts = uuid.uuid4().hex, list[str]()
        self.encoder_class = partial(_Encoder, mark, texts)  # type: ignore[misc, assignment]  # one renderer, one response
        try:
            body = super().render(data, accepted_media_type, renderer_context)
        except UnicodeEncodeError:
            texts.clear()
            self.ensure_ascii = True  # type: ignore[misc]
            body = super().render(data, accepted_media_type, renderer_context)
        first, *others = body.split(f'"{mark}"'.encode())
        inserted = [(text or "null").encode("utf-8", "replace") for text in texts]
        body = b"".join([first, *(text + part for text, part in zip(inserted, others, strict=True))])
        wants_indent = bool((renderer_context or {}).get("indent"))  # the browsable page does
        return pretty_body(body).text.encode() if wants_indent and len(body) <= _MOST_INDENTED else body
