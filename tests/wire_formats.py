"""The wire formats that the app brings along, as values."""

from importlib import import_module

from webhooks_app import contrib
from webhooks_app.wire_formats.base import WireFormat
from webhooks_app.wire_formats.standard import WIRE_FORMAT as STANDARD

BUILT_IN: dict[str, WireFormat] = {
    STANDARD.name: STANDARD,
    **{name: import_module(f"webhooks_app.contrib.{name}").WIRE_FORMAT for name in contrib.WIRE_FORMATS},
}
