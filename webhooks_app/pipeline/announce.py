"""announce: the public signals of one recorded batch, after its commit."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from django.dispatch import Signal

from webhooks_app import signals
from webhooks_app.core.retry import Verdict
from webhooks_app.models import Delivery, Endpoint
from webhooks_app.pipeline.work import Result

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Recorded:
    """What one batch came to, for the signals that are sent after its commit."""

    succeeded: list[Result] = field(default_factory=list)
    exhausted: list[Result] = field(default_factory=list)
    disabled: list[Result] = field(default_factory=list)
    recovered: list[Result] = field(default_factory=list)

    def worth_telling(self) -> Recorded:
        """Without the playgrounds: somebody tries things there, and looks on."""
        return Recorded(
            *(
                [result for result in results if not result.route.playground]
                for results in (self.succeeded, self.exhausted, self.disabled, self.recovered)
            )
        )


def announce(recorded: Recorded) -> None:
    """Send the public signals; nothing is computed where nobody listens."""
    for signal, results in (
        (signals.delivery_succeeded, recorded.succeeded),
        (signals.delivery_exhausted, recorded.exhausted),
    ):
        if signal.has_listeners(Delivery):
            for result in results:
                _send(signal, Delivery, _about_delivery(result))
    for result in recorded.disabled:
        _send(signals.endpoint_disabled, Endpoint, {**_about_endpoint(result), "reason": result.disable})
    for result in recorded.recovered:
        _send(
            signals.endpoint_recovered, Endpoint, {**_about_endpoint(result), "failing_since": result.was.failing_since}
        )


def _about_endpoint(result: Result) -> dict[str, object]:
    return {"endpoint_id": result.job.endpoint_id, "tenant_id": result.route.tenant_id}


def _about_delivery(result: Result) -> dict[str, object]:
    about = _about_endpoint(result) | {
        "delivery_id": result.job.delivery_id,
        "event_id": result.job.event_id,
        "status": result.outcome.status,
        "attempts": result.job.number if result.was_sent else result.job.attempts,
    }
    given_up = result.decision is not None and result.decision.verdict is Verdict.GIVE_UP
    return about | {"outcome": result.outcome.kind.value} if given_up else about


def _send(signal: Signal, sender: type, arguments: dict[str, object]) -> None:
    for receiver, answer in signal.send_robust(sender=sender, **arguments):
        if isinstance(answer, Exception):
            logger.error("webhooks: the signal receiver %r failed", receiver, exc_info=answer)
