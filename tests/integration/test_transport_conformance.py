"""What every transport promises, tried on both against a real receiver. See also the files `test_transport_*`."""

from __future__ import annotations

import contextlib
import gzip
import socket
import threading
from dataclasses import replace

import pytest

from tests import transports
from tests.receiver import Receiver
from tests.receiver_behaviours import Close, Endless, Raw, Reset
from tests.transports import Open, gather, request, send
from webhooks_app.core.retry import OutcomeKind
from webhooks_app.transport import Request, Transport

transport_name = transports.transport_name
open_one = transports.open_one
transport = transports.transport
shared_receiver = transports.shared_receiver
receiver = transports.receiver

#: Request targets that libraries rewrite: dot segments, percent-encodings, brackets, an empty query.
TARGETS = (
    "/a/../b", "/a/./b", "/..", "/%2e%2e/x", "/a/%2E/b", "/x%2Fy", "/%7ea", "/~a", "/a//b", "/?", "/a?", "/a?x=%41",
    "/a?x=%c3%a9", "/a?x=[1]", "/a[1]", "/a?x='y'", "/a?x=a+b&y=", "/a;p=1", "/a?/../b", "/a:b@c", "/a?x=%00", "/a?u=http://b/?c",
    "//double", "/a?q=!$&'()*+,;=:@/?",
)  # fmt: skip


class TestAnAnswer:
    def test_is_given_back_with_its_token(self, transport: Transport, receiver: Receiver) -> None:
        receiver.on("/hook", status=202, headers={"X-Shade": "blue"}, body=b"taken")
        token = object()
        transport.start(request(receiver.url("/hook?a=1"), token, body=b'{"a": 1}', webhook_id="evt_1"))
        assert transport.in_flight == 1
        [response] = gather(transport)
        assert transport.in_flight == 0
        assert response.token is token
        assert (response.status, response.body, response.truncated) == (202, b"taken", False)
        assert response.header("x-shade") == "blue"
        assert (response.address, response.http_version) == ("127.0.0.1", "1.1")
        assert 0 < response.duration < 5

    def test_comes_to_a_request_that_arrived_unchanged(self, transport: Transport, receiver: Receiver) -> None:
        send(transport, receiver.url("/hook?a=1"), body=b'{"a":\xff}', webhook_id="evt_1", x_empty="")
        [received] = receiver.wait_for(1)
        assert (received.method, received.path, received.body) == ("POST", "/hook?a=1", b'{"a":\xff}')
        assert received.headers["host"] == f"127.0.0.1:{receiver.port}"
        assert received.headers["webhook-id"] == "evt_1"
        assert received.headers["content-type"] == "application/json"
        assert received.headers["content-length"] == "7"
        assert received.headers["accept-encoding"] == "identity"
        assert received.headers["x-empty"] == ""
        for unwanted in ("expect", "cookie", "referer", "authorization", "transfer-encoding"):
            assert unwanted not in received.headers

    @pytest.mark.parametrize("target", TARGETS)
    def test_comes_to_the_target_byte_for_byte(self, transport: Transport, receiver: Receiver, target: str) -> None:
        assert send(transport, receiver.url(target)).status == 200
        assert receiver.wait_for(1)[0].path == target

    def test_comes_to_the_root_of_a_url_without_a_path(self, transport: Transport, receiver: Receiver) -> None:
        for rest in ("", "?a=1"):
            assert send(transport, receiver.url("") + rest).status == 200
        assert [one.path for one in receiver.wait_for(2)] == ["/", "/?a=1"]

    def test_may_come_to_an_empty_body(self, transport: Transport, receiver: Receiver) -> None:
        assert send(transport, receiver.url(), body=b"").status == 200
        [received] = receiver.wait_for(1)
        assert (received.body, received.headers["content-length"]) == (b"", "0")

    @pytest.mark.parametrize("status", [200, 204, 400, 404, 410, 429, 500, 503, 599, 999])
    def test_may_have_any_status(self, transport: Transport, receiver: Receiver, status: int) -> None:
        receiver.on("/", Raw(b"HTTP/1.1 %d Whatever\r\nContent-Length: 0\r\n\r\n" % status, close=False))
        assert send(transport, receiver.url()).status == status

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_that_redirects_is_not_followed(self, transport: Transport, receiver: Receiver, status: int) -> None:
        receiver.on("/", status=status, headers={"Location": receiver.url("/elsewhere")})
        assert send(transport, receiver.url()).status == status
        assert [one.path for one in receiver.requests] == ["/"]

    def test_that_sets_a_cookie_gets_none_back(self, transport: Transport, receiver: Receiver) -> None:
        receiver.on("/", headers={"Set-Cookie": "a=b; Path=/"})
        for _ in range(2):
            assert send(transport, receiver.url()).status == 200
        assert all("cookie" not in one.headers for one in receiver.requests)

    def test_of_the_next_request_uses_the_same_connection(self, transport: Transport, receiver: Receiver) -> None:
        for _ in range(5):
            assert send(transport, receiver.url()).status == 200
        assert len({one.connection for one in receiver.requests}) == 1

    def test_comes_although_the_kept_connection_was_closed(self, transport: Transport, receiver: Receiver) -> None:
        receiver.on("/", [Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), 200])
        assert send(transport, receiver.url()).status == 200
        assert send(transport, receiver.url()).status == 200

    def test_comes_although_many_kept_connections_are_dead(self, transport: Transport) -> None:
        """A firewall that forgets idle connections closes each only when something comes: libcurl tries five, and stops."""
        with ForgetfulServer(connections=8) as server:
            for number in range(8):
                transport.start(request(server.url, number))
            assert [one.status for one in gather(transport, 8)] == [200] * 8
            response = send(transport, server.url)
            assert (response.status, response.detail) == (200, "")
            assert 0 < response.duration < 5
            assert send(transport, server.url).status == 200  # and the handle may use kept connections again
        assert server.accepted == 9


