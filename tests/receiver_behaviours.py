"""What a receiver may do with a request: answer, wait, stop in the middle, send nonsense."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Received:
    """One request as it came. `connection` counts connections, so equal numbers mean one kept open."""

    method: str
    path: str
    headers: Mapping[str, str]  # names in lower case; of equal names the last
    body: bytes
    time: float  # time.monotonic()
    connection: int
    http_version: str = "1.1"
    header_lines: tuple[tuple[str, str], ...] = ()
    client: str = ""  # the common name of the client certificate


def client_of(writer: asyncio.StreamWriter) -> str:
    """The common name of the connection's client certificate; empty where there is none."""
    certificate = writer.get_extra_info("peercert") or {}
    return next((value for [(name, value)] in certificate.get("subject", ()) if name == "commonName"), "")


class Behaviour:
    """What to do with a request. `play` returns False where the connection is to be closed afterwards."""

    async def play(self, writer: asyncio.StreamWriter) -> bool:
        raise NotImplementedError


@dataclass(frozen=True)
class Answer(Behaviour):
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    async def play(self, writer: asyncio.StreamWriter) -> bool:
        lines = [f"HTTP/1.1 {self.status} Whatever", f"Content-Length: {len(self.body)}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        writer.write("\r\n".join((*lines, "", "")).encode("latin-1") + self.body)
        await writer.drain()
        return True


@dataclass(frozen=True)
class Hang(Behaviour):
    """Never answers, and keeps the connection open."""

    async def play(self, writer: asyncio.StreamWriter) -> bool:
        await asyncio.sleep(3600)
        return False


@dataclass(frozen=True)
class Delay(Behaviour):
    """Answers after some seconds."""

    seconds: float
    then: Behaviour = Answer()

    async def play(self, writer: asyncio.StreamWriter) -> bool:
        await asyncio.sleep(self.seconds)
        return await self.then.play(writer)


@dataclass(frozen=True)
class Raw(Behaviour):
    """Sends exactly these bytes, then closes (or, with `close=False`, waits for the next request)."""

    data: bytes
    close: bool = True

    async def play(self, writer: asyncio.StreamWriter) -> bool:
        writer.write(self.data)
        await writer.drain()
        return not self.close


@dataclass(frozen=True)
class Endless(Behaviour):
    """Sends `start`, then `again` for ever, every `pause` seconds (0: as fast as it is taken)."""

    start: bytes
    again: bytes
    pause: float = 0.0

    async def play(self, writer: asyncio.StreamWriter) -> bool:
        writer.write(self.start)
        while True:
            writer.write(self.again)
            await writer.drain()
            await asyncio.sleep(self.pause)


def Drip(where: str = "body", pause: float = 0.05) -> Endless:
    """One byte at a time for ever, in the "headers" or in the "body"."""
    head = b"HTTP/1.1 200 OK\r\n"
    if where == "body":
        head += b"Content-Length: 1000000\r\n\r\n"
    return Endless(head if where == "body" else head + b"X-Drip: ", b"a", pause)


@dataclass(frozen=True)
class Stall(Behaviour):
    """Sends complete headers and a part of the body, then nothing more. Over HTTP/2, too."""

    status: int = 200
    body: bytes = b"part"

    async def play(self, writer: asyncio.StreamWriter) -> bool:
        await Raw(b"HTTP/1.1 %d X\r\nContent-Length: 100000\r\n\r\n" % self.status + self.body).play(writer)
        await asyncio.sleep(3600)
        return False


@dataclass(frozen=True)
class Close(Behaviour):
    """Closes without a word, after the request was read."""

    async def play(self, writer: asyncio.StreamWriter) -> bool:
        return False


@dataclass(frozen=True)
class Reset(Behaviour):
    """Ends the connection with a TCP reset, after `start` was sent."""

    start: bytes = b""

    async def play(self, writer: asyncio.StreamWriter) -> bool:
        writer.write(self.start)
        await writer.drain()
        linger = struct.pack("ii", 1, 0)  # on, no time: closing sends RST
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()
        return False


Reaction = Behaviour | int | Callable[[Received], "Behaviour | int"]
