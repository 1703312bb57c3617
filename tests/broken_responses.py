"""Responses as no server should send them."""

from __future__ import annotations

import random

#: Bytes of a response, of which a fuzzer changes some.
SAMPLE = (
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\nHTTP/1.1 404: x\r\n\r\n"
    b"5;a=b\r\nhello\r\n0\r\nX-Trailer: c\r\n\r\n"
)
PIECES = [
    b"HTTP/1.1 200 OK\r\n", b"HTTP/" + b"A" * 300, b"HTTP/9.9 999\r\n", b"\r\n", b"\n", b"\r", b"\0", b"\xff" * 40, b":", b" ",
    b"Content-Length: 3\r\n", b"Content-Length: -1\r\n", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n", b"101", b"1" * 40,
    b"Retry-After: Wed, 21 Oct 99999999999999999999 07:28:00 GMT\r\n", b"HTTP/1.1 101 X\r\n\r\n",
    b"Retry-After: " + b"9" * 400 + b"\r\n", b"Connection: Upgrade\r\nUpgrade: h2c\r\n", b"Content-Encoding: gzip\r\n",
    b"Location: http://169.254.169.254/\r\n",
    b"HTTP/1.1 503 Busy\r\n", b"HTTP/1.1 410 Gone\r\n", b"\xed\xa0\x80", b"FFFFFFFFFFFFFFFF\r\n",
    b";" * 300, b"X: " + b"x" * 9000,
]  # fmt: skip


def broken_response(dice: random.Random) -> bytes:
    """Return a response with some changes, which is hardly ever valid."""
    data = bytearray(SAMPLE)
    for _ in range(dice.randint(1, 6)):
        place = dice.randrange(len(data) + 1)
        match dice.randrange(4):
            case 0:
                data[place:place] = dice.choice(PIECES)
            case 1:
                del data[place : place + dice.randint(1, 30)]
            case 2:
                data[place : place + 1] = bytes([dice.randrange(256)])
            case _:
                data[place : place + 20] = dice.choice(PIECES)
    return bytes(data)
