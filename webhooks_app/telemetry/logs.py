"""Ids in log records, and a formatter that writes records as JSON.

    logger.warning("webhooks: …", extra=log_ids(delivery=delivery.delivery_id, endpoint=delivery.endpoint_id))

The ids are in `record.webhooks`, as the pages and the API write them, so that a log search for `dlv_0197…` finds them.
"""

from __future__ import annotations

import json
import logging
import uuid
from datetime import UTC, datetime
from typing import Any

#: The attribute of a log record that holds the ids.
NAMESPACE = "webhooks"
#: Keyword of `log_ids` → prefix of its public id. Tenants and engines have none.
PREFIXES = {"delivery": "dlv_", "event": "evt_", "endpoint": "wh_", "tenant": "", "engine": ""}


def log_ids(
    *,
    delivery: uuid.UUID | None = None,
    event: uuid.UUID | None = None,
    endpoint: uuid.UUID | None = None,
    tenant: uuid.UUID | str | None = None,
    engine: uuid.UUID | None = None,
) -> dict[str, dict[str, str]]:
    """Return the `extra` of a log call: `delivery_id`, `event_id`, `endpoint_id`, `tenant_id`, `engine_id`, those given."""
    given = {"delivery": delivery, "event": event, "endpoint": endpoint, "tenant": tenant, "engine": engine}
    return {NAMESPACE: {f"{name}_id": written(name, key) for name, key in given.items() if key is not None}}


def written(name: str, key: uuid.UUID | str) -> str:
    """Return an id as pages and API write it."""
    if isinstance(key, str):
        return key
    prefix = PREFIXES[name]
    return f"{prefix}{key.hex}" if prefix else str(key)


class JsonFormatter(logging.Formatter):
    """Write each record as one line of JSON: time, level, logger, message, the ids, and the traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        ids = getattr(record, NAMESPACE, None)
        if isinstance(ids, dict) and ids:
            line[NAMESPACE] = ids
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        return json.dumps(line, ensure_ascii=False, default=str)
