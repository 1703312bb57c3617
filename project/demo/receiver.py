"""The demo's receiver: a real HTTP server on loopback that verifies every signature. A process of its own.

    python -m project.demo.receiver --config FILE [--port 8010]

FILE is a JSON list of endpoints (`key`, `secret`, `behaviour`). Without --port it takes a free one and prints it. A
browser sees the latest deliveries at `/`; `/report` is what each endpoint has seen, as JSON.
"""

import argparse
import asyncio
import json
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

from project.demo.behaviour import FLAKY_REFUSALS, Behaviour, Played, Seen
from project.demo.page import Received, page
from project.demo.verify import verifier

MAX_BODY = 1024 * 1024
LATEST = 100


class Endpoint:
    """A simulated endpoint: checks each request and responds according to its behaviour."""

    def __init__(self, played: Played) -> None:
        self.played = played
        self.seen = Seen()
        self.verify = verifier(played.secret)

    def receive(self, body: bytes, headers: dict[str, str]) -> tuple[int | None, bool]:
        """Return (status of the response, whether the signature is valid). A status of None means no response."""
        if not self.verify(body, headers):
            self.seen.unverified += 1
            return 401, False
        self.seen.verified += 1
        message = headers["webhook-id"]
        behaviour = self.played.behaviour
        if behaviour is Behaviour.HANGING:
            return None, True
        refused = self.seen.refused.get(message, 0)
        if behaviour is Behaviour.BROKEN or (behaviour is Behaviour.FLAKY and refused < FLAKY_REFUSALS):
            self.seen.refused[message] = refused + 1
            return 500, True
        self.seen.accepted[message] = self.seen.accepted.get(message, 0) + 1
        return 200, True


class Receiver:
    """All endpoints, and the latest requests for the page."""

    def __init__(self, endpoints: list[Played]) -> None:
        self.endpoints = {played.key: Endpoint(played) for played in endpoints}
        self.latest: deque[Received] = deque(maxlen=LATEST)

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int | None, str, bytes]:
        """Return (status, content type, body) for one request."""
        if method == "GET":
            return self._look(path)
        endpoint = self.endpoints.get(path.strip("/"))
        if method != "POST" or endpoint is None:
            return 404, "text/plain", b"not here"
        status, verified = endpoint.receive(body, headers)
        self.latest.appendleft(Received(time.time(), path, status, verified, headers.get("webhook-id", ""), body))
        return status, "text/plain", b"ok" if status == 200 else b"no"

    def _look(self, path: str) -> tuple[int, str, bytes]:
        if path == "/report":
            report = {key: endpoint.seen.as_json() for key, endpoint in self.endpoints.items()}
            return 200, "application/json", json.dumps(report).encode()
        if path == "/":
            return 200, "text/html; charset=utf-8", page(self.endpoints, self.latest).encode()
        return 404, "text/plain", b"not here"


class Connection(asyncio.Protocol):
    """HTTP/1.1 with keep-alive and Content-Length bodies: enough for webhooks, and fast."""

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self.buffer = b""
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (request := self._next_request()) is not None:
            status, kind, body = self.receiver.answer(*request)
            if status is None:
                return  # a hanging endpoint: keep the connection open without a response
            head = f"HTTP/1.1 {status} .\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
            self.transport.write(head.encode() + body)

    def _next_request(self) -> tuple[str, str, dict[str, str], bytes] | None:
        """Return the next complete request in the buffer; None until there is one, or after an invalid one."""
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return None
        try:
            first, *lines = self.buffer[:end].decode("latin-1").split("\r\n")
            method, path, _ = first.split(" ")
            fields = (line.partition(":") for line in lines)
            headers = {name.strip().lower(): value.strip() for name, _, value in fields}
            length = int(headers.get("content-length", 0))
        except ValueError:
            length = -1
        if not 0 <= length <= MAX_BODY:
            self.transport.close()
            return None
        start = end + 4
        if len(self.buffer) < start + length:
            return None
        body, self.buffer = self.buffer[start : start + length], self.buffer[start + length :]
        return method, path, headers, body


async def serve(receiver: Receiver, port: int) -> None:
    """Listen on loopback until stopped. Without a given port, choose one and print it on one line."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(receiver), "127.0.0.1", port, backlog=1024)
    if not port:
        print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> int:
    parser = argparse.ArgumentParser("python -m project.demo.receiver", description="Receives and verifies webhooks.")
    parser.add_argument("--config", type=Path, required=True, help="JSON list of endpoints: key, secret, behaviour")
    parser.add_argument("--port", type=int, default=0, help="0: any free one, printed")
    options = parser.parse_args()
    config = json.loads(options.config.read_text())
    played = [Played(item["key"], item["secret"], Behaviour(item["behaviour"])) for item in config]
    try:
        asyncio.run(serve(Receiver(played), options.port))
    except KeyboardInterrupt:
        pass
    except OSError as error:
        print(f"The demo receiver cannot listen on 127.0.0.1:{options.port}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
