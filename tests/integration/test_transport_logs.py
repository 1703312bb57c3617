"""What the libraries of the transports log: no query of a URL, which may contain a token, and no byte of a receiver."""

from __future__ import annotations

import logging

import pytest

from tests import transports
from tests.receiver import Receiver
from tests.receiver_behaviours import Behaviour, Close, Raw, Reset
from tests.transports import Open, send

transport_name = transports.transport_name
open_one = transports.open_one
shared_receiver = transports.shared_receiver
receiver = transports.receiver

BAD = {
    "good": Raw(b"HTTP/1.1 200 RECEIVED\r\nContent-Length: 8\r\nX-A: RECEIVED\r\n\r\nRECEIVED", close=False),
    "a bad header line": Raw(b"HTTP/1.1 200 OK\r\nRECEIVED\r\nContent-Length: 0\r\n\r\n"),
    "a space before the colon": Raw(b"HTTP/1.1 200 OK\r\nRECEIVED : 1\r\nContent-Length: 0\r\n\r\n"),
    "a folded line": Raw(b"HTTP/1.1 200 OK\r\nConnection: close\r\n RECEIVED\r\nContent-Length: 0\r\n\r\n"),
    "a folded first line": Raw(b"HTTP/1.1 200 OK\r\n RECEIVED: 1\r\nContent-Length: 0\r\n\r\n"),
    "odd connection headers": Raw(b"HTTP/1.1 200 OK\r\nConnection: \x80RECEIVED\r\nKeep-Alive: RECEIVED\r\n\r\n"),
    "a multipart type": Raw(b"HTTP/1.1 200 OK\r\nContent-Type: multipart/mixed; boundary=RECEIVED\r\n\r\n--RECEIVED"),
    "no status line": Raw(b"RECEIVED\r\n\r\n"),
    "a bad chunk": Raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nRECEIVED\r\n"),
    "both lengths": Raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 8\r\n\r\nRECEIVED"),
    "a body cut short": Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 80\r\n\r\nRECEIVED"),
    "headers cut short": Raw(b"HTTP/1.1 200 OK\r\nX-A: RECEIVED"),
    "nothing": Close(),
    "a reset": Reset(b"HTTP/1.1 200 RECEIVED"),
}


@pytest.mark.parametrize("behaviour", BAD.values(), ids=BAD.keys())
def test_no_log_line_has_the_query_or_the_response(
    open_one: Open, receiver: Receiver, caplog: pytest.LogCaptureFixture, behaviour: Behaviour
) -> None:
    caplog.set_level(logging.DEBUG)
    receiver.on("/hook", behaviour)
    transport = open_one()
    for _ in range(2):
        response = send(transport, receiver.url("/hook?token=hush-tacet"))
        assert "tacet" not in response.detail
    assert receiver.requests[0].path == "/hook?token=hush-tacet"
    lines = [record for record in caplog.records if record.name != "asyncio"]
    written = "\n".join(logging.Formatter().format(record) for record in lines)
    assert "tacet" not in written
    assert "RECEIVED" not in written
    assert all(record.levelno < logging.WARNING for record in lines)


def test_no_error_has_the_query(open_one: Open, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for url in ("http://127.0.0.1:1/a?token=hush-tacet", "http://nonexistent.invalid/a?token=hush-tacet"):
        response = send(open_one(), url, total=10.0)
        assert response.failure is not None
        assert "tacet" not in response.detail
    assert "tacet" not in caplog.text
