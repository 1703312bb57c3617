"""A real HTTP receiver on loopback, for every test that sends something.

    with Receiver() as receiver:
        receiver.on("/hook", [500, Delay(0.1), 200])
        ...send to receiver.url("/hook")...
        [first, second, third] = receiver.wait_for(3)

A path without a behaviour answers 200. Given a list, each request takes the next one and the last one stays. It runs an
asyncio loop in a thread of its own; everything here may be called from any thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, Self

import trustme

from tests.receiver_behaviours import Answer, Behaviour, Raw, Reaction, Received, client_of


class Authority:
    """A certificate authority for TLS tests. `bundle` is the path of its PEM file."""

    def __init__(self, folder: Path, parent: Authority | None = None) -> None:
        self._folder = folder
        self._authority = parent._authority.create_child_ca() if parent is not None else trustme.CA()
        self.bundle = str(folder / "authority.pem")
        self._authority.cert_pem.write_to_path(self.bundle)

    def context(self, *names: str, http2: bool = False, **certificate: Any) -> ssl.SSLContext:
        """A server's TLS context with a certificate for these names and addresses."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert(*names, **certificate).configure_cert(context)
        context.set_alpn_protocols(["h2", "http/1.1"] if http2 else ["http/1.1"])
        return context

    def intermediate(self) -> Authority:
        """An authority below this one."""
        folder = self._folder / "intermediate"
        folder.mkdir(exist_ok=True)
        return Authority(folder, self)

    @property
    def pem(self) -> str:
        return self._authority.cert_pem.bytes().decode()

    def leaf(self, name: str) -> bytes:
        """A certificate for this name or address (DER)."""
        pem = self._authority.issue_cert(name).cert_chain_pems[0].bytes().decode()
        return ssl.PEM_cert_to_DER_cert(pem)

    def demanding(self, server: ssl.SSLContext, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
        """Let a server's context demand a client certificate of this authority, with this version of TLS at most."""
        server.verify_mode = ssl.CERT_REQUIRED
        server.load_verify_locations(cadata=self.pem)
        server.maximum_version = version
        return server

    def client_pems(self, name: str, **certificate: Any) -> tuple[str, str]:
        """A client certificate with this common name, and its private key."""
        leaf = self._authority.issue_cert(common_name=name, **certificate)
        chain = "".join(one.bytes().decode() for one in leaf.cert_chain_pems)
        return chain, leaf.private_key_pem.bytes().decode()


class Receiver:
    """See above. With `tls`, a server's `ssl.SSLContext`, it speaks https (and HTTP/2 where that context offers it)."""

    def __init__(self, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.requests: list[Received] = []
        self.connections = 0
        self.host = host
        self.port = 0
        self._tls = tls
        self._reactions: dict[str, list[Reaction]] = {}
        self._changed = threading.Condition()
        self._started = threading.Event()
        self._numbers = count(1)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda _loop, _context: None)  # broken handshakes are part of the tests
        self._thread = threading.Thread(target=self._run, name="receiver", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(10), "the receiver did not start"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def url(self, path: str = "/", host: str = "") -> str:
        return f"{'https' if self._tls else 'http'}://{host or self.host}:{self.port}{path}"

    def on(
        self,
        path: str,
        reactions: Reaction | Iterable[Reaction] | None = None,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Self:
        """Program a path: a status, a behaviour, a function of the request, a list of these; or an answer's parts."""
        if reactions is None:
            reactions = Answer(status, headers or {}, body)
        several = isinstance(reactions, Iterable)
        with self._changed:
            self._reactions[path] = list(reactions) if several else [reactions]  # type: ignore[arg-type, list-item]
        return self

    def clear(self) -> None:
        """Forget the requests that came. Behaviours stay."""
        with self._changed:
            self.requests.clear()

    def reset(self) -> None:
        """Forget the requests and the behaviours."""
        with self._changed:
            self.requests.clear()
            self._reactions.clear()

    def wait_for(self, number: int = 1, timeout: float = 10.0, path: str = "") -> list[Received]:
        """Wait until this many requests came (to `path`, where given) and return all. AssertionError if too few do."""

        def chosen() -> list[Received]:
            return [one for one in self.requests if not path or one.path == path]

        with self._changed:
            enough = self._changed.wait_for(lambda: len(chosen()) >= number, timeout)
            assert enough, f"{len(chosen())} requests came in {timeout} s, not {number}"
            return chosen()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(
            self._on_connection, self.host, 0, ssl=self._tls, backlog=1024, limit=1024 * 1024
        )
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stop.wait()
        server.close()
        for _ in range(3):
            await asyncio.sleep(0.005)  # a connection that was just accepted gets its task, which alone can close it
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0.01)  # so that closed sockets are let go of

    async def _on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        number = next(self._numbers)
        self.connections = number
        try:
            with contextlib.suppress(
                ConnectionError, asyncio.IncompleteReadError, ssl.SSLError, asyncio.CancelledError
            ):
                await self._converse(reader, writer, number)
        finally:
            self._tasks.discard(task)
            if self._stop.is_set():
                writer.transport.abort()
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        tls = writer.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() == "h2":
            from tests.receiver_http2 import converse

            await converse(self, reader, writer, number)
            return
        going = True
        while going:
            first = await reader.readexactly(1)
            if first == b"\x16":  # a TLS handshake where plain text is spoken: what most servers do with it
                await Raw(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").play(writer)
                return
            received = replace(await _read_request(first, reader, number), client=client_of(writer))
            going = await self.take(received).play(writer)

    def take(self, received: Received) -> Behaviour:
        """Note a request down and choose what happens to it."""
        with self._changed:
            self.requests.append(received)
            self._changed.notify_all()
            several = self._reactions.get(received.path) or self._reactions.get(received.path.partition("?")[0], [])
            chosen: Reaction = several[0] if several else Answer()
            if len(several) > 1:
                several.pop(0)
        if not isinstance(chosen, (Behaviour, int)):
            chosen = chosen(received)
        return Answer(chosen) if isinstance(chosen, int) else chosen


async def _read_request(start: bytes, reader: asyncio.StreamReader, number: int) -> Received:
    head = (start + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head[:-4].split("\r\n")
    method, path, _ = first.split(" ", 2)
    pairs = tuple((name, value.strip()) for name, _, value in (line.partition(":") for line in lines))
    headers = {name.lower(): value for name, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Received(method, path, headers, body, time.monotonic(), number, header_lines=pairs)
