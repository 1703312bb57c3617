"""Execute one request of the `requests` transport, and return its response."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

import requests
import urllib3
from requests.exceptions import ConnectionError as RequestsConnectionError
from requests.exceptions import InvalidHeader, RequestException, SSLError, Timeout
from urllib3.exceptions import HTTPError, ReadTimeoutError

from webhooks_app.core.addresses import refusal
from webhooks_app.core.retry import OutcomeKind
from webhooks_app.core.tls_alerts import certificate_alert
from webhooks_app.transport.base import Request, Response, TransportOptions
from webhooks_app.transport.faults import fault_of, not_sent
from webhooks_app.transport.requests_adapter import CheckedAdapter
from webhooks_app.transport.requests_job import Head, Job, Stopped
from webhooks_app.transport.validation import CUT_SHORT, MAX_BODY_PIECES, TOO_MANY_PIECES, check_request, failed


class Exchange:
    """Executes requests, each in the thread that calls `carry_out`. `on_head` is called when headers are complete."""

    def __init__(self, options: TransportOptions, adapter: CheckedAdapter, on_head: Callable[[Job], None]) -> None:
        self._options = options
        self._adapter = adapter
        self._on_head = on_head

    def carry_out(self, job: Job) -> Response:
        """Send the request and return the response. Raises no Exception (only other BaseExceptions)."""
        request = job.request
        try:
            place = check_request(request)
            detail = refusal(place.scheme, place.host, place.port, self._options.addresses)  # also behind a proxy
            if detail:
                return failed(request, OutcomeKind.ADDRESS_NOT_ALLOWED, detail)
            return self._exchange(job, _prepare(request))
        except Exception as error:  # noqa: BLE001 - it becomes this request's response and must not end the thread
            if job.head is not None:
                return job.response(job.head, self._options.body_limit, f"{CUT_SHORT}: {error or type(error).__name__}")
            return _sort(error, request)

    def _exchange(self, job: Job, prepared: requests.PreparedRequest) -> Response:
        try:
            answer = self._send(job, prepared)
        except RequestsConnectionError as error:
            if job.dialled or job.over or not _says_closed(error):
                raise
            answer = self._send(job, prepared)  # the kept connection had just been closed; libcurl retries too
        raw = answer.raw
        try:
            head = job.head or _head_of(answer, self._options.header_limit)  # None with the `responses` library
            if head.status < 200:
                raise Stopped(OutcomeKind.PROTOCOL_ERROR, f"switched protocols without being asked ({head.status})")
            self._read_body(job, raw, head)
        except BaseException:
            raw.close()
            raise
        return job.response(head, self._options.body_limit)

    def _send(self, job: Job, prepared: requests.PreparedRequest) -> requests.Response:
        seconds = max(job.deadline - monotonic(), 0.001)
        connect = min(job.request.connect_timeout, seconds)
        return self._adapter.send(prepared, stream=True, timeout=(connect, seconds), verify=True)

    def _read_body(self, job: Job, raw: Any, head: Head) -> None:
        """Read the body into the job as it arrives. Raises urllib3's errors, or Stopped, for a body that is cut short."""
        if head.status in (204, 304) and raw.chunked:
            raw.close()  # these statuses have no body, whatever the headers say
            return
        if raw.length_remaining != 0:
            self._on_head(job)
        room = max(self._options.body_limit, job.request.least_body) + 1
        while room > 0 and (chunk := raw.read1(room, decode_content=False)):
            if len(job.body) >= MAX_BODY_PIECES:
                raise Stopped(OutcomeKind.PROTOCOL_ERROR, TOO_MANY_PIECES)
            job.body.append(chunk)
            room -= len(chunk)
        if room <= 0:
            raw.close()


def _prepare(request: Request) -> requests.PreparedRequest:
    """Prepare the request. Raises ValueError if `requests` would not send it unchanged."""
    headers = {"User-Agent": "webhooks-app", "Accept-Encoding": "identity", "Accept": "*/*"}
    seen = {name.lower(): name for name in headers}
    for name, value in request.headers:
        headers.pop(seen.get(name.lower(), ""), None)
        seen[name.lower()] = name
        headers[name] = value
    try:
        return requests.Request("POST", request.url, headers=headers, data=request.body).prepare()
    except InvalidHeader:  # its text contains the value, which may be a secret
        raise ValueError("a header's value begins with a space: it cannot be sent") from None


def _head_of(answer: requests.Response, limit: int) -> Head:
    version = {10: "1.0", 11: "1.1"}.get(answer.raw.version, "")
    return Head(answer.status_code, version, _header_block(answer.raw.headers, limit))


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
    """Return whether the receiver closed the connection before the first byte of a response."""
    reason = error.args[0] if error.args else None
    cause = reason.args[1] if isinstance(reason, urllib3.exceptions.ProtocolError) and len(reason.args) > 1 else None
    return isinstance(cause, (ConnectionResetError, BrokenPipeError))  # http.client.RemoteDisconnected is one


def _sort(error: Exception, request: Request) -> Response:
    """Return the response for an error of `requests`, of urllib3 or of this package."""
    detail = str(error) or type(error).__name__
    is_tls = isinstance(error, SSLError) or (isinstance(error, Stopped) and error.kind is OutcomeKind.TLS_ERROR)
    sent = request.tls is not None and bool(request.tls.certificate)
    if is_tls and (alert := certificate_alert(detail, sent=sent)):
        return failed(request, OutcomeKind.TLS_ERROR, alert)
    if isinstance(error, Stopped):
        return failed(request, error.kind, detail, our_fault=error.our_fault)
    fault = fault_of(error)
    kind = _kind_of(error) if fault is None else OutcomeKind.NOT_SENT
    if kind is OutcomeKind.NOT_SENT:
        return not_sent(request, error)
    return failed(request, kind, detail)


def _kind_of(error: Exception) -> OutcomeKind:
    if isinstance(error, (Timeout, ReadTimeoutError, TimeoutError)):
        return OutcomeKind.TIMEOUT
    if isinstance(error, SSLError):
        return OutcomeKind.TLS_ERROR
    if isinstance(error, RequestsConnectionError):
        reason = error.args[0] if error.args else None
        connected = isinstance(reason, urllib3.exceptions.ProtocolError)
        return OutcomeKind.PROTOCOL_ERROR if connected else OutcomeKind.REFUSED
    if isinstance(error, ValueError):  # includes the errors of `requests` for a request that it does not send
        return OutcomeKind.NOT_SENT
    if isinstance(error, (RequestException, HTTPError, OSError)):
        return OutcomeKind.PROTOCOL_ERROR
    return OutcomeKind.NOT_SENT
