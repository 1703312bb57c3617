"""The customers' servers, in a process of their own: `python -m tests.faults.harness.receiver PORT LOG`.

The first part of a path names a group of endpoints, and a group has one behaviour: "ok", "hang", "slow 0.5" (seconds) or a
status. A group's behaviour is "ok" until `POST /_set` changes it, with a body like "noisy=hang". Every request is a line
of the log: time, path, webhook-id. Times are of the monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import sys
import time
from typing import TextIO

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
#: The longest pause (seconds) of this process that is the machine's ordinary business.
HICCUP = 0.1


class Site:
    def __init__(self, log: TextIO) -> None:
        self.log = log
        self.behaviours: dict[str, str] = {}

    def take(self, path: str, webhook_id: str, body: bytes) -> str:
        """Note a request down and return what to do with it."""
        if path == "/_set":
            group, _, behaviour = body.decode().partition("=")
            self.behaviours[group] = behaviour
            return "ok"
        self.log.write(f"{time.monotonic():.4f} {path} {webhook_id}\n")
        return self.behaviours.get(path.split("/")[1], "ok")


class Conversation(asyncio.Protocol):
    """One connection, kept open. Requests are complete when their body is there."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            lines = self._data[:end].decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
            whole = end + 4 + int(headers.get("content-length", 0))
            if len(self._data) < whole:
                return
            body, self._data = self._data[end + 4 : whole], self._data[whole:]
            self._act(self._site.take(lines[0].split(" ")[1], headers.get("webhook-id", "-"), body))

    def _act(self, behaviour: str) -> None:
        kind, _, seconds = behaviour.partition(" ")
        if kind == "ok":
            self._transport.write(OK)
        elif kind == "slow":
            asyncio.get_running_loop().call_later(float(seconds), self._transport.write, OK)
        elif kind != "hang":
            self._transport.write(OK.replace(b"200 OK", f"{kind} Whatever".encode()))


async def note_hiccups(log: TextIO) -> None:
    """Note down when the machine gave this process no time: what arrives then is late through no fault of the engine."""
    last = time.monotonic()
    while True:
        await asyncio.sleep(0.02)
        now = time.monotonic()
        if now - last - 0.02 > HICCUP:
            log.write(f"{now:.4f} ~ {now - last - 0.02:.4f}\n")
        last = now


async def serve(port: int, path: str) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with open(path, "w", buffering=1) as log:
        site = Site(log)
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Conversation(site), "0.0.0.0", port, backlog=4096)
        async with server:
            await note_hiccups(log)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(int(sys.argv[1]), sys.argv[2]))
