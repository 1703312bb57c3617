"""Who is in the screenshots: an invented company, known to the process that drives the browser and to the project."""

from __future__ import annotations

PERSON, PASSWORD, NAME = "anna", "browser-only", "Northwind Parcels"
#: Where its servers are said to be.
HOST = "https://northwind.example"
#: Path → description, events.
ENDPOINTS = {
    "/orders": ("Order desk", ["*"]),
    "/crm": ("CRM, Oslo", ["message.delivered", "message.failed"]),
    "/reports": ("Reports", ["message.delivered"]),
    "/alerts": ("On-call alerts", ["message.failed"]),
}
STEADY, SHAKY, PAUSED, FAILING = ENDPOINTS