class ForgetfulServer:
    """Answers once all of its first connections have a request, and closes each of these where another request comes."""

    def __init__(self, connections: int) -> None:
        self._first = threading.Barrier(connections)
        self._number = connections
        self.accepted = 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"

    def __enter__(self) -> ForgetfulServer:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.accepted += 1
                forgets = self.accepted <= self._number
                threading.Thread(target=self._serve, args=(connection, forgets), daemon=True).start()

    def _serve(self, connection: socket.socket, forgets: bool) -> None:
        with connection, contextlib.suppress(OSError):
            while self._read_request(connection):
                if forgets:
                    self._first.wait(10)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                if forgets:
                    self._read_request(connection)
                    return

    @staticmethod
    def _read_request(connection: socket.socket) -> bool:
        """Read one request whole: headers and body may come in two pieces. Return False at the connection's end."""
        received = b""
        while not received.endswith(b"\r\n\r\n{}"):
            piece = connection.recv(65536)
            if not piece:
                return False
            received += piece
        return True


class TestReadingIsBounded:
    def test_for_an_endless_body(self, open_one: Open, receiver: Receiver) -> None:
        transport = open_one(body_limit=1000)
        receiver.on("/", Endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 60_000))
        response = send(transport, receiver.url())
        assert (response.status, response.body, response.truncated) == (200, b"x" * 1000, True)

    def test_for_endless_chunks(self, open_one: Open, receiver: Receiver) -> None:
        transport = open_one(body_limit=1000)
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        receiver.on("/", Endless(head, b"64\r\n" + b"y" * 100 + b"\r\n"))
        response = send(transport, receiver.url())
        assert (response.status, response.body, response.truncated) == (200, b"y" * 1000, True)

    @pytest.mark.parametrize(("size", "truncated"), [(999, False), (1000, False), (1001, True)])
    def test_at_exactly_the_limit(self, open_one: Open, receiver: Receiver, size: int, truncated: bool) -> None:
        transport = open_one(body_limit=1000)
        receiver.on("/", body=b"z" * size)
        response = send(transport, receiver.url())
        assert (len(response.body), response.truncated) == (min(size, 1000), truncated)

    def test_at_the_limit_of_a_request_that_needs_more(self, open_one: Open, receiver: Receiver) -> None:
        transport = open_one(body_limit=10)
        for size, truncated in ((1000, False), (1001, True), (1000, False)):
            receiver.on("/", body=b"z" * size)
            transport.start(replace(request(receiver.url()), least_body=1000))
            [response] = gather(transport)
            assert (response.body, response.truncated) == (b"z" * 1000, truncated)
        assert send(transport, receiver.url()).body == b"z" * 10

    def test_for_a_gzip_bomb_which_stays_packed(self, transport: Transport, receiver: Receiver) -> None:
        bomb = gzip.compress(bytes(8_000_000))
        receiver.on("/", headers={"Content-Encoding": "gzip"}, body=bomb)
        response = send(transport, receiver.url())
        assert response.body == bomb[: 16 * 1024]

    def test_for_long_headers_which_are_cut_at_a_line(self, open_one: Open, receiver: Receiver) -> None:
        transport = open_one(header_limit=200)
        receiver.on("/", headers={f"X-{number}": "v" * 20 for number in range(50)}, body=b"body")
        response = send(transport, receiver.url())
        assert (response.status, response.body) == (200, b"body")
        assert 150 < len(response.headers) <= 200
        assert response.headers.endswith(b"v\r\n")

    @pytest.mark.parametrize("line", [b"X-A: b\r\n", b"X-A: " + b"b" * 60_000 + b"\r\n"])
    def test_for_headers_without_end(self, transport: Transport, receiver: Receiver, line: bytes) -> None:
        receiver.on("/", Endless(b"HTTP/1.1 200 OK\r\n", line))
        response = send(transport, receiver.url(), total=10.0)
        assert response.failure is OutcomeKind.PROTOCOL_ERROR
        assert len(response.headers) <= 8 * 1024

    def test_for_a_hundred_thousand_headers(self, transport: Transport, receiver: Receiver) -> None:
        receiver.on("/", Raw(b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 100_000 + b"Content-Length: 0\r\n\r\n"))
        assert send(transport, receiver.url(), total=10.0).failure is OutcomeKind.PROTOCOL_ERROR


