"""The wire formats and REST APIs of five products, one folder each. A host enables those that it needs:

    from webhooks_app import contrib

    WEBHOOKS = {"WIRE_FORMATS": {"muchaw": contrib.WIRE_FORMATS["muchaw"]}}

Its REST API is an urlconf of its own, for instance `webhooks_app.contrib.muchaw.api`; see `webhooks_app.api.urls_with_fallback`.
A product's modules are imported on first use. Its package holds the wire format, and needs no Django.
"""

from __future__ import annotations

from webhooks_app.wire_formats import CONTRIB

__all__ = ["WIRE_FORMATS"]

#: Name → dotted path, as WEBHOOKS["WIRE_FORMATS"] wants it.
WIRE_FORMATS = {name: f"webhooks_app.contrib.{name}.WIRE_FORMAT" for name in CONTRIB}
