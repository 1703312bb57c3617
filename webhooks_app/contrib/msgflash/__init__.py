"""MsgFlash: its wire format, and its REST API in `api`. Importing this needs no Django."""

from webhooks_app.contrib.msgflash.wire_format import WIRE_FORMAT

__all__ = ["WIRE_FORMAT"]
