"""MsGine: its wire format. Importing this needs no Django."""

from webhooks_app.contrib.msgine.wire_format import WIRE_FORMAT

__all__ = ["WIRE_FORMAT"]
