"""Fan-out in one statement, for PostgreSQL: the plain events, which are nearly all of them.

Plain is an event without a callback URL, of a tenant whose row exists, who has no FIFO endpoint and no subscription with
filters. What "wants" means (patterns, channels, the endpoint being older than the event) is told here in SQL and in
`pipeline.matching` in Python; the same tests run on both. Everything else, and whatever fails here, goes the portable way.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import connections

# A UUIDv7 made by the database: 48 bits of milliseconds over a random UUIDv4, whose version is then set to 7.
_NEW_ID = """encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
    PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6),
    52, 1), 53, 1), 'hex')::uuid"""

_SPREAD = f"""
WITH pending AS MATERIALIZED (
    SELECT id, tenant_id, type, channels, created_at, callback_url = '' AND fan_out_position IS NULL AS plain
    FROM webhooks_app_event WHERE fanned_out_at IS NULL ORDER BY id LIMIT %(events)s FOR NO KEY UPDATE SKIP LOCKED
), tenants AS MATERIALIZED (
    SELECT DISTINCT tenant_id FROM pending
), plain_tenants AS MATERIALIZED (
    SELECT tenants.tenant_id FROM tenants
    WHERE EXISTS (SELECT 1 FROM webhooks_app_tenant AS tenant WHERE tenant.id = tenants.tenant_id)
      AND NOT EXISTS (
        SELECT 1 FROM webhooks_app_endpoint AS endpoint
        WHERE endpoint.tenant_id = tenants.tenant_id AND endpoint.fifo AND endpoint.status <> 'deleted')
      AND NOT EXISTS (
        SELECT 1 FROM webhooks_app_endpoint AS endpoint
        JOIN webhooks_app_subscription AS subscription ON subscription.endpoint_id = endpoint.id
        WHERE endpoint.tenant_id = tenants.tenant_id AND subscription.filters <> '{{}}'::jsonb)
), claimed AS MATERIALIZED (
    SELECT pending.* FROM pending JOIN plain_tenants USING (tenant_id) WHERE pending.plain
), wanted AS MATERIALIZED (
    SELECT claimed.id AS event_id, claimed.tenant_id, endpoint.id AS endpoint_id, endpoint.profile
    FROM claimed
    JOIN webhooks_app_endpoint AS endpoint ON endpoint.tenant_id = claimed.tenant_id
    WHERE endpoint.status IN ('active', 'paused') AND NOT endpoint.hidden AND endpoint.created_at <= claimed.created_at
      AND (endpoint.channels = '[]'::jsonb
        OR endpoint.channels ?| ARRAY(SELECT jsonb_array_elements_text(claimed.channels)))
      AND EXISTS (
        SELECT 1 FROM webhooks_app_subscription AS subscription
        WHERE subscription.endpoint_id = endpoint.id
          AND (subscription.pattern IN (claimed.type, '*')
            OR (right(subscription.pattern, 2) = '.*' AND starts_with(claimed.type, left(subscription.pattern, -1)))))
), numbered AS MATERIALIZED (
    -- Counted with all rows of the same event: an event is done whole or not at all.
    SELECT *, count(*) OVER (ORDER BY event_id) AS so_far FROM wanted
), fitting AS MATERIALIZED (
    SELECT id, tenant_id, channels FROM claimed
    WHERE id NOT IN (SELECT event_id FROM numbered WHERE so_far > %(deliveries)s)
), delivered AS (
    INSERT INTO webhooks_app_delivery
        (id, tenant_id, event_id, endpoint_id, next_attempt_at, expires_at, sequence, status, attempts, step, last_outcome)
    SELECT {_NEW_ID}, tenant_id, event_id, endpoint_id, %(now)s,
           %(now)s + make_interval(secs => COALESCE(age.seconds, %(default_age)s)), 0, 'pending', 0, 0, ''
    FROM numbered LEFT JOIN unnest(%(profiles)s::text[], %(ages)s::float8[]) AS age (profile, seconds) USING (profile)
    WHERE so_far <= %(deliveries)s
    ON CONFLICT (event_id, endpoint_id) DO NOTHING
    RETURNING endpoint_id
), channelled AS (
    INSERT INTO webhooks_app_eventchannel (id, tenant_id, event_id, channel)
    SELECT {_NEW_ID}, fitting.tenant_id, fitting.id, channel
    FROM fitting, jsonb_array_elements_text(fitting.channels) AS channel
    ON CONFLICT DO NOTHING
), finished AS (
    UPDATE webhooks_app_event AS event SET fanned_out_at = %(now)s
    WHERE event.id = ANY(ARRAY(SELECT id FROM fitting))
    RETURNING event.id
)
SELECT (SELECT count(*) FROM pending), (SELECT count(*) FROM claimed), (SELECT count(*) FROM finished),
       (SELECT count(*) FROM delivered),
       ARRAY(SELECT DISTINCT endpoint_id FROM delivered)
"""  # noqa: S608 - constants only


# Between two ANALYZEs the planner may think that few events are pending, and sort them all instead of walking the index.
_WALK_THE_INDEX = "SET LOCAL enable_bitmapscan = off; SET LOCAL enable_seqscan = off"


class Spread(NamedTuple):
    """What one statement has done. Of the `pending` events that it saw, `plain` were plain, and of those `events` fitted into
    one transaction and are done."""

    pending: int
    plain: int
    events: int
    deliveries: int
    endpoint_ids: list[uuid.UUID]


def spread_plain(
    now: datetime, using: str, *, events: int, deliveries: int, ages: Mapping[str, timedelta], default_age: timedelta
) -> Spread:
    """Turn up to `events` plain events into up to `deliveries` deliveries. Inside the caller's transaction; the caller wakes
    the queues. `ages`: the maximum age of a delivery by profile."""
    parameters: dict[str, Any] = {
        "now": now,
        "events": events,
        "deliveries": deliveries,
        "profiles": list(ages),
        "ages": [age.total_seconds() for age in ages.values()],
        "default_age": default_age.total_seconds(),
    }
    with connections[using].cursor() as cursor:
        cursor.execute(_WALK_THE_INDEX)
        cursor.execute(_SPREAD, parameters)
        return Spread(*cursor.fetchone())
