"""Fan-out of plain events in one statement, for PostgreSQL. Nearly all events are plain.

An event is plain if it has no callback URL, if its tenant has no FIFO endpoint, and if no endpoint with filters may want it. The
matching rules (patterns, channels, the endpoint's age) are implemented here in SQL and in
`core.filters.wants` in Python; a property test compares them. All other events, and those that fail here, use portable code.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from webhooks_app.engine.sql.psycopg_cursors import send
from webhooks_app.engine.sql.tables import CHANNEL, DELIVERY, ENDPOINT, EVENT, QUEUE, SUBSCRIPTION, TENANT
from webhooks_app.engine.sql.types import PendingTenant
from webhooks_app.models.lookups import array_literal

# A UUIDv7 made by the database: 48 bits of milliseconds over a random UUIDv4, whose version is then set to 7.
_NEW_ID = """encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
    PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6),
    52, 1), 53, 1), 'hex')::uuid"""

#: The maximum `pg_column_size` of a stored `{}`: 5, or 8 in rows that are older than the column. Any filters are larger.
EMPTY_FILTERS_SIZE = 8

# The events of one tenant are a range of pairs of tenant and id, in this order. With "tenant_id = …" and the order of ids, the
# planner may walk all pending events in the index of ids, for each of thousands of tenants: it does if it has seen few of them.
_OF_TENANT = """({event}.tenant_id, {event}.id) >= ({tenant}, %(floor)s)
          AND ({event}.tenant_id, {event}.id) <= ({tenant}, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
          AND {event}.fanned_out_at IS NULL"""

_FAN_OUT = f"""
WITH shares AS MATERIALIZED (
    SELECT * FROM unnest(%(tenants)s::uuid[], %(shares)s::int[]) AS share (tenant_id, events)
), pending AS MATERIALIZED (
    SELECT event.* FROM shares CROSS JOIN LATERAL (
        SELECT id, tenant_id, type, channels, created_at, fan_out_position AS position, callback_url = '' AS plain
        FROM {EVENT} AS event
        WHERE {_OF_TENANT.format(event="event", tenant="shares.tenant_id")} AND id <> ALL(%(held)s::uuid[])
        ORDER BY event.tenant_id, event.id LIMIT shares.events FOR NO KEY UPDATE SKIP LOCKED
    ) AS event
), claimed AS MATERIALIZED (
    SELECT * FROM pending WHERE plain
), matched AS MATERIALIZED (
    SELECT claimed.id AS event_id, claimed.tenant_id, endpoint.id AS endpoint_id, endpoint.wire_format,
           pg_column_size(endpoint.filters) > {EMPTY_FILTERS_SIZE} AS filtered
    FROM claimed
    JOIN {ENDPOINT} AS endpoint ON endpoint.tenant_id = claimed.tenant_id
    CROSS JOIN LATERAL (
        -- LIMIT and no EXISTS: the planner might read all subscriptions for every event.
        SELECT FROM {SUBSCRIPTION} AS subscription
        WHERE subscription.endpoint_id = endpoint.id
          AND (subscription.pattern IN (claimed.type, '*')
            OR (right(subscription.pattern, 2) = '.*' AND starts_with(claimed.type, left(subscription.pattern, -1))))
        LIMIT 1
    ) AS subscribed
    WHERE endpoint.status IN ('active', 'paused') AND endpoint.kind <> 'callback'
      -- Created in the future: this clock was set back since, and the times do not show which of them is older.
      AND (endpoint.created_at <= claimed.created_at OR endpoint.created_at > clock_timestamp())
      AND (claimed.position IS NULL OR endpoint.id > claimed.position)
      AND (endpoint.channels = '[]'::jsonb
        OR endpoint.channels ?| ARRAY(SELECT jsonb_array_elements_text(claimed.channels)))
), filtered AS MATERIALIZED (
    -- The tenant had no filters when it was looked at, and has one now.
    SELECT DISTINCT event_id FROM matched WHERE filtered
), wanted AS MATERIALIZED (
    SELECT * FROM matched WHERE event_id NOT IN (SELECT event_id FROM filtered)
), numbered AS MATERIALIZED (
    SELECT *, row_number() OVER (ORDER BY event_id, endpoint_id) AS place FROM wanted
), fitting AS MATERIALIZED (
    SELECT id, tenant_id, channels FROM claimed
    WHERE id NOT IN (SELECT event_id FROM numbered WHERE place > %(deliveries)s)
      AND id NOT IN (SELECT event_id FROM filtered)
), delivered AS (
    INSERT INTO {DELIVERY}
        (id, tenant_id, event_id, endpoint_id, next_attempt_at, expires_at, sequence, status, attempts, retry_step, last_outcome)
    SELECT {_NEW_ID}, tenant_id, event_id, endpoint_id, %(now)s,
           %(now)s + make_interval(secs => COALESCE(age.seconds, %(default_age)s)), 0, 'pending', 0, 0, ''
    FROM numbered LEFT JOIN unnest(%(wire_formats)s::text[], %(ages)s::float8[]) AS age (wire_format, seconds) USING (wire_format)
    WHERE place <= %(deliveries)s
    ON CONFLICT (event_id, endpoint_id) DO NOTHING
    RETURNING endpoint_id
), channelled AS (
    INSERT INTO {CHANNEL} (id, tenant_id, event_id, channel)
    SELECT {_NEW_ID}, fitting.tenant_id, fitting.id, channel
    FROM fitting, jsonb_array_elements_text(fitting.channels) AS channel
    ON CONFLICT DO NOTHING
), finished AS (
    UPDATE {EVENT} AS event SET fanned_out_at = %(now)s
    WHERE event.id = ANY(ARRAY(SELECT id FROM fitting))
    RETURNING event.id
), parted AS (
    -- The event that the limit cuts in two is continued after the last endpoint that got it.
    UPDATE {EVENT} AS event SET fan_out_position = numbered.endpoint_id
    FROM numbered
    WHERE numbered.place = %(deliveries)s AND event.id = numbered.event_id
      AND event.id = (SELECT event_id FROM numbered WHERE place = %(deliveries)s + 1)
    RETURNING event.id
), touched AS MATERIALIZED (
    SELECT DISTINCT endpoint_id FROM delivered
), woken AS (
    -- As `make_unlocked_queues_due` does. Not those with an order, which the tenant had not when it was looked at:
    -- their deliveries need places.
    UPDATE {QUEUE} AS queue SET due_at = LEAST(queue.due_at, GREATEST(queue.not_before, %(now)s))
    FROM (
        SELECT endpoint_id FROM {QUEUE}
        WHERE endpoint_id = ANY(ARRAY(SELECT endpoint_id FROM touched)) AND NOT fifo
        ORDER BY endpoint_id FOR NO KEY UPDATE SKIP LOCKED
    ) AS free
    WHERE queue.endpoint_id = free.endpoint_id
    RETURNING queue.endpoint_id
)
SELECT (SELECT count(*) FROM finished) + (SELECT count(*) FROM parted), (SELECT count(*) FROM delivered),
       ARRAY(SELECT endpoint_id FROM woken),
       ARRAY(SELECT endpoint_id FROM touched WHERE endpoint_id NOT IN (SELECT endpoint_id FROM woken)),
       ARRAY(SELECT DISTINCT tenant_id FROM pending WHERE NOT plain OR id IN (SELECT event_id FROM filtered)),
       ARRAY(SELECT tenant_id || ' ' || count(*) FROM claimed WHERE tenant_id = ANY(%(counted)s::uuid[]) GROUP BY tenant_id),
       ARRAY(SELECT tenant_id || ' ' || count(*) FROM wanted WHERE tenant_id = ANY(%(counted)s::uuid[]) GROUP BY tenant_id)
"""

# The tenants with pending events, found by skipping through the index: DISTINCT would read every pending event. No
# EXISTS: the planner may read all tenants or endpoints into a hash for it.
_PENDING_TENANTS = f"""
WITH RECURSIVE walk AS (
    (SELECT tenant_id FROM {EVENT}
     WHERE fanned_out_at IS NULL AND tenant_id > %(after)s AND id >= %(floor)s ORDER BY tenant_id LIMIT 1)
    UNION ALL
    SELECT next.tenant_id FROM walk CROSS JOIN LATERAL (
        SELECT tenant_id FROM {EVENT}
        WHERE fanned_out_at IS NULL AND tenant_id > walk.tenant_id AND id >= %(floor)s ORDER BY tenant_id LIMIT 1
    ) AS next
), tenants AS MATERIALIZED (
    SELECT tenant_id FROM walk LIMIT %(limit)s
)
SELECT tenant_id,
    (SELECT tenant.id FROM {TENANT} AS tenant WHERE tenant.id = tenants.tenant_id) IS NOT NULL,
    receiving.filtered,
    (SELECT endpoint.id FROM {ENDPOINT} AS endpoint
        WHERE endpoint.tenant_id = tenants.tenant_id AND endpoint.fifo AND endpoint.status <> 'deleted' LIMIT 1) IS NOT NULL,
    receiving.endpoints, counted.events, counted.callbacks, counted.uid
FROM tenants CROSS JOIN LATERAL (
    SELECT count(*) AS events, bool_or(callback_url <> '') AS callbacks, min(tenant_uid) AS uid
    FROM (
        SELECT event.callback_url, event.tenant_uid FROM {EVENT} AS event
        WHERE {_OF_TENANT.format(event="event", tenant="tenants.tenant_id")}
        ORDER BY event.tenant_id, event.id LIMIT %(events)s) AS limited
) AS counted CROSS JOIN LATERAL (
    SELECT count(*) AS endpoints, count(*) FILTER (WHERE pg_column_size(filters) > {EMPTY_FILTERS_SIZE}) > 0 AS filtered
    FROM (
        SELECT endpoint.filters FROM {ENDPOINT} AS endpoint
        WHERE endpoint.tenant_id = tenants.tenant_id AND endpoint.status IN ('active', 'paused') AND endpoint.kind <> 'callback'
        LIMIT %(endpoints)s) AS limited
) AS receiving
"""


def pending_tenants(
    after: uuid.UUID, limit: int, endpoints: int, events: int, floor: uuid.UUID, using: str
) -> list[PendingTenant]:
    """Return the tenants with pending events, see `portable.py`. A tenant with more than `endpoints` endpoints is not plain:
    checking all of them in every turn would delay the others."""
    parameters: dict[str, Any] = {
        "after": after,
        "limit": limit,
        "endpoints": endpoints,
        "events": events,
        "floor": floor,
    }
    # Between two ANALYZEs the planner may think that few events are pending, and sort them all instead of walking the index.
    rows = send(using, (_PENDING_TENANTS, parameters), walks_index=True, sorts=False)[0]
    return [
        PendingTenant(
            tenant_id, uid, exists, not (filters or fifo) and receiving < endpoints, fifo, receiving, pending, callbacks
        )
        for tenant_id, exists, filters, fifo, receiving, pending, callbacks, uid in rows
    ]


class SqlFanOut(NamedTuple):
    """The result of one statement. `events`: those that were finished, and the one that was split."""

    events: int
    deliveries: int
    #: Queues with new deliveries that were woken, and those to wake later: another transaction has locked the row, or the queue
    #: is FIFO and the deliveries need sequence numbers.
    woken: list[uuid.UUID]
    unwoken: list[uuid.UUID]
    #: Tenants whose events were skipped because they are not plain.
    tenants_left: list[uuid.UUID]
    #: How many deliveries the events of the `counted` tenants make on average.
    each: dict[uuid.UUID, float]


def fan_out_in_sql(
    now: datetime,
    using: str,
    *,
    shares: Mapping[uuid.UUID, int],
    held: Collection[uuid.UUID],
    floor: uuid.UUID,
    deliveries: int,
    ages: Mapping[str, timedelta],
    default_age: timedelta,
    counted: Collection[uuid.UUID] = (),
) -> SqlFanOut:
    """Create up to `deliveries` deliveries for plain events of these tenants, and wake their queues, in a transaction of its
    own. `shares`: how many events of each tenant. `held`: events to skip. `floor`: so are events with lower ids. `ages`:
    the maximum age of a delivery by wire format. `counted`: the tenants whose deliveries are counted."""
    parameters: dict[str, Any] = {
        "now": now,
        "tenants": array_literal(shares),
        "shares": array_literal(shares.values()),
        "held": array_literal(held),
        "floor": floor,
        "deliveries": deliveries,
        "wire_formats": list(ages),
        "ages": [age.total_seconds() for age in ages.values()],
        "default_age": default_age.total_seconds(),
        "counted": array_literal(counted),
    }
    rows = send(using, (_FAN_OUT, parameters), relaxed=True, walks_index=True)[0]
    done, created, woken, unwoken, left, *counts = rows[0]
    taken, made = (dict(text.split() for text in count) for count in counts)
    each = {uuid.UUID(key): int(made.get(key, 0)) / int(number) for key, number in taken.items()}
    return SqlFanOut(done, created, woken, unwoken, left, each)
