"""The transport of the playground: respond to requests to `playground:…` in this process; send all others to the network.

Its requests never reach a transport that could connect, so the address rules need no exception. URLs with any other
scheme never reach the playground.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from itertools import count
from time import monotonic

from webhooks_app.core.playground import CONTENT_TYPE, ECHO_BYTES, echo, is_playground_url, response_of
from webhooks_app.core.retry import OutcomeKind
from webhooks_app.transport.base import Request, Response, StuckCall, Transport
from webhooks_app.transport.faults import not_sent
from webhooks_app.transport.validation import check_headers, check_timeouts, failed


@dataclass(slots=True, order=True)
class _Due:
    """A response, and when (monotonic) it is due. Ordered by time and number, for the heap."""

    at: float
    number: int
    response: Response = field(compare=False)


class PlaygroundTransport:
    """Combines another transport with the playground; see `base.Transport`."""

    def __init__(self, network: Transport) -> None:
        self._network = network
        self.name = network.name
        self.capacity = network.capacity
        self._due: list[_Due] = []
        self._count = count()

    @property
    def in_flight(self) -> int:
        return self._network.in_flight + len(self._due)

    def start(self, request: Request) -> None:
        try:
            if not is_playground_url(request.url):
                self._network.start(request)
                return
            response = _answer(request)
        except Exception as error:  # noqa: BLE001 - it becomes this request's response
            response = not_sent(request, error)
        heapq.heappush(self._due, _Due(monotonic() + response.duration, next(self._count), response))

    def wait(self, timeout: float) -> list[Response]:
        if not self._due:
            return list(self._network.wait(timeout))
        until = monotonic() + timeout
        while True:
            pause = max(min(until, self._due[0].at) - monotonic(), 0.0)
            began = monotonic()
            finished = [*self._network.wait(pause), *self._take_due()]
            # The last condition: it returned early without a response, because another thread called `wake`.
            if finished or monotonic() >= until or monotonic() < began + pause:
                return finished

    def wake(self) -> None:
        self._network.wake()

    @property
    def is_stuck(self) -> bool:
        return self._network.is_stuck

    def give_up(self) -> StuckCall | None:
        return self._network.give_up()

    def take_costly(self) -> set[object]:
        return self._network.take_costly()

    def close(self) -> None:
        self._due.clear()
        self._network.close()

    def _take_due(self) -> list[Response]:
        taken, now = [], monotonic()
        while self._due and self._due[0].at <= now:
            taken.append(heapq.heappop(self._due).response)
        return taken


def _answer(request: Request) -> Response:
    """Return the response; its `duration` is how long to wait before returning it. Errors become the request's response.

    The body is the request itself, so that users can inspect it, even if the status allows no body or there is no response.
    """
    answer = response_of(request.url)
    if answer is None:
        return failed(request, OutcomeKind.NOT_SENT, "the playground knows no such answer")
    check_timeouts(request)
    check_headers(request.headers)
    if answer.status is None:
        response = failed(request, OutcomeKind.TIMEOUT, "the playground does not answer", request.total_timeout)
    else:
        retry_after = f"Retry-After: {answer.retry_after}\r\n" if answer.retry_after is not None else ""
        headers = f"Content-Type: {CONTENT_TYPE}\r\n{retry_after}".encode()
        response = Response(request.token, answer.status, headers, b"", 0.0)
    response.body = echo(request.headers, request.body)
    response.truncated = len(request.body) > ECHO_BYTES
    return response
