"""The delivery log's own promises: whose rows it reads, and through which indexes."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.factories import DeliveryFactory, EndpointFactory
from webhooks_app.deliveries.log import DeliveryLog, LogFilter
from webhooks_app.exceptions import NotFound
from webhooks_app.models import Endpoint

pytestmark = pytest.mark.django_db


def test_an_endpoint_of_another_tenants_is_refused() -> None:
    mine, theirs = EndpointFactory(), EndpointFactory()
    DeliveryFactory(endpoint=theirs)
    with pytest.raises(NotFound):
        DeliveryLog(mine.tenant_id, LogFilter(endpoint_id=theirs.pk))


@pytest.mark.postgres
@pytest.mark.parametrize("status", ["exhausted", "cancelled"])
@pytest.mark.parametrize("of_endpoint", [False, True])
def test_what_was_given_up_or_cancelled_is_read_from_its_own_index(status: str, of_endpoint: bool) -> None:
    endpoint: Endpoint = EndpointFactory()
    DeliveryFactory(endpoint=endpoint, status=status)
    wanted = LogFilter(status=status, endpoint_id=endpoint.pk if of_endpoint else None)
    with connection.cursor() as cursor:
        for way in (
            "seqscan",
            "bitmapscan",
            "sort",
        ):  # in so small a table any way would do: is there one without these?
            cursor.execute(f"SET LOCAL enable_{way} = off")
    log = DeliveryLog(endpoint.tenant_id, wanted)
    with CaptureQueriesContext(connection) as seen:
        assert len(log.page().rows) == 1
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN " + seen.captured_queries[0]["sql"])
        plan = "\n".join(line for (line,) in cursor.fetchall())
    index = "webhooks_delivery_failed_at" if of_endpoint else "webhooks_delivery_failed"
    assert f"using {index} on" in plan
    assert "Sort" not in plan
