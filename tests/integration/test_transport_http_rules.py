"""Which responses are valid HTTP/1.1: one table for both transports, whatever their libraries would accept.

What is invalid up to the end of the headers is a failure, because nobody knows what the receiver wanted to say. After that, the
status counts, and the body is what could be read of it.
"""

from __future__ import annotations

import pytest

from tests import transports
from tests.receiver import Receiver
from tests.receiver_behaviours import Raw
from tests.transports import send
from webhooks_app.core.retry import OutcomeKind
from webhooks_app.transport import Transport

transport_name = transports.transport_name
open_one = transports.open_one
transport = transports.transport
shared_receiver = transports.shared_receiver
receiver = transports.receiver

OK = b"HTTP/1.1 200 OK\r\n"
BODY = b"\r\nbody"
CHUNKS = b"\r\n4\r\nbody\r\n0\r\n\r\n"

VALID = {
    "no header at all": b"HTTP/1.1 200 OK\r\n" + BODY,
    "no reason": b"HTTP/1.1 200 \r\nContent-Length: 4\r\n" + BODY,
    "no space after the status": b"HTTP/1.1 200\r\nContent-Length: 4\r\n" + BODY,
    "Latin-1 in the reason": b"HTTP/1.1 200 d\xe9j\xe0\r\nContent-Length: 4\r\n" + BODY,
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n" + BODY,
    "HTTP/1.0 until the connection ends": b"HTTP/1.0 200 OK\r\n" + BODY,
    "lines end with LF": b"HTTP/1.1 200 OK\nContent-Length: 4\n\nbody",
    "names in capitals": OK + b"CONTENT-LENGTH: 4\r\n" + BODY,
    "no space after the colon": OK + b"Content-Length:4\r\n" + BODY,
    "spaces around a value": OK + b"Content-Length: \t 4 \t\r\n" + BODY,
    "an empty value": OK + b"X-A:\r\nContent-Length: 4\r\n" + BODY,
    "Latin-1 in a value": OK + b"X-A: d\xe9j\xe0\r\nContent-Length: 4\r\n" + BODY,
    "every character of a name": OK + b"a!#$%&'*+-.^_`|~9: b\r\nContent-Length: 4\r\n" + BODY,
    "a value on two lines": OK + b"X-A: b\r\n  c\r\nContent-Length: 4\r\n" + BODY,
    "101 headers": OK + b"X-A: b\r\n" * 101 + b"Content-Length: 4\r\n" + BODY,
    "the same length twice": OK + b"Content-Length: 4\r\n" * 2 + BODY,
    "the same length twice in a list": OK + b"Content-Length: 4, 4\r\n" + BODY,
    "leading zeros": OK + b"Content-Length: 0004\r\n" + BODY,
    "chunks": OK + b"Transfer-Encoding: chunked\r\n" + CHUNKS,
    "chunks in capitals": OK + b"transfer-encoding: CHUNKED\r\n" + CHUNKS,
    "chunks with extensions": OK + b'Transfer-Encoding: chunked\r\n\r\n4;a=b;c="d"\r\nbody\r\n0\r\n\r\n',
    "chunks with trailers": OK + b"Transfer-Encoding: chunked\r\nTrailer: X-A\r\n\r\n4\r\nbody\r\n0\r\nX-A: b\r\n\r\n",
    "chunk sizes with zeros": OK + b"Transfer-Encoding: chunked\r\n\r\n0004\r\nbody\r\n000\r\n\r\n",
    "103 before it": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK + b"Content-Length: 4\r\n" + BODY,
    "100 and 103 before it": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 E\r\n\r\n"
    + OK
    + b"Content-Length: 4\r\n"
    + BODY,
}

