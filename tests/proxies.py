"""Small egress proxies on loopback: HTTP CONNECT and SOCKS5, with user name and password, and with faults.

    with HTTPProxy({"203.0.114.7:443": receiver.port}) as proxy:
        ...send through proxy.url...

They connect to loopback ports in place of the public addresses and names that they are asked for, and note those.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
import struct
import threading
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any, Self


class EgressProxy:
    """`routes`: "host:port" as it is asked for → the port on loopback to connect to. Anything else is refused.

    `fault`: what to do in place of connecting: "hang", "close", "garbage", "slow" (a byte at a time, for ever) or a refusal
    (`status` or `reply`). `user` and `password`: what it wants.
    """

    scheme = ""

    def __init__(
        self,
        routes: Mapping[str, int] | None = None,
        *,
        fault: str = "",
        refusal: int = 0,
        user: str = "",
        password: str = "",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.routes = dict(routes or {})
        self.fault, self.refusal, self.user, self.password = fault, refusal, user, password
        self.asked: list[str] = []
        self.heads: list[str] = []  # of HTTP
        self.clients: list[tuple[str, int]] = []
        self.port = 0
        self._tls = tls
        self._started = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda _loop, _context: None)  # broken handshakes are part of the tests
        self._tasks: set[asyncio.Task[Any]] = set()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    @property
    def url(self) -> str:
        """With the credentials that it wants."""
        return self.url_with(self.user, self.password)

    def url_with(self, user: str, password: str) -> str:
        scheme, host = ("https", "localhost") if self._tls else (self.scheme, "127.0.0.1")
        credentials = f"{user}:{password}@" if user else ""
        return f"{scheme}://{credentials}{host}:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(10), "the proxy did not start"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._on_connection, "127.0.0.1", 0, ssl=self._tls)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stop.wait()
        server.close()
        await asyncio.sleep(0.005)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0.01)

    async def _on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.clients.append(writer.get_extra_info("peername")[:2])
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            try:
                await self._serve_one(reader, writer)
            finally:
                self._tasks.discard(task)
                writer.transport.abort()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise NotImplementedError

    async def _play_fault(self, writer: asyncio.StreamWriter, start: bytes) -> bool:
        """Return whether there was a fault to play. `start`: how a good reply begins."""
        if self.fault == "hang":
            await asyncio.sleep(3600)
        elif self.fault == "garbage":
            writer.write(b"nonsense\r\n\r\n")
            await writer.drain()
            await asyncio.sleep(0.2)
        elif self.fault == "slow":
            for byte in start:
                writer.write(bytes((byte,)))
                await writer.drain()
                await asyncio.sleep(0.2)
            await asyncio.sleep(3600)
        return bool(self.fault)

    async def _relay(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: str, accepted: bytes
    ) -> bool:
        """Connect to the target and pass bytes on. Return False if there is no route."""
        self.asked.append(target)
        if target not in self.routes:
            return False
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.routes[target])
        writer.write(accepted)
        copies = [asyncio.create_task(_copy(reader, far_writer)), asyncio.create_task(_copy(far_reader, writer))]
        try:
            await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for copy in copies:
                copy.cancel()
            far_writer.transport.abort()
        return True


class HTTPProxy(EgressProxy):
    """Speaks CONNECT; `refusal` is a status."""

    scheme = "http"

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        method, target, _ = head.split(" ", 2)
        wanted = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        if method != "CONNECT":
            await self._answer(writer, 405)
        elif self.user and f"Proxy-Authorization: Basic {wanted}\r\n" not in head:
            await self._answer(writer, 407)
        elif await self._play_fault(writer, b"HTTP/1.1 2"):
            return
        elif self.refusal:
            await self._answer(writer, self.refusal)
        elif not await self._relay(reader, writer, target, b"HTTP/1.1 200 Connection established\r\n\r\n"):
            await self._answer(writer, 502)

    async def _answer(self, writer: asyncio.StreamWriter, status: int) -> None:
        challenge = b"Proxy-Authenticate: Basic\r\n" if self.user else b""
        writer.write(b"HTTP/1.1 %d X\r\n%bContent-Length: 0\r\n\r\n" % (status, challenge))
        await writer.drain()
        await asyncio.sleep(0.1)


class SOCKSProxy(EgressProxy):
    """Speaks SOCKS5; `refusal` is a reply."""

    scheme = "socks5h"

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, number = await reader.readexactly(2)
        methods = await reader.readexactly(number)
        wanted = 2 if self.user else 0
        if wanted not in methods:
            writer.write(b"\x05\xff")
            await writer.drain()
            await asyncio.sleep(0.1)
            return
        if self.fault == "garbage":
            await self._play_fault(writer, b"")
            return
        writer.write(bytes((5, wanted)))
        if self.user and not await self._check_password(reader, writer):
            return
        target = await self._read_target(reader)
        if await self._play_fault(writer, b"\x05"):
            return
        if self.refusal:
            await self._answer(writer, self.refusal)
        elif not await self._relay(reader, writer, target, b"\x05\0\0\x01\x7f\0\0\x01\0\x07"):
            await self._answer(writer, 4)

    async def _check_password(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        _, length = await reader.readexactly(2)
        user = await reader.readexactly(length)
        password = await reader.readexactly((await reader.readexactly(1))[0])
        good = (user.decode(), password.decode()) == (self.user, self.password)
        writer.write(bytes((1, 0 if good else 1)))
        await writer.drain()
        if not good:
            await asyncio.sleep(0.1)
        return good

    async def _read_target(self, reader: asyncio.StreamReader) -> str:
        _, command, _, kind = await reader.readexactly(4)
        assert command == 1
        if kind == 3:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        else:
            host = str(ip_address(await reader.readexactly(4 if kind == 1 else 16)))
        [port] = struct.unpack("!H", await reader.readexactly(2))
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def _answer(self, writer: asyncio.StreamWriter, reply: int) -> None:
        writer.write(bytes((5, reply, 0, 1, 0, 0, 0, 0, 0, 0)))
        await writer.drain()
        await asyncio.sleep(0.1)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
