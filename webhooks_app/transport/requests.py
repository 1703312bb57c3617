"""The transport that is always there: `requests` in a pool of threads.

It keeps every promise of `base.Transport`, at a lower speed than `curl` and with HTTP/1.1 only. `requests` knows no
deadline for a whole request; here the thread that calls `wait` watches the time, answers for a request that is late and
cuts its connection off. The `responses` library intercepts it (it replaces the adapter's `send`), so a host product can
test with it: `WEBHOOKS["TRANSPORT"] = "requests"`. Interim answers other than 100 Continue are not understood.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Iterator
from itertools import count
from queue import SimpleQueue
from time import monotonic
from typing import Any

import certifi
import requests
import urllib3
from requests.exceptions import ConnectionError as RequestsConnectionError
from requests.exceptions import RequestException, SSLError, Timeout
from urllib3.exceptions import HTTPError, ReadTimeoutError

from webhooks_app.core.addresses import refusal
from webhooks_app.core.retry import OutcomeKind
from webhooks_app.transport.base import Request, Response, TransportOptions
from webhooks_app.transport.requests_adapter import CheckedAdapter, Job, Stopped, connection_address, current
from webhooks_app.transport.resolver import Resolver
from webhooks_app.transport.wire import check_headers, failed, place_of

MAX_THREADS = 64
#: `close` waits this long for its threads, which have been cut off.
_JOIN_SECONDS = 1.0


class RequestsTransport:
    """See `base.Transport`."""

    name = "requests"

    def __init__(self, options: TransportOptions) -> None:
        self.options = options
        self.capacity = min(options.concurrency, MAX_THREADS)
        self._resolver = Resolver()
        self._adapter = CheckedAdapter(options, self._resolver, options.ca_bundle or certifi.where(), self.capacity)
        self._proxies = {"http": options.proxy, "https": options.proxy} if options.proxy else {}
        self._todo: SimpleQueue[Job | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._open: set[Job] = set()
        self._times: list[tuple[float, int, Job]] = []
        self._count = count()
        self._finished: list[Response] = []
        self._woken = False
        self._changed = threading.Condition()

    @property
    def in_flight(self) -> int:
        with self._changed:
            return len(self._open) + len(self._finished)

    def start(self, request: Request) -> None:
        job = Job(request, monotonic() + request.total_timeout)
        with self._changed:
            self._open.add(job)
            heapq.heappush(self._times, (job.deadline, next(self._count), job))
            hire = len(self._threads) < min(self.capacity, len(self._open))
        self._todo.put(job)
        if hire:
            thread = threading.Thread(target=self._work, name="webhooks-sender", daemon=True)
            thread.start()
            self._threads.append(thread)

    def wait(self, timeout: float) -> list[Response]:
        until = monotonic() + timeout
        with self._changed:
            while True:
                self._end_late_jobs()
                if self._finished or self._woken:
                    break
                next_deadline = self._times[0][0] if self._times else until
                pause = min(until, next_deadline) - monotonic()
                if pause <= 0 and until <= next_deadline:
                    break
                self._changed.wait(max(pause, 0.0))
            self._woken = False
            finished, self._finished = self._finished, []
        return finished

    def wake(self) -> None:
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            jobs = list(self._open)
            for job in jobs:
                job.over = True
            self._open.clear()
            self._times.clear()
            self._finished.clear()
        self._resolver.close()
        for _ in self._threads:
            self._todo.put(None)
        for job in jobs:
            job.cut()
        self._adapter.close()
        until = monotonic() + _JOIN_SECONDS
        for thread in self._threads:
            thread.join(max(until - monotonic(), 0.0))

    def _end_late_jobs(self) -> None:
        now = monotonic()
        while self._times and (self._times[0][2].over or self._times[0][0] <= now):
            job = heapq.heappop(self._times)[2]
            if job.over:
                continue
            seconds = now - job.deadline + job.request.total_timeout
            if job.begun:
                late = failed(job.request, OutcomeKind.TIMEOUT, "the total deadline passed", seconds)
                late.address = connection_address(job)
            else:
                detail = "no connection was free before the deadline"
                late = failed(job.request, OutcomeKind.NOT_SENT, detail, seconds)
            self._finish(job, late)
            job.cut()

    def _finish(self, job: Job, response: Response) -> None:
        """Give the response, unless one was given already. Call it with the lock held."""
        if not job.over:
            job.over = True
            self._open.discard(job)
            self._finished.append(response)
            self._changed.notify_all()

    # What the threads do.

    def _work(self) -> None:
        while (job := self._todo.get()) is not None:
            with self._changed:
                job.begun = not job.over and job.deadline > monotonic()
            if not job.begun:
                continue  # answered for, or about to be
            current.job = job
            response = self._carry_out(job)
            current.job = None
            response.address = connection_address(job)
            response.duration = monotonic() - job.deadline + job.request.total_timeout
            with self._changed:
                self._finish(job, response)

    def _carry_out(self, job: Job) -> Response:
        request = job.request
        try:
            place = place_of(request.url)
            detail = refusal(place.scheme, place.host, place.port, self.options.addresses)  # also behind a proxy
            if detail:
                return failed(request, OutcomeKind.ADDRESS_NOT_ALLOWED, detail)
            prepared = _prepare(request)
        except (ValueError, RequestException) as error:
            return failed(request, OutcomeKind.NOT_SENT, str(error))
        try:
            try:
                return self._exchange(job, prepared)
            except RequestsConnectionError as error:
                if job.dialled or job.over or not _says_closed(error):
                    raise
                return self._exchange(job, prepared)  # the kept connection was closed just then; libcurl does the same
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this request's and must not end the thread
            return failed(request, *_sort(error))

    def _exchange(self, job: Job, prepared: requests.PreparedRequest) -> Response:
        seconds = max(job.deadline - monotonic(), 0.001)
        connect = min(job.request.connect_timeout, seconds)
        answer = self._adapter.send(
            prepared, stream=True, timeout=(connect, seconds), verify=True, proxies=self._proxies
        )
        raw = answer.raw
        try:
            if answer.status_code < 200:
                raise Stopped(OutcomeKind.PROTOCOL_ERROR, f"an interim answer ({answer.status_code}) where one was due")
            body = _read(raw, self.options.body_limit + 1)
        except BaseException:
            raw.close()
            raise
        truncated = len(body) > self.options.body_limit
        if truncated:
            raw.close()
        return Response(
            job.request.token,
            answer.status_code,
            _header_block(raw.headers, self.options.header_limit),
            body[: self.options.body_limit],
            0.0,
            truncated=truncated,
            http_version={10: "1.0", 11: "1.1"}.get(raw.version, ""),
        )


def _prepare(request: Request) -> requests.PreparedRequest:
    """Raises ValueError where the request cannot be sent as it is."""
    check_headers(request.headers)
    headers = {"User-Agent": "webhooks-app", "Accept-Encoding": "identity", "Accept": "*/*"}
    seen = {name.lower(): name for name in headers}
    for name, value in request.headers:
        headers.pop(seen.get(name.lower(), ""), None)
        seen[name.lower()] = name
        headers[name] = value
    return requests.Request("POST", request.url, headers=headers, data=request.body).prepare()


def _read(raw: Any, limit: int) -> bytes:
    """At most `limit` bytes of the body, as they came. Raises urllib3's errors for a body that is cut short."""
    chunks: list[bytes] = []
    room = limit
    while room > 0 and (chunk := raw.read(room, decode_content=False)):
        chunks.append(chunk)
        room -= len(chunk)
    return b"".join(chunks)


