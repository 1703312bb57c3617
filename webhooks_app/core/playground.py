"""The inspector: a receiver of our own, for people who have no server to try things with.

Its URLs are `inspector:<answer>`, a scheme that `check_url` refuses to everybody: only the playground writes such a URL.
What a request looked like is its answer's body, in the form that HTTP has for that (`message/http`, as TRACE gives it),
and so it is kept with the attempt like any answer.
"""

from __future__ import annotations

from dataclasses import dataclass

SCHEME = "inspector"
#: Of a request's body, so much is echoed: any event with the standard limit, whatever its envelope, and its signature.
ECHO_BYTES = 384 * 1024
CONTENT_TYPE = "message/http"
_PREFIX = f"{SCHEME}:"
_REQUEST_LINE = b"POST / HTTP/1.1"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the inspector answers with. `status` None: nothing, until the request's deadline has passed."""

    name: str
    status: int | None
    #: Seconds, for a Retry-After header.
    retry_after: int | None = None


ANSWERS = {
    answer.name: answer
    for answer in (
        Answer("200", 200),
        Answer("204", 204),
        Answer("400", 400),
        Answer("410", 410),
        Answer("429", 429, retry_after=10),
        Answer("500", 500),
        Answer("timeout", None),
    )
}
DEFAULT_ANSWER = "200"


@dataclass(frozen=True, slots=True)
class ArrivedRequest:
    """A request as the inspector got it: names and values as they were sent, and the body, at most ECHO_BYTES of it."""

    headers: tuple[tuple[str, str], ...]
    body: bytes


def url_of(answer: str) -> str:
    """The URL of an inspector that answers so."""
    return _PREFIX + ANSWERS[answer].name


def is_inspector(url: str) -> bool:
    """Does this URL lead to the inspector, and never to the network?"""
    return url.startswith(_PREFIX)


def answer_of(url: str) -> Answer | None:
    """What the inspector at this URL answers; None where there is no such answer."""
    return ANSWERS.get(url.removeprefix(_PREFIX)) if is_inspector(url) else None


def echo(headers: tuple[tuple[str, str], ...], body: bytes) -> bytes:
    """The request as it came, as text of HTTP. Header names and values must have been checked for line breaks."""
    lines = [_REQUEST_LINE, *(f"{name}: {value}".encode("latin-1") for name, value in headers)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body[:ECHO_BYTES]


def arrived(echoed: bytes) -> ArrivedRequest | None:
    """What `echo` was given; None for bytes that are no echo."""
    head, separator, body = echoed.partition(b"\r\n\r\n")
    line, *lines = head.split(b"\r\n")
    if line != _REQUEST_LINE or not separator:
        return None
    pairs = (text.decode("latin-1").partition(": ") for text in lines)
    return ArrivedRequest(tuple((name, value) for name, _, value in pairs), body)
