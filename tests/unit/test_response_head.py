"""What a response's headers say: any bytes lead to an answer or to InvalidResponse."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from webhooks_app.transport.response_head import Framing, InvalidResponse, check_fields, cut_headers, framing_of

PIECES = st.sampled_from(
    [
        b"Content-Length",
        b"Transfer-Encoding",
        b"X-A",
        b":",
        b" ",
        b"\t",
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b"4",
        b",",
        b"chunked",
    ]
)


@given(st.lists(PIECES | st.binary(max_size=3), max_size=12).map(b"".join), st.sampled_from(["1.0", "1.1", "2"]))
def test_any_bytes(headers: bytes, version: str) -> None:
    try:
        check_fields(headers)
        framing = framing_of(version, headers)
    except InvalidResponse as error:
        reason = str(error)
    else:
        reason = ""
        assert framing.length is None or (0 <= framing.length < 10**18 and not framing.chunked)
        assert b"\0" not in headers
        assert headers.count(b"\r") <= headers.count(b"\n")
    assert len(reason) < 300


def test_framing() -> None:
    assert framing_of("1.1", b"") == Framing(None, False)
    assert framing_of("1.1", b"content-length: 12\r\nX-Content-Length: 3\r\n") == Framing(12, False)
    assert framing_of("1.1", b"X-A: b\r\nTransfer-Encoding: chunked\r\n") == Framing(None, True)


@given(
    st.lists(st.binary(max_size=20).map(lambda line: line.replace(b"\n", b"") + b"\n")).map(b"".join),
    st.integers(0, 50),
)
def test_headers_are_cut_between_lines(headers: bytes, limit: int) -> None:
    kept = cut_headers(headers, limit)
    assert headers.startswith(kept)
    assert len(kept) <= limit
    assert not kept or kept.endswith(b"\n")
    following = headers[len(kept) :].split(b"\n", 1)[0] + b"\n" if len(kept) < len(headers) else b""
    assert kept == headers or len(kept) + len(following) > limit