def _header_block(headers: Any, limit: int) -> bytes:
    lines: list[bytes] = []
    for name, value in _pairs(headers):
        line = f"{name}: {value}\r\n".encode("latin-1", "replace")
        limit -= len(line)
        if limit < 0:
            break
        lines.append(line)
    return b"".join(lines)


def _pairs(headers: Any) -> Iterator[tuple[str, str]]:
    yield from headers.iteritems() if isinstance(headers, urllib3.HTTPHeaderDict) else headers.items()


def _says_closed(error: RequestsConnectionError) -> bool:
    """Did the other side close the connection before a byte of an answer came?"""
    reason = error.args[0] if error.args else None
    cause = reason.args[1] if isinstance(reason, urllib3.exceptions.ProtocolError) and len(reason.args) > 1 else None
    return isinstance(cause, (ConnectionResetError, BrokenPipeError))  # http.client.RemoteDisconnected is one


def _sort(error: Exception) -> tuple[OutcomeKind, str]:
    """What to record for an error of `requests` or urllib3."""
    detail = str(error) or type(error).__name__
    if isinstance(error, Stopped):
        return error.kind, detail
    if isinstance(error, (Timeout, ReadTimeoutError, TimeoutError)):
        return OutcomeKind.TIMEOUT, detail
    if isinstance(error, SSLError):
        return OutcomeKind.TLS_ERROR, detail
    if isinstance(error, RequestsConnectionError):
        reason = error.args[0] if error.args else None
        connected = isinstance(reason, urllib3.exceptions.ProtocolError)
        return (OutcomeKind.PROTOCOL_ERROR if connected else OutcomeKind.REFUSED), detail
    if isinstance(error, (RequestException, HTTPError, OSError)):
        return OutcomeKind.PROTOCOL_ERROR, detail
    return OutcomeKind.NOT_SENT, f"{type(error).__name__}: {detail}"
