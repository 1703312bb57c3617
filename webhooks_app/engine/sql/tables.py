"""The names of the tables, for statements that are written in SQL.

Columns are written there as they are: a statement made of names for its columns could not be read any more. The tests run
each statement, so a column that was renamed is noticed.
"""

from __future__ import annotations

from webhooks_app.models import (
    Attempt,
    Delivery,
    Endpoint,
    EndpointQueue,
    Event,
    EventChannel,
    HourlyStat,
    Subscription,
    Tenant,
)

ATTEMPT = Attempt._meta.db_table
CHANNEL = EventChannel._meta.db_table
DELIVERY = Delivery._meta.db_table
ENDPOINT = Endpoint._meta.db_table
EVENT = Event._meta.db_table
HOURLY_STAT = HourlyStat._meta.db_table
QUEUE = EndpointQueue._meta.db_table
SUBSCRIPTION = Subscription._meta.db_table
TENANT = Tenant._meta.db_table