class TestAnAnswerThatIsNone:
    @pytest.mark.parametrize(
        "behaviour",
        [
            Close(),
            Reset(),
            Raw(b"\x00\x01\x02 garbage \xff\r\n\r\n"),
            Raw(b"<html>as HTTP/0.9 did</html>"),
            Raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nabc", close=False),
            Raw(b"HTTP/1.1 OK\r\n\r\n"),
        ],
        ids=["closed", "reset", "garbage", "0.9", "101", "no status"],
    )
    def test_is_a_protocol_error(self, transport: Transport, receiver: Receiver, behaviour: Raw) -> None:
        receiver.on("/", behaviour)
        response = send(transport, receiver.url())
        assert response.failure is OutcomeKind.PROTOCOL_ERROR
        assert response.detail

    def test_because_nobody_listens_is_refused(self, transport: Transport) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        assert send(transport, f"http://127.0.0.1:{port}/").failure is OutcomeKind.REFUSED


class TestWhatCannotBeSent:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("X-A", "b\r\nX-C: d"),
            ("X-A", "b\nc"),
            ("X-A", "b\0"),
            ("X-A\r\nX-B", "hush"),
            ("X A", "hush"),
            ("", "hush"),
            ("X-A", "ł"),
        ],
    )
    def test_for_its_headers(self, transport: Transport, receiver: Receiver, name: str, value: str) -> None:
        transport.start(Request(1, receiver.url(), ((name, value),), b""))
        [response] = gather(transport)
        assert (response.token, response.failure) == (1, OutcomeKind.NOT_SENT)
        assert value not in response.detail
        assert not receiver.requests

    @pytest.mark.parametrize(
        "url",
        ["", "nonsense", "file:///etc/passwd", "gopher://127.0.0.1/", "http://", "http://127.0.0.1:99999/",
         "http://127.0.0.1\\@example.com/", "http://user:pass@127.0.0.1/", "http://127.0.0.1/\r\nX: y", "http://[::1/",
         "http://127.0.0.1/ b", "http://bücher.example/"],
    )  # fmt: skip
    def test_for_its_url(self, transport: Transport, url: str) -> None:
        assert send(transport, url).failure is OutcomeKind.NOT_SENT