INVALID = {
    "nothing but a status line": b"HTTP/1.1 200 OK\r\n",
    "ends inside the headers": OK + b"Content-Length: 4\r\n",
    "ends inside a header line": OK + b"Content-Len",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 4\r\n" + BODY,
    "a status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 4\r\n" + BODY,
    "a status below 100": b"HTTP/1.1 099 OK\r\nContent-Length: 4\r\n" + BODY,
    "a negative status": b"HTTP/1.1 -200 OK\r\nContent-Length: 4\r\n" + BODY,
    "a status that is a word": b"HTTP/1.1 OK\r\nContent-Length: 4\r\n" + BODY,
    "another version": b"HTTP/1.9 200 OK\r\nContent-Length: 4\r\n" + BODY,
    "another protocol": b"ICY 200 OK\r\nContent-Length: 4\r\n" + BODY,
    "a small http": b"http/1.1 200 OK\r\nContent-Length: 4\r\n" + BODY,
    "an empty line first": b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n" + BODY,
    "a line without a colon": OK + b"nonsense\r\nContent-Length: 4\r\n" + BODY,
    "a line with only a colon": OK + b": b\r\nContent-Length: 4\r\n" + BODY,
    "a space in a name": OK + b"X A: b\r\nContent-Length: 4\r\n" + BODY,
    "a space before the colon": OK + b"Content-Length : 4\r\n" + BODY,
    "Latin-1 in a name": OK + b"X-\xe9: b\r\nContent-Length: 4\r\n" + BODY,
    "a NUL in a name": OK + b"X-\0A: b\r\nContent-Length: 4\r\n" + BODY,
    "a NUL in a value": OK + b"X-A: b\0c\r\nContent-Length: 4\r\n" + BODY,
    "a bare CR in a value": OK + b"X-A: b\rc\r\nContent-Length: 4\r\n" + BODY,
    "a further line first": OK + b" X-A: b\r\nContent-Length: 4\r\n" + BODY,
    "a length and chunks": OK + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n" + CHUNKS,
    "chunks and a length": OK + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n" + CHUNKS,
    "two lengths": OK + b"Content-Length: 4\r\nContent-Length: 5\r\n" + BODY,
    "two lengths in a list": OK + b"Content-Length: 4, 5\r\n" + BODY,
    "a negative length": OK + b"Content-Length: -4\r\n" + BODY,
    "a length with a sign": OK + b"Content-Length: +4\r\n" + BODY,
    "a length with a point": OK + b"Content-Length: 4.0\r\n" + BODY,
    "a hexadecimal length": OK + b"Content-Length: 0x4\r\n" + BODY,
    "a length with a space": OK + b"Content-Length: 4 4\r\n" + BODY,
    "a length that is a word": OK + b"Content-Length: abc\r\n" + BODY,
    "an empty length": OK + b"Content-Length:\r\n" + BODY,
    "a length beyond reckoning": OK + b"Content-Length: 1" + b"0" * 30 + b"\r\n" + BODY,
    "a length on two lines": OK + b"Content-Length: 4\r\n 4\r\n" + BODY,
    "an unknown encoding": OK + b"Transfer-Encoding: foo\r\n" + CHUNKS,
    "an encoding nobody asked for": OK + b"Transfer-Encoding: gzip, chunked\r\n" + CHUNKS,
    "chunks that are not last": OK + b"Transfer-Encoding: chunked, identity\r\n" + CHUNKS,
    "chunks twice": OK + b"Transfer-Encoding: chunked, chunked\r\n" + CHUNKS,
    "chunks on two lines": OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n" + CHUNKS,
    "chunks with something around": OK + b"Transfer-Encoding: \x0bchunked\r\n" + CHUNKS,
    "an empty encoding": OK + b"Transfer-Encoding:\r\n" + CHUNKS,
    "chunks in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n" + CHUNKS,
    "103 with a line without a colon": b"HTTP/1.1 103 E\r\nnonsense\r\n\r\n" + OK + b"Content-Length: 4\r\n" + BODY,
    "103 and nothing else": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
    "101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
}

#: The bodies of responses with chunks, and what can be read of them.
CUT = {
    "no chunk": (b"", b""),
    "no last chunk": (b"4\r\nbody\r\n", b"body"),
    "no end after the data": (b"4\r\nbodyX\r\n0\r\n\r\n", b"body"),
    "a size that is no number": (b"4\r\nbody\r\nxyz\r\n", b"body"),
    "a negative size": (b"4\r\nbody\r\n-4\r\nbody\r\n0\r\n\r\n", b"body"),
    "a size beyond reckoning": (b"4\r\nbody\r\n" + b"f" * 30 + b"\r\nbody", b"body"),
    "a chunk that is cut short": (b"4\r\nbody\r\n9\r\nmore", b"bodymore"),
}


@pytest.mark.parametrize("answer", VALID.values(), ids=VALID)
def test_valid(transport: Transport, receiver: Receiver, answer: bytes) -> None:
    receiver.on("/", Raw(answer))
    response = send(transport, receiver.url())
    assert (response.status, response.failure, response.detail, response.body) == (200, None, "", b"body")


@pytest.mark.parametrize("answer", INVALID.values(), ids=INVALID)
def test_invalid(transport: Transport, receiver: Receiver, answer: bytes) -> None:
    receiver.on("/", Raw(answer))
    response = send(transport, receiver.url())
    assert (response.status, response.failure) == (None, OutcomeKind.PROTOCOL_ERROR)
    assert response.detail


@pytest.mark.parametrize(("chunks", "body"), CUT.values(), ids=CUT)
def test_an_invalid_body_of_a_valid_response(
    transport: Transport, receiver: Receiver, chunks: bytes, body: bytes
) -> None:
    receiver.on("/", Raw(OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunks))
    response = send(transport, receiver.url())
    assert (response.status, response.failure, response.truncated) == (200, None, True)
    assert response.body == body
    assert response.detail.startswith("the body was cut short")


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_a_body_has_none(transport: Transport, receiver: Receiver, status: int) -> None:
    receiver.on("/", Raw(b"HTTP/1.1 %d X\r\nContent-Length: 4\r\n\r\n" % status))
    response = send(transport, receiver.url())
    assert (response.status, response.detail, response.body) == (status, "", b"")


MARK = b"\x1b[31mBearer " + b"Q" * 150


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"Transfer-Encoding: " + MARK + b"\r\n\r\n",
        OK + b"Transfer-Encoding: chunked, " + MARK + b"\r\n\r\n",
        OK + b"Content-Length: " + MARK + b"\r\n\r\n",
        OK + b"Content-Encoding: " + MARK + b"\r\n\r\n",
        OK + b"Connection: upgrade\r\nUpgrade: " + MARK + b"\r\nContent-Length: 5\r\n\r\nx",
        OK + b"Transfer-Encoding: chunked\r\n\r\n" + MARK + b"\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + MARK + b"\r\n\r\n",
        OK + MARK + b"\r\n\r\n",
        b"HTTP/1.1 2" + MARK + b"\r\n\r\n",
        b"HTTP/1.1 401 X\r\nWWW-Authenticate: " + MARK + b"\r\nContent-Length: 5\r\n\r\nx",
    ],
)
def test_no_detail_repeats_what_the_receiver_wrote(transport: Transport, receiver: Receiver, answer: bytes) -> None:
    """It may be the request's own credentials. The start of a line that is not HTTP is shown, with escapes."""
    receiver.on("/", Raw(answer))
    detail = send(transport, receiver.url()).detail
    assert "\x1b" not in detail
    assert detail.count("Q") <= 60
